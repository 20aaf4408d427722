"""Who makes the steps of a run: this process, one after the other, or processes of their own, side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as connection_wait
from pathlib import Path
from typing import Any, Literal, Protocol

from foxgan.errors import FoxganError, StageError
from foxgan.pipeline.making import Maker
from foxgan.pipeline.plan import Again, Planned, plan
from foxgan.pipeline.spec import Pipeline
from foxgan.pipeline.store import Store
from foxgan.pipeline.telling.events import Events
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
    """At most `jobs` processes, each of which makes one step after the other; what has been imported for one serves the next."""

    def __init__(
        self, pipeline: Pipeline, store: Store, progress: Progress, wait: bool, jobs: int, events: Events
    ) -> None:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self.args = (pipeline, store.root, events.folder, wait, threads)
        self.progress, self.jobs = progress, jobs
        self.hands: list[_Hand] = []

    @property
    def busy(self) -> set[str]:
        return {hand.step for hand in self.hands if hand.step is not None}

    @property
    def free(self) -> int:
        return self.jobs - len(self.busy)

    def start(self, entry: Planned, planned: dict[str, Planned]) -> None:
        idle = next((hand for hand in self.hands if hand.step is None), None)
        if idle is None:
            idle = _Hand(self.args)
            self.hands.append(idle)
        idle.begin(entry.step.name, entry.again)

    def next(self) -> Done:
        while True:
            at_work = {hand.connection: hand for hand in self.hands if hand.step is not None}
            for connection in connection_wait(list(at_work)):
                hand = at_work[connection]  # type: ignore[index]
                try:
                    kind, value = hand.connection.recv()
                except (EOFError, OSError):
                    self.hands.remove(hand)
                    return hand.died()
                if kind == "done":
                    return hand.ended(value)
                self.progress.message(*value)

    def close(self) -> None:
        """Interrupt what runs, and wait until it has left its work in order."""
        for hand in self.hands:
            hand.dismiss()
        for hand in self.hands:
            hand.leave()
        self.hands.clear()


class _Hand:
    """One process and what it works on. Each has a pipe of its own: a killed one takes no lock along that others wait for."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        context = get_context("spawn")
        self.connection, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, *args))
        self.process.start()
        far.close()
        self.step: str | None = None

    def begin(self, step: str, again: Again) -> None:
        self.step = step
        with contextlib.suppress(OSError):  # it died meanwhile, as `recv` will tell
            self.connection.send((step, again))

    def ended(self, value: dict[str, Any]) -> Done:
        assert self.step is not None
        done, self.step = Done(self.step, **value), None
        return done

    def died(self) -> Done:
        """It has ended without a word, such as one that the system killed for its memory."""
        assert self.step is not None
        self.leave()
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Done(
            self.step,
            error=StageError(
                f"step {self.step}: its process ended by {how}; if memory ran out, use a smaller -j, then run again"
            ),
        )

    def dismiss(self) -> None:
        if self.step is not None:
            self.process.terminate()
        self.connection.close()  # an idle one ends by this

    def leave(self) -> None:
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass
class Told:
    """Progress in a step's process: passes on what is said, with the step's name in front where people read it."""

    step: str
    connection: Connection

    def start(self, description: str, total: float) -> None:
        """Bars of several steps would overwrite each other; lines tell enough."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """See `start`."""

    def finish(self) -> None:
        """See `start`."""

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None:
        """Send one line."""
        named = text if text.startswith(self.step) else f"{self.step}: {text}"
        self.connection.send(("message", (level, named)))


def _serve(connection: Connection, pipeline: Pipeline, root: Path, run: Path | None, wait: bool, threads: int) -> None:
    """What a process of a crew does, with its share of the cores: more threads than cores slow all of them down."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before anything that computes is imported
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = Store(root)
    try:
        while True:
            step, again = connection.recv()
            maker = Maker(store, Told(step, connection), wait, Events(root, run))
            planned = plan(pipeline, store, {step}, {step: again} if again else {})
            try:
                value: dict[str, Any] = {"made": maker.make(planned[step], planned)}
            except FoxganError as error:
                value = {"error": type(error)(str(error))}
            connection.send(("done", value))
    except (EOFError, OSError):
        return  # dismissed
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C goes to all processes of a terminal; the first one says what has to be said
    finally:
        store.close()


def _end_with_parent() -> None:
    """A killed run cannot end its steps, and they must not hold locks for nobody."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
