"""Finds the artifact that a person wants to review, and those that it was made from, and hands them to `foxgan.pages`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foxgan import __version__
from foxgan.errors import StageError, UsageError
from foxgan.pages.review import Review, write_review
from foxgan.pipeline.folder import read_manifest
from foxgan.pipeline.plan import plan
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.report.artifacts import StepReport
from foxgan.stages.context import Progress

DEEP = 8  # artifacts one behind the other: crop, head, photo, and what may come between


def review(
    folder: Path,
    out: Path | None = None,
    *,
    title: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> list[Path]:
    """Write the page (or pages) of the artifact `folder`; by default to `reviews/<its name>.html` beside it.

    Raises UsageError for a folder that is no finished artifact, or one without items, and for a score that is not there.
    """
    from foxgan.dataset.index import INDEX

    folder = folder.resolve()
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        raise UsageError(
            f"{folder}: not a finished output of a step; give such a folder, a pipeline and one of its steps, or run "
            f"`foxgan adopt {folder}` on pictures of your own"
        )
    step = _report(folder, manifest)
    if not (folder / INDEX).is_file():
        raise UsageError(
            f"{folder}: stage {step.stage} makes no items to look at; review what scrape, detect, crop or pack has made"
        )
    page = out or folder.parent / "reviews" / f"{folder.name}.html"
    written = datetime.now(UTC).isoformat(timespec="seconds")
    asked = Review(step, _earlier(step), title or folder.name, __version__, written, command)
    return write_review(page, asked, sort, limit, progress)


def folder_of_step(pipeline: str, step: str, overrides: Mapping[str, Any], workspace_folder: Path) -> Path:
    """The finished artifact of a step. Raises UsageError for a step that is not there, StageError for one that is not finished."""
    checked = load_pipeline(pipeline, overrides)
    names = checked.select(step)
    if len(names) > 1:
        raise UsageError(f"{checked.path}: step {step} has variants; review one of them: {', '.join(names)}")
    store = Store(workspace_folder)
    try:
        entry = plan(checked, store, checked.steps)[names[0]]
    finally:
        store.close()
    if entry.state != "kept" or entry.folder is None:
        raise StageError(f"step {step}: not finished; run `foxgan run {checked.typed[0]} --until {step}` first")
    return entry.folder


def _report(folder: Path, manifest: dict[str, Any]) -> StepReport:
    inputs = [Path(place["path"]) for places in (manifest.get("inputs") or {}).values() for place in places]
    return StepReport(str(folder), str(manifest["stage"]), folder, manifest, after=[str(path) for path in inputs])


def _earlier(step: StepReport) -> list[StepReport]:
    """The artifacts that `step` was made from, as far as they are there, the nearest first."""
    found: dict[str, StepReport] = {}
    level = [step]
    for _ in range(DEEP):
        names = dict.fromkeys(name for one in level for name in one.after if name not in found)
        level = [one for one in map(_there, names) if one is not None]
        found |= {one.name: one for one in level}
    return list(found.values())


def _there(name: str) -> StepReport | None:
    folder = Path(name)
    with contextlib.suppress(StageError):  # a damaged one has no pictures to give
        if folder.is_dir() and (manifest := read_manifest(folder)):
            return _report(folder, manifest)
    return None
