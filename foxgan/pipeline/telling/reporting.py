"""Hands what a run knows to `foxgan.report`, which knows nothing of plans, keys and events."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foxgan import __version__
from foxgan.pipeline.plan import Planned
from foxgan.pipeline.telling.events import EVENTS, KEPT_RUNS, read_events, run_folders
from foxgan.pipeline.telling.explain import machine
from foxgan.report.report import PipelineReport, RunRecord, Span, StepReport, write_report

DETAILS = ("progress", "message")  # kinds of events that a summary does not need
ENDS = {"step_finished": "made", "step_failed": "failed"}


def write_pipeline_report(
    path: Path,
    name: str,
    command: str,
    planned: dict[str, Planned],
    made: Sequence[str],
    failed: Mapping[str, str],
    seconds: float,
    current: Path | None = None,
) -> None:
    """Write the page of one run of the pipeline `name` to `path`; `failed` tells why a step could not be made.

    The events of this run (in the folder `current`, as yet without their end) and of earlier ones lie in `runs` beside the page.
    """
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
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    end = {"time": now, "event": "run_finished", "outcome": "failed" if failed else "ok", "seconds": seconds}
    write_report(
        path,
        PipelineReport(
            name=name,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
            foxgan_version=__version__,
            machine=machine(),
            steps=steps,
            command=command,
            runs=list(records(path.parent / "runs", current, end)),
        ),
    )


def records(runs: Path, current: Path | None = None, end: Mapping[str, Any] | None = None) -> Iterator[RunRecord]:
    """The runs whose events lie in `runs`, the newest first; `end` is what the run in the folder `current` has not told yet."""
    for folder in run_folders(runs)[:KEPT_RUNS]:
        events = list(read_events(folder / EVENTS, leave_out=DETAILS))
        if end is not None and folder == current:
            events.append(dict(end))
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # written by somebody else
            if events:
                yield _record(events)


def _record(events: list[dict[str, Any]]) -> RunRecord:
    begin = _time(events[0])
    spans: dict[str, Span] = {}
    dropped: Counter[str] = Counter()
    for event in events:
        step, kind, after = str(event.get("step")), event["event"], _time(event) - begin
        if kind == "step_started":
            spans[step] = Span(step, str(event.get("stage")), after, after, "open")
        elif kind in ENDS and step in spans:
            spans[step] = replace(spans[step], end=after, outcome=ENDS[kind])
        elif kind == "dropped":
            dropped.update({str(reason): int(count) for reason, count in event["reasons"].items()})
    last = events[-1] if events[-1]["event"] == "run_finished" else {}
    lasted = _time(events[-1]) - begin
    return RunRecord(
        started=datetime.fromtimestamp(begin, UTC).isoformat(timespec="seconds"),
        seconds=float(last.get("seconds", lasted)),
        outcome=str(last.get("outcome", "")),
        command=str(events[0].get("command", "")),
        kept=[str(e["step"]) for e in events if e["event"] == "step_kept"],
        failed={
            e["step"]: e["error"].removeprefix(f"step {e['step']}: ") for e in events if e["event"] == "step_failed"
        },
        dropped=dict(dropped.most_common()),
        spans=[replace(span, end=lasted) if span.outcome == "open" else span for span in spans.values()],
        error=str(last.get("error", "")),
    )


def _time(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
