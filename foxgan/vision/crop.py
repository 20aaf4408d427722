"""Cutting an upright, anti-aliased picture of one size out of a photo, around a head or from the whole.

Everything is a `Window`: where it lies is decided apart from how it is cut. What lies outside the photo is its mirror image, blurred the
more the farther it is from the photo's edge, so that no seam is seen and no second, sharp head appears.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foxgan import images
from foxgan.images import Pixels, cv2

Fit = Literal["centre", "pad", "stretch"]

MAX_ROLL = 45.0  # degrees; what seems tilted more is mostly a profile, whose eye points say little about roll
MIN_EYE_DISTANCE = 0.08  # share of the box's longer side; closer eyes give no reliable direction
SOFTNESS = 0.3  # sigma of the blur outside the photo, as share of the distance from its edge


@dataclass(frozen=True)
class Window:
    """The part of a photo that becomes a crop: centre `x`, `y` and size in the photo's pixels; `roll` in degrees, clockwise.

    Coordinates have their origin at the corner of the first pixel. Sizes are whole pixels, so that a window of the crop's own size is
    copied and not resampled.
    """

    x: float
    y: float
    height: int
    width: int
    roll: float = 0.0

    @property
    def left(self) -> int:
        return math.floor(self.x - self.width / 2 + 0.5)

    @property
    def top(self) -> int:
        return math.floor(self.y - self.height / 2 + 0.5)


def head_window(
    box: Sequence[float],
    size: tuple[int, int],
    margin: float,
    keypoints: Sequence[float | None] | None = None,
    level: bool = True,
) -> Window:
    """The smallest window with the aspect of `size` (H, W) around `box` (xyxy, pixels) grown by `margin`, a share of its size.

    With `level` and eye points (`keypoints` = left eye x, y, right eye x, y, ...) the window is rolled so that the eyes come out level.
    """
    x0, y0, x1, y1 = box
    scale = max((y1 - y0) / size[0], (x1 - x0) / size[1]) * (1 + margin)
    roll = eye_roll(keypoints, max(x1 - x0, y1 - y0)) if level and keypoints else 0.0
    return _scaled((x0 + x1) / 2, (y0 + y1) / 2, size, scale, roll)


def whole_window(height: int, width: int, size: tuple[int, int], fit: Fit) -> Window:
    """The window of a whole photo of `height` x `width`: its middle, all of it and more, or all of it whatever its aspect."""
    if fit == "stretch":
        return Window(width / 2, height / 2, height, width)
    ratios = height / size[0], width / size[1]
    window = _scaled(width / 2, height / 2, size, min(ratios) if fit == "centre" else max(ratios))
    if fit == "centre":
        return replace(window, height=min(window.height, height), width=min(window.width, width))
    return window


def _scaled(x: float, y: float, size: tuple[int, int], scale: float, roll: float = 0.0) -> Window:
    height, width = (max(1, round(side * scale)) for side in size)
    return Window(x, y, height, width, roll)


def eye_roll(keypoints: Sequence[float | None], head_side: float) -> float:
    """How far the line through the eyes is turned clockwise, in degrees within +-MAX_ROLL; 0 where the points do not tell.

    It does not matter which eye comes first: a head is taken to be more upright than upside down.
    """
    lx, ly, rx, ry = (math.nan if v is None else v for v in keypoints[:4])  # None: a point that was not seen
    if not all(map(math.isfinite, (lx, ly, rx, ry))) or math.hypot(rx - lx, ry - ly) < MIN_EYE_DISTANCE * head_side:
        return 0.0
    degrees = math.degrees(math.atan2(ry - ly, rx - lx) if rx >= lx else math.atan2(ly - ry, lx - rx))
    return max(-MAX_ROLL, min(MAX_ROLL, degrees))


def clipped_box(box: Sequence[float] | None, height: int, width: int) -> tuple[float, float, float, float] | None:
    """The part of `box` inside a photo of `height` x `width`, or None where less than a pixel is."""
    if box is None or len(box) != 4 or not all(map(math.isfinite, box)):
        return None
    x0, x1 = (min(max(v, 0.0), float(width)) for v in (box[0], box[2]))
    y0, y1 = (min(max(v, 0.0), float(height)) for v in (box[1], box[3]))
    return (x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= 1 else None


def enlargement(window: Window, size: tuple[int, int]) -> float:
    """The factor by which the cut enlarges the photo's pixels; below 1 it shrinks them."""
    return max(size[0] / window.height, size[1] / window.width)


def outside_share(window: Window, height: int, width: int, samples: int = 64) -> float:
    """Which share of the window (0 to 1) lies outside a photo of `height` x `width`, counted on samples x samples points."""
    steps = (np.arange(samples) + 0.5) / samples - 0.5
    u, v = steps[None, :] * window.width, steps[:, None] * window.height
    (a, b), (c, d) = _rotation(window.roll)
    x, y = window.x + a * u + b * v, window.y + c * u + d * v
    return 1.0 - float(((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean())


def cut(image: Pixels, window: Window, size: tuple[int, int]) -> Pixels:
    """The window of `image` as uint8 [H, W, C] of `size` (H, W); outside of the photo RGBA is transparent, L and RGB softly mirrored."""
    if window.roll:
        return images.resize(_rolled(image, window), *size)
    return images.resize(_upright(image, window.top, window.left, window.height, window.width), *size)


def _rolled(image: Pixels, window: Window) -> Pixels:
    """The rolled window at the photo's own scale, so that only `images.resize`, which averages, ever shrinks it."""
    rotation = _rotation(window.roll)
    reach = np.abs(rotation) @ (window.width / 2, window.height / 2) + 3  # the cubic kernel looks 2 pixels further
    left, top = math.floor(window.x - reach[0]), math.floor(window.y - reach[1])
    right, bottom = math.ceil(window.x + reach[0]), math.ceil(window.y + reach[1])
    around = _upright(image, top, left, bottom - top, right - left)
    # patch pixel -> pixel of `around`; OpenCV's coordinate 0 is the middle of the first pixel, ours its corner
    middle = np.array([(window.width - 1) / 2, (window.height - 1) / 2])
    shift = np.array([window.x - left - 0.5, window.y - top - 0.5]) - rotation @ middle
    matrix = np.column_stack([rotation, shift])
    return _warp(around, matrix, window.height, window.width)


def _warp(image: Pixels, matrix: NDArray[np.float64], height: int, width: int) -> Pixels:
    def warp(layers: NDArray[Any]) -> NDArray[Any]:
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(layers, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped).reshape(height, width, image.shape[2])

    return images.resampled(image, warp)


def _rotation(degrees: float) -> NDArray[np.float64]:
    """What turns a window's axes into the photo's (y points down)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


def _upright(image: Pixels, top: int, left: int, height: int, width: int) -> Pixels:
    """A window of whole pixels, extended where it leaves the photo."""
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    outside_y, outside_x = _outside(rows, image.shape[0]), _outside(columns, image.shape[1])
    if not outside_y.any() and not outside_x.any():
        return image[top : top + height, left : left + width]
    patch = image[_mirrored(rows, image.shape[0])[:, None], _mirrored(columns, image.shape[1])]
    distance = np.hypot(outside_y[:, None], outside_x).astype(np.float32)
    if image.shape[2] == 4:
        patch[distance > 0] = 0
        return patch
    return _softened(patch, distance)


def _outside(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.maximum(0, np.maximum(-positions, positions - (length - 1)))


def _mirrored(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    positions = positions % (2 * length)
    return np.minimum(positions, 2 * length - 1 - positions)


def _softened(patch: Pixels, distance: NDArray[np.float32]) -> Pixels:
    """`patch` blurred with a sigma of SOFTNESS times `distance` (pixels, per pixel), unchanged where that is 0.

    Between patches blurred with sigma 0, 1, 3, 7, 15 ... each pixel is a mixture of the two nearest.
    """
    position = np.log2(1 + SOFTNESS * distance)[..., None]
    mixed = np.zeros(patch.shape, np.float32)
    for number in range(math.ceil(float(position.max())) + 1):
        weight = np.maximum(0, 1 - np.abs(position - number))
        mixed += weight * _blurred(patch, 2.0**number - 1)
    return np.round(mixed).clip(0, 255).astype(np.uint8)


def _blurred(patch: Pixels, sigma: float) -> NDArray[np.float32]:
    layers = patch.astype(np.float32)
    if sigma == 0:
        return layers
    height, width = patch.shape[:2]
    shrink = max(1, int(sigma // 2))  # a wide blur has no detail that a smaller picture would lose
    small = (max(1, width // shrink), max(1, height // shrink))
    layers = cv2.resize(layers, small, interpolation=cv2.INTER_AREA)
    layers = cv2.GaussianBlur(layers, (0, 0), sigma * small[0] / width, borderType=cv2.BORDER_REFLECT)
    layers = cv2.resize(layers, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(layers, np.float32).reshape(patch.shape)
