"""Many small pictures: each photo is decoded once, whatever number of boxes of it is wanted, several of them side by side."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from foxgan import images
from foxgan.errors import DataError
from foxgan.report.pictures import Picture, embed

SIDE = 128  # longest side, in pixels
QUALITY = 70
MARGIN = 0.25  # what is seen around a box, as a share of its sides

Box = Sequence[float]  # xyxy, in pixels


@dataclass(frozen=True)
class Thumbnail:
    """A photo, or a box of it, made small; `width` and `height` are those of the whole photo."""

    picture: Picture
    width: int
    height: int


def thumbnails(wanted: Sequence[tuple[str | None, Box | None]]) -> Iterator[Thumbnail | None]:
    """One for each path and box (None: the whole photo), in their order; None where there is no picture that can be read."""
    groups: dict[str, list[int]] = {}
    for position, (path, _) in enumerate(wanted):
        if path is not None:
            groups.setdefault(path, []).append(position)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        made = pool.map(lambda path: _of_photo(path, [wanted[p][1] for p in groups[path]]), groups)
        ready: dict[int, Thumbnail | None] = {}
        for position, (path, _) in enumerate(wanted):
            if path is not None and position not in ready:
                ready.update(zip(groups[path], next(made), strict=True))
            yield ready.pop(position) if path is not None else None


def _of_photo(path: str, boxes: Sequence[Box | None]) -> list[Thumbnail | None]:
    try:
        photo = images.decode(Path(path), mode="any")
    except (OSError, DataError):
        return [None] * len(boxes)
    height, width = photo.shape[:2]
    return [Thumbnail(embed(_cut(photo, box), SIDE, QUALITY), width, height) for box in boxes]


def _cut(photo: images.Pixels, box: Box | None) -> images.Pixels:
    """`box` with some of what is around it; the whole photo where nothing of it is inside."""
    if box is None:
        return photo
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = box
    right, down = (x1 - x0) * MARGIN, (y1 - y0) * MARGIN
    left, right = max(0, int(x0 - right)), min(width, int(x1 + right) + 1)
    top, bottom = max(0, int(y0 - down)), min(height, int(y1 + down) + 1)
    return photo[top:bottom, left:right] if left < right and top < bottom else photo
