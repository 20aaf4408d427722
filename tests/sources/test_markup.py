"""Tags and texts of web pages, however they are written."""

import random
import time

import pytest

from foxgan.sources.markup import Tag, plain, tokens


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ('<a href="//x/User:S" title="a > b">Some &amp; one</a>', "Some & one"),
        ("one<br>two<p>three</p>\n four", "one two three four"),
        ('<span style="display : none">label QS:P170<br>,"x" <b>y</b></span>Jane<!-- no -->', "Jane"),
        ("<script>a < b</script>seen<style>p {}</style>", "seen"),
        ("a < b, 3<4 and <3", "a < b, 3<4 and <3"),
        ("<b>never closed <i>at all", "never closed at all"),
        ("cut <a href='x", "cut"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("", ""),
    ],
)
def test_what_a_reader_sees(markup, text):
    assert plain(markup) == text


@pytest.mark.parametrize(
    ("markup", "attributes"),
    [
        ('<IMG SRC="a.jpg" ALT>', {"src": "a.jpg", "alt": ""}),
        ("<img src=a.jpg/>", {"src": "a.jpg/"}),
        ("<img src = 'a b.jpg' src=c />", {"src": "a b.jpg"}),
        ('<img/src="a.jpg"/alt="x>y">', {"src": "a.jpg", "alt": "x>y"}),
        ('<img src="a?x=1&amp;y=2"\n>', {"src": "a?x=1&y=2"}),
        ("<img>", {}),
    ],
)
def test_attributes_in_all_their_spellings(markup, attributes):
    assert list(tokens(markup)) == [Tag("img", False, attributes)]


def test_comments_scripts_and_declarations_hold_no_tags():
    page = (
        "<!doctype html><!-- <img> --><!--><p><script>'<img>'</SCRIPT ><?php <img ?><![if !x]><title><img></title></p>"
    )
    assert [(t.name, t.closing) for t in tokens(page) if isinstance(t, Tag) and t.name in ("p", "img")] == [
        ("p", False),
        ("p", True),
    ]


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<a ", "<a href='", '<a b="', "<![", "</", "<script>", "<", "<div>", "&#", "<a\n=", "=", "<p a = "],
)
def test_time_grows_with_the_length_alone(piece):
    began = time.process_time()
    for _ in tokens(piece * (400_000 // len(piece))):
        pass
    assert time.process_time() - began < 3  # a quadratic one would need minutes


def test_no_text_is_too_strange():
    rng = random.Random(0)
    pieces = [
        "<",
        ">",
        "/",
        "!",
        "--",
        "a",
        "img",
        " ",
        "=",
        '"',
        "'",
        "&",
        "#",
        "x",
        ";",
        "script",
        "?",
        "[",
        "\0",
        "\n",
    ]
    for _ in range(3000):
        text = "".join(rng.choices(pieces, k=rng.randrange(30)))
        for token in tokens(text):
            assert token == "<" or isinstance(token, Tag) or token
        plain(text)
