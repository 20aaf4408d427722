"""Pixels into picture files, complete or not at all; and OpenCV, loaded with words where it does not load. Used through `foxgan.images`."""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from foxgan.decoding import Pixels, flatten
from foxgan.errors import DataError, FoxganError


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
# of photos no other filter makes smaller PNGs, and to try all for every row takes time; older OpenCVs cannot be told
PAETH = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH) if hasattr(cv2, "IMWRITE_PNG_FILTER") else ()


def encode_png(image: Pixels, level: int = 3) -> bytes:
    """Lossless PNG; `level` 0-9 is zlib's, but 1 looks for runs only: photos get as small as at 6, in less time than at 3."""
    flags = [cv2.IMWRITE_PNG_COMPRESSION, level]
    if level == 1:
        flags += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, *PAETH]
    return _encode(".png", image, *flags)


def encode_webp(image: Pixels) -> bytes:
    """Lossless WebP, colours of transparent pixels included; sides up to 16383 pixels."""
    buffer = BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    # method 4, Pillow's own, takes six times as long for 4 % fewer bytes
    picture.save(buffer, "WEBP", lossless=True, exact=True, method=1, quality=0)
    return buffer.getvalue()


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """JPEG of quality 1-100; transparent parts lie on white."""
    return _encode(".jpg", flatten(image), cv2.IMWRITE_JPEG_QUALITY, quality)


def _encode(suffix: str, image: Pixels, *flags: int) -> bytes:
    order = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[2]]
    pixels = np.ascontiguousarray(image) if order is None else cv2.cvtColor(image, order)
    ok, encoded = cv2.imencode(suffix, pixels, flags)
    assert ok
    data: bytes = encoded.tobytes()
    return data


def write(path: Path, image: Pixels, quality: int = 95) -> None:
    """Save as PNG or JPEG, whichever the ending says; the file appears complete or not at all. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise DataError(f"{path}: pictures are written as .png or .jpg, not {suffix or 'without an ending'}")
    write_bytes(path, encode_png(image, 1) if suffix == ".png" else encode_jpeg(image, quality))


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
