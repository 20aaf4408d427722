"""A second look at large photos, in overlapping tiles, for heads that are too small when the whole is scaled down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foxgan.vision.nms import best_boxes

Tiles = Literal["off", "auto"] | int

OVERLAP = 0.25  # of a tile's side: a head up to this size lies whole in one of the tiles
EDGE = 2 / 64  # of a tile's side: a box that comes nearer to an inner edge is cut off there, or may be
INSIDE = 0.7  # of a box's area within a larger one from which both are of one head
MAX_TILES = 16  # along a side
MAX_BOXES = 1000  # of a photo


@dataclass(frozen=True)
class Tile:
    """A part of a photo, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int


def cut_tiles(height: int, width: int, imgsz: int, tiles: Tiles) -> list[Tile]:
    """Square tiles that cover a photo, overlapping; none for a photo that is hardly larger than what the network sees.

    `tiles` is how many go along the longer side; `auto` takes them at full scale, and at a half, a quarter and so on for larger heads.
    """
    longer = max(height, width)
    if tiles == "off" or longer < 1.5 * imgsz:
        return []
    if tiles != "auto":
        return _grid(height, width, max(imgsz, math.ceil(longer / _reach(tiles))))
    side, found = max(imgsz, math.ceil(longer / _reach(MAX_TILES))), list[Tile]()
    while longer >= 1.5 * side:
        found += _grid(height, width, side)
        side *= 2
    return found


def _grid(height: int, width: int, side: int) -> list[Tile]:
    rows, columns = _starts(height, side), _starts(width, side)
    return [Tile(x, y, min(x + side, width), min(y + side, height)) for y in rows for x in columns]


def _reach(count: int) -> float:
    """How far so many tiles go, in sides of one."""
    return count - (count - 1) * OVERLAP


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a side of the photo, evenly spread."""
    if length <= side:
        return [0]
    count = math.ceil((length / side - OVERLAP) / (1 - OVERLAP) - 1e-9)
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def united(
    found: list[NDArray[np.float64]], tiles: list[Tile], height: int, width: int, iou: float
) -> NDArray[np.float64]:
    """Rows (xyxy, score, ...) of the whole photo (first) and of its tiles, in the photo's pixels, as those of one look, best first.

    A tile's boxes at its inner edges are left out: the neighbour or the whole shows more of that head. Of two boxes one of which lies
    mostly within the other, the better one stays: a part of a head, or a coarse look at a small one, is none.
    """
    rows = [found[0], *(_uncut(r, tile, height, width) for r, tile in zip(found[1:], tiles, strict=True))]
    united = np.concatenate(rows)
    united = united[best_boxes(united.astype(np.float32), iou)[:MAX_BOXES]]
    return united[_unnested(united[:, :4])]


def _uncut(rows: NDArray[np.float64], tile: Tile, height: int, width: int) -> NDArray[np.float64]:
    margin = EDGE * max(tile.right - tile.left, tile.bottom - tile.top)
    least = [tile.left + margin if tile.left else -math.inf, tile.top + margin if tile.top else -math.inf]
    most = [
        tile.right - margin if tile.right < width else math.inf,
        tile.bottom - margin if tile.bottom < height else math.inf,
    ]
    return rows[(rows[:, :2] >= least).all(1) & (rows[:, 2:4] <= most).all(1)]


def _unnested(boxes: NDArray[np.float64]) -> list[int]:
    """Which boxes, best first, neither lie mostly within a better one nor have one within them."""
    area = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1)
    kept: list[int] = []
    for number, box in enumerate(boxes):
        better = boxes[kept]
        shared = (np.minimum(better[:, 2:], box[2:]) - np.maximum(better[:, :2], box[:2])).clip(0).prod(-1)
        if not (shared > INSIDE * np.minimum(area[kept], area[number])).any():
            kept.append(number)
    return kept
