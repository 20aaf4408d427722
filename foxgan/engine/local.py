"""The default engine: a pool of spawned processes, or this process when `workers` is 0.

Processes are spawned, not forked, so that the same code runs on every system and no half-copied thread state is inherited.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Protocol

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


class LocalEngine:
    """Processes on this machine. `workers` None: none for a handful of items, else one per core."""

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
        `function(*args, item)`. An exception of the function is raised here.
        """
        if workers is None:
            workers = 0 if len(items) <= 2 else min(os.cpu_count() or 1, 16)
        workers = min(workers, len(items))
        if workers == 0:
            call = _bind(function, args)
            return (call(item) for item in items)
        return _map_in_processes(function, args, items, workers)


def _bind(function: Callable[..., Any] | type, args: tuple[Any, ...]) -> Callable[[Any], Any]:
    if isinstance(function, type):
        instance: Callable[[Any], Any] = function(*args)
        return instance
    return lambda item: function(*args, item)


_call: Callable[[Any], Any] | None = None  # one per worker process, set by `_start`


def _start(function: Callable[..., Any] | type, args: tuple[Any, ...]) -> None:
    global _call
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _call = _bind(function, args)


def _leave_with_parent() -> None:
    """A killed parent cannot say goodbye; without this its workers would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(item: Any) -> Any:
    assert _call is not None
    return _call(item)


def _map_in_processes(
    function: Callable[..., Any] | type, args: tuple[Any, ...], items: Sequence[Any], workers: int
) -> Iterator[Any]:
    def new_pool(size: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(size, get_context("spawn"), initializer=_start, initargs=(function, args))

    pool = new_pool(workers)
    flight: deque[tuple[int, Future[Any]]] = deque()
    position = 0
    try:
        while flight or position < len(items):
            while position < len(items) and len(flight) < workers * IN_FLIGHT_PER_WORKER:
                flight.append((position, pool.submit(_work, items[position])))
                position += 1
            index, future = flight.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                # Somebody in flight killed a worker. One at a time in a pool of one tells who it was.
                pool.shutdown(wait=False, cancel_futures=True)
                suspects = [index, *(i for i, _ in flight)]
                flight.clear()
                for suspect in suspects:
                    yield _alone(new_pool, items[suspect])
                pool = new_pool(workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _alone(new_pool: Callable[[int], ProcessPoolExecutor], item: Any) -> Any:
    with new_pool(1) as pool:
        try:
            return pool.submit(_work, item).result()
        except BrokenProcessPool:
            return Failure("the worker process died on it twice")
