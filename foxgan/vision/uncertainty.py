"""Which photos a person should look at first: those of which a detector is least sure, and not ten alike one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2
from foxgan.vision.detector import Head
from foxgan.vision.misses import overlap

THRESHOLD = 0.25  # score from which `detect` keeps a head
MIDDLING = (0.1, 0.6)  # scores that say neither yes nor no
TORN = (0.3, 0.7)  # overlap of two boxes that mean the same head, or do not
LOOK = 8  # side of the small picture that photos are compared by
ALIKE = 0.75  # how much of its rank a photo loses that looks the same as one before

Look = NDArray[np.float32]


def uncertainty(heads: Sequence[Head]) -> float:
    """How unsure a detector is of a photo, 0 to 1, from all heads that it thinks possible (scores from 0.05, overlaps kept).

    Half of it is how near the best score is to the threshold, the rest how many scores are middling and how many boxes are torn.
    """
    best = max((head.score for head in heads), default=0.0)
    span = THRESHOLD if best < THRESHOLD else 1 - THRESHOLD
    near = 1 - abs(best - THRESHOLD) / span if heads else 0.5
    middling = sum(MIDDLING[0] <= head.score <= MIDDLING[1] for head in heads)
    torn = sum(TORN[0] < overlap(a.box, b.box) < TORN[1] for i, a in enumerate(heads) for b in heads[i + 1 : i + 50])
    return 0.5 * near + 0.3 * (1 - 0.5**middling) + 0.2 * (1 - 0.5**torn)


def look_of(photo: Pixels) -> Look:
    """A few numbers of length 1 by which photos can be compared."""
    small = cv2.resize(photo, (LOOK, LOOK), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def ordered(
    doubts: NDArray[np.float32], looks: NDArray[np.float32], seen: NDArray[np.float32], count: int
) -> list[int]:
    """The `count` positions that come first: the least certain, each less urgent the more it looks like one before it.

    `doubts` [N], `looks` [N, D] (zeros: not known) and the looks of what was `seen` last [M, D].
    """
    likeness = (looks @ seen.T).max(axis=1) if len(seen) else np.zeros(len(looks), np.float32)
    chosen: list[int] = []
    left = np.ones(len(doubts), bool)
    for _ in range(min(count, len(doubts))):
        rank = np.where(left, doubts * (1 - ALIKE * likeness.clip(0, 1)), -1)
        best = int(rank.argmax())  # the first of equals
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, looks @ looks[best])
    return chosen
