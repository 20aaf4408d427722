"""What is there of a JPEG whose file breaks off, as a whole picture of its own: shorter, with nothing grey in it.

A JPEG of one scan brings its rows one after the other, so those that are there are exact. Its header is told how many they are, and its
end is marked; nothing is encoded anew, and every reader takes it. A progressive one lacks detail everywhere, which nobody sees in its
size; it is not mended, and neither are other formats, which rarely break off where they can be read at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foxgan.images import ImageError, decode

MIN_SHARE = 0.5  # of the rows; with fewer, it is hardly the photo that was meant
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SCAN, EXIF = 0xDA, 0xE1
ONE_AFTER_THE_OTHER = (0xC0, 0xC1)  # frames that need not be progressive
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class _Frame:
    """What a JPEG's header says: where its height is written, the height of a row of blocks, and the file without EXIF."""

    at: int
    rows: int
    bare: bytes


def mended(data: bytes, max_pixels: int) -> tuple[bytes, float]:
    """A JPEG of the whole rows of blocks that are there of `data`, and their share. Raises ImageError where that is not enough."""
    frame = _frame(data)
    pixels = decode(frame.bare + EOI, mode="any", max_pixels=max_pixels)
    missing = (pixels == pixels[-1, -1]).all((1, 2))  # the decoder fills up with one colour
    last = len(missing) - 1 - int(np.argmin(missing[::-1]))
    # colours bleed one row into what is missing, and the last row of blocks is there in part
    whole = 0 if missing.all() else (last - 1) // frame.rows * frame.rows
    if whole < MIN_SHARE * len(missing):
        raise ImageError(f"picture: breaks off, {whole} of {len(missing)} rows are there", "broken")
    return data[: frame.at] + whole.to_bytes(2, "big") + data[frame.at + 2 :] + EOI, whole / len(missing)


def _frame(data: bytes) -> _Frame:
    """Raises ImageError for what is no JPEG of a single scan."""
    kept, position, found = [SOI], 2, None
    while data.startswith(SOI) and data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position : position + 2 + length]
        if marker in FRAMES and len(segment) > 9:
            found = (marker, position + 5, segment)
        if marker == SCAN and found is not None:
            kind, at, frame = found
            if kind not in ONE_AFTER_THE_OTHER or len(segment) < 5 or segment[4] != frame[9]:
                break
            rows = 8 * max((factors & 15 for factors in frame[11::3]), default=1)
            return _Frame(at, rows, b"".join(kept) + data[position:])
        kept += [] if marker == EXIF else [segment]
        position += 2 + length
    raise ImageError("picture: breaks off, and it is no JPEG whose rows come one after the other", "broken")
