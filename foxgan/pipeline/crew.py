"""Who makes the steps of a run: this process, one after the other, or processes of their own, side by side."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Literal, Protocol

from foxgan.errors import FoxganError, StageError
from foxgan.pipeline.events import Events
from foxgan.pipeline.making import Maker
from foxgan.pipeline.plan import Again, Planned, plan
from foxgan.pipeline.spec import Pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.context import Progress

GRACE = 30.0  # seconds that an interrupted step may take to leave its work in order


@dataclass(frozen=True)
class Done:
    """How a step ended. `made` is False where another run has made it meanwhile."""

    step: str
    made: bool = False
    error: FoxganError | None = None


class Crew(Protocol):
    """Starts steps and tells when one has ended."""

    @property
    def busy(self) -> set[str]:
        """Names of the steps that have begun and whose end was not told yet."""
        ...

    @property
    def free(self) -> int:
        """How many more may begin."""
        ...

    def start(self, entry: Planned, planned: dict[str, Planned]) -> None: ...

    def next(self) -> Done:
        """The next step that ends; waits for it."""
        ...

    def close(self) -> None:
        """End what is still at work, such that the same command goes on from there."""
        ...


class OneByOne:
    """This process."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.waiting: tuple[Planned, dict[str, Planned]] | None = None

    @property
    def busy(self) -> set[str]:
        return {self.waiting[0].step.name} if self.waiting else set()

    @property
    def free(self) -> int:
        return 0 if self.waiting else 1

    def start(self, entry: Planned, planned: dict[str, Planned]) -> None:
        self.waiting = entry, planned

    def next(self) -> Done:
        assert self.waiting is not None
        (entry, planned), self.waiting = self.waiting, None
        try:
            return Done(entry.step.name, made=self.maker.make(entry, planned))
        except FoxganError as error:
            return Done(entry.step.name, error=error)

    def close(self) -> None:
        """Nothing runs beside this process."""


class SideBySide:
    """At most `jobs` processes, each of which makes one step; what they tell comes back over one queue."""

    def __init__(
        self, pipeline: Pipeline, store: Store, progress: Progress, wait: bool, jobs: int, events: Events
    ) -> None:
        self.pipeline, self.store, self.progress, self.wait, self.jobs = pipeline, store, progress, wait, jobs
        self.events = events
        self.context = get_context("spawn")
        self.told: Any = self.context.Queue()
        self.running: dict[str, Any] = {}

    @property
    def busy(self) -> set[str]:
        return set(self.running)

    @property
    def free(self) -> int:
        return self.jobs - len(self.running)

    def start(self, entry: Planned, planned: dict[str, Planned]) -> None:
        args = (self.pipeline, self.store.root, entry.step.name, entry.again, self.wait, self.told, self.events.folder)
        process = self.context.Process(target=_make_alone, args=args)
        process.start()
        self.running[entry.step.name] = process

    def next(self) -> Done:
        while True:
            try:
                step, kind, value = self.told.get(timeout=0.5)
            except queue.Empty:
                if dead := self._dead():
                    return dead
                continue
            if kind == "done":
                self.running.pop(step).join()
                return Done(step, **value)
            getattr(self.progress, kind)(*value)

    def _dead(self) -> Done | None:
        """A step whose process has ended without a word, such as one that the system killed for its memory."""
        for step, process in self.running.items():
            if not process.is_alive() and self.told.empty():
                del self.running[step]
                code = process.exitcode
                how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
                return Done(
                    step,
                    error=StageError(
                        f"step {step}: its process ended by {how}; if memory ran out, use a smaller -j, then run again"
                    ),
                )
        return None

    def close(self) -> None:
        """Interrupt what runs, and wait until it has left its work in order."""
        for process in self.running.values():
            with contextlib.suppress(OSError):
                process.terminate()
        for process in self.running.values():
            process.join(GRACE)
            if process.is_alive():
                process.kill()
                process.join()
        self.running.clear()
        self.told.close()
        self.told.cancel_join_thread()


@dataclass
class Told:
    """Progress in a step's process: passes on what is said, with the step's name in front where people read it."""

    step: str
    queue: Any

    def start(self, description: str, total: float) -> None:
        """Bars of several steps would overwrite each other; lines tell enough."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """See `start`."""

    def finish(self) -> None:
        """See `start`."""

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None:
        """Send one line."""
        named = text if text.startswith(self.step) else f"{self.step}: {text}"
        self.queue.put((self.step, "message", (level, named)))


def _make_alone(
    pipeline: Pipeline, root: Path, step: str, again: Again, wait: bool, told: Any, run: Path | None
) -> None:
    """What a step's process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = Store(root)
    maker = Maker(store, Told(step, told), wait, Events(root, run))
    try:
        with _quiet_interrupt():
            planned = plan(pipeline, store, {step}, {step: again} if again else {})
            try:
                value: dict[str, Any] = {"made": maker.make(planned[step], planned)}
            except FoxganError as error:
                value = {"error": type(error)(str(error))}
            told.put((step, "done", value))
    finally:
        store.close()


@contextlib.contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; the first one says what has to be said."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    """A killed run cannot end its steps, and they must not hold locks for nobody."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
