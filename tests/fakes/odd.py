"""Strange pictures: what cameras, scanners and hostile people put behind a name that ends with .jpg.

Those of one picture show the same thing, 64 x 48 pixels, so that a test can compare what a decoder makes of them.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from tests.fakes.icc import ADOBE_RGB, DISPLAY_P3, matrix_profile

WIDTH, HEIGHT = 64, 48
UNDO = {  # EXIF orientation -> what turns an upright picture into the stored one
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><body><p>Please log in to see this photo.</p></body></html>"


@functools.cache
def plain() -> Image.Image:
    """The picture that the others are made of: smooth, and different in all four corners."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    layers = (x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), 255 - x * 127 / (WIDTH - 1) - y * 127 / (HEIGHT - 1))
    return Image.fromarray(np.stack(layers, axis=2).astype(np.uint8))


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _jpeg(**options: object) -> bytes:
    return _saved(plain(), "JPEG", **{"quality": 95, "subsampling": 0} | options)


def _frames(format: str) -> bytes:
    others = [plain().transpose(Image.Transpose.FLIP_LEFT_RIGHT), plain().transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    timing = {} if format == "TIFF" else {"duration": 100, "loop": 0}
    return _saved(plain(), format, save_all=True, append_images=others, **timing)


def _ycck() -> bytes:
    """A CMYK JPEG that holds YCCK, Adobe's way (inverted): libjpeg writes given values as they are, the marker is corrected."""
    inverse = Image.fromarray(255 - np.asarray(plain())).convert("YCbCr")
    stored = np.concatenate([np.asarray(inverse), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=2)
    data = bytearray(_saved(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=95))  # Pillow inverts once more
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def _cmyk() -> bytes:
    ink = np.concatenate([255 - np.asarray(plain()), np.zeros((HEIGHT, WIDTH, 1), np.uint8)], axis=2)
    return _saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=95)


def _jpeg12() -> bytes:
    """An extended sequential JPEG whose header says 12 bits per sample; its pixels were written with 8."""
    data = bytearray(_jpeg())
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = 0xC1, 12
    return bytes(data)


def _oriented(orientation: int) -> bytes:
    stored = plain().transpose(UNDO[orientation]) if orientation in UNDO else plain()
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved(stored, "JPEG", quality=95, subsampling=0, exif=exif)


def _palette() -> bytes:
    few = plain().quantize(16)
    return _saved(few, "PNG", transparency=few.getpixel((0, 0)))


def _la() -> bytes:
    alpha = Image.fromarray(np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, WIDTH)).copy())
    return _saved(Image.merge("LA", (plain().convert("L"), alpha)), "PNG")


def _png16() -> bytes:
    values = np.asarray(plain().convert("L"), np.uint16) * 257
    return _saved(Image.fromarray(values), "PNG")


def _heif(format: str) -> bytes:
    if format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return _saved(plain(), format, quality=90)


def png(width: int, height: int, rows: bytes = b"", bits: int = 1) -> bytes:
    """A grey PNG of any size; `rows` is its packed image data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _bomb() -> bytes:
    """196,000,000 pixels, correct and complete, in some 25 kB: more than Pillow is willing to open."""
    side = 14_000
    packer = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    return png(side, side, b"".join(packer.compress(line) for _ in range(side)) + packer.flush())


KINDS: dict[str, Callable[[], bytes]] = {
    "jpeg": _jpeg,
    "progressive": lambda: _jpeg(progressive=True),
    "grey_jpeg": lambda: _saved(plain().convert("L"), "JPEG", quality=95),
    "cmyk": _cmyk,
    "ycck": _ycck,
    "jpeg12": _jpeg12,
    "truncated_jpeg": lambda: _jpeg()[: len(_jpeg()) * 2 // 3],
    "trailing_junk": lambda: _jpeg() + b"<!-- junk -->" * 100,
    **{f"exif{o}": functools.partial(_oriented, o) for o in range(1, 9)},
    "display_p3": lambda: _jpeg(icc_profile=matrix_profile("Display P3", *DISPLAY_P3)),
    "adobe_rgb": lambda: _jpeg(icc_profile=matrix_profile("Adobe RGB (1998)", *ADOBE_RGB)),
    "gif": lambda: _saved(plain(), "GIF"),
    "animated_gif": lambda: _frames("GIF"),
    "webp": lambda: _saved(plain(), "WEBP", lossless=True),
    "animated_webp": lambda: _frames("WEBP"),
    "apng": lambda: _frames("PNG"),
    "png16": _png16,
    "palette": _palette,
    "la": _la,
    "one_bit": lambda: _saved(plain().convert("1"), "PNG"),
    "tiff": lambda: _saved(plain(), "TIFF"),
    "multi_tiff": lambda: _frames("TIFF"),
    "heic": lambda: _heif("HEIF"),
    "avif": lambda: _heif("AVIF"),
    "one_pixel": lambda: _saved(Image.new("RGB", (1, 1), (9, 9, 9)), "GIF"),
    "panorama": lambda: _saved(plain().resize((4000, 16)), "JPEG"),
    "bomb": _bomb,
    "huge_header": lambda: png(100_000, 100_000, zlib.compress(bytes(1000)), bits=8),
    "svg": lambda: SVG,
    "html": lambda: HTML,
    "text": lambda: b"404 not found\n",
    "nothing": lambda: b"",
}


@functools.cache
def odd_picture(kind: str) -> bytes:
    """The bytes of one of KINDS."""
    if kind not in KINDS:
        raise KeyError(f"{kind}: no such picture; there are {', '.join(KINDS)}")
    return KINDS[kind]()
