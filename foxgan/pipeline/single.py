"""One stage on its own, as its command runs it: a pipeline of a single step, with the same checks, keys and cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foxgan.errors import PipelineError, UsageError
from foxgan.pipeline.file.yamlfile import Located, Place, locate, parse_option
from foxgan.pipeline.plan import Planned
from foxgan.pipeline.run import Runner, Selection, workspace
from foxgan.pipeline.spec import Pipeline, make_step
from foxgan.pipeline.store import Store
from foxgan.stages import stage_class
from foxgan.stages.base import fields_of_kind
from foxgan.stages.context import Progress, Silent


def run_stage(
    name: str,
    params: dict[str, Any],
    *,
    out: str | Path | None = None,
    workspace_folder: str | Path | None = None,
    wait: bool = True,
    progress: Progress | None = None,
) -> Planned:
    """Run stage `name` with `params` as written on a command line (text is read as YAML); returns the finished step."""
    paths = {f for kind in ("artifact", "weights") for f in fields_of_kind(stage_class(name), kind)}
    located = {key: _located(key, value, key in paths) for key, value in params.items()}
    try:
        step = make_step(name, name, located, [], Path.cwd(), Place(f"foxgan {name}"))
    except PipelineError as error:
        raise UsageError(str(error)) from error
    pipeline = Pipeline(name, Path(f"foxgan {name}"), {name: step})
    store = Store(workspace(workspace_folder))
    try:
        folder = Path(out).expanduser().resolve() if out else None
        report = Runner(pipeline, store, Selection(), progress or Silent(), wait, out=folder, alone=True).run()
    finally:
        store.close()
    return report.steps[name]


def _located(key: str, value: Any, is_path: bool) -> Located:
    option = f"--{key.replace('_', '-')}"
    if isinstance(value, tuple):
        return Located([_located(key, v, is_path) for v in value], Place(option), Place(option))
    return parse_option(value, option) if isinstance(value, str) and not is_path else locate(value, Place(option))
