"""Broken copies of a weight file: bytes changed, cut, moved, and opcodes of its pickle dropped, repeated, swapped."""

import io
import pickletools
import random
import zipfile
from collections.abc import Callable

Change = Callable[[bytes, random.Random, list[int]], bytes]


def variant(data: bytes, number: int) -> tuple[str, bytes]:
    """The `number`th broken copy, always the same, and what was done to it."""
    rng = random.Random(number)
    name, change = rng.choice(list(CHANGES.items()))
    if (
        zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.7
    ):  # else the archive's checksums would catch nearly all
        return f"{name} in the pickle", _inside(data, lambda pickled: change(pickled, rng, _positions(pickled)))
    return name, change(data, rng, _positions(data))


def unframed(data: bytes) -> bytes:
    """A pickle without its optional FRAME opcodes, so that a changed length goes further than to their check."""
    frames = [place for opcode, _, place in pickletools.genops(data) if opcode.name == "FRAME"]
    for place in reversed(frames):
        data = data[:place] + data[place + 9 :]
    return data


def _inside(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with another pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return file.getvalue()


def _positions(data: bytes) -> list[int]:
    """Where the opcodes of all pickles in a row begin, and where the last one ends."""
    found, start = [0], 0
    try:
        while data[start : start + 1] == b"\x80":
            file = io.BytesIO(data[start:])
            found += [start + place for _, _, place in pickletools.genops(file) if place]
            start += file.tell()
            found.append(start)
    except ValueError:
        pass  # bytes of a storage follow
    return found


def _place(data: bytes, rng: random.Random, opcodes: list[int]) -> int:
    """Any byte, but mostly one among the opcodes and short arguments, which weights outnumber."""
    place = rng.randrange(len(data)) if rng.random() < 0.25 else rng.choice(opcodes) + rng.choice((0, 0, 1, 1, 2, 3, 5))
    return min(place, len(data) - 1)


def _cut_end(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    return data[: _place(data, rng, opcodes)]


def _flip(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[_place(data, rng, opcodes)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _replace(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    start, length = _place(data, rng, opcodes), rng.choice((1, 1, 2, 4, 8))
    return data[:start] + rng.choice((rng.randbytes(length), b"\xff" * length, bytes(length))) + data[start + length :]


def _extremes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    """A number of a length, a size or a weight becomes an extreme one."""
    start = _place(data, rng, opcodes)
    extreme = rng.choice(
        (b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0\0\0\x80", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\xff" * 7 + b"\x7f")
    )
    return data[:start] + extreme + data[start + len(extreme) :]


def _delete(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    start = _place(data, rng, opcodes)
    return data[:start] + data[start + _length(data, rng) :]


def _repeat(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    start = _place(data, rng, opcodes)
    end = start + _length(data, rng)
    return data[:end] + data[start:]


def _swap(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    first, second = sorted(_place(data, rng, opcodes) for _ in range(2))
    length = min(_length(data, rng), second - first)
    ends = (data[first : first + length], data[second : second + length])
    return data[:first] + ends[1] + data[first + length : second] + ends[0] + data[second + length :]


def _length(data: bytes, rng: random.Random) -> int:
    return rng.choice((1, 2, 4, 8, 64, len(data) // 16))


def _drop_opcodes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    return _opcodes(data, rng, opcodes, lambda parts: [])


def _repeat_opcodes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    return _opcodes(data, rng, opcodes, lambda parts: parts * rng.choice((2, 2, 50)))


def _swap_opcodes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    return _opcodes(data, rng, opcodes, lambda parts: parts[::-1])


def _shuffle_opcodes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    return _opcodes(data, rng, opcodes, lambda parts: rng.sample(parts, len(parts)))


def _move_opcodes(data: bytes, rng: random.Random, opcodes: list[int]) -> bytes:
    """A few opcodes from elsewhere in the place of others."""
    i = rng.randrange(len(opcodes))
    other = data[opcodes[i] : opcodes[min(i + rng.choice((1, 2, 5)), len(opcodes) - 1)]]
    return _opcodes(data, rng, opcodes, lambda parts: [other])


def _opcodes(
    data: bytes, rng: random.Random, opcodes: list[int], change: Callable[[list[bytes]], list[bytes]]
) -> bytes:
    """Some neighbouring opcodes, with their arguments, changed as a list."""
    first = rng.randrange(max(len(opcodes) - 2, 1))
    marks = opcodes[first : first + 1 + rng.choice((1, 2, 2, 3, 6))]
    parts = [data[start:end] for start, end in zip(marks, marks[1:], strict=False)]
    return data[: marks[0]] + b"".join(change(parts)) + data[marks[-1] :]


CHANGES: dict[str, Change] = {
    "cut": _cut_end,
    "bits flipped": _flip,
    "bytes replaced": _replace,
    "extreme number": _extremes,
    "slice deleted": _delete,
    "slice repeated": _repeat,
    "slices swapped": _swap,
    "opcodes dropped": _drop_opcodes,
    "opcodes repeated": _repeat_opcodes,
    "opcodes swapped": _swap_opcodes,
    "opcodes shuffled": _shuffle_opcodes,
    "opcodes from elsewhere": _move_opcodes,
}
