"""Bytes of strangers into pixels: uint8 [H, W, C] with C = 1 (L), 3 (RGB) or 4 (RGBA). Used through `foxgan.images`.

Pillow does this, because it can be limited to harmless formats and asked for the size before any pixel is decoded.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from foxgan.errors import DataError

Pixels = NDArray[np.uint8]
Mode = Literal["RGB", "L", "RGBA", "any"]
Reason = Literal["broken", "too_large", "not_an_image"]

MAX_PIXELS = 100_000_000
MAX_SCANS = 500  # of a JPEG; encoders make a dozen. Each passes over all pixels, and may take less than a hundred bytes
FAR = 25  # times as many pixels
# Only formats that are pictures and nothing else: EPS, for one, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA", "ICO", "DIB")
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
SIDEWAYS = {TRANSPOSE[number] for number in (5, 6, 7, 8)}

pillow_heif.register_heif_opener()


class ImageError(DataError):
    """A file that does not become pixels; `reason` is the status that the index keeps for it."""

    def __init__(self, message: str, reason: Reason = "broken") -> None:
        super().__init__(message)
        self.reason: Reason = reason


def decode(data: bytes | Path, *, mode: Mode = "RGB", max_pixels: int = MAX_PIXELS, reduced: int = 1) -> Pixels:
    """Upright pixels [H, W, C] of a picture file; an animation gives its first frame.

    Asked for L or RGB, transparent parts lie on white. `any` keeps what the file means: L, RGB or RGBA (palettes too).
    16-bit grey is scaled to 8 bits, float from [0, 1] or else from its own range. `reduced` (1, 2, 4 or 8): at that part of its size,
    rounded up; a JPEG is put together at it, which takes half of the time. Raises ImageError.
    """
    with _opened(data, max_pixels) as picture:
        drafted = reduced > 1 and _drafted(picture, reduced)
        picture.load()
        orientation = _orientation(picture)
        upright = picture.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else picture
        pixels = to_mode(_plain(upright, picture.info.get("transparency") is not None), mode)
        return pixels if reduced == 1 or drafted else _averaged(pixels, reduced)


def _drafted(picture: Image.Image, reduced: int) -> bool:
    """Whether the picture will be loaded at a part of its size, so that its first pixel begins where that of the whole does."""
    width, height = picture.size
    if picture.format != "JPEG" or ((width % reduced or height % reduced) and _orientation(picture) in TRANSPOSE):
        return False
    picture.draft(None, (width // reduced, height // reduced))
    return picture.size == (-(-width // reduced), -(-height // reduced))


def _averaged(pixels: Pixels, reduced: int) -> Pixels:
    channels = pixels.shape[2]
    return _pixels(Image.fromarray(pixels[..., 0] if channels == 1 else pixels).reduce(reduced))


def jpeg_channels(data: bytes) -> int:
    """1 or 3 for a JPEG that lies upright, in grey or in colour (not CMYK), so that OpenCV reads it as Pillow does; else 0."""
    with _opened(data, MAX_PIXELS) as picture:
        plain = picture.format == "JPEG" and _orientation(picture) not in TRANSPOSE
        return {"L": 1, "RGB": 3}.get(picture.mode, 0) if plain else 0


def decode_towards(
    path: Path, fit: Callable[[int, int], tuple[int, int]], max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, int, int]:
    """RGB pixels (maybe read-only) that are to be scaled to what `fit` makes of height and width, and those of the upright picture.

    What is far larger is scaled right here, as its pixels need not be copied for that. Raises ImageError.
    """
    with _opened(path, max_pixels) as picture:
        picture.load()
        turn = TRANSPOSE.get(_orientation(picture))
        if picture.mode != "RGB" or "transparency" in picture.info:
            plain = to_mode(_plain(picture, picture.info.get("transparency") is not None), "RGB")
            picture = Image.fromarray(plain)
        width, height = picture.size if turn not in SIDEWAYS else picture.size[::-1]
        rows, columns = fit(height, width) if turn not in SIDEWAYS else fit(height, width)[::-1]
        if is_far_larger(height, width, rows, columns):
            picture = interpolated(picture, rows, columns)
        return np.asarray(picture if turn is None else picture.transpose(turn)), height, width


def is_far_larger(height: int, width: int, rows: int, columns: int) -> bool:
    """Whether Pillow scales a picture faster than it gives its pixels away."""
    return height * width > FAR * rows * columns


def interpolated(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Each pixel between the nearest four, without averaging."""
    steps = (picture.width / width, 0, 0, 0, picture.height / height, 0)
    return picture.transform((width, height), Image.Transform.AFFINE, steps, Image.Resampling.BILINEAR)


def probe(data: bytes | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int, str]:
    """Upright width, height and format ("JPEG", "PNG" ...) from the header alone. Raises ImageError."""
    with _opened(data, max_pixels) as picture:
        width, height = picture.size
        if _orientation(picture) >= 5:
            width, height = height, width
        return width, height, picture.format or ""


def examine(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int, str]:
    """Height, width, channels and format of a picture that `decode` would take as `any`; proves that it would. Raises ImageError.

    All of the file is read. A JPEG is put together at an eighth of its size: what can be wrong with it is in its code, not in the
    arithmetic behind it, and that takes a third of the time.
    """
    with _opened(data, max_pixels) as picture:
        width, height = picture.size
        if picture.format == "JPEG":
            channels = 1 if picture.mode == "L" else 3
            picture.draft("L", (1, 1))
            picture.load()
        else:
            picture.load()
            channels = _plain(picture, picture.info.get("transparency") is not None).shape[2]
        if (
            _orientation(picture) >= 5
        ):  # asked last: of a PNG it would load the pixels, and swallow what is wrong with them
            width, height = height, width
        return height, width, channels, picture.format or ""


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
            if isinstance(picture, JpegImageFile) and (scans := _scans(picture, file)) > MAX_SCANS:
                raise ImageError(f"{name}: {scans:,} scans; at most {MAX_SCANS} are read", "broken")
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


def _scans(picture: JpegImageFile, file: IO[bytes]) -> int:
    """The scans of a JPEG, or a little more; the file is looked through only where the first one does not bring all."""
    behind, all_of_it = file.tell(), 6 + 2 * picture.layers  # bytes of the header of a scan that has all components
    file.seek(max(0, behind - all_of_it))
    if picture.format == "JPEG" and "progressive" not in picture.info and file.read(2) == bytes([0, all_of_it]):
        found = 1
    else:
        file.seek(0)
        found = file.read().count(b"\xff\xda")
    file.seek(behind)
    return found


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
    return _pixels(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))


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


def to_mode(image: Pixels, mode: Mode) -> Pixels:
    """L, RGB or RGBA made of any of them; `any` leaves it as it is."""
    if mode == "any":
        return image
    if mode == "RGBA":
        if image.shape[2] == 4:
            return image
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        return np.concatenate([as_rgb(image), opaque], axis=2)
    image = flatten(image)
    if mode == "RGB":
        return as_rgb(image)
    return image if image.shape[2] == 1 else _pixels(Image.fromarray(image).convert("L"))


def as_rgb(image: Pixels) -> Pixels:
    """L repeated three times; RGB as it is."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def flatten(image: Pixels, background: int | Pixels = 255) -> Pixels:
    """RGBA laid on a grey level or on a picture of its size; L and RGB come back as they are."""
    if image.shape[2] != 4:
        return image
    alpha = image[..., 3:].astype(np.uint16)
    mixed = image[..., :3] * alpha + np.asarray(background, np.uint16) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
