"""The order in which photos come to a person. What was seen or labelled stays where it is; the rest moves as a detector learns of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from threading import Lock

import numpy as np

from foxgan.vision.uncertainty import LOOK, Look, ordered

AHEAD = 48  # photos whose order is chosen with care
POOL = 1000  # the least certain, among which these are looked for
SEEN = 8  # photos before, that the next ones should not look like


class Queue:
    """Positions 0, 1, 2 ... and the photo (a number) at each. Used by several threads."""

    def __init__(self, count: int, labelled: Collection[int], moving: bool = False) -> None:
        """`moving`: somebody will rate photos, so that those to come are in no order yet."""
        first = sorted(labelled)
        self.moving = moving
        self.order = first + sorted(set(range(count)) - set(first))
        self.fixed = len(first)  # positions before this one keep their photo
        self.labelled_first = len(first)
        self.doubts: dict[int, float] = {}
        self.looks: dict[int, Look] = {}
        self.lock = Lock()

    def start(self, labelled: Collection[int]) -> int:
        """Where work goes on: at the first photo that is not labelled, behind those that were at the beginning."""
        with self.lock:
            open_ones = (p for p in range(self.labelled_first, len(self.order)) if self.order[p] not in labelled)
            return next(open_ones, max(len(self.order) - 1, 0))

    def at(self, position: int) -> tuple[int, int]:
        """The photo at `position`, which from now on stays there, as do all before it; and where that is.

        While photos move, one from far ahead comes next instead, as those between are still to be put in their order.
        """
        with self.lock:
            if self.moving and position > self.fixed:
                self.order.insert(self.fixed, self.order.pop(position))
                position = self.fixed
            self.fixed = max(self.fixed, position + 1)
            return position, self.order[position]

    def peek(self, position: int) -> int | None:
        """The photo that is at `position` now; None behind the last one."""
        with self.lock:
            return self.order[position] if 0 <= position < len(self.order) else None

    def unrated(self, count: int, labelled: Collection[int] = ()) -> list[int]:
        """Photos that are not labelled and that nobody has rated yet, those first that come soon."""
        with self.lock:
            soon = dict.fromkeys([*self.order[max(self.fixed - 1, 0) :], *self.order])
            return [n for n in soon if n not in self.doubts and n not in labelled][:count]

    def rate(self, rated: Sequence[tuple[int, float, Look]]) -> None:
        """Note how unsure the detector is of some photos, and put those to come in their order."""
        with self.lock:
            for number, doubt, look in rated:
                self.doubts[number], self.looks[number] = doubt, look
            self._arrange()

    def _arrange(self) -> None:
        coming = self.order[self.fixed :]
        usual = float(np.mean(list(self.doubts.values())))  # of what nobody has rated
        coming.sort(key=lambda n: (-self.doubts.get(n, usual), n))
        pool, rest = coming[:POOL], coming[POOL:]
        doubts = np.array([self.doubts.get(n, usual) for n in pool], np.float32)
        seen = [self.looks[n] for n in self.order[max(0, self.fixed - SEEN) : self.fixed] if n in self.looks]
        first = ordered(doubts, self._looks(pool), np.array(seen, np.float32).reshape(-1, LOOK * LOOK * 3), AHEAD)
        chosen = [pool[i] for i in first]
        later = set(pool) - set(chosen)
        self.order[self.fixed :] = [*chosen, *(n for n in pool if n in later), *rest]

    def _looks(self, numbers: Sequence[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        none = np.zeros(LOOK * LOOK * 3, np.float32)
        return np.array([self.looks.get(n, none) for n in numbers], np.float32).reshape(-1, LOOK * LOOK * 3)
