"""The default engine: a pool of spawned processes, or this process when `workers` is 0.

Processes are spawned, not forked, so that the same code runs on every system and no half-copied thread state is inherited.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, Protocol

from foxgan.errors import StageError

IN_FLIGHT_PER_WORKER = 3


@dataclass(frozen=True)
class Failure:
    """In place of a result: the worker died on this item, twice."""

    reason: str


class Engine(Protocol):
    """Runs a function over items and yields the results in the items' order."""

    def map(
        self,
        function: Callable[..., Any] | type,
        items: Sequence[Any],
        *,
        workers: int | None,
        args: tuple[Any, ...] = (),
    ) -> Iterator[Any]: ...

    def close(self) -> None:
        """End all work that is under way; nothing writes any more when this returns."""


class LocalEngine:
    """Processes on this machine. `workers` None: none for a handful of items, else one per core."""

    def __init__(self) -> None:
        self.begun: list[Generator[Any, None, None]] = []

    def map(
        self,
        function: Callable[..., Any] | type,
        items: Sequence[Any],
        *,
        workers: int | None,
        args: tuple[Any, ...] = (),
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order, or a `Failure` where workers died on it twice.

        A class is built once per worker as `function(*args)` and its instance is called; a function is called as
        `function(*args, item)`. An exception of the function is raised here. Workers start at once; items may be added to the
        sequence until the first result is asked for.
        """
        if workers is None:
            workers = 0 if len(items) <= 2 else min(os.cpu_count() or 1, 16)
        workers = min(workers, len(items))
        if workers == 0:
            return _map_here(function, args, items)
        results = _map_in_processes(function, args, items, workers)
        next(results)  # up to where its workers are starting
        self.begun.append(results)
        return results

    def close(self) -> None:
        """End the processes of results that nobody waits for any more."""
        while self.begun:
            self.begun.pop().close()


def _map_here(function: Callable[..., Any] | type, args: tuple[Any, ...], items: Sequence[Any]) -> Iterator[Any]:
    call: Callable[[Any], Any] | None = None
    for item in items:
        call = call or _bind(function, args)
        yield call(item)


def _bind(function: Callable[..., Any] | type, args: tuple[Any, ...]) -> Callable[[Any], Any]:
    if isinstance(function, type):
        instance: Callable[[Any], Any] = function(*args)
        return instance
    return lambda item: function(*args, item)


class _Worker:
    """What one worker process holds: what to call, built at the first item so that an error in building it is the item's."""

    made: Callable[[], Callable[[Any], Any]]
    call: Callable[[Any], Any] | None = None


def _start(function: Callable[..., Any] | type, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the caller, who ends the pool
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _Worker.made = lambda: _bind(function, args)


def _die_with_parent() -> None:
    """A killed caller cannot end its workers, and they must not write into a folder that the next run works on."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _ready() -> None:
    """The first task of a pool: shows that workers start at all."""


def _work(item: Any) -> Any:
    if _Worker.call is None:
        _Worker.call = _Worker.made()
    return _Worker.call(item)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, not even before `_start`; the caller's own comes at the end."""
    if sys.platform == "win32":
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Pool:
    """`workers` processes that are started anew when one of them has died."""

    def __init__(self, function: Callable[..., Any] | type, args: tuple[Any, ...], workers: int) -> None:
        self.initargs, self.workers = (function, args), workers
        self._start()

    def submit(self, item: Any) -> Future[Any]:
        """The future of one item; where the pool is found broken, one that says so."""
        self._await_start()
        try:
            with _interrupts_held():
                return self.executor.submit(_work, item)
        except BrokenProcessPool as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def renew(self) -> None:
        """After a death."""
        self.close()
        self._start()

    def close(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> None:
        self.executor = ProcessPoolExecutor(
            self.workers, get_context("spawn"), initializer=_start, initargs=self.initargs
        )
        with _interrupts_held():
            self.starting = [self.executor.submit(_ready) for _ in range(self.workers)]

    def _await_start(self) -> None:
        try:
            while self.starting:
                self.starting.pop().result()
        except BrokenProcessPool as error:
            raise StageError(
                'worker processes cannot start; in a script of your own, call foxgan below `if __name__ == "__main__":`, '
                "else try `workers: 0`"
            ) from error


def _map_in_processes(
    function: Callable[..., Any] | type, args: tuple[Any, ...], items: Sequence[Any], workers: int
) -> Generator[Any, None, None]:
    pool = _Pool(function, args, workers)
    flight: deque[tuple[Any, Future[Any]]] = deque()
    try:
        yield None
        waiting = iter(items)
        while True:
            for item in islice(waiting, workers * IN_FLIGHT_PER_WORKER - len(flight)):
                flight.append((item, pool.submit(item)))
            if not flight:
                return
            item, future = flight.popleft()
            try:
                result = future.result()
            except BrokenProcessPool:
                # Somebody in flight killed a worker, and the pool fell with it. One at a time tells who it was.
                yield from _one_at_a_time(_Pool(function, args, 1), [(item, future), *flight])
                flight.clear()
                pool.renew()
            else:
                yield result
    finally:
        pool.close()


def _one_at_a_time(pool: _Pool, suspects: list[tuple[Any, Future[Any]]]) -> Iterator[Any]:
    """The results of items that were in flight when a worker died; those that are lost are done again, each alone."""
    try:
        for item, future in suspects:
            try:
                yield pool.submit(item).result() if _lost(future) else future.result()
            except BrokenProcessPool:
                yield Failure("the worker process died on it twice")
                pool.renew()
    finally:
        pool.close()


def _lost(future: Future[Any]) -> bool:
    """Whether the result went down with the pool."""
    try:
        return isinstance(future.exception(), BrokenProcessPool)
    except CancelledError:
        return True
