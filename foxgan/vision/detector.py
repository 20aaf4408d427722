"""Finds heads in photos with a YOLO network: pixels or files in, boxes out, from foxgan's own files, ultralytics' .pt or ONNX.

Every photo is looked at for itself, whole and, where it is asked for, in tiles. Threads decode and prepare photos; on a CPU with OpenVINO
they also run the network, each on a photo of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan.errors import UsageError
from foxgan.images import ImageError, Pixels, decode, decode_towards, scaled_plainly
from foxgan.vision.backends import Backend
from foxgan.vision.known import find_detector
from foxgan.vision.letterbox import View, padded, scaled_shape
from foxgan.vision.nms import suppress
from foxgan.vision.prompts import Prompts
from foxgan.vision.runners import Floats, make_runner
from foxgan.vision.tiles import MAX_BOXES, Tile, Tiles, cut_tiles, united

__all__ = ["Detector", "Found", "Head", "scaled_shape"]

ROUNDING = 16  # boxes lie on 1/16 pixel: exact in float32, so that an id can be computed again from an index
PART, PART_IN_TILES = 64, 4  # photos that are ready at a time where the network runs in one thread
VISIBLE = 0.5  # a pose network's own opinion of a point, from which it counts as seen


@dataclass(frozen=True)
class Head:
    """One animal's head: `box` is xyxy in the photo's pixels, inside the photo; `score` is in 0..1.

    `keypoints` are x, y of each point in a pose network's order, None twice for one that is not seen; None for other networks.
    """

    box: tuple[float, float, float, float]
    score: float
    name: str
    keypoints: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class Found:
    """What is known of a photo: its size in pixels, upright, its heads, best first, and how it and they look, if that was asked for."""

    height: int
    width: int
    heads: list[Head]
    glance: str = ""


@dataclass(frozen=True)
class Looks:
    """A photo that is ready for the network: as a whole first, then its tiles."""

    height: int
    width: int
    views: list[View]
    tiles: list[Tile]


class Detector:
    """A loaded network and its thresholds.

    `imgsz` is the longer side that photos are scaled to (default: what it was trained at), `iou` the overlap from which two boxes
    are one head, whatever their classes; `classes` keeps some class names only; `max_heads` keeps the best of a photo; `tiles` of
    large photos are looked at again; `prompts` say what a network of open vocabulary looks for.
    Raises UsageError for an unknown name or class, DataError (UnsafeFileError) for a file that is no (harmless) detector.
    """

    def __init__(
        self,
        weights: str | Path,
        imgsz: int | None = None,
        device: str = "auto",
        conf: float = 0.25,
        iou: float = 0.5,
        classes: Sequence[str] | None = None,
        max_heads: int = 20,
        backend: Backend = "auto",
        tiles: Tiles = "off",
        prompts: Prompts | None = None,
    ) -> None:
        path = find_detector(weights)
        self.runner = make_runner(path, backend, device, imgsz, prompts)
        self.imgsz = imgsz or self.runner.imgsz
        self.conf, self.iou, self.max_heads, self.tiles = conf, iou, max_heads, tiles
        unknown = set(classes or ()) - set(self.runner.names)
        if unknown:
            raise UsageError(f"{path}: knows no class {sorted(unknown)[0]!r}, only {', '.join(self.runner.names)}")
        self.classes = None if classes is None else [i for i, n in enumerate(self.runner.names) if n in classes]
        self.pool = ThreadPoolExecutor(self.runner.parallel or torch.get_num_threads())

    def detect(self, images: Sequence[Pixels]) -> list[list[Head]]:
        """The heads of each photo (RGB uint8 [H, W, 3], any sizes), best first."""
        found = self._all(partial(self._looks, image) for image in images)
        return [photo.heads for photo in found if isinstance(photo, Found)]

    def detect_files(self, paths: Sequence[Path], glances: bool = False) -> list[Found | str]:
        """What is in each file (with `glances`: and how it looks, see `tracks`), or the reason why it cannot be looked at."""
        return self._all((partial(self._opened, path) for path in paths), glances)

    def _opened(self, path: Path) -> Looks | str:
        try:
            if self.tiles != "off":
                return self._looks(decode(path))
            pixels, height, width = decode_towards(path, self._fit)
            return Looks(height, width, [self._view(pixels, height, width)], [])
        except ImageError as error:
            return error.reason
        except OSError:
            return "missing"

    def _looks(self, image: Pixels) -> Looks:
        height, width = image.shape[:2]
        tiles = cut_tiles(height, width, self.imgsz, self.tiles)
        views = [self._view(image, height, width)]
        for tile in tiles:
            part = image[tile.top : tile.bottom, tile.left : tile.right]
            views.append(self._view(part, part.shape[0], part.shape[1], (tile.left, tile.top)))
        return Looks(height, width, views, tiles)

    def _view(self, part: Pixels, height: int, width: int, corner: tuple[int, int] = (0, 0)) -> View:
        """The view of a part that has this height and width in the photo; its pixels may be scaled already."""
        scaled = scaled_plainly(part, *self._fit(height, width))
        return padded(scaled, (height, width), self.runner.fixed, corner)

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        return scaled_shape(height, width, *(self.runner.fixed or (self.imgsz, self.imgsz)))

    def _all(self, photos: Iterable[Callable[[], Looks | str]], glances: bool = False) -> list[Found | str]:
        if self.runner.parallel:
            return list(self.pool.map(lambda prepare: self._found(prepare(), glances), photos))
        waiting, found = iter(photos), list[Found | str]()
        while part := list(islice(waiting, PART if self.tiles == "off" else PART_IN_TILES)):
            found += self._together(list(self.pool.map(lambda prepare: prepare(), part)), glances)
        return found

    def _together(self, prepared: list[Looks | str], glances: bool) -> list[Found | str]:
        """The network looks at pictures of equal shape at a time, whichever photo they are of."""
        groups: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, looks in enumerate(prepared):
            for place, look in enumerate([] if isinstance(looks, str) else looks.views):
                groups[look.picture.shape].append((number, place))
        rows: list[dict[int, Floats]] = [{} for _ in prepared]
        for members in groups.values():
            pictures = np.stack([prepared[n].views[place].picture for n, place in members])  # type: ignore[union-attr]
            for (number, place), prediction in zip(members, self.runner.predict(pictures), strict=True):
                rows[number][place] = self._boxes(prediction)
        return [
            looks
            if isinstance(looks, str)
            else self._merged(looks, [found[place] for place in range(len(found))], glances)
            for looks, found in zip(prepared, rows, strict=True)
        ]

    def _found(self, looks: Looks | str, glances: bool) -> Found | str:
        if isinstance(looks, str):
            return looks
        rows = [self._boxes(self.runner.predict(look.picture[None])[0]) for look in looks.views]
        return self._merged(looks, rows, glances)

    def _boxes(self, prediction: Floats) -> Floats:
        """Rows of (xyxy, score, class, keypoints) in the pixels of a view."""
        runner = self.runner
        rows = suppress(
            prediction, len(runner.names), self.conf, self.iou, self.classes, MAX_BOXES, done=runner.suppressed
        )
        return rows[:, : 6 + (runner.points[0] * runner.points[1] if runner.points else 0)]

    def _merged(self, looks: Looks, found: list[Floats], glances: bool) -> Found:
        """The heads of all views of a photo."""
        rows = [_in_photo(r, look, self.runner.points) for r, look in zip(found, looks.views, strict=True)]
        kept = united(rows, looks.tiles, looks.height, looks.width, self.iou) if looks.tiles else rows[0]
        heads = self._heads(kept, looks.height, looks.width)
        glance = looks.views[0].glance([head.box for head in heads]) if glances else ""
        return Found(looks.height, looks.width, heads, glance)

    def _heads(self, rows: NDArray[np.float64], height: int, width: int) -> list[Head]:
        """Rows of (xyxy, score, class, keypoints) in the photo's pixels, as heads inside the photo."""
        heads: dict[tuple[float, ...], Head] = {}
        rows[:, :4] = _rounded(rows[:, :4].clip(0, [width, height, width, height]))
        for row in rows[(rows[:, 2:4] > rows[:, :2]).all(1)]:
            x0, y0, x1, y1 = box = tuple(row[:4].tolist())
            score, name = round(float(row[4]), 4), self._name(int(row[5]))
            heads.setdefault(box, Head((x0, y0, x1, y1), score, name, self._keypoints(row[6:])))
        return list(heads.values())[: self.max_heads]

    def _keypoints(self, values: NDArray[np.float64]) -> tuple[float | None, ...] | None:
        if self.runner.points is None:
            return None
        found: list[float | None] = []
        for x, y, *visible in values.reshape(self.runner.points):
            seen = np.isfinite(x) and np.isfinite(y) and (not visible or visible[0] >= VISIBLE)
            found += [float(_rounded(x)), float(_rounded(y))] if seen else [None, None]
        return tuple(found)

    def _name(self, number: int) -> str:
        names = self.runner.names  # a network without NMS of ours may count further than its names
        return names[number] if number < len(names) else str(number)


def _rounded(values: Any) -> Any:
    return np.round(values * ROUNDING) / ROUNDING


def _in_photo(rows: Floats, look: View, points: tuple[int, int] | None) -> NDArray[np.float64]:
    """Rows of a view with their boxes and keypoints in the photo's pixels."""
    moved = rows.astype(np.float64)
    moved[:, :4] = look.to_photo(moved[:, :4].reshape(-1, 2, 2)).reshape(-1, 4)
    if points:
        values = moved[:, 6:].reshape(-1, *points)
        values[..., :2] = look.to_photo(values[..., :2])
        moved[:, 6:] = values.reshape(len(moved), points[0] * points[1])
    return moved
