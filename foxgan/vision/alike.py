"""Whether one picture is a copy of another, or of a part of it: both are compared as small grey pictures, place by place.

A correlation over the whole would miss that another animal stands before the same wall, so the place that differs most decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2

Frame = tuple[float, float, float, float]

SIDE = 40  # of the small grey picture, whatever the picture's aspect
COLOURS = 8  # of the small picture of colours
BLOCK = 5  # pixels of SIDE that are judged together
CANVAS = 120  # longer side at which a crop is laid on the whole
CELLS = 6  # of a crop, each way, that are judged on their own
FAINT = 4.0  # grey levels; a picture with less contrast looks like any other
COLOUR_SCALE = 24.0  # levels of Cr and Cb between quite different colours
ASPECT = 0.05  # by which the logarithms of two aspects may differ
OUTSIDE = 0.04  # share of a crop's side that may seem to lie outside of the whole
TRIED = 4  # places where a crop is laid on the whole, the most promising ones
POINTS = 12  # of a crop, each way, that are compared at a glance
ROUGH, FINE = 0.07, 0.01  # how far from its frame a crop is laid, as a share of its longer side
ALIKE = 0.6  # correlation below which nothing is worth aligning
GLANCE = 0.3  # correlation from which a closer look is worth its time
PART = 4096  # pairs compared together


def thumb_of(grey: NDArray[np.float32]) -> Pixels:
    """uint8 [SIDE, SIDE] of float32 [H, W]."""
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(small).clip(0, 255), np.uint8)


def colours_of(picture: Pixels) -> NDArray[np.int8]:
    """Cr and Cb around 0, int8 [COLOURS, COLOURS, 2], of RGB."""
    small = cv2.resize(picture, (COLOURS, COLOURS), interpolation=cv2.INTER_AREA)
    converted = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.int16) - 128
    return np.asarray(converted.clip(-128, 127), np.int8)


# Whole pictures


def whole(records: NDArray[Any], pairs: NDArray[np.int64], mirror: bool) -> NDArray[np.float32]:
    """How alike the pictures of each pair are, float32 [M]; the second is mirrored first, if asked for."""
    parts = [_whole(records[p[:, 0]], records[p[:, 1]], mirror) for p in np.array_split(pairs, len(pairs) // PART + 1)]
    return np.concatenate(parts)


def _whole(a: NDArray[Any], b: NDArray[Any], mirror: bool) -> NDArray[np.float32]:
    turn = slice(None, None, -1 if mirror else 1)
    difference = _normalised(a["thumb"]) - _normalised(b["thumb"][:, :, turn])
    blocks = SIDE // BLOCK
    squares = np.square(difference).reshape(-1, blocks, BLOCK, blocks, BLOCK).mean(axis=(2, 4))
    worst = np.sqrt(squares.max(axis=(1, 2)))
    colours = a["colours"].astype(np.float32) - b["colours"][:, :, turn]
    hue = np.sqrt(np.square(colours).mean(axis=(1, 2))).max(axis=1) / COLOUR_SCALE
    similarity = np.clip(1 - np.maximum(worst, hue), 0, 1)
    telling = np.minimum(a["thumb"].std(axis=(1, 2)), b["thumb"].std(axis=(1, 2))) >= FAINT
    aspects = np.log(a["width"] / a["height"]) - np.log(b["width"] / b["height"])
    return np.where(telling & (np.abs(aspects) <= ASPECT), similarity, 0).astype(np.float32)


def _normalised(thumbs: NDArray[Any]) -> NDArray[np.float32]:
    """[N, H, W] without their brightness and contrast."""
    grey = thumbs.astype(np.float32)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    spread: NDArray[np.float32] = grey.std(axis=(1, 2), keepdims=True)
    return np.asarray(grey / np.maximum(spread, FAINT), np.float32)


# Crops. A frame is where a crop should lie in the whole: left, top, width, height in shares of the whole's longer side.


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
    sides = _sides(records[crops])
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
    sides = _sides(records[wholes])
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
    at = (steps * SIDE).astype(np.int64)
    found = [np.empty(0, np.float32)]
    for start in range(0, len(frames), PART):
        part = slice(start, start + PART)
        w, c, frame = records[wholes[part]], records[crops[part]], frames[part]
        sides = _sides(w)
        x, y = (
            (np.clip((frame[:, [k]] + frame[:, [k + 2]] * steps) / sides[:, [k]], 0, 0.999) * SIDE).astype(np.int64)
            for k in (0, 1)
        )
        there = _normalised(w["thumb"][np.arange(len(w))[:, None, None], y[:, :, None], x[:, None, :]])
        crop_points = c["thumb"][:, at[:, None], at[::-1] if mirror else at]
        found.append((there * _normalised(crop_points)).mean(axis=(1, 2)))
    return np.concatenate(found)


def promising(wholes: NDArray[np.int64], crops: NDArray[np.int64], glances: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of the frames that are worth a look, pair by pair: of each the few that correlate best."""
    order = np.lexsort((-glances, crops, wholes))
    order = order[glances[order] >= GLANCE]
    keys = np.stack([wholes[order], crops[order]], axis=1)
    fresh = np.ones(len(order), bool)
    fresh[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(fresh)
    turn = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return order[turn < TRIED]


def crop(whole: Any, part: Any, frame: Frame, mirror: bool) -> float:
    """How alike a picture is to the part of another about `frame`, where it fits best nearby."""
    turn = slice(None, None, -1 if mirror else 1)
    small = np.ascontiguousarray(part["thumb"][:, turn])
    if small.std() < FAINT:
        return 0.0
    canvas = Canvas(whole)
    rough = max((canvas.lay(small, _scaled(frame, f), ROUGH) for f in (0.92, 0.96, 1.0, 1.04, 1.08)), key=_fit)
    if rough.fit < ALIKE:
        return 0.0
    exact = (canvas.lay(small, _scaled(rough.frame, f), FINE) for f in (0.975, 0.9875, 1.0125, 1.025))
    best = max((rough, *exact), key=_fit)
    hue = np.abs(_hue(whole, best.frame) - part["colours"].mean(axis=(0, 1))).max() / COLOUR_SCALE
    return float(max(0.0, 1 - max(_worst(best.there, best.laid), hue)))


@dataclass(frozen=True)
class Laid:
    """A crop on the canvas: the correlation where it fits best, that frame, and both pictures there."""

    fit: float
    frame: Frame = (0, 0, 0, 0)
    there: NDArray[np.float32] | None = None
    laid: NDArray[np.float32] | None = None


def _fit(laid: Laid) -> float:
    return laid.fit


def _scaled(frame: Frame, factor: float) -> Frame:
    left, top, width, height = frame
    more = (factor - 1) / 2
    return left - width * more, top - height * more, width * factor, height * factor


class Canvas:
    """The whole picture, with a margin around it for what seems to lie outside."""

    def __init__(self, record: Any) -> None:
        self.sides = _sides(record)
        width, height = (max(8, round(float(side) * CANVAS)) for side in self.sides)
        enlarged = cv2.resize(record["thumb"], (width, height), interpolation=cv2.INTER_CUBIC)
        self.pad = 1 + round(OUTSIDE * CANVAS)
        self.pixels = cv2.copyMakeBorder(enlarged, *[self.pad] * 4, cv2.BORDER_REPLICATE)

    def lay(self, small: Pixels, frame: Frame, reach: float) -> Laid:
        """The thumb of a crop laid into `frame`, or where it fits better, at most `reach` of its longer side away."""
        left, top, width, height = frame
        size = max(8, round(width * CANVAS)), max(8, round(height * CANVAS))
        x, y = round(left * CANVAS) + self.pad, round(top * CANVAS) + self.pad
        far = 1 + round(reach * max(size))
        x0, x1 = max(0, x - far), min(self.pixels.shape[1], x + size[0] + far)
        y0, y1 = max(0, y - far), min(self.pixels.shape[0], y + size[1] + far)
        if x1 - x0 < size[0] or y1 - y0 < size[1]:
            return Laid(-1)
        coarse = [max(4, round(s / side * SIDE)) for s, side in zip((width, height), self.sides.tolist(), strict=True)]
        seen = cv2.resize(small, coarse, interpolation=cv2.INTER_AREA)  # as coarsely as the whole's thumb sees it
        laid = cv2.resize(seen, size, interpolation=cv2.INTER_CUBIC)
        fits = cv2.matchTemplate(self.pixels[y0:y1, x0:x1], laid, cv2.TM_CCOEFF_NORMED)
        _, fit, _, (dx, dy) = cv2.minMaxLoc(fits)
        x, y = x0 + dx, y0 + dy
        there = self.pixels[y : y + size[1], x : x + size[0]]
        frame = (x - self.pad) / CANVAS, (y - self.pad) / CANVAS, width, height
        return Laid(fit, frame, there.astype(np.float32), laid.astype(np.float32))


def _hue(record: Any, frame: Frame) -> NDArray[np.float32]:
    """The mean colour of a part of a picture."""
    low, size = np.array(frame[:2]), np.array(frame[2:])
    sides = _sides(record)
    (x0, y0), (x1, y1) = (np.clip(np.round(v / sides * COLOURS), 0, COLOURS).astype(int) for v in (low, low + size))
    part = record["colours"][min(y0, COLOURS - 1) : max(y1, y0 + 1), min(x0, COLOURS - 1) : max(x1, x0 + 1)]
    mean: NDArray[np.float32] = part.astype(np.float32).mean(axis=(0, 1))
    return mean


def _worst(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> float:
    """The root mean square difference, in standard deviations, in the cell where it is largest."""
    assert a is not None and b is not None
    difference = _normalised(a[None])[0] - _normalised(b[None])[0]
    return float(np.sqrt(cv2.resize(difference * difference, (CELLS, CELLS), interpolation=cv2.INTER_AREA).max()))
