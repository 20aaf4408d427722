"""The time as the fakes see it, so that "wait an hour" costs a test nothing."""

from __future__ import annotations

import email.utils
import time
from collections import deque


class Clock:
    """Seconds since 1970: the real time plus what was added, or a still moment after `freeze`."""

    def __init__(self) -> None:
        self._added = 0.0
        self._still: float | None = None

    def now(self) -> float:
        return (time.time() if self._still is None else self._still) + self._added

    def advance(self, seconds: float) -> None:
        self._added += seconds

    def freeze(self, at: float | None = None) -> None:
        """Stand still, at `at` or now; only `advance` moves the clock from here on."""
        self._still, self._added = self.now() if at is None else at, 0.0

    def http_date(self, seconds: float = 0) -> str:
        """The moment `seconds` from now, as HTTP headers have it."""
        return email.utils.formatdate(self.now() + seconds, usegmt=True)


class Windows:
    """Sliding windows: who may come how often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def left(self, scope: str, limit: int, seconds: float) -> tuple[int, float]:
        """Requests that `scope` still has in its window, and the seconds to wait if there are none."""
        times, now = self._times.setdefault(scope, deque()), self._clock.now()
        while times and times[0] <= now - seconds:
            times.popleft()
        left = max(0, limit - len(times))
        return left, 0.0 if left or not times else times[0] + seconds - now

    def count(self, scope: str) -> None:
        """One more request."""
        self._times.setdefault(scope, deque()).append(self._clock.now())
