"""The command line: commands of `foxgan.commands`, and one per stage, and the one place that turns errors into exit codes."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

import click

from foxgan import __version__
from foxgan.commands.cache import pull_command, push_command
from foxgan.commands.care import adopt_command, gc_command, verify_command
from foxgan.commands.compare import compare_command
from foxgan.commands.explain import graph_command, why_command
from foxgan.commands.label import label_command
from foxgan.commands.models import convert_command, models
from foxgan.commands.pipelines import run_command, status_command
from foxgan.commands.review import review_command
from foxgan.commands.stage import stage_command
from foxgan.commands.withdraw import withdraw_command
from foxgan.errors import FoxganError, did_you_mean
from foxgan.stages import MODULES, SUMMARIES

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


COMMANDS = (
    *(run_command, status_command, why_command, graph_command, compare_command, review_command, label_command),
    *(gc_command, verify_command, adopt_command, withdraw_command),
    *(push_command, pull_command),
    *(models, convert_command),
)
for command in COMMANDS:
    app.add_command(command)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: runs a command and turns what it raises into one line and an exit code."""
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _interrupt)  # a cluster's stop is as gentle as Ctrl-C
    os.environ.setdefault(
        "_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"
    )  # polars gives freed memory back at once
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


def _be_lean() -> None:
    """For long tables: polars gives freed memory back at once, and Python looks less often for cycles, of which there are few."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    gc.set_threshold(50_000, 20, 50)


def _fail(message: str, code: int) -> int:
    """Tell why on one line, whatever a library put into the message."""
    sys.stderr.write(f"foxgan: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    main()
