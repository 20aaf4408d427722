"""What is found on web pages."""

import random

import pytest

from foxgan.sources.document import in_set, read

URL = "https://h/a/b.html?page=2"


@pytest.mark.parametrize(
    ("markup", "pictures"),
    [
        ('<img src="1.jpg"><IMG SRC=/2.jpg><img src="//o/3.jpg#x"><img src="1.jpg">', ["/a/1.jpg", "/2.jpg", "//o/3.jpg"]),
        ('<img src="s.jpg" srcset="s.jpg 100w, l.jpg 2000w,m.jpg 200w">', ["/a/l.jpg"]),
        ('<img src="s.jpg" srcset="a,b.jpg 1.5x, l.jpg 3x, m.jpg">', ["/a/l.jpg"]),
        ('<img src="data:image/gif;base64,R0==" data-src="1.jpg">', ["/a/1.jpg"]),
        ('<img src="wait.gif" data-original="1.jpg" data-srcset="2.jpg 2x">', ["/a/2.jpg"]),
        ('<picture><source srcset="s.webp 480w, l.webp 1600w"><img src="f.jpg"></picture><img src="2.jpg">', ["/a/l.webp", "/a/2.jpg"]),
        ('<a href="whole.JPG?x=1"><img src="small.jpg"></a>', ["/a/whole.JPG?x=1"]),
        ('<a href="/wiki/File:Fox.jpg"><img src="small.jpg"></a><a href="c.html"><img src="d.jpg"></a>', ["/a/small.jpg", "/a/d.jpg"]),
        ('<noscript><img src="1.jpg"></noscript><script>"<img src=2.jpg>"</script><!-- <img src=3.jpg> -->', ["/a/1.jpg"]),
        ('<meta property="og:image" content="https://o/1.jpg?a=1&amp;b=2">', ["//o/1.jpg?a=1&b=2"]),
        ('<img src="1.jpg"><base href="/files/"><base href="/no/"><img src=2.jpg>', ["/files/1.jpg", "/files/2.jpg"]),
        ('<base href="http://["><img src="1.jpg">', ["/a/1.jpg"]),
        ('<img src="x.svg"><img src="/favicon.ico"><img src="p.gif" width=1 height=1><img><img src=" ">', []),
        ('<img src="javascript:x"><img src="file:///etc/passwd"><img src="http://[::1"><img src="ftp://h/1.jpg">', []),
        (f'<img src="{"x" * 5000}.jpg"><a href="1.jpg">open', ["/a/1.jpg"]),
        ('<picture><source srcset="1.jpg 2x">', ["/a/1.jpg"]),
    ],
)  # fmt: skip
def test_each_picture_is_found_once_in_its_largest_size(markup, pictures):
    whole = [f"https:{p}" if p.startswith("//") else f"https://h{p}" for p in pictures]
    assert read(markup, URL).pictures == whole


@pytest.mark.parametrize(
    ("markup", "following"),
    [
        ('<link rel="prefetch next" href="?page=3"><a href="/x">Next</a>', "https://h/a/b.html?page=3"),
        ('<a href="/1">Next</a><a rel="nofollow next" href="/2">more</a>', "https://h/2"),
        ('<a href="/3"><span>Next</span> page »</a>', "https://h/3"),
        ('<a href="/4" aria-label="Go to the next page"><svg><path/></svg></a>', "https://h/4"),
        ('<a href="/5">Older posts</a>', "https://h/5"),
        ('<a href="/last">»</a><a href="/6">›</a>', "https://h/6"),
        ('<a href="#">›</a><a href="#top">Next</a><a href="/7">&raquo;</a>', "https://h/7"),
        ('<a href="/8">Next to the forest</a><a href="/9">Previous</a><a>Next</a><a href="">Next</a>', None),
        ('<a href="javascript:next()">Next</a>', None),
        ("", None),
    ],
)
def test_the_clearest_link_to_the_next_page_is_followed(markup, following):
    assert read(markup, URL).following == following


def test_licenses_and_wishes_to_robots_are_told():
    markup = '<meta name="Robots" content="noai"><meta name="googlebot" content="none"><a rel="license" href="//cc/by">CC</a>'
    document = read(markup + '<link rel=license href="/l"><a rel=license>no</a>', URL)
    assert (document.robots, document.licenses) == (["noai"], ["https://cc/by", "https://h/l"])


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("a 1x,b 2x", [((2, 1.0), "a"), ((2, 2.0), "b")]),
        ("a 100w 50h, b 200w", [((3, 100.0), "a"), ((3, 200.0), "b")]),
        (" a , b\n2x ,", [((2, 1.0), "a"), ((2, 2.0), "b")]),
        ("a 1x ,b 3x", [((2, 1.0), "a"), ((2, 3.0), "b")]),
        ("a?x=1,2 10w", [((3, 10.0), "a?x=1,2")]),
        (",", []),
        ("a huge", [((2, 1.0), "a")]),
    ],
)
def test_sets_of_sizes_in_all_their_spellings(text, choices):
    assert list(in_set(text)) == choices


def test_no_page_is_too_strange():
    rng = random.Random(0)
    pieces = [
        "<a href=",
        "<img src=",
        "<picture>",
        "</picture>",
        "</a>",
        "<source srcset=",
        '"',
        ">",
        " ",
        ",",
        "//[",
        "x.jpg",
        "<base href=",
        "2x",
    ]
    for _ in range(3000):
        read("".join(rng.choices(pieces, k=rng.randrange(30))), URL)
