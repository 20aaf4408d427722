"""`foxgan push` and `foxgan pull`: finished work that several machines share."""

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

if TYPE_CHECKING:
    from foxgan.pipeline.shared.sharing import Shared


def _command(name: str, short_help: str, text: str) -> click.Command:
    """Both commands take the same and tell the same."""

    @click.command(name, help=text, short_help=short_help)
    @click.argument("pipeline")
    @click.argument("steps", nargs=-1, metavar="[STEP]...")
    @cache_option
    @set_option
    @no_wait_option
    @workspace_option
    @json_option
    @quiet_option
    @verbose_option
    def command(
        pipeline: str,
        steps: tuple[str, ...],
        cache: str | None,
        changes: tuple[str, ...],
        no_wait: bool,
        workspace: str | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
    ) -> None:
        from foxgan.pipeline.file.overrides import parse_override
        from foxgan.pipeline.run import workspace as workspace_of
        from foxgan.pipeline.shared import sharing
        from foxgan.pipeline.telling.progress import make_progress

        done = (sharing.push if name == "push" else sharing.pull)(
            pipeline,
            steps,
            dict(parse_override(text) for text in changes),
            cache=cache,
            workspace_folder=workspace,
            wait=not no_wait,
            progress=make_progress(verbosity(quiet, verbose)),
        )
        rows = [_facts(shared) for shared in done]
        print(json.dumps(rows, indent=1) if as_json else _table(rows, workspace_of(workspace).resolve()))

    return command


push_command = _command(
    "push",
    "Send finished steps to the shared cache.",
    "Send the finished steps of PIPELINE, or those named, to the shared cache. Files that it has already are not sent again.",
)
pull_command = _command(
    "pull",
    "Fetch finished steps from the shared cache.",
    "Fetch what the shared cache has of PIPELINE, or of the steps named. All that comes is checked; a killed pull goes on.",
)


def _facts(shared: Shared) -> dict[str, Any]:
    moved = shared.moved
    return {
        "step": shared.step,
        "stage": shared.stage,
        "state": shared.state,
        "files": moved.files if moved else None,
        "moved_files": moved.moved_files if moved else None,
        "moved_bytes": moved.moved_bytes if moved else None,
        "folder": str(shared.folder) if shared.folder else None,
    }


def _table(rows: list[dict[str, Any]], root: Path) -> str:
    """The rows for people; folders are relative to the workspace."""
    lines = [["step", "stage", "state", "files", "moved", "MB", "folder"]]
    for row in rows:
        size = None if row["moved_bytes"] is None else f"{row['moved_bytes'] / 1e6:.1f}"
        folder = row["folder"] and row["folder"].removeprefix(f"{root}{os.sep}")
        cells = [row["step"], row["stage"], row["state"], row["files"], row["moved_files"], size, folder]
        lines.append(["-" if cell is None else str(cell) for cell in cells])
    return aligned(lines)
