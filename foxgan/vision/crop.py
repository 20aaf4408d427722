"""Cutting an anti-aliased picture of one size out of a photo, around a head or from the whole.

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

SOFTNESS = 0.3  # sigma of the blur outside the photo, as share of the distance from its edge
SUPERSAMPLING = 1.5  # pixels, each way, of a photo that is decoded smaller, that must be left for one of the crop
DENSITY = (
    0.75  # points per pixel of the photo, each way, whose mean is a pixel of a turned crop, where the photo shrinks
)
KERNEL = 3  # pixels that an interpolation may look beyond a window
REDUCTIONS = (8, 4, 2)  # at which JPEGs are decoded for little


@dataclass(frozen=True)
class Window:
    """The part of a photo that becomes a crop: centre `x`, `y` and size in the photo's pixels; `roll` in degrees, clockwise.

    Coordinates have their origin at the corner of the first pixel. Sizes are whole pixels, so that a window of the crop's own size is
    copied and not resampled; those of large windows are multiples of 2, 4 or 8, and so are the edges of upright ones, so that they lie
    between pixels in a photo that was decoded at a half, a quarter or an eighth, too.
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

    def reduced(self, by: int) -> Window:
        """The same part of the photo at `1 / by` of its size, where `by` is no more than `reduction` allows."""
        return Window(self.x / by, self.y / by, self.height // by, self.width // by, self.roll)


def head_window(box: Sequence[float], size: tuple[int, int], margin: float, roll: float = 0.0) -> Window:
    """The smallest window with the aspect of `size` (H, W) around `box` (xyxy, pixels) grown by `margin`, a share of its size."""
    x0, y0, x1, y1 = box
    scale = max((y1 - y0) / size[0], (x1 - x0) / size[1]) * (1 + margin)
    return scaled_window((x0 + x1) / 2, (y0 + y1) / 2, size, scale, roll)


def whole_window(height: int, width: int, size: tuple[int, int], fit: Fit) -> Window:
    """The window of a whole photo of `height` x `width`: its middle, all of it and more, or all of it whatever its aspect."""
    if fit == "stretch":
        return Window(width / 2, height / 2, height, width)
    ratios = height / size[0], width / size[1]
    if fit == "pad":
        scale = max(ratios)
        return _snapped(width / 2, height / 2, size, scale, 0.0, _step(scale, height, width))
    step = _step(min(ratios))
    window = _snapped(width / 2, height / 2, size, min(ratios), 0.0, step)
    limits = (side // step * step for side in (height, width))
    tall, wide = (min(*sides) for sides in zip((window.height, window.width), limits, strict=True))
    return _placed(replace(window, x=width / 2, y=height / 2, height=tall, width=wide), step)


def scaled_window(x: float, y: float, size: tuple[int, int], scale: float, roll: float = 0.0) -> Window:
    """The window around (x, y) that becomes `size` (H, W) when it is shrunk by `scale`."""
    return _snapped(x, y, size, scale, roll, _step(scale))


def _snapped(x: float, y: float, size: tuple[int, int], scale: float, roll: float, step: int) -> Window:
    height, width = (max(1, round(side * scale / step)) * step for side in size)
    return _placed(Window(x, y, height, width, roll), step)


def _placed(window: Window, step: int) -> Window:
    """An upright window with its edges at multiples of `step`."""
    if window.roll or step == 1:
        return window
    x, y = (
        math.floor((middle - side / 2) / step + 0.5) * step + side / 2
        for middle, side in ((window.x, window.width), (window.y, window.height))
    )
    return replace(window, x=x, y=y)


def _step(scale: float, *sides: int) -> int:
    """The largest reduction that leaves enough pixels to a window that shrinks by `scale`, and divides `sides`."""
    return next((k for k in REDUCTIONS if scale >= SUPERSAMPLING * k and not any(s % k for s in sides)), 1)


def reduction(window: Window, size: tuple[int, int], height: int, width: int) -> int:
    """At which part (1, 2, 4 or 8) of its size a photo of `height` x `width` may be decoded for `window` to become `size`.

    Where the window leaves the photo, its edges must lie between pixels, too.
    """
    scale = min(window.height / size[0], window.width / size[1])
    sides = [window.height, window.width]
    if not window.roll:
        sides += [window.left, window.top]
    if _leaves(window, height, width):
        sides += [height, width]
    return _step(scale, *sides)


def _leaves(window: Window, height: int, width: int) -> bool:
    """Whether any corner of the window lies outside the photo."""
    x, y = _points(window, np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    return bool(x.min() < 0 or y.min() < 0 or x.max() > width or y.max() > height)


def _points(window: Window, rows: NDArray[Any], columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """x and y in the photo, [R, C] each, of places in the window: shares of its height and width."""
    x, y = window.x, window.y
    if not window.roll:  # upright windows begin at whole pixels
        x, y = window.left + window.width / 2, window.top + window.height / 2
    u, v = (columns[None, :] - 0.5) * window.width, (rows[:, None] - 0.5) * window.height
    (a, b), (c, d) = _rotation(window.roll)
    return x + a * u + b * v, y + c * u + d * v


def into_crop(
    window: Window, size: tuple[int, int], points: Sequence[tuple[float, float] | None]
) -> list[tuple[float, float] | None]:
    """Where `points` of the photo come to lie in the crop, in its pixels."""
    x, y = (float(v[0, 0]) for v in _points(window, np.array([0.5]), np.array([0.5])))
    (a, b), (c, d) = _rotation(window.roll).T.tolist()
    width, height = size[1] / window.width, size[0] / window.height
    return [
        point
        and (
            size[1] / 2 + (a * (point[0] - x) + b * (point[1] - y)) * width,
            size[0] / 2 + (c * (point[0] - x) + d * (point[1] - y)) * height,
        )
        for point in points
    ]


def _middles(count: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) / count


def clipped_box(box: Sequence[float] | None, height: int, width: int) -> tuple[float, float, float, float] | None:
    """The part of `box` inside a photo of `height` x `width`, or None where less than a pixel is."""
    if box is None or len(box) != 4 or not all(v is not None and math.isfinite(v) for v in box):
        return None
    x0, x1 = (min(max(v, 0.0), float(width)) for v in (box[0], box[2]))
    y0, y1 = (min(max(v, 0.0), float(height)) for v in (box[1], box[3]))
    return (x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= 1 else None


def enlargement(window: Window, size: tuple[int, int]) -> float:
    """The factor by which the cut enlarges the photo's pixels; below 1 it shrinks them."""
    return max(size[0] / window.height, size[1] / window.width)


def outside_share(window: Window, height: int, width: int, samples: int = 64) -> float:
    """Which share of the window (0 to 1) lies outside a photo of `height` x `width`, counted on samples x samples points."""
    if not _leaves(window, height, width):
        return 0.0
    x, y = _points(window, _middles(samples), _middles(samples))
    return 1.0 - float(((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean())


def cut(image: Pixels, window: Window, size: tuple[int, int], reduced: int = 1) -> Pixels:
    """The window of a photo as uint8 [H, W, C] of `size` (H, W); outside of it RGBA is transparent, L and RGB softly mirrored.

    `image` is the photo at `1 / reduced` of its size.
    """
    window = window.reduced(reduced)
    if window.roll:
        picture = _rolled(image, window, size)
    else:
        picture = images.resize(_patch(image, window.top, window.left, window.height, window.width), *size)
    if picture.shape[2] == 4 or not _leaves(window, *image.shape[:2]):
        return picture
    distance = _distance(window, image.shape, size)
    return _softened(picture, distance) if distance.any() else picture


def _rolled(image: Pixels, window: Window, size: tuple[int, int]) -> Pixels:
    """The rolled window, turned at a scale where a pixel of the crop is the mean of some points."""
    whole = max(1, int(1 / enlargement(window, size) / 2))
    reach = np.abs(_rotation(window.roll)) @ (window.width / 2, window.height / 2) + KERNEL * whole
    left, top = math.floor(window.x - reach[0]), math.floor(window.y - reach[1])
    height, width = (whole * math.ceil((2 * side + 1) / whole) for side in (reach[1], reach[0]))
    near = Window(window.x - left, window.y - top, window.height, window.width, window.roll)

    def turn(layers: NDArray[Any]) -> NDArray[Any]:
        if whole > 1:  # shrunk by a whole number first, which is exact and fast
            layers = cv2.resize(layers, (width // whole, height // whole), interpolation=cv2.INTER_AREA)
        return _turned(layers, near, whole, size)

    return images.resampled(_patch(image, top, left, height, width), turn)


def _turned(layers: NDArray[Any], window: Window, shrunk: int, size: tuple[int, int]) -> NDArray[Any]:
    """`window` of a photo, turned and brought to `size`; `layers` [H, W, C] are the photo at 1 / `shrunk`."""
    scale = 1 / enlargement(window, size) / shrunk
    fine, kernel = (max(2, math.ceil(DENSITY * scale)), cv2.INTER_LINEAR) if scale > 1.1 else (1, cv2.INTER_CUBIC)
    height, width = fine * size[0], fine * size[1]
    # pixel of the result -> pixel of `layers`; OpenCV's coordinate 0 is the middle of the first pixel, ours its corner
    turn = _rotation(window.roll) * (window.width / width / shrunk, window.height / height / shrunk)
    centre = np.array([window.x / shrunk - 0.5, window.y / shrunk - 0.5])
    matrix = np.column_stack([turn, centre - turn @ ((width - 1) / 2, (height - 1) / 2)])
    flags = kernel | cv2.WARP_INVERSE_MAP
    turned = cv2.warpAffine(layers, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if fine > 1:
        turned = cv2.resize(turned, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(turned).reshape(*size, -1)


def _rotation(degrees: float) -> NDArray[np.float64]:
    """Directions in the crop -> directions in the photo."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


# Outside the photo


def _patch(image: Pixels, top: int, left: int, height: int, width: int) -> Pixels:
    """A window of whole pixels; beyond the photo its mirror image, or nothing if it has alpha."""
    rows, columns, channels = image.shape
    above, below = max(0, -top), max(0, top + height - rows)
    before, behind = max(0, -left), max(0, left + width - columns)
    if not (above or below or before or behind):
        return image[top : top + height, left : left + width]
    # of the photo what is seen, and what its mirror image is made of
    y0, y1 = max(0, min(top, rows - below)), min(rows, max(top + height, above))
    x0, x1 = max(0, min(left, columns - behind)), min(columns, max(left + width, before))
    border = cv2.BORDER_CONSTANT if channels == 4 else cv2.BORDER_REFLECT
    extended = cv2.copyMakeBorder(image[y0:y1, x0:x1], above, below, before, behind, border)
    y, x = top - y0 + above, left - x0 + before
    patch: Pixels = extended.reshape(*extended.shape[:2], channels)[y : y + height, x : x + width]
    return patch


def _distance(window: Window, shape: Sequence[int], size: tuple[int, int]) -> NDArray[np.float32]:
    """How far outside of a photo of `shape` every pixel of the crop lies, in pixels of the crop."""
    x, y = _points(window, _middles(size[0]), _middles(size[1]))
    beside = np.maximum(np.maximum(-x, x - shape[1]), 0) * (size[1] / window.width)
    above = np.maximum(np.maximum(-y, y - shape[0]), 0) * (size[0] / window.height)
    return np.asarray(np.hypot(beside, above), np.float32)


def _softened(picture: Pixels, distance: NDArray[np.float32]) -> Pixels:
    """`picture` blurred with a sigma of SOFTNESS times `distance` (pixels, per pixel), unchanged where that is 0.

    Between pictures blurred with sigma 0, 1, 3, 7, 15 ... each pixel is a mixture of the two nearest.
    """
    reach = math.ceil(3 * SOFTNESS * float(distance.max())) + 1
    part = tuple(_around(np.flatnonzero(distance.max(axis=axis)), reach) for axis in (1, 0))
    position = np.log2(1 + SOFTNESS * distance[part])[..., None]
    mixed = np.zeros((*position.shape[:2], picture.shape[2]), np.float32)
    for number in range(math.ceil(float(position.max())) + 1):
        weight = np.maximum(0, 1 - np.abs(position - number))
        mixed += weight * _blurred(picture[part], 2.0**number - 1)
    softened = picture.copy()
    softened[part] = np.round(mixed).clip(0, 255)
    return softened


def _around(places: NDArray[np.int64], reach: int) -> slice:
    """From the first to the last of some places, and `reach` further."""
    return slice(max(0, int(places[0]) - reach), int(places[-1]) + 1 + reach)


def _blurred(picture: Pixels, sigma: float) -> NDArray[np.float32]:
    layers = picture.astype(np.float32)
    if sigma == 0:
        return layers
    height, width = picture.shape[:2]
    shrink = max(1, int(sigma // 1.5))  # a wide blur has no detail that a smaller picture would lose
    small = (max(1, width // shrink), max(1, height // shrink))
    layers = cv2.resize(layers, small, interpolation=cv2.INTER_AREA)
    layers = cv2.GaussianBlur(layers, (0, 0), sigma * small[0] / width, borderType=cv2.BORDER_REFLECT)
    layers = cv2.resize(layers, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(layers, np.float32).reshape(picture.shape)
