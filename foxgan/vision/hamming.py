"""Which of many 64-bit words differ in a few bits only: multi-index hashing (Norouzi et al. 2012, arXiv:1307.2982) in numpy.

Words that differ in few bits agree, but for a bit or none, in one of several pieces, so only words that share a piece are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Positions = NDArray[np.int64]
Piece = tuple[int, int]  # the first bit and how many

PART = 1 << 21  # pairs that are compared together
QUARTERS: tuple[Piece, ...] = ((0, 16), (16, 16), (32, 16), (48, 16))


def near_pairs(
    queries: Words,
    words: Words,
    distance: int,
    pieces: Sequence[Piece] = QUARTERS,
    flips: int = 1,
    crowd: int = 1000,
) -> Positions:
    """Positions i < j, int64 [M, 2], sorted, of all `queries[i]` and `words[j]` that differ in at most `distance` bits.

    None is missed that agrees in one of the `pieces` but for `flips` (0 or 1) bits: of four pieces, all up to a distance of 3 (7), and
    most beyond. What is shared by more than `crowd` words tells little: a word is compared with the next so many only.
    """
    found = [np.empty(0, np.int64)]
    for first, count in pieces:
        table = _Table(words, first, count)
        for flip in [0] + [1 << bit for bit in range(count if flips else 0)]:
            found += table.near(queries, flip, distance, crowd)
    return np.stack(np.divmod(np.unique(np.concatenate(found)), max(1, len(words))), axis=1)


def bit_distances(a: Words, b: Words) -> NDArray[np.uint8]:
    """In how many bits the words differ, one by one."""
    return np.asarray(np.bitwise_count(a ^ b))


class _Table:
    """Words in the order of one piece of theirs, equal ones by position."""

    def __init__(self, words: Words, first: int, count: int) -> None:
        self.first, self.mask = np.uint64(first), np.uint64((1 << count) - 1)
        entries = self._entries(words, 0)
        self.positions = np.argsort(entries)
        self.entries, self.words = entries[self.positions], words[self.positions]

    def _entries(self, words: Words, flip: int) -> Words:
        """The piece above, the position below."""
        pieces = ((words >> self.first) & self.mask) ^ np.uint64(flip)
        entries: Words = (pieces << np.uint64(32)) | np.arange(len(words), dtype=np.uint64)
        return entries

    def near(self, queries: Words, flip: int, distance: int, crowd: int) -> Iterator[Positions]:
        """Pairs of a query and a later word that has this piece, but for the bits of `flip`: query by number of words, plus word."""
        asked = self._entries(queries, flip)
        order = np.argsort(asked)  # neighbours look at the same words
        asked, queries = asked[order], queries[order]
        begins = np.searchsorted(self.entries, asked, side="right")
        ends = np.searchsorted(self.entries, ((asked >> np.uint64(32)) + np.uint64(1)) << np.uint64(32))
        counts = np.minimum(ends - begins, crowd)
        for part in _parts(counts):
            rows, columns = _spread(begins[part], counts[part])
            close = bit_distances(queries[part][rows], self.words[columns]) <= distance
            yield order[part][rows[close]] * len(self.words) + self.positions[columns[close]]


def _parts(counts: Positions) -> Iterator[slice]:
    """Slices of `counts`, each with about `PART` in sum."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + PART, side="right")))
        yield slice(start, end)
        start = end


def _spread(begins: NDArray[Any], counts: Positions) -> tuple[Positions, Positions]:
    """Ranges written out: the row of every element, and the element."""
    rows = np.repeat(np.arange(len(counts)), counts)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, begins[rows] + offsets
