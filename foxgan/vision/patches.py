"""What a picture, or a square part of it, looks like, as one word of 63 bits: the signs of its lowest frequencies (DCT pHash).

The parts stand around blobs (Lindeberg 1998), which are found again at the same places in a copy that was scaled, cropped or mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import cv2

Grey = NDArray[np.float32]

SIDE = 32  # pixels of a patch
LOW = 8  # frequencies in each direction
WORK = 192  # longer side of the picture in which blobs are sought
FINEST, OCTAVE, SCALES = 2.5, 4, 14  # sigma of the first scale in pixels, scales per octave, how many
REACH = 6.0  # half a patch's side, in sigmas of its blob
FAINT = 1.5  # grey levels; weaker blobs come and go


@cache
def _cosines() -> Grey:
    """[LOW, SIDE]: the first rows of the orthonormal DCT-II."""
    k, n = np.mgrid[:LOW, :SIDE]
    rows = np.cos(np.pi * (n + 0.5) * k / SIDE) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


@cache
def _order() -> NDArray[np.int64]:
    """Flat positions in [LOW, LOW], low frequencies first; the mean itself is left out."""
    v, u = np.mgrid[:LOW, :LOW]
    return np.argsort((u * u + v * v).ravel(), kind="stable")[1:]


@cache
def mirror_mask() -> np.uint64:
    """The bits that differ between a picture's word and that of its mirror image: those of odd horizontal frequencies."""
    return np.uint64(sum(1 << bit for bit, flat in enumerate(_order().tolist()) if flat % LOW % 2))


def words_of(patches: Grey) -> NDArray[np.uint64]:
    """One word for each of float32 [N, SIDE, SIDE]; the lowest frequencies are the lowest bits."""
    low = _cosines() @ patches @ _cosines().T
    bits = np.zeros((len(patches), 64), np.uint8)
    bits[:, :63] = low.reshape(len(patches), LOW * LOW)[:, _order()] > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]


def blobs(grey: Grey, count: int) -> NDArray[np.float64]:
    """The `count` strongest blobs of float32 [H, W] whose patches lie inside: [n, 3] of x, y and half a patch's side, in pixels."""
    sigmas = FINEST * 2 ** (np.arange(SCALES + 1) / OCTAVE)
    sigmas = sigmas[: max(4, int((REACH * sigmas < min(grey.shape) / 2 + REACH).sum()) + 2)]
    levels = [cv2.GaussianBlur(grey, (0, 0), float(sigmas[0]))]
    for before, after in zip(sigmas, sigmas[1:], strict=False):
        levels.append(cv2.GaussianBlur(levels[-1], (0, 0), float(np.sqrt(after**2 - before**2))))
    scales = [cv2.subtract(after, before) for before, after in zip(levels, levels[1:], strict=False)]
    z, y, x, strength = _extrema(scales)
    chosen = np.argsort(-strength, kind="stable")[: 4 * count]
    z, y, x = z[chosen], y[chosen], x[chosen]
    half = REACH * FINEST * 2 ** ((z + _peak(scales, z, y, x, 0)) / OCTAVE)
    places = np.stack([x + 0.5 + _peak(scales, z, y, x, 2), y + 0.5 + _peak(scales, z, y, x, 1), half], axis=1)
    inside = np.all((places[:, :2] >= half[:, None] - 1) & (places[:, :2] <= _size(grey) - half[:, None] + 1), axis=1)
    return np.asarray(places[inside][:count])


def _size(grey: Grey) -> NDArray[np.int64]:
    return np.array([grey.shape[1], grey.shape[0]])


def _extrema(scales: Sequence[Grey]) -> tuple[Any, ...]:
    """Where (z, y, x) a difference of Gaussians is the largest or smallest of its 3 x 3 x 3 neighbours, and how far from 0."""
    kernel = np.ones((3, 3), np.uint8)
    tops = [cv2.dilate(level, kernel) for level in scales]
    bottoms = [cv2.erode(level, kernel) for level in scales]
    found = []
    for z in range(1, len(scales) - 1):
        level = scales[z]
        y, x = np.nonzero(((level == tops[z]) & (level > FAINT)) | ((level == bottoms[z]) & (level < -FAINT)))
        value = level[y, x]
        top = (value > tops[z - 1][y, x]) & (value > tops[z + 1][y, x])
        bottom = (value < bottoms[z - 1][y, x]) & (value < bottoms[z + 1][y, x])
        inner = (y > 0) & (x > 0) & (y < level.shape[0] - 1) & (x < level.shape[1] - 1)
        chosen = np.where(value > 0, top, bottom) & inner
        found.append(np.stack([np.full(chosen.sum(), z), y[chosen], x[chosen], np.abs(value[chosen])]))
    z, y, x, strength = np.concatenate(found, axis=1)
    return *(part.astype(np.int64) for part in (z, y, x)), strength


def _peak(scales: Sequence[Grey], z: Any, y: Any, x: Any, axis: int) -> NDArray[np.float64]:
    """How far from its sample, at most half a step, the top of the parabola through three samples along `axis` lies."""
    step = np.eye(3, dtype=np.int64)[axis][:, None]
    at = np.stack([z, y, x])
    before, here, after = (_values(scales, *(at + k * step)) for k in (-1, 0, 1))
    bend = before - 2 * here + after
    offset = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=np.abs(bend) > 1e-6)
    return np.asarray(np.clip(offset, -0.5, 0.5))


def _values(scales: Sequence[Grey], z: Any, y: Any, x: Any) -> NDArray[np.float64]:
    return np.array([scales[k][j, i] for k, j, i in zip(z.tolist(), y.tolist(), x.tolist(), strict=True)], np.float64)


def cut_patches(grey: Grey, places: NDArray[np.float64]) -> Grey:
    """The squares at `places` (x, y, half a side, in pixels), each brought to SIDE x SIDE: float32 [n, SIDE, SIDE]."""
    patches = np.empty((len(places), SIDE, SIDE), np.float32)
    height, width = grey.shape
    for number, (x, y, half) in enumerate(places):
        left, right = max(0, round(x - half)), min(width, round(x + half))
        top, bottom = max(0, round(y - half)), min(height, round(y + half))
        patches[number] = cv2.resize(grey[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return patches
