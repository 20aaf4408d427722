"""How good a picture is, as plain numbers: sharpness, light, colour, borders, lettering laid over it.

All are measured on a small copy, so that they mean the same for a phone's photo and a thumbnail. None of them knows what is good for a
dataset: thresholds are the caller's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, as_rgb, cv2
from foxgan.vision import lettering

Plane = NDArray[np.float32]

WORK = 512  # longer side of the small copy, in pixels
GREY = 128  # what transparent pictures are laid on
CELL = 32  # pixels; sharpness is that of the sharpest cells, as backgrounds may be blurred for beauty
CONTRAST = 4.0  # grey levels that a cell must vary by to tell whether it is sharp
NOISE = 2.0  # grey levels that may be no detail
BLACK, WHITE = 2, 253  # levels from here on are clipped
EVEN, EDGE = 5.0, 10.0  # levels by which a border may vary, and must differ from the picture
STRAIGHT = (
    0.6  # share of the pixels along a border's inner side that differ: a frame's edge is straight, that of snow is not
)


def measure(image: Pixels) -> dict[str, float]:
    """The scores of a picture uint8 [H, W, C], named as index columns.

    `sharpness`: detail by contrast in the sharpest places, about 0.5 for a sharp photo, 0.1 for a blurred one. `brightness`: the mean,
    0..1. `clipped`: share of pixels that are black or white. `colour`: spread of the hues, 0..1; 0 for grey and for tinted pictures.
    `border`: share of the picture that is an even frame or bars. `overlay`: share covered by what looks like lines of text.
    """
    picture, opaque = _small(image)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    seen = grey[opaque] if opaque.any() else grey
    return {
        "sharpness": sharpness(grey.astype(np.float32)),
        "brightness": float(seen.mean()) / 255,
        "clipped": float(((seen <= BLACK) | (seen >= WHITE)).mean()),
        "colour": colour(picture),
        "border": border(picture),
        "overlay": lettering.share(grey),
    }


def measure_sharpness(image: Pixels) -> float:
    """Only the sharpness, of a picture uint8 [H, W, C]."""
    return sharpness(cv2.cvtColor(_small(image)[0], cv2.COLOR_RGB2GRAY).astype(np.float32))


def _small(image: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """RGB of at most WORK pixels, and where it is not transparent; of a cut-out the part that holds it."""
    opaque = np.ones(image.shape[:2], bool)
    if image.shape[2] == 4 and (image[..., 3] > 127).any():
        opaque = image[..., 3] > 127
        rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        image, opaque = np.where(opaque[part][..., None], image[part][..., :3], GREY).astype(np.uint8), opaque[part]
    picture = as_rgb(image[..., :3] if image.shape[2] == 4 else image)
    height, width = picture.shape[:2]
    scale = WORK / max(height, width)
    if scale >= 1:
        return picture, opaque
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small, cv2.resize(opaque.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def sharpness(grey: Plane) -> float:
    """The finest detail by the contrast around it, in the sharpest tenth of the cells of float32 [H, W]."""
    fine = cv2.GaussianBlur(grey, (0, 0), 1.0)
    details = _spread(grey - fine)
    contrast = _spread(fine - cv2.GaussianBlur(grey, (0, 0), 4.0))
    telling = contrast > CONTRAST
    if not telling.any():
        return 0.0
    ratios = np.maximum(details[telling] - NOISE / 2, 0) / (contrast[telling] + NOISE)
    return float(np.quantile(ratios, 0.9))


def _spread(plane: Plane) -> Plane:
    """The root mean square in every cell."""
    rows, columns = (max(1, round(side / CELL)) for side in plane.shape)
    squares = cv2.resize(plane * plane, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(np.sqrt(squares), np.float32).reshape(rows, columns)


def colour(picture: Pixels) -> float:
    """How far hues spread beyond what brightness explains (as in sepia), 0..1, of RGB."""
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)  # the noise of JPEG's colours is averaged away
    y, red, blue = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).reshape(-1, 3).astype(np.float64).T / 255
    known = np.stack([np.ones_like(y), y, y * y], axis=1)
    hues = np.stack([red, blue], axis=1)
    explained = known @ np.linalg.lstsq(known, hues, rcond=None)[0]
    return float(np.sqrt(np.square(hues - explained).mean()))


def border(picture: Pixels) -> float:
    """The share of RGB [H, W, 3] that even bars take, above and below, left and right; bars on one side only are sky or snow."""
    height, width = picture.shape[:2]
    rows = min(_bar(picture), _bar(picture[::-1]))
    columns = min(_bar(picture.swapaxes(0, 1)), _bar(picture.swapaxes(0, 1)[::-1]))
    return float(1 - (height - 2 * rows) * (width - 2 * columns) / (height * width))


def _bar(picture: Pixels) -> int:
    """Rows at the top that are all of one colour and end at a straight edge."""
    edge = np.median(picture[0], axis=0)
    if np.abs(picture[0] - edge).mean() > EVEN:  # as good as always
        return 0
    limit = picture.shape[0] // 2
    apart = np.abs(picture[:limit].astype(np.float32) - edge.astype(np.float32)).mean(axis=2)
    other = np.flatnonzero((apart.mean(axis=1) > EVEN) | (np.quantile(apart, 0.95, axis=1) > 4 * EVEN))
    if not len(other) or other[0] == 0:
        return 0
    end = int(other[0])
    beyond = apart[min(end + 1, limit - 1)]  # the row between may be a mixture
    return end if (beyond > EDGE).mean() >= STRAIGHT else 0
