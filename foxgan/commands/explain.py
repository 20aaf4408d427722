"""`foxgan why` and `foxgan graph`: what a run would do, and the reasons."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from foxgan.commands.common import aligned, json_option, set_option, workspace_option
from foxgan.errors import UsageError

if TYPE_CHECKING:
    from foxgan.pipeline.telling.explain import Change, Explanation, Side

SHORT = 12  # characters of a digest
LAST = ("key", "step", "stage", "version", "digest", "counts", "foxgan", "finished")  # what JSON tells of a manifest


@click.command("why", short_help="Say why a step would run, or would not.")
@click.argument("pipeline")
@click.argument("step")
@set_option
@workspace_option
@json_option
def why_command(pipeline: str, step: str, changes: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """Name all that differs between what STEP of PIPELINE would make now and what it made last.

    Where a step before it must run first, that one is explained, too. Of a matrix, STEP may name one variant or all of them.
    """
    from foxgan.pipeline.file.overrides import parse_override
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.spec import load_pipeline
    from foxgan.pipeline.store import Store
    from foxgan.pipeline.telling.explain import explain

    checked = load_pipeline(pipeline, dict(parse_override(text) for text in changes))
    names = checked.select(step)
    store = Store(workspace_of(workspace))
    try:
        found = [explain(checked, store, name) for name in names]
    finally:
        store.close()
    print(
        json.dumps([_facts(e) for e in found], indent=1)
        if as_json
        else "\n".join(line for e in found for line in told(e))
    )


def _facts(explanation: Explanation) -> dict[str, Any]:
    last = explanation.last
    short = {name: last.get(name) for name in LAST} if last else None
    return asdict(explanation) | {"last": short, "causes": [_facts(cause) for cause in explanation.causes]}


def told(e: Explanation) -> Iterator[str]:
    """The explanation in lines for people."""
    yield f"{e.step} ({e.stage}) {_verdict(e)}"
    for change in e.changes:
        yield f"  {_words(change)}"
    yield from (f"  {line}" for line in _next(e))
    for cause in e.causes:
        yield from (f"  {line}" for line in told(cause))
    if e.causes:
        end = "runs anyway, for what differs" if e.changes else "would then stay as it is"
        yield f"  Where they make the same as before, the change stops there; {e.step} {end if e.last else 'runs in any case'}."
    if e.beside:
        yield f"  different too, but never a reason: {', '.join(_words(change) for change in e.beside)}"


def _verdict(e: Explanation) -> str:
    """What would become of the step now."""
    if e.last is None:
        waits = f"; it waits for {', '.join(e.waits_for)}" if e.waits_for else ""
        return f"never ran, so it must{waits}"
    when = str(e.last.get("finished", "unknown")).replace("T", " ")[:16]
    match e.state:
        case "kept" if e.changes:
            return f"is kept: it is there already, {e.folder}. It differs from what this step made last ({when} UTC):"
        case "kept":
            return f"is kept: nothing differs from what it made at {when} UTC, {e.folder}"
        case "gone" if e.changes:
            return f"need not run: its result is known, only {e.folder} was deleted. It differs from the last one ({when} UTC):"
        case "gone":
            return f"need not run: nothing differs from what it made at {when} UTC; only {e.folder} was deleted"
        case "unknown":
            differs = (
                "; it differs itself from what it made"
                if e.changes
                else "; by itself it does not differ from what it made"
            )
            return f"waits for {', '.join(e.waits_for)}{differs} at {when} UTC{':' if e.changes else ''}"
    if e.deleted:
        why = f"{', '.join(e.needed_by)} must read it" if e.needed_by else "nothing that follows stands for it"
        differs = f"; it differs from the last one ({when} UTC):" if e.changes else ", and nothing differs"
        return f"is made again: {e.folder} was deleted and {why}{differs}"
    return f"runs, because this differs from what it made at {when} UTC:"


def _next(e: Explanation) -> Iterator[str]:
    """What the run would begin with."""
    if e.unfinished:
        yield f"unfinished work is there and goes on: {e.folder}"
    elif e.goes_on_from:
        yield f"goes on from the shorter run {e.goes_on_from}"
    elif e.takes_from:
        yield f"takes over the items that it has in common with {e.takes_from}"
    elif e.state == "run" and e.changes and all(change.horizon for change in e.changes):
        yield "begins anew: no shorter run is there to go on from"


def _words(change: Change) -> str:
    """One difference."""
    old, new = change.old, change.new
    match change.kind:
        case "stage":
            return f"stage: {old} -> {new}"
        case "version":
            return f"version of stage {change.name}: {old} -> {new}"
        case "param":
            return f"{change.name}: {_value(old)} -> {_value(new)}{', its default' if change.default else ''}"
        case "order":
            return f"{change.name}: {', '.join(old)} -> {', '.join(new)}, the same in another order"
        case "withdrawn":
            return f"photo {new[:SHORT]} was withdrawn"
        case "key":
            return "the key itself: it is made in another way than then (by another foxgan, or with params that are no more)"
        case "input" | "weights":
            return _input_words(change)
    return f"{change.name} {old or 'none'} -> {new or 'none'}"


def _input_words(change: Change) -> str:
    old: Side | None = change.old
    new: Side | None = change.new
    if old is None or new is None:
        side, what = (new, "is new") if old is None else (old, "is left out")
        assert side is not None
        items = "" if side.items is None else f", {side.items} items"
        return f"{change.name}: {side.source} {what} ({_short(side.digest)}{items})"
    digests = f"{_short(old.digest)} -> {_short(new.digest)}"
    items = "" if None in (old.items, new.items) else f", {old.items} -> {new.items} items"
    if old.source != new.source:
        return f"{change.name}: {old.source} -> {new.source} ({digests}{items})"
    return f"{change.name}: {new.source} is not the same any more ({digests}{items})"


def _short(digest: str) -> str:
    return digest.removeprefix("name:") if digest.startswith("name:") else digest[:SHORT]


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


@click.command("graph", short_help="Draw the steps of a pipeline and what they read.")
@click.argument("pipeline")
@click.option("--mermaid", is_flag=True, help="As a Mermaid flowchart.")
@click.option("--dot", is_flag=True, help="As a Graphviz graph.")
@set_option
@workspace_option
def graph_command(pipeline: str, mermaid: bool, dot: bool, changes: tuple[str, ...], workspace: str | None) -> None:
    """Draw PIPELINE: every step with its state, and what it reads.

    A full dot is done, an empty one is still to be made.
    """
    from foxgan.pipeline.file.overrides import parse_override
    from foxgan.pipeline.plan import plan
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.spec import load_pipeline
    from foxgan.pipeline.store import Store
    from foxgan.pipeline.telling.graph import ASCII, as_dot, as_mermaid, as_text, graph_of

    if mermaid and dot:
        raise UsageError("--mermaid and --dot: choose one")
    checked = load_pipeline(pipeline, dict(parse_override(text) for text in changes))
    store = Store(workspace_of(workspace))
    try:
        nodes = graph_of(plan(checked, store, checked.steps))
    finally:
        store.close()
    text = as_mermaid(nodes) if mermaid else as_dot(nodes) if dot else aligned(as_text(nodes))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(ASCII).encode("ascii", "replace").decode()
    print(text)
