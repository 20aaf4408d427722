"""The command line: `run` and `status` for pipelines, and one command per stage whose options are the stage's fields.

Options of a command are built when that command is asked for; nothing heavy is imported before work begins. Results go to stdout,
everything else to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foxgan import __version__
from foxgan.cli_models import aligned, convert_command, models
from foxgan.errors import FoxganError, TooManyDropped, did_you_mean
from foxgan.stages import MODULES, SUMMARIES

if TYPE_CHECKING:
    from foxgan.pipeline.plan import Planned
    from foxgan.pipeline.run import RunReport, Selection

INTERRUPTED = 130


class Commands(click.Group):
    """The fixed commands, and one for each stage, built on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return stage_command(cmd_name) if cmd_name in MODULES else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        valid = self.list_commands(ctx)
        if args[0] not in valid:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], valid)}; commands: {', '.join(valid)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(90)) for name, command in self.commands.items()])
        with formatter.section("Stages (each is also a step of a pipeline file)"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="foxgan")
def app() -> None:
    """From photos of your subject to a trained image generator. Start with: foxgan run demo"""


workspace_option = click.option(
    "--workspace", metavar="DIR", help="Folder of data/ and models/; else FOXGAN_HOME, else the current one."
)
no_wait_option = click.option("--no-wait", is_flag=True, help="End with exit code 5 where another run is at work.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Tell everything.")
set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="STEP.PARAM=VALUE",
    help="Change a param (or vars.NAME); may be repeated.",
)


@app.command("run", short_help="Run a pipeline; what is finished is not done again.")
@click.argument("pipeline")
@click.option("--dry-run", is_flag=True, help="Only say what would run.")
@click.option("--only", metavar="STEP", help="Run this step alone, on finished inputs.")
@click.option("--until", metavar="STEP", help="Run this step and what it needs.")
@click.option("--from", "from_step", metavar="STEP", help="Run this step and what follows again.")
@click.option("--force", multiple=True, metavar="STEP", help="Run this step again; may be repeated.")
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
    changes: tuple[str, ...],
    no_wait: bool,
    workspace: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run PIPELINE, a file or the name of a shipped one (demo, smoke ...).

    Steps that are finished are kept; a killed run goes on where it was; the report shows what came out.
    """
    from foxgan.pipeline.overrides import parse_override
    from foxgan.pipeline.progress import make_progress
    from foxgan.pipeline.run import Selection, run

    overrides = dict(parse_override(text) for text in changes)
    selection = Selection(only, until, from_step, force)
    if dry_run:
        show_plan(pipeline, overrides, selection, workspace, as_json)
        return
    progress = make_progress(_verbosity(quiet, verbose))
    try:
        report = run(
            pipeline, overrides, selection=selection, workspace_folder=workspace, wait=not no_wait, progress=progress
        )
    except TooManyDropped as error:
        print_run(error.report, as_json)
        raise
    print_run(report, as_json)


@app.command("status", short_help="Show the state of every step of a pipeline.")
@click.argument("pipeline")
@set_option
@workspace_option
@json_option
def status_command(pipeline: str, changes: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """Show for every step of PIPELINE whether its output is finished, what it kept, and where it lies."""
    from foxgan.pipeline.overrides import parse_override
    from foxgan.pipeline.run import Selection

    show_plan(pipeline, dict(parse_override(text) for text in changes), Selection(), workspace, as_json)


def show_plan(
    pipeline: str, overrides: dict[str, Any], selection: Selection, workspace_folder: str | None, as_json: bool
) -> None:
    """Print the state of all steps without doing anything."""
    from foxgan.pipeline.run import Runner, workspace
    from foxgan.pipeline.spec import load_pipeline
    from foxgan.pipeline.store import Store
    from foxgan.stages.base import Silent

    checked = load_pipeline(pipeline, overrides)
    store = Store(workspace(workspace_folder))
    try:
        runner = Runner(checked, store, selection, Silent(), wait=False)
        planned = runner.plan()
        rows = [
            step_facts(planned[name], runner.estimate(planned[name], planned))
            for name in planned
            if name in runner.wanted
        ]
    finally:
        store.close()
    print(json.dumps(rows, indent=1) if as_json else _table(rows, store.root))


def step_facts(entry: Planned, estimate: str = "") -> dict[str, Any]:
    """What `status` and `run --json` tell of a step."""
    counts = (entry.manifest or {}).get("counts")
    return {
        "step": entry.step.name,
        "stage": entry.step.stage.name,
        "state": entry.state,
        "kept": counts["kept"] if counts else None,
        "dropped": sum(counts["dropped"].values()) if counts else None,
        "seconds": entry.manifest["seconds"]["total"] if entry.manifest else None,
        "estimate": estimate or None,
        "folder": str(entry.folder) if entry.folder else None,
    }


def _table(rows: list[dict[str, Any]], root: Path) -> str:
    """The rows for people; folders are relative to the workspace."""
    columns = ["step", "stage", "state", "kept", "dropped", "seconds", "folder"]
    columns += ["estimate"] if any(row["estimate"] for row in rows) else []
    lines = [columns]
    for row in rows:
        near = row | {"folder": row["folder"] and row["folder"].removeprefix(f"{root}{os.sep}")}
        lines.append(["-" if near[c] is None else str(near[c]) for c in columns])
    return aligned(lines)


app.add_command(models)
app.add_command(convert_command)


def print_run(report: RunReport, as_json: bool) -> None:
    """What a run did, for programs or for people."""
    print(json.dumps(_run_facts(report), indent=1) if as_json else _run_text(report))


def _run_facts(report: RunReport) -> dict[str, Any]:
    return {
        "pipeline": report.pipeline.name,
        "made": report.made,
        "seconds": round(report.seconds, 3),
        "report": str(report.report) if report.report else None,
        "steps": [step_facts(entry) for entry in report.steps.values()],
    }


def _run_text(report: RunReport) -> str:
    from foxgan.report.words import duration

    made = f"made {', '.join(report.made)} in {duration(report.seconds)}" if report.made else "nothing to do"
    return f"{report.pipeline.name}: {made}\nreport: {report.report}"


def _verbosity(quiet: bool, verbose: bool) -> int:
    return -1 if quiet else int(verbose)


def stage_command(name: str) -> click.Command:
    """The command of a stage: one option for each of its fields."""
    from foxgan.options import option_of
    from foxgan.stages import stage_class

    cls = stage_class(name)
    params: list[click.Parameter] = [option_of(cls, field) for field in cls.model_fields]
    command = click.Command(
        name,
        params=params,
        callback=_stage_callback(name),
        help=cls.__doc__,
        no_args_is_help=any(i.is_required() for i in cls.model_fields.values()),
    )
    out = click.option("--out", metavar="DIR", help="Put the output there instead of the cache's folder.")
    for option in (verbose_option, quiet_option, json_option, no_wait_option, workspace_option, out):
        option(command)
    return command


def _stage_callback(name: str) -> Callable[..., None]:
    def callback(
        out: str | None, workspace: str | None, no_wait: bool, as_json: bool, quiet: bool, verbose: bool, **options: Any
    ) -> None:
        from foxgan.pipeline.progress import make_progress
        from foxgan.pipeline.single import run_stage

        given = {key.removeprefix("field_"): value for key, value in options.items() if value not in (None, ())}
        entry = run_stage(
            name,
            given,
            out=out,
            workspace_folder=workspace,
            wait=not no_wait,
            progress=make_progress(_verbosity(quiet, verbose)),
        )
        print(json.dumps(step_facts(entry), indent=1) if as_json else entry.folder)

    return callback


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: runs a command and turns what it raises into one line and an exit code."""
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _interrupt)  # a cluster's stop is as gentle as Ctrl-C
    try:
        app(standalone_mode=False)
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.exit(_fail("interrupted; the same command goes on from here", INTERRUPTED))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except FoxganError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'the system'}: {error.strerror or error}", 1))


def _fail(message: str, code: int) -> int:
    """Tell why on one line, whatever a library put into the message."""
    sys.stderr.write(f"foxgan: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    main()
