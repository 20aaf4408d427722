"""What every source yields: a small description of a photo that can travel to a worker process, and how it is loaded there.

A source is a frozen dataclass of paths and options. The main process asks it once for its candidates; workers, each with a copy
of the source, load them.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from foxgan.licenses import UNKNOWN, Policy, allowed

Row = dict[str, Any]
Hashes = Callable[[Path], Mapping[str, str]]
"""The sha256 of the files below a folder by their relative names ("" for a file itself), as far as known."""


def no_hashes(path: Path) -> Mapping[str, str]:
    """For who does not ask for candidates' keys."""
    return {}


@dataclass(frozen=True)
class Candidate:
    """A photo that may be taken: `where` finds it inside its source, `meta` holds the index columns known beforehand."""

    source_id: str  # unique within the source, and the same tomorrow
    where: tuple[str | int, ...]
    size: int = 0  # bytes, as far as known
    meta: Row = field(default_factory=dict)
    labels: tuple[str | int, ...] | None = None  # where its YOLO label file is
    class_names: Mapping[int, str] = field(default_factory=dict)
    point_shape: tuple[int, int] | None = None  # of the points in its label file
    refusal: str = ""  # a reason not even to open it
    content: str = ""  # digest of its bytes and of its labels, as far as known

    @cached_property
    def key(self) -> str:
        """What interrupted and later runs know it by: equal for equal names and, where `content` is known, for equal files only."""
        names = sorted(self.class_names.items()) if self.labels else None
        points = [self.point_shape] if self.labels and self.point_shape else []
        return hashlib.sha256(
            json.dumps([self.source_id, self.size, self.content, names, *points]).encode()
        ).hexdigest()


@dataclass(frozen=True)
class Loaded:
    """A file's bytes; `shape` (H, W, C) and `suffix` where the source made the picture itself, so that nobody decodes it again.

    `file` holds the same bytes, and nobody will ever change it. `heads` are rows of ground truth: box (xyxy, pixels), keypoints,
    class, traits.
    """

    data: bytes
    shape: tuple[int, int, int] | None = None
    suffix: str = ""
    file: Path | None = None
    heads: tuple[Row, ...] = ()
    labels: bytes | None = None  # a YOLO label file
    meta: Row = field(default_factory=dict)


class Refused(Exception):
    """Not to be had; `reason` becomes the status of the item."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Source(Protocol):
    """Where photos come from; `name` is the column `source`."""

    name: str

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        """All that there is, in an order that stays. Raises DataError where the source as a whole is no good."""

    def load(self, candidate: Candidate) -> Loaded:
        """One photo, in a worker. Raises Refused."""

    def close(self) -> None:
        """Let go of what `load` keeps open, if anything."""
        return


def licensed(candidate: Candidate, policy: Policy | None) -> Candidate:
    """The same, refused where `policy` does not allow its license; then also known by another key, as its license may change."""
    if policy is None or allowed(candidate.meta.get("license", UNKNOWN), policy):
        return candidate
    return replace(candidate, refusal="license", content="license")


def first_ones(candidates: Iterable[Candidate], limit: int | None) -> list[Candidate]:
    """At most `limit` of them, not counting those that are refused beforehand."""
    found, left = [], math.inf if limit is None else limit
    for candidate in candidates:
        found.append(candidate)
        left -= not candidate.refusal
        if left <= 0:
            break
    return found


def fair_sample(candidates: Iterable[Candidate], limit: int) -> list[Candidate]:
    """At most `limit` of them in their order, chosen by the hash of their names: every class and split gets its share.

    A larger limit chooses the same ones and more.
    """

    def rank(numbered: tuple[int, Candidate]) -> str:
        return hashlib.sha256(numbered[1].source_id.encode()).hexdigest()

    chosen = heapq.nsmallest(limit, enumerate(candidates), key=rank)
    return [candidate for _, candidate in sorted(chosen, key=lambda numbered: numbered[0])]
