"""How well found heads agree with labels: average precision (COCO's, 101 points), precision, recall, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

THRESHOLDS = np.arange(50, 100, 5) / 100  # overlaps (IoU) from which two boxes are one head
RECALLS = np.arange(101) / 100


@dataclass(frozen=True)
class Pair:
    """One photo: boxes [n, 4] that were found, their scores [n], and labelled boxes [m, 4]; xyxy in pixels."""

    found: Floats
    scores: Floats
    labelled: Floats


@dataclass(frozen=True)
class Agreement:
    """Over all photos. `precision` and `recall` are shares of the found and of the labelled heads with a partner at IoU 0.5."""

    map50: float
    map50_95: float
    precision: float
    recall: float
    mean_iou: float  # of those with a partner
    missed: list[int] = field(default_factory=list)  # labelled heads of each photo that were not found
    extra: list[int] = field(default_factory=list)  # found heads of each photo that are not labelled


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """Compare what was found in photos with their labels."""
    matched = [_matched(pair) for pair in pairs]
    scores = np.concatenate([pair.scores for pair in pairs]) if pairs else np.zeros(0)
    hits = np.concatenate([flags for flags, _ in matched], 1) if pairs else np.zeros((len(THRESHOLDS), 0), bool)
    labelled = sum(len(pair.labelled) for pair in pairs)
    order = np.argsort(-scores, kind="stable")
    precisions = [average_precision(row[order], labelled) for row in hits]
    overlaps = np.concatenate([overlap for _, overlap in matched]) if pairs else np.zeros(0)
    partners = int(hits[0].sum())
    return Agreement(
        map50=precisions[0],
        map50_95=float(np.mean(precisions)),
        precision=partners / len(scores) if len(scores) else 0.0,
        recall=partners / labelled if labelled else 0.0,
        mean_iou=float(overlaps[hits[0]].mean()) if partners else 0.0,
        missed=[len(p.labelled) - int(flags[0].sum()) for p, (flags, _) in zip(pairs, matched, strict=True)],
        extra=[len(p.found) - int(flags[0].sum()) for p, (flags, _) in zip(pairs, matched, strict=True)],
    )


def _matched(pair: Pair) -> tuple[Flags, Floats]:
    """For each threshold which found heads have a partner, best scores first choosing; and each one's overlap with its partner at 0.5."""
    hits = np.zeros((len(THRESHOLDS), len(pair.found)), bool)
    best = np.zeros(len(pair.found))
    overlaps = overlap(pair.found, pair.labelled)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(pair.labelled), bool)
        for number in np.argsort(-pair.scores, kind="stable"):
            candidates = np.where(free, overlaps[number], 0.0)
            if len(candidates) and candidates.max() >= threshold:
                free[candidates.argmax()] = False
                hits[row, number] = True
                best[number] = candidates.max() if row == 0 else best[number]
    return hits, best


def overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union [n, m] of boxes [n, 4] and [m, 4]."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.clip(sides, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - common
    shares: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def average_precision(hits: Flags, labelled: int) -> float:
    """Mean, over 101 values of recall, of the best precision with at least that recall. `hits` come best score first."""
    if not labelled:
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / labelled, right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.concatenate([envelope, [0.0]])[places].mean())
