"""What the fakes saw of their visitors, so that tests can assert politeness from the server's side."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, SupportsIndex, overload


@dataclass
class Visit:
    """One request. `began` and `ended` are seconds of time.monotonic, `now` the fake clock's; `at_once` counts the requests that the
    host was answering when this one came, itself included. `bytes` are those of the body that were handed to the socket."""

    host: str
    method: str
    path: str  # with its query
    agent: str
    client: str  # the peer's IP address
    headers: dict[str, str]
    began: float
    now: float
    at_once: int
    ended: float | None = None
    status: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.host + self.path


class Visits(list[Visit]):
    """Visits in the order in which they came."""

    @property
    def paths(self) -> list[str]:
        return [visit.path for visit in self]

    @property
    def agents(self) -> set[str]:
        return {visit.agent for visit in self}

    @property
    def statuses(self) -> Counter[int]:
        return Counter(visit.status for visit in self)

    @property
    def most_at_once(self) -> int:
        """Of one host."""
        return max((visit.at_once for visit in self), default=0)

    @property
    def total_bytes(self) -> int:
        return sum(visit.bytes for visit in self)

    def most_in(self, seconds: float) -> int:
        """The most requests in any stretch of so many seconds; `most_in(60)` is the highest rate per minute."""
        return int(self._most(seconds, lambda visit: 1))

    def most_bytes_in(self, seconds: float) -> int:
        """The most bytes asked for in any stretch of so many seconds."""
        return int(self._most(seconds, lambda visit: visit.bytes))

    def shortest_pause(self) -> float:
        """Seconds between the beginnings of two visits that followed each other; infinite for fewer than two."""
        return min((b.began - a.began for a, b in zip(self, self[1:], strict=False)), default=float("inf"))

    def by_client(self) -> dict[tuple[str, str], Visits]:
        """Visits of each (IP address, user agent)."""
        found: dict[tuple[str, str], Visits] = {}
        for visit in self:
            found.setdefault((visit.client, visit.agent), Visits()).append(visit)
        return found

    def as_rows(self) -> list[dict[str, Any]]:
        return [asdict(visit) for visit in self]

    @overload
    def __getitem__(self, item: SupportsIndex) -> Visit: ...
    @overload
    def __getitem__(self, item: slice) -> Visits: ...
    def __getitem__(self, item: Any) -> Any:
        found = super().__getitem__(item)
        return Visits(found) if isinstance(item, slice) else found

    def _most(self, seconds: float, weight: Callable[[Visit], int]) -> int:
        most = total = first = 0
        for visit in self:
            total += weight(visit)
            while self[first].began <= visit.began - seconds:
                total -= weight(self[first])
                first += 1
            most = max(most, total)
        return most


class Log:
    """All visits of all hosts; written by the server's thread, read by tests."""

    def __init__(self) -> None:
        self._visits: list[Visit] = []
        self._active: Counter[str] = Counter()

    def begin(self, host: str, method: str, path: str, client: str, headers: dict[str, str], now: float) -> Visit:
        self._active[host] += 1
        agent = headers.get("User-Agent", "")
        visit = Visit(host, method, path, agent, client, headers, time.monotonic(), now, self._active[host])
        self._visits.append(visit)
        return visit

    def end(self, visit: Visit) -> None:
        visit.ended = time.monotonic()
        self._active[visit.host] -= 1

    def clear(self) -> None:
        self._visits = []

    def visits(self, host: str | None = None, path: str = "*", agent: str = "*") -> Visits:
        """Those of a host, with a path and a user agent that match globs."""
        return Visits(
            visit
            for visit in list(self._visits)
            if host in (None, visit.host) and fnmatchcase(visit.path, path) and fnmatchcase(visit.agent, agent)
        )
