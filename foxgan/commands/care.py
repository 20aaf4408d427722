"""`foxgan gc`, `foxgan verify` and `foxgan adopt`: care for what runs have left, and for folders that you made yourself."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foxgan.commands.common import (
    aligned,
    json_option,
    quiet_option,
    verbose_option,
    verbosity,
    workspace_option,
)
from foxgan.errors import StageError, UsageError
from foxgan.report.words import size_text

if TYPE_CHECKING:
    from foxgan.pipeline.care.gc import Collected, Entry, Survey
    from foxgan.pipeline.care.verify import Checked

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


@click.command("gc", short_help="Delete outputs that no pipeline stands on any more.")
@click.option(
    "--keep-last", type=click.IntRange(min=0), default=1, show_default=True, help="Newest outputs of each step."
)
@click.option("--older-than", metavar="AGE", help="Only what is older: 12h, 30d, 8w; unfinished work by default 7d.")
@click.option("--budget", metavar="SIZE", help="Delete the oldest first, only until data/ and models/ fit: 50GB.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@workspace_option
@json_option
@verbose_option
def gc_command(
    keep_last: int,
    older_than: str | None,
    budget: str | None,
    dry_run: bool,
    yes: bool,
    workspace: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Delete outputs that no pipeline stands on any more, and what killed runs have left.

    Kept are the current outputs of all pipelines that ran here, the newest of each step, and what is at work. What you adopted or
    put elsewhere with --out is not touched. Deleted outputs are remembered: what was made from them stays up to date.
    """
    from foxgan.pipeline.care.gc import Rules, collect, survey
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.store import Store

    age = None if older_than is None else parse_age(older_than)
    rules = Rules(keep_last, age, None if budget is None else parse_size(budget))
    if not dry_run and not yes and (as_json or not sys.stdin.isatty()):
        raise UsageError(
            "gc: there is nobody to ask before it deletes; add --yes to delete, or --dry-run to see what would go"
        )
    store = Store(workspace_of(workspace))
    try:
        plan = survey(store, rules)
        if not as_json:
            print(_gc_text(plan, store.root, verbose))
        done = None
        if not dry_run and (yes or not plan.goes or click.confirm("Delete them?", err=True)):
            done = collect(store, plan)
    finally:
        store.close()
    if as_json:
        print(json.dumps(_gc_facts(plan, done), indent=1))
    elif done and plan.goes:
        print("\n".join([f"deleted {len(done.gone)} of {len(plan.goes)}", *done.spared]))
    if done and done.problems:
        raise StageError(f"gc: {len(done.problems)} could not be deleted: {'; '.join(done.problems)}")


@click.command("verify", short_help="Check finished outputs against what was written.")
@click.argument("pipeline", required=False)
@workspace_option
@json_option
@quiet_option
def verify_command(pipeline: str | None, workspace: str | None, as_json: bool, quiet: bool) -> None:
    """Check all finished outputs of the workspace, or the current ones of PIPELINE: manifests, contents, indexes, datasets.

    Every file is read. All problems are told, each with what to do; nothing is changed.
    """
    from foxgan.pipeline.care.verify import finished_folders, folders_of, verify
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.store import Store
    from foxgan.pipeline.telling.progress import make_progress

    store = Store(workspace_of(workspace))
    try:
        if pipeline is None:
            folders = finished_folders(store.root)
        else:
            from foxgan.pipeline.plan import plan
            from foxgan.pipeline.spec import load_pipeline

            checked = load_pipeline(pipeline)
            folders = folders_of(plan(checked, store, checked.steps))
        results = list(verify(store, folders, make_progress(verbosity(quiet, False))))
    finally:
        store.close()
    bad = [result for result in results if result.problems]
    print(json.dumps([_checked_facts(r) for r in results], indent=1) if as_json else _verify_text(results))
    if bad:
        raise StageError(f"verify: {len(bad)} of {len(results)} outputs are not what was written")


def _checked_facts(result: Checked) -> dict[str, Any]:
    return {
        "folder": str(result.folder),
        "step": result.step or None,
        "problems": result.problems,
        "advice": result.advice or None,
    }


def _verify_text(results: list[Checked]) -> str:
    """Every problem on its own line, below its output's name and what to do."""
    lines = []
    for result in results:
        if result.problems:
            lines.append(f"{result.folder} ({result.step})" if result.step else str(result.folder))
            lines += [f"  {text}" for text in result.problems]
            lines += [f"  -> {result.advice}"] if result.advice else []
    bad = sum(bool(result.problems) for result in results)
    return "\n".join([*lines, f"{len(results)} checked, {bad} with problems"])


@click.command("adopt", short_help="Make a folder of your own pictures an input of steps.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--license", help="License of pictures of which nothing is known [unknown].")
@click.option("--creator", help="Who made them.")
@workspace_option
@json_option
@quiet_option
def adopt_command(
    folder: Path, license: str | None, creator: str | None, workspace: str | None, as_json: bool, quiet: bool
) -> None:
    """Make FOLDER, made by hand or an edited copy of an output, an input that crop, detect and pack can read.

    The pictures stay as they are; an index and a manifest are added. Pictures that are known here keep license and origin. After further
    changes, run it again.
    """
    from foxgan.pipeline.care.adopt import adopt
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.store import Store
    from foxgan.pipeline.telling.progress import make_progress

    store = Store(workspace_of(workspace))
    try:
        manifest = adopt(store, folder, license, creator, make_progress(verbosity(quiet, False)))
    finally:
        store.close()
    counts, facts = manifest["counts"], manifest["facts"]
    if as_json:
        print(json.dumps({"folder": str(folder), "digest": manifest["digest"], "counts": counts, **facts}, indent=1))
        return
    dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
    print(f"{folder}: {counts['kept']} of {counts['in']} pictures kept" + (f" ({dropped})" if dropped else ""))
    print(
        f"{facts['known']} with a known origin"
        + (f"; classes: {', '.join(facts['classes'])}" if facts["classes"] else "")
    )


def parse_age(text: str) -> float:
    """Seconds of `30d`, `12h` ... Raises UsageError."""
    match = NUMBER.fullmatch(text.strip())
    if match is None or match[2].lower() not in SECONDS:
        raise UsageError(f"--older-than {text}: not an age; write a number and s, m, h, d or w, such as 30d")
    return float(match[1]) * SECONDS[match[2].lower()]


def parse_size(text: str) -> int:
    """Bytes of `50GB`, `1.5GiB` ... Raises UsageError."""
    match = NUMBER.fullmatch(text.strip())
    if match is None or match[2].lower() not in BYTES:
        raise UsageError(f"--budget {text}: not a size; write a number and kB, MB, GB or TB (or KiB ...), such as 50GB")
    return round(float(match[1]) * BYTES[match[2].lower()])


def _gc_text(plan: Survey, root: Path, verbose: bool) -> str:
    """The tables of what goes and, asked for, of what stays; and the sums."""
    lines = [_gc_table("goes", plan.goes, root)] if plan.goes else []
    lines += [_gc_table("stays", plan.stays, root)] if plan.stays and verbose else []
    frees = (
        f"{len(plan.goes)} to delete, which frees {size_text(plan.total - plan.left)}"
        if plan.goes
        else "nothing to delete"
    )
    lines.append(f"{frees}; {len(plan.stays)} stay; data/ and models/ are {size_text(plan.total)} now")
    if not plan.fits:
        lines.append(
            f"the budget of {size_text(plan.budget or 0)} cannot be met: {size_text(plan.left)} are needed or not foxgan's to delete; "
            "lower --keep-last or --older-than, or see what stays with -v"
        )
    return "\n".join(lines)


def _gc_table(title: str, entries: list[Entry], root: Path) -> str:
    rows = [
        [str(e.found.path.relative_to(root)), e.found.step if e.found.manifest else "-", size_text(e.size), e.why]
        for e in entries
    ]
    return aligned([[title, "step", "size", "why"], *rows])


def _gc_facts(plan: Survey, done: Collected | None) -> dict[str, Any]:
    return {
        "goes": [_entry_facts(e) for e in plan.goes],
        "stays": [_entry_facts(e) for e in plan.stays],
        "bytes": plan.total,
        "bytes_after": plan.left,
        "budget": plan.budget,
        "fits": plan.fits,
        "deleted": [str(e.found.path) for e in done.gone] if done else [],
        "spared": done.spared if done else [],
        "problems": done.problems if done else [],
    }


def _entry_facts(entry: Entry) -> dict[str, Any]:
    found = entry.found
    step = found.step if found.manifest else None
    return {"path": str(found.path), "stage": found.stage, "step": step, "bytes": entry.size, "why": entry.why}
