"""The one place that reads and writes picture files. Pixels are uint8 [H, W, C] with C = 1 (L), 3 (RGB) or 4 (RGBA).

Reading is Pillow's and lives in `decoding`; here OpenCV does the fast work on pixels that are already checked.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from foxgan.decoding import (
    ImageError,
    Mode,
    Pixels,
    as_rgb,
    decode,
    decode_towards,
    examine,
    extension,
    flatten,
    interpolated,
    is_far_larger,
    jpeg_channels,
    probe,
    to_mode,
)
from foxgan.encoding import cv2, encode_jpeg, encode_png, encode_webp, import_opencv, write, write_bytes
from foxgan.errors import DataError

__all__ = [
    "ImageError",
    "Pixels",
    "as_rgb",
    "contact_sheet",
    "cv2",
    "decode",
    "decode_examined",
    "decode_towards",
    "draw_boxes",
    "encode_jpeg",
    "encode_png",
    "encode_webp",
    "examine",
    "extension",
    "flatten",
    "grid",
    "import_opencv",
    "pixel_digest",
    "probe",
    "resampled",
    "resize",
    "save_grid",
    "scaled_plainly",
    "write",
    "write_bytes",
]

OUTLINES = ((255, 140, 0), (0, 150, 255), (60, 180, 75), (230, 60, 120), (150, 90, 220), (0, 170, 170))


REDUCED = {  # channels and part of the size -> how OpenCV is to read a JPEG
    (1, 1): cv2.IMREAD_GRAYSCALE,
    (1, 2): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (1, 4): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (1, 8): cv2.IMREAD_REDUCED_GRAYSCALE_8,
    (3, 1): cv2.IMREAD_COLOR,
    (3, 2): cv2.IMREAD_REDUCED_COLOR_2,
    (3, 4): cv2.IMREAD_REDUCED_COLOR_4,
    (3, 8): cv2.IMREAD_REDUCED_COLOR_8,
}


# Reading


def decode_examined(data: bytes, *, mode: Mode = "RGB", reduced: int = 1) -> Pixels:
    """As `decode`, of bytes that `examine` has passed: OpenCV makes the same pixels of most JPEGs in three quarters of the time."""
    if not (channels := jpeg_channels(data)):
        return decode(data, mode=mode, reduced=reduced)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[channels, reduced] | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageError("picture: OpenCV cannot read it, though Pillow could")
    if channels == 3:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)
    return to_mode(np.atleast_3d(pixels), mode)


# Resizing and digests


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Anti-aliased: a side that shrinks is averaged by area, one that grows is interpolated (Lanczos); alpha-aware."""
    if image.shape[:2] == (height, width):
        return image.copy()
    return resampled(image, lambda layers: _resample(layers, height, width))


def scaled_plainly(image: Pixels, height: int, width: int) -> Pixels:
    """RGB pixels interpolated between the nearest four, without averaging where they shrink."""
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    if is_far_larger(rows, columns, height, width):  # the same as `decode_towards`, and nearly as the other way
        return np.asarray(interpolated(Image.fromarray(image), height, width))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))


def resampled(image: Pixels, resample: Callable[[NDArray[Any]], NDArray[Any]]) -> Pixels:
    """What `resample` makes of the pixels; RGBA premultiplied, as the colour of transparent pixels must not bleed into the edges."""
    if image.shape[2] != 4:
        return np.asarray(resample(image), np.uint8)
    alpha = image[..., 3:] / np.float32(255)
    layers = resample(np.concatenate([image[..., :3] * alpha, alpha], axis=2))
    alpha = layers[..., 3:]  # kernels overshoot; so does the colour, and by the same factor
    colour = np.divide(layers[..., :3], alpha, out=np.zeros_like(layers[..., :3]), where=alpha > 1 / 512)
    return np.round(np.concatenate([colour, alpha * 255], axis=2).clip(0, 255)).astype(np.uint8)


def _resample(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    rows, columns, channels = image.shape
    shrunk = (min(width, columns), min(height, rows))  # OpenCV's sizes are (width, height)
    if shrunk != (columns, rows):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return image.reshape(height, width, channels)


def pixel_digest(image: Pixels) -> str:
    """The sha256 (hex) of shape and pixels: equal for equal pictures, whatever file they came from."""
    digest = hashlib.sha256("x".join(map(str, image.shape)).encode() + b"\0")
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


# Sheets for people


def grid(images: Sequence[Pixels] | Pixels, columns: int | None = None, background: int = 255, gap: int = 0) -> Pixels:
    """Equal-sized pictures side by side, row by row, as square as it gets; RGBA comes out as RGB on a checkerboard.

    Raises DataError for none at all or for two sizes.
    """
    if len(images) == 0:
        raise DataError("a grid needs at least one picture")
    shapes = {tuple(i.shape[:2]) for i in images}
    if len(shapes) > 1:
        raise DataError(f"a grid needs pictures of one size; these are {', '.join(f'{h}x{w}' for h, w in shapes)}")
    height, width = shapes.pop()
    board = _checkerboard(height, width)
    tiles = [flatten(i, board) for i in images]
    channels = max(t.shape[2] for t in tiles)
    columns = max(1, min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles)))
    rows = -(-len(tiles) // columns)
    sheet = np.full(((height + gap) * rows - gap, (width + gap) * columns - gap, channels), background, np.uint8)
    for position, tile in enumerate(tiles):
        y, x = position // columns * (height + gap), position % columns * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def save_grid(path: Path, images: Sequence[Pixels] | Pixels, columns: int | None = None) -> None:
    """Write `grid(images)` to a .png or .jpg file."""
    write(path, grid(images, columns))


def _checkerboard(height: int, width: int, cell: int = 8) -> Pixels:
    y, x = np.ogrid[:height, :width]
    return np.where((y // cell + x // cell) % 2, 255, 232).astype(np.uint8)[..., None]


def draw_boxes(
    image: Pixels,
    boxes: Iterable[Sequence[float]],
    labels: Sequence[str] | None = None,
    colours: Sequence[tuple[int, int, int]] = OUTLINES,
) -> Pixels:
    """An RGB copy with anti-aliased outlines of `boxes` (xyxy, pixels), each with its label if there are any.

    `colours` are taken in turn.
    """
    canvas = np.ascontiguousarray(as_rgb(flatten(image))).copy()
    thickness = max(2, round(max(canvas.shape[:2]) / 200))
    for number, box in enumerate(boxes):
        colour = colours[number % len(colours)]
        # 4 fractional bits; OpenCV's coordinate 0 is the middle of the first pixel, ours its corner
        x0, y0, x1, y1 = (round((v - 0.5) * 16) for v in box)
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.int32)
        cv2.polylines(canvas, [corners], True, colour, thickness, cv2.LINE_AA, 4)
        if labels is not None:
            at = (int(box[0]) + thickness, int(box[1]) + thickness)
            canvas = _write_text(canvas, labels[number], at, max(10, 6 * thickness), colour)
    return canvas


def contact_sheet(
    images: Iterable[Pixels],
    labels: Iterable[str] | None = None,
    boxes: Iterable[Iterable[Sequence[float]]] | None = None,
    tile: int = 192,
    columns: int = 6,
) -> Pixels:
    """Pictures of any size fitted into tiles, each with its boxes (xyxy in its own pixels) and a short text below."""
    tiles = []
    for image, label, found in zip(images, labels or repeat(""), boxes or repeat(()), strict=False):
        cell = _fit(image, [list(b) for b in found], tile)
        if labels is not None:
            strip = np.full((tile // 10 + 8, tile, 3), 255, np.uint8)
            cell = np.concatenate([cell, _write_text(strip, label, (4, 2), max(9, tile // 14), None)])
        tiles.append(cell)
    return grid(tiles, columns, gap=6)


def _fit(image: Pixels, boxes: list[list[float]], tile: int) -> Pixels:
    rows, columns = image.shape[:2]
    scale = tile / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    small = flatten(resize(image, height, width), _checkerboard(height, width))
    small = draw_boxes(small, [[v * scale for v in box] for box in boxes])
    cell = np.full((tile, tile, 3), 244, np.uint8)
    y, x = (tile - height) // 2, (tile - width) // 2
    cell[y : y + height, x : x + width] = small
    return cell


def _write_text(
    image: Pixels, text: str, at: tuple[int, int], size: int, background: tuple[int, int, int] | None
) -> Pixels:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    room = image.shape[1] - at[0]
    while len(text) > 1 and draw.textlength(text, font) > room:
        text = text[:-2] + "…"
    if background is not None:
        draw.rectangle(draw.textbbox(at, text, font), fill=background)
    draw.text(at, text, fill=(40, 40, 40) if background is None else (255, 255, 255), font=font)
    return np.array(picture)
