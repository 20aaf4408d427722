"""`foxgan review`: a page on which a person throws out bad pictures."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from foxgan.commands.common import json_option, quiet_option, set_option, verbosity, workspace_option


@click.command("review", short_help="Make a page to throw out bad pictures on, by keys and clicks.")
@click.argument("artifact")
@click.argument("step", required=False)
@click.option("--out", metavar="FILE", help="The page; default: reviews/<artifact>.html beside the artifact.")
@click.option("--sort", metavar="SCORE", help="Begin with the lowest of this score (-SCORE: the highest), or `index`.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N items in that order.")
@set_option
@workspace_option
@json_option
@quiet_option
def review_command(
    artifact: str,
    step: str | None,
    out: str | None,
    sort: str | None,
    limit: int | None,
    changes: tuple[str, ...],
    workspace: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write an offline page with all items of ARTIFACT, a folder such as data/demo/crops; or give a pipeline and a STEP.

    Open it, throw out what is bad (press ? for the keys), and save decisions.json. A step reads it: `decisions: decisions.json` on
    `pack` leaves those items out, and counts as an input like any other. More than 5,000 items make several pages.
    """
    from foxgan.errors import UsageError
    from foxgan.pipeline.file.overrides import parse_override, typed
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.telling.progress import make_progress
    from foxgan.pipeline.telling.reviewing import folder_of_step, review

    if step is None and changes:
        raise UsageError("--set: it changes a pipeline; give a pipeline and a step, or leave it out")
    overrides = dict(parse_override(text) for text in changes)
    folder = (
        Path(artifact).expanduser()
        if step is None
        else folder_of_step(artifact, step, overrides, workspace_of(workspace))
    )
    name, *changed = typed(artifact, overrides)
    pages = review(
        folder,
        Path(out).expanduser() if out else None,
        title=step or Path(artifact).name,
        sort=sort,
        limit=limit,
        command=shlex.join(["foxgan", "review", name, *([step] if step else []), *changed]),
        progress=make_progress(verbosity(quiet, False)),
    )
    if as_json:
        print(json.dumps({"artifact": str(folder.resolve()), "pages": [str(page) for page in pages]}, indent=1))
    else:
        print("\n".join(f"review: {page}" for page in pages))
