"""Whether one picture is a part of another: it is laid where it fits best, by the slopes of its grey levels (Baker and Matthews 2004), and
then compared as a whole is. A frame is where a crop should lie: left, top, width, height in shares of the whole's longer side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.vision import alike

OUTSIDE = 0.04  # share of a crop's side that may seem to lie outside of the whole
TRIED = 4  # places where a crop is laid on the whole, the most promising ones
AWAY = 0.05  # share of its side between them
POINTS = 12  # of a crop, each way, that are compared at a glance
GLANCE = 0.3  # correlation from which a closer look is worth its time
STEPS, FARTHEST = 3, 0.08  # of aligning, shares of a side in one step
SMALL = 0.65  # of the sides of a whole, which shows a smaller crop in a few pixels only


def _sides(records: Any) -> NDArray[np.float32]:
    """Width and height in shares of the longer side, [..., 2]."""
    sides = np.stack([records["width"], records["height"]], axis=-1).astype(np.float32)
    return np.asarray(sides / sides.max(axis=-1, keepdims=True), np.float32)


def frames(
    records: NDArray[Any],
    crops: NDArray[np.int64],
    at_whole: NDArray[np.float32],
    at_crop: NDArray[np.float32],
    mirror: bool,
) -> NDArray[np.float32]:
    """The frames, [M, 4], in which a part at `at_whole` (x, y, half a side) of each whole covers the part at `at_crop` of its crop."""
    sides = _sides(records)[crops]
    scale = (at_whole[:, 2] / at_crop[:, 2])[:, None]
    place = at_crop[:, :2].copy()
    if mirror:
        place[:, 0] = sides[:, 0] - place[:, 0]
    return np.concatenate([at_whole[:, :2] - scale * place, scale * sides], axis=1).astype(np.float32)


def possible(
    records: NDArray[Any],
    wholes: NDArray[np.int64],
    frames: NDArray[np.float32],
    smallest: float,
) -> NDArray[np.bool_]:
    """Which frames lie inside their whole, as far as can be measured, and are no smaller than `smallest`, a share of its sides."""
    sides = _sides(records)[wholes]
    low, size = frames[:, :2], frames[:, 2:]
    slack = 2 * OUTSIDE * size  # a blob's size is measured to some percent
    inside = ((low >= -slack) & (low + size <= sides + slack)).all(axis=1)
    return np.asarray(inside & ((size / sides).max(axis=1) >= 0.93 * smallest))


def glances(
    records: NDArray[Any],
    wholes: NDArray[np.int64],
    crops: NDArray[np.int64],
    frames: NDArray[np.float32],
    mirror: bool,
) -> NDArray[np.float32]:
    """How a crop's points correlate with those of its frame, float32 [M]: rough, as nothing is aligned, but a thousand times as fast."""
    steps = (np.arange(POINTS, dtype=np.float32) + 0.5) / POINTS
    at = (steps * alike.SIDE).astype(np.int64)
    found = [np.empty(0, np.float32)]
    for start in range(0, len(frames), alike.PART):
        part = slice(start, start + alike.PART)
        w, c, frame = records[wholes[part]], records[crops[part]], frames[part]
        sides = _sides(w)
        x, y = (
            (np.clip((frame[:, [k]] + frame[:, [k + 2]] * steps) / sides[:, [k]], 0, 0.999) * alike.SIDE).astype(
                np.int64
            )
            for k in (0, 1)
        )
        there = alike.normalised(w["thumb"][np.arange(len(w))[:, None, None], y[:, :, None], x[:, None, :]])
        crop_points = c["thumb"][:, at[:, None], at[::-1] if mirror else at]
        found.append((there * alike.normalised(crop_points)).mean(axis=(1, 2)))
    return np.concatenate(found)


def promising(
    wholes: NDArray[np.int64], crops: NDArray[np.int64], frames: NDArray[np.float32], glances: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Positions of the frames that are worth a look, pair by pair: of each the one that correlates best, and a few elsewhere."""
    low, high = np.minimum(wholes, crops), np.maximum(wholes, crops)
    beyond = np.maximum(frames[:, 2:].max(axis=1) - 1, 0)  # of two that are nearly equal, the crop is the smaller one
    order = np.lexsort((5 * beyond - glances, high, low))
    order = order[glances[order] >= GLANCE]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    starts = np.flatnonzero(fresh)
    counts = np.diff([*starts, len(order)])
    first = order[np.repeat(starts, counts)]
    turn = np.arange(len(order)) - np.repeat(starts, counts)
    away = np.abs(frames[order] - frames[first]).max(axis=1) > AWAY * frames[first, 2:].max(axis=1)
    chosen = (turn == 0) | (away & (turn < TRIED) & (wholes[order] == wholes[first]))
    return np.asarray(order[chosen])


def crops(
    records: NDArray[Any],
    wholes: NDArray[np.int64],
    crops: NDArray[np.int64],
    frames: NDArray[np.float32],
    mirror: bool,
) -> NDArray[np.float32]:
    """How alike crops are to the parts of their wholes about `frames`, float32 [M], where they fit best nearby."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(frames), alike.PART):
        part = slice(start, start + alike.PART)
        found.append(_laid(records[wholes[part]], records[crops[part]], frames[part], mirror))
    return np.concatenate(found)


def _laid(wholes: Any, crops: Any, frames: NDArray[np.float32], mirror: bool) -> NDArray[np.float32]:
    turn = slice(None, None, -1 if mirror else 1)
    seen, laid = wholes["thumb"].astype(np.float32), crops["thumb"][:, :, turn].astype(np.float32)
    sides = _sides(wholes)
    frames = _aligned(seen, laid, sides, frames, 10)
    rough = 1 - _difference(seen, laid, sides, frames, 16)
    close = np.flatnonzero((rough >= alike.ROUGH) & (laid.std(axis=(1, 2)) >= alike.FAINT))
    seen, laid, sides, frames = seen[close], laid[close], sides[close], frames[close]
    frames = _aligned(seen, laid, sides, frames, 20)
    difference = (
        np.abs(_hues(wholes[close], sides, frames) - crops["colours"][close].mean(axis=(1, 2))).max(axis=1)
        / alike.COLOUR_SCALE
    )
    parts = (frames[:, 2:] / sides).max(axis=1) < SMALL
    for points, chosen in ((24, parts), (alike.SIDE, ~parts)):
        if chosen.any():
            of = _difference(seen[chosen], laid[chosen], sides[chosen], frames[chosen], points)
            difference[chosen] = np.maximum(difference[chosen], of)
    similarity = np.zeros(len(rough), np.float32)
    similarity[close] = np.clip(1 - difference, 0, 1)
    return similarity


def _difference(
    seen: NDArray[np.float32],
    laid: NDArray[np.float32],
    sides: NDArray[np.float32],
    frames: NDArray[np.float32],
    points: int,
) -> NDArray[np.float32]:
    """How much crops differ from what is in their frames, at `points` each way, both as coarse as the whole shows it."""
    coarse = _sampled(laid, np.ones_like(sides), _inverse(frames, sides), alike.SIDE)
    there, here = (alike.normalised(_sampled(thumbs, sides, frames, points)) for thumbs in (seen, coarse))
    return alike.apart(there - here)


def _inverse(frames: NDArray[np.float32], sides: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where wholes lie in their crops, in shares of the crops' sides."""
    return np.concatenate([-frames[:, :2] / frames[:, 2:], sides / frames[:, 2:]], axis=1)


def _aligned(
    seen: NDArray[np.float32],
    laid: NDArray[np.float32],
    sides: NDArray[np.float32],
    frames: NDArray[np.float32],
    points: int,
) -> NDArray[np.float32]:
    """The frames moved and scaled to where `laid` is most like what is seen in them, by Gauss-Newton steps on `points` each way."""
    goal = alike.normalised(_small(laid, points))
    place = (np.arange(points, dtype=np.float32) + 0.5) / points - 0.5
    down, right = np.gradient(goal, 1 / points, axis=(1, 2))
    grown = right * place + down * place[:, None]
    slopes = np.stack([right, down, grown], axis=1).reshape(-1, 3, points**2)
    bends = slopes @ slopes.transpose(0, 2, 1) + 1e-3 * points**2 * np.eye(3, dtype=np.float32)
    solver = np.linalg.inv(bends) @ slopes
    for _ in range(STEPS):
        error = alike.normalised(_sampled(seen, sides, frames, points)) - goal
        x, y, more = np.clip(solver @ error.reshape(-1, points**2, 1), -FARTHEST, FARTHEST)[:, :, 0].T
        left, top, width, height = frames.T
        moved = left + width * (more / 2 - x), top + height * (more / 2 - y), width * (1 - more), height * (1 - more)
        frames = np.stack(moved, axis=1)
    return frames


def _sampled(
    thumbs: NDArray[np.float32], sides: NDArray[np.float32], frames: NDArray[np.float32], points: int
) -> NDArray[np.float32]:
    """[M, points, points]: what thumbs show in the frames."""
    across, along = (
        _shares(frames[:, k] / sides[:, k], frames[:, k + 2] / sides[:, k], alike.SIDE, points) for k in (0, 1)
    )
    return np.asarray(along @ thumbs @ across.transpose(0, 2, 1), np.float32)


def _small(thumbs: NDArray[np.float32], points: int) -> NDArray[np.float32]:
    shares = _shares(np.zeros(1, np.float32), np.ones(1, np.float32), alike.SIDE, points)[0]
    return np.asarray(shares @ thumbs @ shares.T, np.float32)


def _shares(low: NDArray[np.float32], size: NDArray[np.float32], pixels: int, points: int) -> NDArray[np.float32]:
    """[M, points, pixels]: how much of each pixel is in each of `points` equal parts of the range from `low`, sums are 1.

    A range is in shares of the row of pixels, which goes on with its last one.
    """
    edges = (low[:, None] + size[:, None] * np.arange(points + 1, dtype=np.float32) / points) * pixels
    begin = np.clip(edges[:, :-1, None], 0, pixels - 0.5)
    end = np.maximum(np.minimum(edges[:, 1:, None], pixels), begin + 0.25)
    pixel = np.arange(pixels, dtype=np.float32)
    covered = np.clip(np.minimum(end, pixel + 1) - np.maximum(begin, pixel), 0, None)
    return np.asarray(covered / covered.sum(axis=2, keepdims=True), np.float32)


def _hues(records: Any, sides: NDArray[np.float32], frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean colours of parts of pictures, [M, 2]."""
    x, y = (_shares(frames[:, k] / sides[:, k], frames[:, k + 2] / sides[:, k], alike.COLOURS, 1)[:, 0] for k in (0, 1))
    return np.asarray(np.einsum("mi,mijc,mj->mc", y, records["colours"].astype(np.float32), x))
