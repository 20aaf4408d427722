"""What looks like lines of text laid over a picture: captions, dates, watermarks, signatures.

Letters are thin strokes of one tone, many in a row, with nothing like them above and below; fur and grass are strokes, too, but on all
sides. It reads nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2

STROKE = 9  # pixels; strokes are thinner
CLEAR = 36  # grey levels between a stroke and what is around it
GAP = 11  # pixels between letters of one line
SHORTEST, LOWEST, HIGHEST = 28, 5, 0.14  # pixels of a line's width and height; its height as a share of the picture's
LONG = 2.5  # widths by heights
FULL = (0.12, 0.62)  # share of a line's box that strokes cover
STROKES = 1.6  # by which a row crosses strokes, per height of the line
TONE = 16.0  # grey levels by which the strokes of a line vary
TONE_LONG, VERY_LONG = 60.0, 5.0  # of a line that is longer than so many heights: few other things are
SLANTS = (-45, -30, 30, 45)  # degrees at which watermarks lie; 10 more or less are seen, too
TILES = 2  # slanted lines of one tone that count: fur or a stem may look like one, watermarks are repeated
AROUND = 0.06  # share of strokes above and below a line


def share(grey: Pixels) -> float:
    """The share of a grey picture, uint8 [H, W] of about 500 pixels, that lines of text cover: upright ones, or many slanted ones."""
    return max(_covered(grey, 1), *(_covered(_turned(grey, angle), TILES) for angle in SLANTS))


def _covered(grey: Pixels, fewest: int) -> float:
    """The share that lines cover of which there are at least so many, of bright letters or of dark ones."""
    found = [_lines(tones) for tones in (grey, 255 - grey)]
    return min(1.0, sum(sum(areas) for areas in found if len(areas) >= fewest) / grey.size)


def _turned(grey: Pixels, angle: float) -> Pixels:
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    return np.asarray(cv2.warpAffine(grey, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _lines(grey: Pixels) -> list[int]:
    """Pixels in the box of each line of bright letters."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (STROKE, STROKE))
    strokes = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel) > CLEAR
    ridges = strokes & (grey >= cv2.dilate(grey, np.ones((3, 3), np.uint8)))  # edges of letters are mixtures
    near = cv2.getStructuringElement(cv2.MORPH_RECT, (GAP, 1))
    joined = cv2.morphologyEx(strokes.astype(np.uint8), cv2.MORPH_CLOSE, near)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    boxes = boxes[1:]  # the first is all the rest
    wide = (boxes[:, 2] >= np.maximum(SHORTEST, LONG * boxes[:, 3])) & (boxes[:, 3] >= LOWEST)
    low = boxes[:, 3] <= HIGHEST * grey.shape[0]
    lines = [box for box in boxes[wide & low][:, :4].tolist() if _is_line(grey, strokes, ridges, *box)]
    return [width * height for _, _, width, height in lines]


def _is_line(
    grey: Pixels, strokes: NDArray[np.bool_], ridges: NDArray[np.bool_], x: int, y: int, width: int, height: int
) -> bool:
    rows, columns = slice(y, y + height), slice(x, x + width)
    box = strokes[rows, columns]
    if not FULL[0] <= box.mean() <= FULL[1]:
        return False
    inner = box[height // 4 : height - height // 4]
    crossings = np.count_nonzero(inner[:, 1:] != inner[:, :-1], axis=1) / 2
    if np.median(crossings) < STROKES * width / height:
        return False
    margin = max(2, height // 3)
    beside = strokes[max(0, y - margin) : y, columns], strokes[y + height : y + height + margin, columns]
    if max((part.mean() if part.size else 0.0) for part in beside) > AROUND:
        return False
    tones = grey[rows, columns][ridges[rows, columns]]
    low, high = np.quantile(tones, (0.25, 0.75)) if len(tones) else (0, 255)
    return bool(high - low <= (TONE_LONG if width >= VERY_LONG * height else TONE))
