"""What happens in a run, as one JSON object per line in `data/<pipeline>/runs/<time>-<pid>/events.jsonl`, written as it happens.

The file is for programs and for the report. Nothing depends on it: what cannot be written (a full disk) is left out, and no run
fails over it. Every line is appended by one system call, so the processes of steps that run side by side may share a file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from foxgan import __version__
from foxgan.errors import FoxganError
from foxgan.pipeline.folder import point, remove
from foxgan.pipeline.plan import Planned
from foxgan.stages.context import Progress

EVENTS = "events.jsonl"
LATEST = "latest"  # a link beside the folders of runs
KEPT_RUNS = 20
RUN = re.compile(r"\d{8}T\d{6}\.\d{3}Z-\d+")  # the name of a run's folder
EVERY_SECONDS = 2.0  # between two lines of progress; longer in a long count, so that weeks of training stay readable
MOST_SECONDS = 30.0
AT_WORK_SECONDS = 3600.0  # a run without an end that wrote this recently may be still at work
MAX_LINE = 1 << 20  # bytes
MAX_TEXT = 10_000  # characters of a message


def run_folder(root: Path, pipeline: str) -> Path:
    """Where the events of a run that starts now go; names sort by time."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return root / "data" / pipeline / "runs" / f"{stamp}Z-{os.getpid()}"


class Events:
    """The events of one run. Nothing is made before the first line; without `folder` nothing is ever written."""

    def __init__(self, root: Path, folder: Path | None = None) -> None:
        self.root, self.folder = root, folder
        self.begun = time.monotonic()
        self.told: set[str] = set()  # steps that need no word any more about being kept
        self.file: Any = None
        self.torn = False

    def write(self, event: str, **facts: Any) -> None:
        """Append one line, at once."""
        if self.folder is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(self._plain({"time": now, "event": event, **facts}), default=str).encode() + b"\n"
        with contextlib.suppress(OSError):
            if self.file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.file = (self.folder / EVENTS).open("ab", buffering=0)
            start = b"\n" if self.torn else b""  # a full disk may have cut the line before this one
            self.torn = True
            self.torn = self.file.write(start + line) != len(start + line)

    def _plain(self, value: Any) -> Any:
        """Without what JSON cannot hold, and without whose computer it is: paths in the workspace begin there."""
        match value:
            case str():
                return value[:MAX_TEXT].replace(f"{self.root}{os.sep}", "")
            case float():
                return value if math.isfinite(value) else None
            case dict():
                return {str(k): self._plain(v) for k, v in value.items()}
            case list() | tuple():
                return [self._plain(v) for v in value]
        return value

    def close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None

    def run_started(self, pipeline: str, command: str, steps: Collection[str]) -> None:
        """Old runs make room; `runs/latest` leads to this one."""
        if self.folder is None:
            return
        runs = self.folder.parent
        if runs.is_symlink():  # to the output of a step of that name, which is no place for us
            self.folder = None
            return
        make_room(runs)
        self.write("run_started", pipeline=pipeline, command=command, foxgan=__version__, steps=list(steps))
        with contextlib.suppress(OSError):
            point(runs / LATEST, self.folder)

    def kept(self, planned: Mapping[str, Planned], wanted: Collection[str], others: Collection[str]) -> None:
        """Tell once of each wanted step whose output is valid, apart from `others`: those that this run has made or is making."""
        for name, entry in planned.items():
            told = name in self.told or name in others or name not in wanted
            if not told and entry.digest is not None and entry.key is not None:
                self.told.add(name)
                self.write("step_kept", step=name, state=entry.state, key=entry.key.full, folder=self._near(entry))

    def step_started(self, entry: Planned, items: int | None, todo: int | None, estimate: float | None) -> None:
        """`todo` of `items` are to be worked on; `estimate` in seconds."""
        key, stage = entry.key.full if entry.key else None, entry.step.stage.name
        facts = {"items": items, "todo": todo, "estimate": None if estimate is None else round(estimate, 3)}
        self.write("step_started", step=entry.step.name, stage=stage, key=key, folder=self._near(entry), **facts)

    def step_finished(self, step: str, manifest: Mapping[str, Any]) -> None:
        """What was dropped and why, and what the manifest says of the work."""
        counts, reused = manifest.get("counts"), (manifest.get("facts") or {}).get("reused", 0)
        if counts and counts["dropped"]:
            self.write("dropped", step=step, reasons=counts["dropped"])
        facts = {name: manifest[name] for name in ("seconds", "digest")}
        self.write("step_finished", step=step, counts=counts, reused=reused, **facts)

    def step_fetched(self, entry: Planned) -> None:
        """It came from the shared cache."""
        self.write("step_fetched", step=entry.step.name, folder=self._near(entry))

    def step_failed(self, step: str, error: BaseException) -> None:
        """Why it could not be made."""
        self.write("step_failed", step=step, error=str(error))

    def _near(self, entry: Planned) -> str | None:
        if entry.folder is None:
            return None
        inside = entry.folder.is_relative_to(self.root)
        return entry.folder.relative_to(self.root).as_posix() if inside else entry.folder.name


@contextlib.contextmanager
def recorded(events: Events, pipeline: str, command: str, steps: Collection[str], made: list[str]) -> Iterator[None]:
    """Write when a run starts, and how it ends: ok, failed or interrupted. `made` is filled meanwhile."""
    outcome: Literal["ok", "failed", "interrupted"] = "interrupted"
    error: str | None = None
    events.run_started(pipeline, command, steps)
    try:
        yield
        outcome = "ok"
    except FoxganError as refusal:
        outcome, error = "failed", str(refusal)
        raise
    except Exception as defect:
        outcome, error = "failed", f"{type(defect).__name__}: {defect}"
        raise
    finally:
        seconds = round(time.monotonic() - events.begun, 3)
        events.write("run_finished", outcome=outcome, made=made, seconds=seconds, **({"error": error} if error else {}))
        events.close()


class Recorder:
    """Progress that is shown as before, and written as events of `step`."""

    def __init__(self, shown: Progress, events: Events, step: str) -> None:
        self.shown, self.events, self.step = shown, events, step
        self.counting = False

    def start(self, description: str, total: float) -> None:
        """A count from 0 to `total` begins."""
        self._end()
        self.shown.start(description, total)
        self.counting, self.description, self.total, self.done, self.note = True, description, total, 0.0, ""
        self.begun = self.written = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """`amount` more is done."""
        self.shown.advance(amount, note)
        if self.counting:
            self.done += amount
            self.note = note or self.note
            now = time.monotonic()
            if now - self.written >= min(max(EVERY_SECONDS, (now - self.begun) / 200), MOST_SECONDS):
                self.written = now
                self._write()

    def finish(self) -> None:
        """The count is over."""
        self._end()
        self.shown.finish()

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None:
        """Show a message; warnings and infos are written."""
        self.shown.message(level, text)
        if level != "debug":
            self.events.write("message", step=self.step, level=level, text=text)

    def _end(self) -> None:
        if self.counting:
            self.counting = False
            self._write()

    def _write(self) -> None:
        facts = {"description": self.description, "done": round(self.done, 6), "total": self.total, "note": self.note}
        self.events.write("progress", step=self.step, **facts)


def run_folders(runs: Path) -> list[Path]:
    """Folders of runs, the newest first."""
    try:
        found = [p for p in runs.iterdir() if RUN.fullmatch(p.name) and not p.is_symlink()]
    except OSError:
        return []
    return sorted(found, key=lambda p: p.name, reverse=True)


def make_room(runs: Path) -> None:
    """Delete the oldest folders, so that with the next one there are `KEPT_RUNS`; not those of runs that may be at work."""
    for folder in run_folders(runs)[KEPT_RUNS - 1 :]:
        if not _at_work(folder / EVENTS):
            remove(folder)


def _at_work(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_LINE))
            ended = b'"event": "run_finished"' in file.read()
        return not ended and time.time() - path.stat().st_mtime < AT_WORK_SECONDS
    except OSError:
        return False


def read_events(path: Path, leave_out: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """The events of a file in their order; torn lines and what is not an event are passed over, and so are kinds to `leave_out`."""
    marks = [f'"event": "{kind}"'.encode() for kind in leave_out]
    with contextlib.suppress(OSError), path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            if any(mark in line[:100] for mark in marks):
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("time"), str):
                yield event
