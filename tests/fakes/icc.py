"""Small ICC profiles (version 2, matrix and gamma), as photos of phones and cameras carry them. Written from ICC.1:2001-04."""

from __future__ import annotations

import struct

Point = tuple[float, float, float]  # X, Y, Z of a primary, adapted to D50
DISPLAY_P3: tuple[tuple[Point, Point, Point], float] = (
    ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    2.2,
)
ADOBE_RGB: tuple[tuple[Point, Point, Point], float] = (
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    2.19921875,
)
D50: Point = (0.9642, 1.0, 0.8249)


def matrix_profile(name: str, primaries: tuple[Point, Point, Point], gamma: float) -> bytes:
    """A display profile. The curve of Display P3 is in truth sRGB's; gamma 2.2 is close to it."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    text = name.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"No copyright, use freely\0",
        b"wtpt": _point(D50),
        **{key: _point(point) for key, point in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", begin + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = begin + len(body)
    head = struct.pack(">I4xI4s4s4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(D50) + bytes(48)
    return head + table + body


def _fixed(point: Point) -> bytes:
    return struct.pack(">3i", *(round(v * 65536) for v in point))


def _point(point: Point) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(point)
