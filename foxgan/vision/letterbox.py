"""Photos as a YOLO network sees them: scaled, grey all around, and the way back from its pixels to those of the photo.

They are scaled without averaging, as ultralytics does when it trains and predicts: a network finds other boxes in smoother
pictures, up to a tenth of a head away. For the same reason JPEGs are not decoded at a part of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels
from foxgan.vision.tracks import glance

STRIDE = 32
GREY = 114  # what YOLO networks are trained to see as padding

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A part of a photo, ready for a network: `picture` has grey from `pad` (x, y) on outwards.

    `corner` (x, y) is where the part begins in the photo, `scale` (x, y) how many of the photo's pixels one of the picture's is.
    """

    picture: Pixels
    pad: tuple[int, int]
    corner: tuple[float, float]
    scale: tuple[float, float]

    def to_photo(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points [..., 2] (x, y) of the picture, in pixels of the photo."""
        return np.asarray((points - np.array(self.pad, np.float64)) * self.scale + self.corner)

    def glance(self, boxes: Sequence[Sequence[float]]) -> str:
        """How the part looks, and how what is in `boxes` (xyxy, the photo's pixels) does, without the grey; see `tracks`."""
        rows, columns = self.picture.shape[:2]
        inside = self.picture[self.pad[1] : rows - self.pad[1], self.pad[0] : columns - self.pad[0]]
        corners = np.array(boxes, np.float64).reshape(-1, 2, 2)
        return glance(inside, ((corners - self.corner) / self.scale).reshape(-1, 4).tolist())


def padded(
    scaled: Pixels, size: tuple[int, int], fixed: tuple[int, int] | None = None, corner: tuple[float, float] = (0, 0)
) -> View:
    """The view of a part of a photo that `scaled` shows: grey around it up to multiples of 32, or to `fixed` height and width.

    `size` (height, width) is that of the part in the photo, and `corner` says where it lies there.
    """
    height, width = scaled.shape[:2]
    rows, columns = fixed or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    picture = np.full((rows, columns, 3), GREY, np.uint8)
    top, left = (rows - height) // 2, (columns - width) // 2
    picture[top : top + height, left : left + width] = scaled
    return View(picture, (left, top), corner, (size[1] / width, size[0] / height))


def scaled_shape(height: int, width: int, max_height: int, max_width: int) -> tuple[int, int]:
    """The largest height and width of the same proportions within the limits, at least 1 pixel."""
    scale = min(max_height / height, max_width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))
