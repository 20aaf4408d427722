"""Whether one picture is a copy of another: both are compared as small grey pictures, place by place.

A correlation over the whole would miss that another animal stands before the same wall, so the place that differs most decides, and all
the more where nothing else differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2

SIDE = 40  # of the small grey picture, whatever the picture's aspect
COLOURS = 8  # of the small picture of colours
CELLS = 8  # of a picture, each way, that are judged on their own
STANDS_OUT = 9.0  # the worst cell by the median one, from where on something else is there
NOISE = 0.01  # of a cell
FAINT = 4.0  # grey levels; a picture with less contrast looks like any other
COLOUR_SCALE = 24.0  # levels of Cr and Cb between quite different colours
ASPECT = 0.05  # by which the logarithms of two aspects may differ
ROUGH = 0.1  # similarity below which nobody looks any closer
PART = 1024  # pairs compared together


def thumb_of(grey: NDArray[np.float32]) -> Pixels:
    """uint8 [SIDE, SIDE] of float32 [H, W]."""
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(small).clip(0, 255), np.uint8)


def colours_of(picture: Pixels) -> NDArray[np.int8]:
    """Cr and Cb around 0, int8 [COLOURS, COLOURS, 2], of RGB."""
    small = cv2.resize(picture, (COLOURS, COLOURS), interpolation=cv2.INTER_AREA)
    converted = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.int16) - 128
    return np.asarray(converted.clip(-128, 127), np.int8)


def bounds(records: NDArray[Any], pairs: NDArray[np.int64], mirror: bool) -> NDArray[np.float32]:
    """What the pictures of each pair differ by at least, float32 [M], as the means of their cells do: soon done."""
    cells = np.concatenate([_cells(records["thumb"][n : n + PART]) for n in range(0, len(records) or 1, PART)])
    turned = cells[:, :, ::-1] if mirror else cells
    parts = [pairs[n : n + PART].T for n in range(0, len(pairs), PART)]
    found = (np.abs(cells[a] - turned[b]).max(axis=(1, 2)) for a, b in parts)
    return np.concatenate([np.empty(0, np.float32), *found])


def _cells(thumbs: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of every cell, [N, CELLS, CELLS]: two pictures differ in a cell by at least as much as its means do."""
    size = SIDE // CELLS
    means: NDArray[np.float32] = normalised(thumbs).reshape(-1, CELLS, size, CELLS, size).mean(axis=(2, 4))
    return means


def whole(records: NDArray[Any], pairs: NDArray[np.int64], mirror: bool) -> NDArray[np.float32]:
    """How alike the pictures of each pair are, float32 [M]; the second is mirrored first, if asked for."""
    parts = [_whole(records[p[:, 0]], records[p[:, 1]], mirror) for p in np.array_split(pairs, len(pairs) // PART + 1)]
    return np.concatenate(parts)


def _whole(a: NDArray[Any], b: NDArray[Any], mirror: bool) -> NDArray[np.float32]:
    turn = slice(None, None, -1 if mirror else 1)
    difference = normalised(a["thumb"]) - normalised(b["thumb"][:, :, turn])
    colours = a["colours"].astype(np.float32) - b["colours"][:, :, turn]
    hue = np.sqrt(np.square(colours).mean(axis=(1, 2))).max(axis=1) / COLOUR_SCALE
    similarity = np.clip(1 - np.maximum(apart(difference), hue), 0, 1)
    telling = np.minimum(a["thumb"].std(axis=(1, 2)), b["thumb"].std(axis=(1, 2))) >= FAINT
    aspects = np.log(a["width"] / a["height"]) - np.log(b["width"] / b["height"])
    return np.where(telling & (np.abs(aspects) <= ASPECT), similarity, 0).astype(np.float32)


def normalised(thumbs: NDArray[Any]) -> NDArray[np.float32]:
    """[N, H, W] without their brightness and contrast."""
    grey = thumbs.astype(np.float32)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    spread: NDArray[np.float32] = grey.std(axis=(1, 2), keepdims=True)
    return np.asarray(grey / np.maximum(spread, FAINT), np.float32)


def apart(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much normalised pictures differ in the worst of their cells, [M] of [M, points, points].

    Copies differ a little everywhere; where one cell stands out, something else is there, and that counts more.
    """
    size = difference.shape[1] // CELLS
    squares = np.square(difference).reshape(-1, CELLS, size, CELLS, size).mean(axis=(2, 4))
    cells = np.sqrt(squares).reshape(-1, CELLS * CELLS)
    worst = cells.max(axis=1)
    return np.asarray(worst + np.maximum(worst - STANDS_OUT * (np.median(cells, axis=1) + NOISE), 0), np.float32)
