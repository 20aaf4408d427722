"""Copies of one picture: what a picture is known by, which pictures are copies of each other, and which of them stay.

Words of 64 bits find candidates among hundreds of thousands; small grey pictures then prove or refute each of them, so that no chain
of likenesses joins different pictures. What a picture is known by fits in 2 KB and is made once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, as_rgb, cv2, flatten
from foxgan.vision import alike, cropped, patches
from foxgan.vision.hamming import Piece, near_pairs

BLOBS = 32  # parts by which a crop is found
GREY = 128  # what transparent pictures are laid on
# All that is known of a picture: digest and word, bytes of its file (the caller's), the small grey picture and its colours (Cr and Cb
# around 0), the parts' words and their places (x, y, half a side, in 1/65535 of the longer side; unused ones have no size).
RECORD = np.dtype(
    [
        ("exact", "<u8"),
        ("word", "<u8"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("bytes", "<u4"),
        ("thumb", "u1", (alike.SIDE, alike.SIDE)),
        ("colours", "i1", (alike.COLOURS, alike.COLOURS, 2)),
        ("words", "<u8", (BLOBS,)),
        ("places", "<u2", (BLOBS, 3)),
    ]
)
Records = NDArray[Any]  # [N] of RECORD

WHOLE_DISTANCE = 10  # bits between the words of whole pictures that are worth a look
PART_DISTANCE = 8
PART_PIECES: tuple[Piece, ...] = ((0, 20), (20, 20), (10, 20), (32, 20))
CLEAR = 0.65  # similarity that leaves no doubt
CROWD = 50  # pictures may share a part (a logo, the background of a series) that says nothing
# Pictures that are laid on another, of all that look alike (a series before one background): the most promising ones. As wholes, five
# times as many are compared.
RIVALS = 200
PART = 1 << 20  # pairs of parts that are looked at together


def describe(image: Pixels) -> Records:
    """The record, [1] of RECORD, of a picture uint8 [H, W, C]."""
    record = np.zeros(1, RECORD)
    height, width = image.shape[:2]
    colour = as_rgb(flatten(image, GREY))
    exact = hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).digest()[:8]
    scale = min(1.0, patches.WORK / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    whole = cv2.resize(grey, (patches.SIDE, patches.SIDE), interpolation=cv2.INTER_AREA)
    record["exact"], record["word"] = np.frombuffer(exact, "<u8"), patches.words_of(whole[None])
    record["height"], record["width"] = height, width
    record["thumb"], record["colours"] = alike.thumb_of(grey), alike.colours_of(small)
    _add_parts(record, grey if scale < 1 else _enlarged(grey))
    return record


def _enlarged(grey: patches.Grey) -> patches.Grey:
    scale = patches.WORK / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _add_parts(record: Records, grey: patches.Grey) -> None:
    places = patches.blobs(grey, BLOBS)
    count = len(places)
    record["words"][0, :count] = patches.words_of(patches.cut_patches(grey, places))
    record["places"][0, :count] = np.round(np.clip(places / max(grey.shape), 0, 1) * 65535)


def as_text(record: Records) -> str:
    """One record as text, for a table: 3 KB; there is little in it that could be packed closer."""
    return base64.b64encode(record.tobytes()).decode()


def from_texts(texts: Iterable[str]) -> Records:
    """The records of many texts."""
    return np.frombuffer(b"".join(base64.b64decode(text) for text in texts), RECORD)


# Finding


@dataclass(frozen=True)
class Likeness:
    """Pairs of pictures, positions int64 [M, 2] with i < j, and how alike they are: 1 for copies to the last pixel, below about 0.5
    for different pictures."""

    pairs: NDArray[np.int64]
    similarity: NDArray[np.float32]


_NONE = Likeness(np.empty((0, 2), np.int64), np.empty(0, np.float32))


def likenesses(records: Records, smallest_crop: float | None = 0.5, mirrored: bool = True) -> Likeness:
    """All pairs that look like copies, with those that just fail to; every pair was looked at, not only its words.

    `smallest_crop`: the shortest side of a crop as a share of the whole picture's; None: whole pictures only.
    """
    mirrors = (False, True) if mirrored else (False,)
    found = _best([_exact(records), *(_whole(records, mirror) for mirror in mirrors)])
    if smallest_crop is None:
        return found
    settled = found.pairs[found.similarity >= CLEAR]
    return _best([found, *(_crops(records, settled, mirror, smallest_crop) for mirror in mirrors)])


def _best(found: Sequence[Likeness]) -> Likeness:
    """Every pair once, as alike as it was ever found."""
    pairs = np.concatenate([f.pairs for f in found])
    similarity = np.concatenate([f.similarity for f in found])
    order = np.lexsort((-similarity, pairs[:, 1], pairs[:, 0]))
    pairs, similarity = pairs[order], similarity[order]
    first = np.ones(len(pairs), bool)
    first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return Likeness(pairs[first], similarity[first])


def _exact(records: Records) -> Likeness:
    """Pictures of the same pixels, each with the first of them."""
    _, firsts, group = np.unique(records["exact"], return_index=True, return_inverse=True)
    first = firsts[group]
    later = np.flatnonzero(first != np.arange(len(records)))
    return Likeness(np.stack([first[later], later], axis=1), np.ones(len(later), np.float32))


def _whole(records: Records, mirror: bool) -> Likeness:
    words = records["word"]
    queries = words ^ patches.mirror_mask() if mirror else words
    pairs = near_pairs(queries, words, WHOLE_DISTANCE)
    least = alike.bounds(records, pairs, mirror)
    pairs = pairs[(least <= 1 - alike.ROUGH) & _foremost(pairs[:, 0], -least, 5 * RIVALS)]
    return Likeness(pairs, alike.whole(records, pairs, mirror))


def _crops(records: Records, settled: NDArray[np.int64], mirror: bool, smallest: float) -> Likeness:
    """Pairs one of which is a part of the other: each pair of equal parts says where in the whole the crop should lie."""
    owners, slots = np.nonzero(records["places"][:, :, 2])
    words, places = records["words"][owners, slots], records["places"][owners, slots].astype(np.float32) / 65535
    queries = words ^ patches.mirror_mask() if mirror else words
    near = near_pairs(queries, words, PART_DISTANCE, PART_PIECES, flips=0, crowd=CROWD)
    near = near[_new(owners[near], settled, len(records))]
    parts = [near[start : start + PART] for start in range(0, len(near), PART)]
    return _best([_NONE, *(_crops_at(records, owners, places, part, mirror, smallest) for part in parts)])


def _crops_at(
    records: Records,
    owners: NDArray[np.int64],
    places: NDArray[Any],
    near: NDArray[np.int64],
    mirror: bool,
    smallest: float,
) -> Likeness:
    """What is seen where `near` pairs of parts, positions in `owners` (their pictures) and `places`, say that crops should lie."""
    a, b = near.T
    a, b = np.where(places[a, 2] >= places[b, 2], (b, a), (a, b))  # in the whole, parts are smaller than in its crop
    wholes, crops = owners[a], owners[b]
    frames = cropped.frames(records, crops, places[a], places[b], mirror)
    sane = cropped.possible(records, wholes, frames, smallest)
    wholes, crops, frames = wholes[sane], crops[sane], frames[sane]
    glances = cropped.glances(records, wholes, crops, frames, mirror)
    best = cropped.promising(wholes, crops, frames, glances)
    sizes = np.round(10 * frames[best, 2:].max(axis=1)).astype(np.int64)  # crops of one size are rivals
    best = best[_foremost(32 * np.minimum(wholes, crops)[best] + sizes, glances[best], RIVALS)]
    wholes, crops = wholes[best], crops[best]
    similarity = cropped.crops(records, wholes, crops, frames[best], mirror)
    pairs = np.sort(np.stack([wholes, crops], axis=1), axis=1)
    return Likeness(pairs[similarity >= alike.ROUGH], similarity[similarity >= alike.ROUGH])


def _foremost(groups: NDArray[np.int64], scores: NDArray[np.float32], most: int) -> NDArray[np.bool_]:
    """Which are among the `most` of the highest score in their group."""
    order = np.lexsort((-scores, groups))
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    found = np.zeros(len(groups), bool)
    found[order] = np.arange(len(order)) - np.repeat(starts, counts) < most
    return found


def _new(pairs: NDArray[np.int64], settled: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which pairs are of two pictures, and not settled."""
    known = np.isin(pairs @ [count, 1], settled @ [count, 1])
    return np.asarray((pairs[:, 0] != pairs[:, 1]) & ~known)


# Choosing


def openness(license: str | None) -> int:
    """How much a license allows, 0 the most; 9 where it is not known."""
    words = set((license or "unknown").upper().replace("_", "-").split("-"))
    ranks = {"CC0": 0, "PDM": 0, "PD": 0, "ND": 5, "NC": 4, "SA": 2, "UNKNOWN": 9}
    known = [rank for word, rank in ranks.items() if word in words]
    return max(known) if known else 1


def best_first(likeness: Likeness, ranks: Mapping[int, Any], threshold: float) -> dict[int, tuple[int, float]]:
    """Who is dropped, for whom, and how alike the two are. The picture of the lowest rank stays, and its copies go.

    Every dropped picture is alike enough to the very one that stays for it, and no two that stay are: a chain of ever less like pictures
    (a slow film) is not taken for one.
    """
    enough = likeness.similarity >= threshold
    copies: dict[int, list[tuple[int, float]]] = {}
    for (i, j), value in zip(likeness.pairs[enough].tolist(), likeness.similarity[enough].tolist(), strict=True):
        copies.setdefault(i, []).append((j, value))
        copies.setdefault(j, []).append((i, value))
    dropped: dict[int, tuple[int, float]] = {}
    for best in sorted(copies, key=lambda position: ranks[position]):
        if best in dropped:
            continue
        for copy, value in copies[best]:
            if copy not in dropped or value > dropped[copy][1]:
                dropped[copy] = best, value
    return dropped
