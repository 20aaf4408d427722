import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foxgan.commands.explain import graph_command
from foxgan.pipeline.plan import plan
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.pipeline.telling.graph import Node, as_dot, as_mermaid, as_text, graph_of

HOSTILE = [
    'x"];evil',
    "x\\",
    '\\"',
    "]/>\"'`#;",
    "a\nb\x1b[2J",
    "%%{init}%%",
    "</script>",
    "classDef a:#b;",
    "\udcff",
    "&lt;",
]


def nodes(toys: Any, text: str) -> list[Node]:
    pipeline, store = load_pipeline(toys.file(text)), Store(toys.workspace)
    try:
        return graph_of(plan(pipeline, store, pipeline.steps))
    finally:
        store.close()


DIAMOND = """
steps:
  write: {}
  left: {use: initial, texts: write}
  right: {use: join, texts: write}
  join: {texts: [left, right, note.txt]}
"""


@pytest.fixture
def note(toys: Any) -> Path:
    path = toys.folder / "note.txt"
    path.write_text("a note")
    return path


def test_a_diamond_opens_and_closes(toys: Any, note: Path) -> None:
    toys.run(DIAMOND)
    rows = as_text(nodes(toys, DIAMOND.replace("[left, right", "[right, left")))
    assert rows == [
        ["●", "write", "write", "kept", ""],
        ["├─●", "left", "initial", "kept", "<- write"],
        ["● │", "right", "join", "kept", "<- write"],
        ["○─┘", "join", "join", "run", "<- right, left, note.txt (outside)"],
    ]


def test_a_lane_that_goes_on_is_crossed_without_touching_it(toys: Any) -> None:
    def step(name: str, *reads: int) -> Node:
        return Node(name, "s", "run", reads)

    graph = [step("a"), step("b"), step("c"), step("d", 0, 2), step("e", 1, 3), step("f", 0)]
    assert [row[0] for row in as_text(graph)] == ["○", "│ ○", "│ │ ○", "├─│─○", "│ ○─┘", "○"]


def test_thirty_steps_stay_readable(toys: Any) -> None:
    lines = [f"  s{i}: {{use: initial, texts: {'write' if i % 3 == 0 else f's{i - 1}'}}}" for i in range(29)]
    rows = as_text(nodes(toys, "\n".join(["steps:", "  write: {}", *lines])))
    assert len(rows) == 30
    assert max(len(row[0]) for row in rows) <= 2 * 30 and rows[0][0] == "○"


def labels_of_dot(text: str) -> list[str]:
    """Reads the strings as Graphviz does; anything left over would be an escape."""
    names = re.findall(r'label="((?:[^"\\]|\\.)*)"', text)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text)
    body = rest.removeprefix("digraph pipeline {").removesuffix("}").strip()
    for statement in filter(None, (s.strip() for s in body.split(";"))):
        assert re.fullmatch(r"n\d+ -> n\d+|(node|n\d+) \[(\w+=(\w+|S)(, )?)+\]", statement), statement
    return [re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], name).split("\n")[0] for name in names]


def test_hostile_names_stay_inside_their_quotes() -> None:
    graph = [Node(name, stage, "run") for name in HOSTILE for stage in ("", name)]
    dot = as_dot(graph)
    plain = {name: "".join(c if c.isprintable() else "?" for c in name) for name in HOSTILE}
    assert labels_of_dot(dot) == [plain[n].replace("&", "&amp;") for n in HOSTILE for _ in range(2)]
    mermaid = as_mermaid(graph).splitlines()
    for line in mermaid[1 : 1 + len(graph)]:
        assert re.fullmatch(r'    n\d+(\["[^"]*<br/>[^"]*"\]|\[/"[^"]*"/\]):::run', line), line
        label = line.split('"')[1].replace("<br/>", "")
        assert re.fullmatch(r"(#\d+;|[\w .,=@+-])*", label), label
    decoded = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), mermaid[1].split('"')[1])
    assert decoded == HOSTILE[0]
    assert "\x1b" not in dot + "\n".join(mermaid)
    (dot + "\n".join(mermaid)).encode()


def test_mermaid_names_states_and_outside_inputs(toys: Any, note: Path) -> None:
    toys.run(DIAMOND, until="left")
    text = as_mermaid(nodes(toys, DIAMOND))
    assert 'n0["write<br/>write"]:::kept' in text and 'join<br/>join"]:::unknown' in text
    assert '[/"note.txt"/]:::outside' in text
    assert text.count(" --> ") == 5 and "classDef kept fill:" in text and "classDef gone" not in text


def test_the_command_draws_in_three_ways_and_in_ascii(toys: Any, note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = [str(toys.file(DIAMOND)), "--workspace", str(toys.workspace)]
    assert CliRunner().invoke(graph_command, args).output.startswith("○    write  write")
    assert CliRunner(charset="ascii").invoke(graph_command, args).output.splitlines()[1].startswith("+-o")
    assert CliRunner().invoke(graph_command, [*args, "--dot"]).output.startswith("digraph")
    assert CliRunner().invoke(graph_command, [*args, "--mermaid"]).output.startswith("flowchart")
    both = CliRunner().invoke(graph_command, [*args, "--mermaid", "--dot"])
    assert "choose one" in str(both.exception)
