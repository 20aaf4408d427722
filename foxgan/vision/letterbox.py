"""Photos as a YOLO network sees them: scaled, grey all around, and the way back from its pixels to those of the photo.

Scaled bilinearly, without averaging, as ultralytics does when it trains and predicts: a network finds other boxes in smoother
pictures, up to a tenth of a head away. Of a much larger photo the averaging is done by the JPEG decoder; see `decode_at_least`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2

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


def view(
    part: Pixels,
    imgsz: int,
    fixed: tuple[int, int] | None = None,
    size: tuple[float, float] | None = None,
    corner: tuple[float, float] = (0.0, 0.0),
) -> View:
    """The view of `part` (RGB): its longer side scaled to `imgsz`, then padded to multiples of 32; or into `fixed` height and width.

    `size` (height, width) and `corner` say where in the photo, and in the photo's pixels, the part lies.
    """
    height, width = scaled_shape(part.shape[0], part.shape[1], *(fixed or (imgsz, imgsz)))
    rows, columns = fixed or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    padded = np.full((rows, columns, 3), GREY, np.uint8)
    top, left = (rows - height) // 2, (columns - width) // 2
    inside = padded[top : top + height, left : left + width]
    if part.shape[:2] == (height, width):
        inside[:] = part
    else:
        inside[:] = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    own = size or part.shape[:2]
    return View(padded, (left, top), corner, (own[1] / width, own[0] / height))


def scaled_shape(height: int, width: int, max_height: int, max_width: int) -> tuple[int, int]:
    """The largest height and width of the same proportions within the limits, at least 1 pixel."""
    scale = min(max_height / height, max_width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))
