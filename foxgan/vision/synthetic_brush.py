"""The brushes of the drawn animals: smooth and furry outlines, soft fills, noise and light.

Polygons are float pixels with the origin at the top left corner of the first pixel; colours are RGB in 0..1.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Colour = Sequence[float] | NDArray[np.float64] | Floats


def mix(a: Colour, b: Colour, share: float) -> NDArray[np.float64]:
    """The colour `share` of the way from `a` to `b`."""
    return np.asarray(a, np.float64) * (1 - share) + np.asarray(b, np.float64) * share


def spline(points: ArrayLike, closed: bool = True, steps: int = 8) -> Points:
    """A smooth curve through `points` [N, 2] (Catmull-Rom), `steps` samples per segment."""
    p = np.asarray(points, np.float64)
    first, last = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = np.concatenate([first, p, last])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-2:-1]])


def furry(contour: Points, rng: np.random.Generator, step: float, length: ArrayLike, lean: float = 0.6) -> Points:
    """The closed `contour` with tufts of hair: a tip about every `step` pixels, up to `length` beyond the curve.

    `length` may be an array with one value per point of the contour; `lean` slants the tips along the curve.
    """
    loop = np.concatenate([contour, contour[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(loop, axis=0).T))])
    count = max(int(along[-1] / step), 8)
    at = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * along[-1] / count % along[-1]
    at.sort()
    lengths = np.broadcast_to(np.asarray(length, np.float64), len(contour))
    lengths = np.interp(at, along, np.append(lengths, lengths[:1]))
    root = np.stack([np.interp(at, along, loop[:, i]) for i in (0, 1)], 1)
    tangent = np.roll(root, -1, 0) - np.roll(root, 1, 0)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
    area = np.sum(loop[:-1, 0] * loop[1:, 1] - loop[1:, 0] * loop[:-1, 1])
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1) * np.sign(area)
    down = np.where(tangent[:, 1:] >= 0, 1.0, -1.0)  # hair falls: tips slant towards the ground
    tip = (root + np.roll(root, -1, 0)) / 2
    clump = np.interp(
        np.arange(count), np.arange(0, count + 4, 4), rng.uniform(0.4, 1.1, count // 4 + 1 + (count % 4 > 0))
    )
    tip = tip + (normal + lean * down * tangent) * (lengths * clump * rng.uniform(0.3, 1.0, count))[:, None]
    return np.stack([root, tip], 1).reshape(-1, 2)


def soften(mask: Floats, sigma: float) -> Floats:
    """`mask` blurred; wide blurs run on a smaller copy, which nobody can tell apart."""
    if sigma < 0.3:
        return mask
    shrink = int(min(max(sigma / 3, 1), min(mask.shape[:2])))
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)
    height, width = mask.shape[:2]
    small = cv2.resize(mask, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def noise(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float], octaves: int = 3) -> Floats:
    """Smooth noise of about -1..1; `cell` is the size (y, x) in pixels of its largest bumps."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = max(int(height * 2**octave / cell[0]), 1) + 3
        columns = max(int(width * 2**octave / cell[1]), 1) + 3
        grid = rng.uniform(-1, 1, (min(rows, height + 3), min(columns, width + 3))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return total


def blend(picture: Floats, share: Floats, colour: Colour | Floats) -> None:
    """Move `picture` [H, W, 3] by `share` [H, W] towards `colour` (or another picture), in place."""
    paint = np.asarray(colour, np.float32)
    for channel in range(3):  # three times as fast as broadcasting over the short last axis
        plane = picture[..., channel]
        plane += share * (paint[..., channel] - plane)


class Canvas:
    """A transparent picture to draw on: `rgb` [H, W, 3] and `alpha` [H, W], float32 in 0..1."""

    def __init__(self, width: int, height: int) -> None:
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)

    def mask(self, polygon: Points, soft: float = 0) -> tuple[Floats, tuple[slice, slice]] | None:
        """The polygon's anti-aliased coverage and where it lies; None where it misses the canvas."""
        margin = int(3 * soft) + 2
        height, width = self.alpha.shape
        x0, y0 = np.clip(np.floor(polygon.min(0)).astype(int) - margin, 0, (width, height))
        x1, y1 = np.clip(np.ceil(polygon.max(0)).astype(int) + margin, 0, (width, height))
        if x1 <= x0 or y1 <= y0:
            return None
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corners = np.round((polygon - (x0 + 0.5, y0 + 0.5)) * 16).astype(np.int32)  # 4 fractional bits
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
        return soften(mask.astype(np.float32) / np.float32(255), soft), (slice(y0, y1), slice(x0, x1))

    def fill(self, polygon: Points, colour: Colour, soft: float = 0, opacity: float = 1, inside: bool = False) -> None:
        """Paint `polygon`; with `inside` only onto what is there already, as fur markings are."""
        found = self.mask(polygon, soft)
        if found is None:
            return
        mask, place = found
        mask = mask * np.float32(opacity)
        if inside:
            mask = mask * self.alpha[place]
        else:
            whole: Floats = self.alpha[place] + (np.float32(1) - self.alpha[place]) * mask
            self.alpha[place] = whole
            mask = np.divide(
                mask, np.maximum(whole, np.float32(1e-3)), dtype=np.float32
            )  # on bare canvas the colour is not mixed with black
        blend(self.rgb[place], mask, colour)

    def line(
        self, points: Points, colour: Colour, width: float, opacity: float = 1, taper: float = 0, inside: bool = False
    ) -> None:
        """A stroke along `points`, its end thinned by `taper` of the width."""
        step = np.gradient(points, axis=0)
        step /= np.maximum(np.hypot(*step.T), 1e-6)[:, None]
        half = np.stack([step[:, 1], -step[:, 0]], 1) * (np.linspace(1, 1 - taper, len(points))[:, None] * width / 2)
        self.fill(np.concatenate([points + half, (points - half)[::-1]]), colour, opacity=opacity, inside=inside)

    def shrunk(self, factor: int) -> "Canvas":
        """The canvas at 1/`factor` of its size, averaged."""
        height, width = self.alpha.shape
        small = Canvas(width // factor, height // factor)
        size = (width // factor, height // factor)
        if factor == 1:
            small.rgb, small.alpha = self.rgb, self.alpha
            return small
        weighted = cv2.resize(self.rgb * self.alpha[..., None], size, interpolation=cv2.INTER_AREA)
        small.alpha = np.asarray(cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA), np.float32)
        small.rgb = np.asarray(weighted / np.maximum(small.alpha, 1e-3)[..., None], np.float32)
        return small

    def onto(self, picture: Floats, left: int, top: int) -> None:
        """Lay this canvas over `picture` with its corner at (left, top), in place: RGB [H, W, 3], or RGBA [H, W, 4], premultiplied."""
        height, width = self.alpha.shape
        y0, y1 = max(top, 0), min(top + height, picture.shape[0])
        x0, x1 = max(left, 0), min(left + width, picture.shape[1])
        if y1 <= y0 or x1 <= x0:
            return
        mine = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        blend(picture[y0:y1, x0:x1], self.alpha[mine], self.rgb[mine])
        if picture.shape[2] == 4:
            covered = picture[y0:y1, x0:x1, 3]
            covered += self.alpha[mine] * (1 - covered)
