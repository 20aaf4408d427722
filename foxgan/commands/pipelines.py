"""`foxgan run` and `foxgan status`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foxgan.commands.common import (
    aligned,
    cache_option,
    json_option,
    no_wait_option,
    quiet_option,
    set_option,
    verbose_option,
    verbosity,
    workspace_option,
)
from foxgan.errors import TooManyDropped

if TYPE_CHECKING:
    from foxgan.pipeline.making import Work
    from foxgan.pipeline.plan import Planned
    from foxgan.pipeline.run import RunReport, Selection


@click.command("run", short_help="Run a pipeline; what is finished is not done again.")
@click.argument("pipeline")
@click.option("--dry-run", is_flag=True, help="Only say what would run.")
@click.option("--only", metavar="STEP", help="Run this step alone, on finished inputs.")
@click.option("--until", metavar="STEP", help="Run this step and what it needs.")
@click.option("--from", "from_step", metavar="STEP", help="Run this step and what follows again.")
@click.option("--force", multiple=True, metavar="STEP", help="Run this step again from nothing; may be repeated.")
@click.option("--refresh", multiple=True, metavar="STEP", help="Ask this step's web source again; known photos stay.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 64), default=1, metavar="N", help="Independent steps side by side. [1]"
)
@click.option("--keep-going", is_flag=True, help="After a failure, make the steps that do not need it.")
@cache_option
@set_option
@no_wait_option
@workspace_option
@json_option
@quiet_option
@verbose_option
def run_command(
    pipeline: str,
    dry_run: bool,
    only: str | None,
    until: str | None,
    from_step: str | None,
    force: tuple[str, ...],
    refresh: tuple[str, ...],
    jobs: int,
    keep_going: bool,
    cache: str | None,
    changes: tuple[str, ...],
    no_wait: bool,
    workspace: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run PIPELINE, a file or the name of a shipped one (demo, smoke ...).

    Steps that are finished are kept; a killed run goes on where it was; the report shows what came out.

    \b
    Values of --set are YAML; paths in them start at the current folder. With braces, they replace a whole step:
      foxgan run foxes --until photos --set photos.source=commons
      foxgan run foxes --until photos --set 'photos={use: scrape, source: folder, path: my-photos/}'
    """
    from foxgan.pipeline.file.overrides import parse_override
    from foxgan.pipeline.run import Selection, run
    from foxgan.pipeline.telling.progress import make_progress

    overrides = dict(parse_override(text) for text in changes)
    selection = Selection(only, until, from_step, force, refresh)
    if dry_run:
        show_plan(pipeline, overrides, selection, workspace, as_json)
        return
    progress = make_progress(verbosity(quiet, verbose))
    try:
        report = run(
            pipeline,
            overrides,
            selection=selection,
            workspace_folder=workspace,
            wait=not no_wait,
            jobs=jobs,
            keep_going=keep_going,
            cache=cache,
            progress=progress,
        )
    except TooManyDropped as error:
        print_run(error.report, as_json)
        raise
    print_run(report, as_json)


@click.command("status", short_help="Show the state of every step of a pipeline.")
@click.argument("pipeline")
@set_option
@workspace_option
@json_option
def status_command(pipeline: str, changes: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """Show for every step of PIPELINE whether its output is finished, what it kept, and where it lies."""
    from foxgan.pipeline.file.overrides import parse_override
    from foxgan.pipeline.run import Selection

    show_plan(pipeline, dict(parse_override(text) for text in changes), Selection(), workspace, as_json)


def show_plan(
    pipeline: str, overrides: dict[str, Any], selection: Selection, workspace_folder: str | None, as_json: bool
) -> None:
    """Print the state of all steps without doing anything."""
    from foxgan.pipeline.run import Runner, workspace
    from foxgan.pipeline.spec import load_pipeline
    from foxgan.pipeline.store import Store
    from foxgan.stages.context import Silent

    checked = load_pipeline(pipeline, overrides)
    store = Store(workspace(workspace_folder))
    try:
        runner = Runner(checked, store, selection, Silent(), wait=False)
        planned = runner.plan()
        rows = [
            step_facts(entry, runner.maker.work(entry, planned))
            | {"withdrawn": len(store.withdrawn.behind(entry.key.full)) if entry.key else 0}
            for name, entry in planned.items()
            if name in runner.wanted
        ]
    finally:
        store.close()
    print(json.dumps(rows, indent=1) if as_json else _table(rows, store.root))


def step_facts(entry: Planned, work: Work | None = None) -> dict[str, Any]:
    """What `status` and `run --json` tell of a step."""
    counts = (entry.manifest or {}).get("counts")
    return {
        "step": entry.step.name,
        "stage": entry.step.stage.name,
        "state": entry.state,
        "kept": counts["kept"] if counts else None,
        "dropped": sum(counts["dropped"].values()) if counts else None,
        "seconds": entry.manifest["seconds"]["total"] if entry.manifest else None,
        "todo": work.todo if work else None,
        "estimate": work.seconds if work else None,
        "folder": str(entry.folder) if entry.folder else None,
    }


def _table(rows: list[dict[str, Any]], root: Path) -> str:
    """The rows for people; folders are relative to the workspace."""
    from foxgan.report.words import duration

    columns = ["step", "stage", "state", "kept", "dropped", "seconds", "folder"]
    columns += [name for name in ("todo", "estimate") if any(row[name] is not None for row in rows)]
    lines = [columns]
    for row in rows:
        near = row | {"folder": row["folder"] and row["folder"].removeprefix(f"{root}{os.sep}")}
        near["state"] = "would run" if row["state"] == "run" else row["state"]
        near["estimate"] = row["estimate"] and f"about {duration(row['estimate'])}"
        lines.append(["-" if near[c] is None else str(near[c]) for c in columns])
    notes = [
        f"{row['step']}: trained with {row['withdrawn']} photos that were withdrawn since"
        for row in rows
        if row["withdrawn"] and row["state"] in ("kept", "gone")
    ]
    return "\n".join([aligned(lines), *notes])


def print_run(report: RunReport, as_json: bool) -> None:
    """What a run did, for programs or for people."""
    print(json.dumps(_run_facts(report), indent=1) if as_json else _run_text(report))


def _run_facts(report: RunReport) -> dict[str, Any]:
    return {
        "pipeline": report.pipeline.name,
        "made": report.made,
        "fetched": report.fetched,
        "seconds": round(report.seconds, 3),
        "report": str(report.report) if report.report else None,
        "steps": [step_facts(entry) for entry in report.steps.values()],
    }


def _run_text(report: RunReport) -> str:
    from foxgan.report.words import duration

    done = [f"made {', '.join(report.made)}"] if report.made else []
    done += [f"fetched {', '.join(report.fetched)}"] if report.fetched else []
    told = f"{' and '.join(done)} in {duration(report.seconds)}" if done else "nothing to do"
    return f"{report.pipeline.name}: {told}\nreport: {report.report}"
