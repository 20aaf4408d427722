"""A pipeline as a drawing: lanes of text for the terminal, Mermaid for pages, Graphviz for everything else.

In the two languages a name is never written as it is: whatever it holds, it stays inside its quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from foxgan.pipeline.plan import Planned
from foxgan.pipeline.spec import Source, Step

STATES = {  # of a plan, with a colour for what they mean; "outside" is what no step makes
    "kept": "#cfe8d3",
    "gone": "#e4e4e4",
    "run": "#ffd9b8",
    "unknown": "#fff3c4",
    "outside": "#d6e6f5",
}
ASCII = str.maketrans(
    {"●": "*", "○": "o", "│": "|", "─": "-", "├": "+", "└": "+", "┴": "+", "┼": "+", "┘": "+", "┤": "+"}
)


@dataclass(frozen=True)
class Node:
    """A step, or an outside input (then without a stage). `reads`: the nodes it is made from, by their place in the graph."""

    name: str
    stage: str
    state: str
    reads: tuple[int, ...] = ()


def graph_of(planned: Mapping[str, Planned]) -> list[Node]:
    """All steps in their order, each behind what it reads."""
    nodes: list[Node] = []
    places: dict[str | Source, int] = {}
    for name, entry in planned.items():
        reads = []
        for source in _sources(entry.step):
            known = source.step or source
            if known not in places:
                places[known] = len(nodes)
                nodes.append(Node(source.path.name if source.path else str(source.known), "", "outside"))
            reads.append(places[known])
        places[name] = len(nodes)
        nodes.append(Node(name, entry.step.stage.name, entry.state, tuple(dict.fromkeys(reads))))
    return nodes


def _sources(step: Step) -> list[Source]:
    return [source for sources in step.sources.values() for source in sources]


def as_text(nodes: list[Node]) -> list[list[str]]:
    """One row per step: its lanes, name, stage, state and what it reads. A lane runs down from a step to its last reader."""
    steps = [i for i, node in enumerate(nodes) if node.stage]
    last_reader = {i: reader for reader in steps for i in nodes[reader].reads}
    lanes: list[int | None] = []
    rows = []
    for i in steps:
        node = nodes[i]
        ending = {read for read in node.reads if last_reader[read] == i}
        reads = [read for read in node.reads if nodes[read].stage]
        at = next((k for k, lane in enumerate(lanes) if lane in ending), -1)
        if at < 0:  # to the right of what it reads
            first = min((k for k, lane in enumerate(lanes) if lane in reads), default=-1)
            at = next((k for k, lane in enumerate(lanes) if lane is None and k > first), len(lanes))
            lanes += [None] * (at == len(lanes))
        drawing = _row(lanes, at, set(reads), ending, node.state in ("kept", "gone"))
        lanes = [None if lane in ending else lane for lane in lanes]
        lanes[at] = i if i in last_reader else None
        while lanes and lanes[-1] is None:
            lanes.pop()
        names = ", ".join(_plain(nodes[k].name) + ("" if nodes[k].stage else " (outside)") for k in node.reads)
        rows.append([drawing, node.name, node.stage, node.state, f"<- {names}" if names else ""])
    return rows


def _row(lanes: list[int | None], at: int, reads: set[int], ending: set[int], done: bool) -> str:
    """The lanes beside the step at column `at`; lines go to it from the lanes that it reads."""
    joined = [k for k, lane in enumerate(lanes) if lane in reads and k != at]
    first, last = min([at, *joined]), max([at, *joined])
    cells = []
    for k, lane in enumerate(lanes):
        line = first <= k < last
        if k == at:
            cell = "●" if done else "○"
        elif k in joined:
            cell = _corner(lane in ending, k == first, k == last)
        elif lane is not None:
            cell = "│"
        else:
            cell = "─" if line else " "
        cells.append(cell + ("─" if line else " "))
    return "".join(cells).rstrip()


def _corner(ends: bool, first: bool, last: bool) -> str:
    if first:
        return "└" if ends else "├"
    if last:
        return "┘" if ends else "┤"
    return "┴" if ends else "┼"


def as_mermaid(nodes: list[Node]) -> str:
    """A Mermaid flowchart; states are classes."""
    lines = ["flowchart TD"]
    for i, node in enumerate(nodes):
        label = f"{_entities(node.name)}<br/>{_entities(node.stage)}" if node.stage else _entities(node.name)
        shape = f'["{label}"]' if node.stage else f'[/"{label}"/]'
        lines.append(f"    n{i}{shape}:::{node.state}")
    lines += [f"    n{read} --> n{i}" for i, node in enumerate(nodes) for read in node.reads]
    used = {node.state for node in nodes}
    lines += [
        f"    classDef {state} fill:{fill},stroke:#666,color:#222" for state, fill in STATES.items() if state in used
    ]
    return "\n".join(lines)


def as_dot(nodes: list[Node]) -> str:
    """A Graphviz graph."""
    lines = ["digraph pipeline {", '    node [shape=box, style="rounded,filled", fontname="sans-serif"];']
    for i, node in enumerate(nodes):
        label = _escaped(node.name) + (f"\\n{_escaped(node.stage)}, {node.state}" if node.stage else "")
        shape = "" if node.stage else ", shape=note, style=filled"
        lines.append(f'    n{i} [label="{label}", fillcolor="{STATES[node.state]}"{shape}];')
    lines += [f"    n{read} -> n{i};" for i, node in enumerate(nodes) for read in node.reads]
    return "\n".join([*lines, "}"])


def _plain(name: str) -> str:
    """On one line, without what steers a terminal or cannot be encoded."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _entities(name: str) -> str:
    """Mermaid's own escapes for all that is not a letter, a digit or harmless."""
    return re.sub(r"[^\w .,=@+-]", lambda found: f"#{ord(found[0])};", _plain(name))


def _escaped(name: str) -> str:
    """For a quoted string of Graphviz; `&` would begin an entity."""
    return _plain(name).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
