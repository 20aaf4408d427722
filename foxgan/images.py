"""The one place that reads and writes picture files. Pixels are uint8 [H, W, C] with C = 1 (L), 3 (RGB) or 4 (RGBA).

Pillow decodes what strangers send, because it can be limited to harmless formats and asked for the size before any pixel is
decoded; OpenCV does the fast work on pixels that are already checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Literal

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from foxgan.errors import DataError, FoxganError

Pixels = NDArray[np.uint8]
Mode = Literal["RGB", "L", "RGBA", "any"]
Reason = Literal["broken", "too_large", "not_an_image"]

MAX_PIXELS = 100_000_000
# Only formats that are pictures and nothing else: EPS, for one, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF", "BMP", "MPO", "JPEG2000", "PPM", "TGA", "ICO", "DIB")
EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "HEIF": "heic", "TIFF": "tif", "JPEG2000": "jp2", "DIB": "bmp"}
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"BM",
)  # broken, not foreign, if Pillow gives up
TRANSPOSE = {  # EXIF orientation -> what puts the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OUTLINES = ((255, 140, 0), (0, 150, 255), (60, 180, 75), (230, 60, 120), (150, 90, 220), (0, 170, 170))

pillow_heif.register_heif_opener()


def import_opencv() -> ModuleType:
    """The module `cv2`. Raises FoxganError naming the system package where the system's graphics library is missing."""
    try:
        import cv2
    except ImportError as error:
        if "libGL" not in str(error) and "libgthread" not in str(error) and "libglib" not in str(error):
            raise
        package = "libgl1" if "libGL" in str(error) else "libglib2.0-0"
        raise FoxganError(
            f"OpenCV does not load ({error}); install the system package `{package}` (`apt-get install {package}`), "
            "or replace opencv-python by opencv-python-headless"
        ) from error
    module: ModuleType = cv2
    return module


cv2: Any = import_opencv()


class ImageError(DataError):
    """A file that does not become pixels; `reason` is the status that the index keeps for it."""

    def __init__(self, message: str, reason: Reason = "broken") -> None:
        super().__init__(message)
        self.reason: Reason = reason


# Reading


def decode(data: bytes | Path, *, mode: Mode = "RGB", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Upright pixels [H, W, C] of a picture file; an animation gives its first frame.

    Asked for L or RGB, transparent parts lie on white. `any` keeps what the file means: L, RGB or RGBA (palettes too).
    16-bit grey is scaled to 8 bits, float from [0, 1] or else from its own range. Raises ImageError.
    """
    with _opened(data, max_pixels) as picture:
        picture.load()
        orientation = _orientation(picture)
        upright = picture.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else picture
        plain = _plain(upright, picture.info.get("transparency") is not None)
        return _to_mode(plain, mode)


def probe(data: bytes | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int, str]:
    """Upright width, height and format ("JPEG", "PNG" ...) from the header alone. Raises ImageError."""
    with _opened(data, max_pixels) as picture:
        width, height = picture.size
        if _orientation(picture) >= 5:
            width, height = height, width
        return width, height, picture.format or ""


def extension(format: str) -> str:
    """The usual file ending, without a dot, of a format that `probe` names."""
    return EXTENSIONS.get(format, format.lower())


@contextlib.contextmanager
def _opened(data: bytes | Path, max_pixels: int) -> Iterator[Image.Image]:
    name = str(data) if isinstance(data, Path) else "picture"
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = BytesIO(data) if isinstance(data, bytes) else data.open("rb")
        stack.enter_context(file)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            picture = stack.enter_context(Image.open(file, formats=FORMATS))
            width, height = picture.size
            if width * height > max_pixels:
                raise ImageError(f"{name}: {width}x{height} pixels; at most {max_pixels:,} are read", "too_large")
            yield picture
        except ImageError:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise ImageError(f"{name}: too many pixels ({error})", "too_large") from error
        except UnidentifiedImageError as error:
            file.seek(0)
            if file.read(4).startswith(SIGNATURES):
                raise ImageError(f"{name}: begins like a picture, but its header is broken", "broken") from error
            raise ImageError(f"{name}: not a picture in a known format", "not_an_image") from error
        except Exception as error:  # Pillow's decoders raise a dozen unrelated types on broken bytes
            raise ImageError(f"{name}: broken ({error})", "broken") from error


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF does not make the photo useless
        return 1


def _plain(picture: Image.Image, transparent: bool) -> Pixels:
    """Pixels as L, RGB or RGBA, whichever holds all that the file says."""
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return np.atleast_3d(_to_8_bits(np.asarray(picture)))
    if transparent or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        # La has no way to RGBA but through LA
        picture = picture.convert("LA") if picture.mode == "La" else picture
        return _pixels(picture.convert("RGBA"))
    return _pixels(picture if picture.mode == "L" else picture.convert("RGB"))


def _pixels(picture: Image.Image) -> Pixels:
    return np.atleast_3d(np.array(picture, np.uint8))


def _to_8_bits(values: NDArray[Any]) -> Pixels:
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = min(values.min(), 0.0), values.max()
        high = 1.0 if high <= 1 else 255.0 if high <= 255 and low >= 0 else high
        return np.asarray(np.round((values - low) * (255 / (high - low))), np.uint8)
    top = 65535 if values.dtype.itemsize == 2 or values.max() <= 65535 else 2**31 - 1
    return np.asarray(np.round(np.clip(values, 0, top) * (255 / top)), np.uint8)


def _to_mode(image: Pixels, mode: Mode) -> Pixels:
    if mode == "any":
        return image
    if mode == "RGBA":
        if image.shape[2] == 4:
            return image
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        return np.concatenate([_as_rgb(image), opaque], axis=2)
    image = flatten(image)
    if mode == "RGB":
        return _as_rgb(image)
    return image if image.shape[2] == 1 else _pixels(Image.fromarray(image).convert("L"))


def _as_rgb(image: Pixels) -> Pixels:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def flatten(image: Pixels, background: int | Pixels = 255) -> Pixels:
    """RGBA laid on a grey level or on a picture of its size; L and RGB come back as they are."""
    if image.shape[2] != 4:
        return image
    alpha = image[..., 3:].astype(np.uint16)
    mixed = image[..., :3] * alpha + np.asarray(background, np.uint16) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


# Writing


def encode_png(image: Pixels, level: int = 3) -> bytes:
    """Lossless PNG; `level` 0-9 is zlib's."""
    return _encode(".png", image, cv2.IMWRITE_PNG_COMPRESSION, level)


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """JPEG of quality 1-100; transparent parts lie on white."""
    return _encode(".jpg", flatten(image), cv2.IMWRITE_JPEG_QUALITY, quality)


def _encode(suffix: str, image: Pixels, flag: int, value: int) -> bytes:
    order = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[2]]
    pixels = np.ascontiguousarray(image) if order is None else cv2.cvtColor(image, order)
    ok, encoded = cv2.imencode(suffix, pixels, [flag, value])
    assert ok
    data: bytes = encoded.tobytes()
    return data


def write(path: Path, image: Pixels, quality: int = 95) -> None:
    """Save as PNG or JPEG, whichever the ending says; the file appears complete or not at all. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise DataError(f"{path}: pictures are written as .png or .jpg, not {suffix or 'without an ending'}")
    write_bytes(path, encode_png(image) if suffix == ".png" else encode_jpeg(image, quality))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name (`*.tmp`) and rename it, so that a reader never sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


# Resizing and digests


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Anti-aliased: a side that shrinks is averaged by area, one that grows is interpolated (Lanczos); alpha-aware."""
    if image.shape[:2] == (height, width):
        return image.copy()
    if image.shape[2] != 4:
        return np.asarray(_resample(image, height, width), np.uint8)
    # Premultiplied: the colour of transparent pixels must not bleed into the edges.
    alpha = image[..., 3:].astype(np.float32) / 255
    layers = _resample(np.concatenate([image[..., :3] * alpha, alpha], axis=2), height, width)
    alpha = layers[..., 3:].clip(0, 1)
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


def draw_boxes(image: Pixels, boxes: Iterable[Sequence[float]], labels: Sequence[str] | None = None) -> Pixels:
    """An RGB copy with anti-aliased outlines of `boxes` (xyxy, pixels), each with its label if there are any."""
    canvas = np.ascontiguousarray(_as_rgb(flatten(image))).copy()
    thickness = max(2, round(max(canvas.shape[:2]) / 200))
    for number, box in enumerate(boxes):
        colour = OUTLINES[number % len(OUTLINES)]
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
