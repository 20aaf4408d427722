"""A picture as one value of a dataset: PNG or raw bytes, checked against the dataset's shape before memory is spent on it."""

from __future__ import annotations

import struct
from typing import Literal

import numpy as np

from foxgan import images
from foxgan.images import Pixels, cv2

Encoding = Literal["png", "raw"]
Shape = tuple[int, int, int]
"""Height, width, channels (1 = L, 3 = RGB, 4 = RGBA)."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
COLOUR_TYPES = {0: 1, 2: 3, 6: 4}  # PNG's colour type -> channels
HEADER = struct.Struct(">8sI4sIIBBBBB")  # signature, then length, name, width, height, depth, colour, 3 methods
FLAT = 1100  # zlib shrinks by 1032 at most: a picture of more pixels than that cannot be in so few bytes


def shape_text(shape: Shape) -> str:
    """A shape for people: `64x64 RGB`, height first."""
    return f"{shape[0]}x{shape[1]} {MODES.get(shape[2], f'with {shape[2]} channels')}"


def encode(image: Pixels, encoding: Encoding) -> bytes:
    """Lossless bytes of a uint8 [H, W, C] picture."""
    return images.encode_png(image) if encoding == "png" else np.ascontiguousarray(image).tobytes()


def decode(value: bytes | memoryview, shape: Shape, encoding: Encoding) -> Pixels:
    """The uint8 [H, W, C] picture of exactly `shape` in `value`. Raises ValueError saying what is wrong."""
    if encoding == "raw":
        if len(value) != shape[0] * shape[1] * shape[2]:
            raise ValueError(f"{len(value)} bytes where {shape_text(shape)} has {shape[0] * shape[1] * shape[2]}")
        return np.frombuffer(value, np.uint8).reshape(shape)
    found = png_shape(value)
    if found != shape:
        raise ValueError(f"{shape_text(found) if found else 'no 8-bit PNG'} where the dataset is {shape_text(shape)}")
    image = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or np.atleast_3d(image).shape != shape:
        raise ValueError("a broken PNG")
    order = {1: None, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[shape[2]]
    return np.asarray(np.atleast_3d(image) if order is None else cv2.cvtColor(image, order), np.uint8)


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
