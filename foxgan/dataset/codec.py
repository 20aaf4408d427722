"""A picture as one value of a dataset, in one of four lossless encodings, checked against its shape before memory is spent on it.

Each is best at something (`tests/benchmarks/reader.py`): zstd is as small as PNG and read four to five times as fast, WebP is smallest,
raw needs no decoding, PNG is what crops are already and what other tools read. (QOI: read no faster than zstd, a third larger.)
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import zstandard

from foxgan import images
from foxgan.errors import DataError
from foxgan.images import Pixels, cv2

Encoding = Literal["zstd", "png", "webp", "raw"]
Shape = tuple[int, int, int]
"""Height, width, channels (1 = L, 3 = RGB, 4 = RGBA)."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
COLOUR_TYPES = {0: 1, 2: 3, 6: 4}  # PNG's colour type -> channels
HEADER = struct.Struct(">8sI4sIIBBBBB")  # signature, then length, name, width, height, depth, colour, 3 methods
FLAT = 1100  # zlib shrinks by 1032 at most: a picture of more pixels than that cannot be in so few bytes
WEBP_HEADER = struct.Struct("<4sI4s4sIBI")  # RIFF, length, WEBP, VP8L, length, signature, then the picture's bits
WEBP_SIDE = 16383  # pixels, the most that libwebp writes
ZSTD_LEVEL = 1  # 5 takes three times as long for 3 % fewer bytes
BGRA = (2, 1, 0, 3)  # where OpenCV's channels belong


def shape_text(shape: Shape) -> str:
    """A shape for people: `64x64 RGB`, height first."""
    return f"{shape[0]}x{shape[1]} {MODES.get(shape[2], f'with {shape[2]} channels')}"


def encode(image: Pixels, encoding: Encoding) -> bytes:
    """Lossless bytes of a uint8 [H, W, C] picture. Raises DataError where it is too large for the encoding."""
    return ENCODERS[encoding](image)


def decode(value: bytes | memoryview, shape: Shape, encoding: Encoding) -> Pixels:
    """The uint8 [H, W, C] picture of exactly `shape` in `value`. Raises ValueError saying what is wrong."""
    height, width, channels = shape
    batch = np.empty((1, channels, height, width), np.uint8)
    decode_into(batch[0], value, encoding)
    restore(batch, encoding)
    return np.ascontiguousarray(batch[0].transpose(1, 2, 0))


def decode_into(planes: Pixels, value: bytes | memoryview, encoding: Encoding) -> None:
    """Fill `planes`, uint8 [C, H, W], from a value of exactly their shape. `restore` must follow, once for a whole batch.

    Raises ValueError saying what is wrong.
    """
    DECODERS[encoding](planes, value)


def restore(batch: Pixels, encoding: Encoding) -> None:
    """Undo in place, for a batch [N, C, H, W], what `encode` did for the sake of size. All sums are modulo 256."""
    if encoding == "zstd":
        for above, row in itertools.pairwise(batch.transpose(2, 0, 1, 3)):
            row += above
        if batch.shape[1] > 1:
            batch[:, 0] += batch[:, 1]
            batch[:, 2] += batch[:, 1]


def _shape(planes: Pixels) -> Shape:
    channels, height, width = planes.shape
    return height, width, channels


# Raw and zstd


def _encode_raw(image: Pixels) -> bytes:
    return np.ascontiguousarray(image).tobytes()


def _decode_raw(planes: Pixels, value: bytes | memoryview) -> None:
    _refuse_length(planes, len(value), "")
    _split(np.frombuffer(value, np.uint8).reshape(_shape(planes)), planes)


def _refuse_length(planes: Pixels, length: int, what: str) -> None:
    if length != planes.nbytes:
        raise ValueError(f"{what}{length} bytes where {shape_text(_shape(planes))} has {planes.nbytes}")


def _split(image: Pixels, planes: Pixels, order: Sequence[int] = (0, 1, 2, 3)) -> None:
    """Copy the channels of `image` [H, W, C] into `planes`, the n-th into plane `order[n]`; seven times as fast as NumPy."""
    if len(planes) == 1:
        planes[0] = image[..., 0]
    else:
        cv2.split(image, [planes[n] for n in order[: len(planes)]])


def _encode_zstd(image: Pixels) -> bytes:
    """Planes one after another, red and blue less green, each row less the one above: what NumPy undoes at the speed of memory."""
    planes = np.array(image.transpose(2, 0, 1), order="C")
    if len(planes) > 1:
        planes[0] -= planes[1]
        planes[2] -= planes[1]
    planes[:, 1:] -= planes[:, :-1].copy()
    return zstandard.compress(planes.data, ZSTD_LEVEL)


class _Decompressors(threading.local):
    """One for each thread: making one takes as long as a picture of 64 px, and threads cannot share it."""

    def __init__(self) -> None:
        self.own = zstandard.ZstdDecompressor()


_decompressors = _Decompressors()


def _decode_zstd(planes: Pixels, value: bytes | memoryview) -> None:
    try:
        _refuse_length(planes, zstandard.frame_content_size(value), "zstd of ")  # -1 where the frame does not say
        data = _decompressors.own.decompress(value, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"no whole zstd frame ({error})") from error
    planes[:] = np.frombuffer(data, np.uint8).reshape(planes.shape)


# PNG


def _encode_png(image: Pixels) -> bytes:
    return images.encode_png(image, 1)


def _decode_png(planes: Pixels, value: bytes | memoryview) -> None:
    shape, found = _shape(planes), png_shape(value)
    if found != shape:
        raise ValueError(f"{shape_text(found) if found else 'no 8-bit PNG'} where the dataset is {shape_text(shape)}")
    image = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or np.atleast_3d(image).shape != shape:
        raise ValueError("a broken PNG")
    _split(np.atleast_3d(image), planes, BGRA)


def png_shape(data: bytes | memoryview) -> Shape | None:
    """The shape that an 8-bit PNG in L, RGB or RGBA says it has, from its header alone; None for anything else."""
    if len(data) < HEADER.size:
        return None
    signature, _, name, width, height, depth, colour, _, _, interlaced = HEADER.unpack_from(data)
    if signature != b"\x89PNG\r\n\x1a\n" or name != b"IHDR" or depth != 8 or interlaced or colour not in COLOUR_TYPES:
        return None
    shape = height, width, COLOUR_TYPES[colour]
    return shape if 0 < height * width * shape[2] <= FLAT * len(data) else None


def is_plain_png(data: bytes) -> bool:
    """Whether `data` holds pixels and nothing that would change them (gamma, orientation, transparency, animation)."""
    if png_shape(data) is None:
        return False
    position = 8
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if name == b"IEND":
            return bool(position + 12 + length == len(data))
        if name not in (b"IHDR", b"IDAT"):
            return False
        position += 12 + length
    return False


# WebP


def _encode_webp(image: Pixels) -> bytes:
    if max(image.shape[:2]) > WEBP_SIDE:
        raise DataError(
            f"a picture of {shape_text(image.shape)}: WebP holds sides of at most {WEBP_SIDE} pixels; use `encoding: zstd`"
        )
    return images.encode_webp(image)


def _decode_webp(planes: Pixels, value: bytes | memoryview) -> None:
    """WebP knows no grey, and leaves out an alpha that is 255 everywhere: RGB may stand for either."""
    shape, found = _shape(planes), webp_shape(value)
    if found is None or found[:2] != shape[:2] or found[2] > max(shape[2], 3):
        what = "no lossless WebP" if found is None else shape_text(found)
        raise ValueError(f"{what} where the dataset is {shape_text(shape)}")
    image = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != found:
        raise ValueError("a broken WebP")
    if shape[2] == 1 and (image != image[..., :1]).any():
        raise ValueError(f"{shape_text(found)} where the dataset is {shape_text(shape)}")
    _split(image, planes[: found[2]], BGRA)
    planes[found[2] :] = 255


def webp_shape(data: bytes | memoryview) -> Shape | None:
    """The shape that a lossless WebP without side notes says it has, from its header alone; None for anything else."""
    if len(data) < WEBP_HEADER.size:
        return None
    riff, length, name, kind, _, signature, bits = WEBP_HEADER.unpack_from(data)
    if (riff, length + 8, name, kind, signature) != (b"RIFF", len(data), b"WEBP", b"VP8L", 0x2F):
        return None
    return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, 4 if bits >> 28 & 1 else 3


ENCODERS: dict[Encoding, Callable[[Pixels], bytes]] = {
    "zstd": _encode_zstd,
    "png": _encode_png,
    "webp": _encode_webp,
    "raw": _encode_raw,
}
DECODERS: dict[Encoding, Callable[[Pixels, bytes | memoryview], None]] = {
    "zstd": _decode_zstd,
    "png": _decode_png,
    "webp": _decode_webp,
    "raw": _decode_raw,
}
