"""`foxgan compare`: the variants of a step side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click

from foxgan.commands.common import json_option, set_option, workspace_option


@click.command("compare", short_help="Show all variants of a step side by side on one page.")
@click.argument("pipeline")
@click.argument("step")
@click.option("--out", metavar="FILE", help="The page; default: data/<pipeline>/compare-<step>.html.")
@set_option
@workspace_option
@json_option
def compare_command(
    pipeline: str, step: str, out: str | None, changes: tuple[str, ...], workspace: str | None, as_json: bool
) -> None:
    """Write one offline page with all variants of STEP: what differs, numbers, and pictures of the same items.

    STEP is the name as written in PIPELINE, of a step with a `matrix:` or one that reads such a step.
    """
    from foxgan.commands.pipelines import step_facts
    from foxgan.pipeline.file.overrides import parse_override
    from foxgan.pipeline.run import workspace as workspace_of
    from foxgan.pipeline.telling.comparing import compare

    overrides = dict(parse_override(text) for text in changes)
    page = Path(out).expanduser() if out else None
    compared = compare(pipeline, step, overrides, out=page, workspace_folder=workspace_of(workspace))
    if not as_json:
        print(f"comparison: {compared.page}")
        return
    variants = [
        step_facts(entry) | {"variant": entry.step.variant, "facts": (entry.manifest or {}).get("facts", {})}
        for entry in compared.variants
    ]
    print(json.dumps({"page": str(compared.page), "variants": variants}, indent=1, default=str))
