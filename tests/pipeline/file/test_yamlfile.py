import textwrap
import time
from pathlib import Path

import pytest

from foxgan.errors import PipelineError, UsageError
from foxgan.pipeline.file.variables import Variables
from foxgan.pipeline.file.yamlfile import MAX_BYTES, Place, load, locate, parse, parse_option


def refusal(text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        parse(textwrap.dedent(text).lstrip("\n"), "p.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_value_knows_its_place() -> None:
    root = parse("a: 1\nb:\n  c: [x, 2.5]\n", "p.yaml")
    item = root.value["b"].value["c"].value[1]
    assert (item.value, str(item.place)) == (2.5, "p.yaml:3:10")
    assert str(root.value["b"].value["c"].key_place) == "p.yaml:3:3"
    assert root.plain() == {"a": 1, "b": {"c": ["x", 2.5]}}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "p.yaml:3:1", "'a' stands here a second time; first at line 1"),
        ("a: {b: 1, b: 2}\n", "p.yaml:1:11", "'b' stands here a second time"),
        ("a: [1\nb: 2\n", "p.yaml:2:2", "not valid YAML"),
        ("a:\n\t- 1\n", "p.yaml:2:1", "not valid YAML"),
        ("a: \x00\n", "p.yaml", "not valid YAML"),
        ("a: *nothing\n", "p.yaml:1:4", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1", "not valid YAML"),
        ("? [x]\n: 1\n", "p.yaml:1:3", "a key must be a plain name"),
        (
            "a: !!python/object/apply:os.system [echo]\nb: !!python/name:os.system x\n",
            "p.yaml:2:4",
            "not a plain value",
        ),
        ("a: !!bool maybe\n", "p.yaml:1:4", "not a plain value"),
        ("a: !!int many\n", "p.yaml:1:4", "not a plain value"),
        ("a: !!timestamp never\n", "p.yaml:1:4", "not a plain value"),
        ("a: !!binary aGk=\n", "p.yaml:1:4", "is read as a bytes"),
        ("a: 2020-02-03\n", "p.yaml:1:4", "is read as a date; put it in quotes"),
        ("", "p.yaml", "empty"),
    ],
)
def test_what_pyyaml_lets_pass_or_fails_on_is_told_with_its_place(text: str, place: str, words: str) -> None:
    message = refusal(text)
    assert message.startswith(f"{place}: ")
    assert words in message


def test_no_tag_builds_an_object() -> None:
    assert parse("a: !!python/object/apply:os.system [echo]\n", "p").plain() == {"a": ["echo"]}


def test_a_bomb_of_aliases_ends_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.process_time()
    assert "too large" in refusal("\n".join(lines))
    assert time.process_time() - start < 2


def test_an_alias_of_itself_ends() -> None:
    assert "too large" in refusal("a: &a [*a]\n")


@pytest.mark.parametrize("depth", [30, 2_000])
def test_deep_nesting_ends(depth: int) -> None:
    assert "too large" in refusal("[" * depth + "]" * depth) or depth > 1000


def test_a_file_of_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text("# " + "x" * MAX_BYTES)
    with pytest.raises(PipelineError, match="a pipeline file has at most"):
        load(tmp_path / "big.yaml")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(PipelineError, match="not UTF-8"):
        load(tmp_path / "photo.yaml")


def filled(text: str, **values: object) -> object:
    variables = Variables({k: locate(v, Place("vars")) for k, v in values.items()})
    return variables.fill(parse(text, "p.yaml")).plain()


def test_a_value_that_is_a_variable_keeps_its_type() -> None:
    assert filled('{a: "${n}", b: "${l}", c: ["${t}"]}', n=3, l=[1, [2]], t=True) == {
        "a": 3,
        "b": [1, [2]],
        "c": [True],
    }


def test_variables_within_a_text_become_text() -> None:
    assert filled('a: "${n}x${m}.png"', n=3, m=4) == {"a": "3x4.png"}


@pytest.mark.parametrize("text", ['a: "${m}"', 'a: "x${m}"'])
def test_an_unknown_variable_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(PipelineError, match=r"p.yaml:1:4: unknown variable 'm'; `vars` has: n"):
        filled(text, n=1)


def test_a_list_does_not_fit_into_a_text() -> None:
    with pytest.raises(PipelineError, match="variable 'n' is a list"):
        filled('a: "x${n}"', n=[1])


def test_bombs_of_variables_end_early() -> None:
    start = time.process_time()
    with pytest.raises(PipelineError, match="too large"):
        filled(f'a: "{"${n}" * 100}"', n="x" * 50_000)
    with pytest.raises(PipelineError, match="too large"):
        filled("a: [" + ", ".join(['"${n}"'] * 5) + "]", n=[0] * 5000)
    assert time.process_time() - start < 4


def test_variables_may_use_each_other_in_any_order() -> None:
    assert filled('a: "${x}"', x="${y}!", y="${z}", z=3) == {"a": "3!"}


@pytest.mark.parametrize(
    ("values", "circle"), [({"a": "${a}"}, "a -> a"), ({"a": "${b}", "b": "x${a}"}, "a -> b -> a")]
)
def test_a_circle_of_variables_is_told(values: dict[str, object], circle: str) -> None:
    with pytest.raises(PipelineError, match=f"vars: variables use each other in a circle: {circle}"):
        filled('x: "${a}"', **values)


def test_a_long_chain_of_variables_ends() -> None:
    values: dict[str, object] = {f"v{i}": f"${{v{i + 1}}}" for i in range(3000)}
    with pytest.raises(PipelineError, match="too large"):
        filled('x: "${v0}"', **values)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("0.5", 0.5),
        ("7", 7),
        ("true", True),
        ("", None),
        ("~", None),
        ("'7'", "7"),
        ("a b", "a b"),
        ("[1, 2]", "[1, 2]"),
        ("a: b", "a: b"),
        ("@x", "@x"),
        ("2020-02-03", "2020-02-03"),
    ],
)
def test_an_environment_variable_is_read_as_a_single_value(
    monkeypatch: pytest.MonkeyPatch, value: str, read: object
) -> None:
    monkeypatch.setenv("FOX_TEST", value)
    assert filled('{a: "${env:FOX_TEST}", b: "${x}", c: "<${env:FOX_TEST}>"}', x="${env:FOX_TEST}") == {
        "a": read,
        "b": read,
        "c": f"<{value}>",
    }


@pytest.mark.parametrize(("value", "read"), [(None, 0.5), ("", 0.5), ("2", 2)])
def test_a_default_stands_for_what_is_not_set_or_empty(
    monkeypatch: pytest.MonkeyPatch, value: str | None, read: object
) -> None:
    monkeypatch.delenv("FOX_TEST", raising=False)
    if value is not None:
        monkeypatch.setenv("FOX_TEST", value)
    assert filled('{a: "${env:FOX_TEST:-0.5}", b: "x${env:FOX_TEST:-0.5}"}') == {"a": read, "b": f"x{read}"}
    monkeypatch.delenv("FOX_TEST", raising=False)
    assert filled('{a: "${env:FOX_TEST:-}", b: "${env:FOX_TEST:-a:-b}"}') == {"a": None, "b": "a:-b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a: "${env:FOX_TEST}"', r"FOX_TEST is not set; set it, or write \$\{env:FOX_TEST:-default\}"),
        ('a: "x${env:FOX_TEST}"', "FOX_TEST is not set"),
        ('a: "${env:}"', "names no environment variable"),
        ('a: "${env:A-B}"', "names no environment variable; write"),
    ],
)
def test_a_missing_environment_variable_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.delenv("FOX_TEST", raising=False)
    with pytest.raises(PipelineError, match=rf"^p.yaml:1:4: .*{words}"):
        filled(text)


def test_a_bomb_of_environment_variables_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOX_TEST", "x" * 50_000)
    start = time.process_time()
    with pytest.raises(PipelineError, match="too large"):
        filled("a: [" + ", ".join(['"${env:FOX_TEST}"'] * 100) + "]")
    assert time.process_time() - start < 4


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("[1, 2]", [1, 2]), ("", None), ("a b", "a b"), ("null", None)])
def test_an_option_is_read_as_yaml(text: str, value: object) -> None:
    assert parse_option(text, "--x").plain() == value


def test_an_option_that_is_no_yaml_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--x"):
        parse_option("[1", "--x")
