"""Hands what a run knows to `foxgan.report`, which knows nothing of plans and keys."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from foxgan import __version__
from foxgan.pipeline.plan import Planned
from foxgan.report.report import PipelineReport, StepReport, write_report


def write_pipeline_report(
    path: Path,
    name: str,
    command: str,
    planned: dict[str, Planned],
    made: Sequence[str],
    failed: Mapping[str, str],
    seconds: float,
) -> None:
    """Write the page of one run of the pipeline `name` to `path`; `failed` tells why a step could not be made."""
    steps = [
        StepReport(
            name=step,
            stage=entry.step.stage.name,
            folder=entry.folder,
            manifest=entry.manifest or {},
            state="failed" if step in failed else "made" if step in made else entry.state,
            after=entry.step.after,
            message=failed.get(step, ""),
        )
        for step, entry in planned.items()
    ]
    write_report(
        path,
        PipelineReport(
            name=name,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
            foxgan_version=__version__,
            machine={"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
            steps=steps,
            command=command,
        ),
    )
