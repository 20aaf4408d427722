"""One command per stage: its options are the stage's fields, built when the command is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from foxgan.commands.common import (
    json_option,
    no_wait_option,
    quiet_option,
    verbose_option,
    verbosity,
    workspace_option,
)
from foxgan.commands.pipelines import step_facts


def stage_command(name: str) -> click.Command:
    """The command of a stage: one option for each of its fields."""
    from foxgan.commands.options import option_of
    from foxgan.stages import stage_class

    cls = stage_class(name)
    own_first = sorted(cls.model_fields, key=lambda field: field not in cls.__annotations__)
    params: list[click.Parameter] = [option_of(cls, field) for field in own_first]
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
        from foxgan.pipeline.single import run_stage
        from foxgan.pipeline.telling.progress import make_progress

        given = {key.removeprefix("field_"): value for key, value in options.items() if value not in (None, ())}
        entry = run_stage(
            name,
            given,
            out=out,
            workspace_folder=workspace,
            wait=not no_wait,
            progress=make_progress(verbosity(quiet, verbose)),
        )
        print(json.dumps(step_facts(entry), indent=1) if as_json else entry.folder)

    return callback
