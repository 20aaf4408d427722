"""The variants of a matrix step side by side: what a plan knows of them, handed to `foxgan.report`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foxgan import __version__
from foxgan.errors import StageError, UsageError
from foxgan.pipeline.file.steps import listed
from foxgan.pipeline.plan import Planned, plan
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Store
from foxgan.report.compare import Candidate, Comparison, write_comparison
from foxgan.report.report import StepReport


@dataclass(frozen=True)
class Compared:
    """The page of a comparison, and its variants."""

    page: Path
    variants: list[Planned]


def compare(
    pipeline: str | Path,
    step: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    out: Path | None = None,
    workspace_folder: Path,
) -> Compared:
    """Write the page of all variants of `step`; by default to `data/<pipeline>/compare-<step>.html`.

    Raises UsageError where the step has no variants, StageError where none of them is finished.
    """
    checked = load_pipeline(pipeline, overrides)
    variants = _variants(checked, step)
    store = Store(workspace_folder)
    try:
        planned = plan(checked, store, checked.steps)
    finally:
        store.close()
    if not any(planned[name].state in ("kept", "gone") for name in variants):
        raise StageError(
            f"step {step}: none of its {len(variants)} variants is finished; run `foxgan run {checked.typed[0]} --until {step}`"
        )
    page = out or store.root / "data" / checked.name / f"compare-{step}.html"
    write_comparison(page, _comparison(checked, step, variants, planned))
    return Compared(page, [planned[name] for name in variants])


def _variants(pipeline: Pipeline, step: str) -> list[str]:
    names = pipeline.select(step)
    if names == [step]:
        found = pipeline.steps[step]
        if found.base != step:
            raise UsageError(f"{step} is one variant; `foxgan compare` takes the name as written: {found.base}")
        matrices = list(dict.fromkeys(s.base for s in pipeline.steps.values() if s.base != s.name))
        raise UsageError(
            f"{pipeline.path}: step {step} has no variants; give it, or what it reads, a `matrix:`; "
            f"steps with variants: {listed(matrices) or 'none'}"
        )
    return names


def _comparison(pipeline: Pipeline, step: str, variants: list[str], planned: Mapping[str, Planned]) -> Comparison:
    steps = {
        name: StepReport(
            name=name,
            stage=entry.step.stage.name,
            folder=entry.folder,
            manifest=entry.manifest or {},
            state=entry.state,
            after=entry.step.after,
        )
        for name, entry in planned.items()
    }
    return Comparison(
        pipeline=pipeline.name,
        step=step,
        candidates=[
            Candidate(steps[name], planned[name].step.variant, _following(name, step, steps, planned))
            for name in variants
        ],
        steps=list(steps.values()),
        foxgan_version=__version__,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["foxgan", "compare", pipeline.typed[0], step, *pipeline.typed[1:]]),
    )


def _following(
    name: str, base: str, steps: Mapping[str, StepReport], planned: Mapping[str, Planned]
) -> dict[str, Mapping[str, Any]]:
    """Facts of steps that read this variant and no other of its step, such as its scores; by their names as written."""
    readers: dict[str, list[str]] = {}
    for reader, entry in planned.items():
        read = [other for other in entry.step.after if planned[other].step.base == base]
        if read == [name] and steps[reader].done:
            readers.setdefault(entry.step.base, []).append(reader)
    return {reader: steps[names[0]].facts for reader, names in readers.items() if len(names) == 1}
