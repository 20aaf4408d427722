"""Sliced Wasserstein distance by scale: whether fakes have the shapes, textures and colors of the reals. Needs no weights.

After Karras et al. 2018 (Progressive GAN, sec. 5): the distributions of small patches are compared, one level of a Laplacian
pyramid after the other. Unlike there, both sides are measured in the reals' standard deviations, or a color cast would not count.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.errors import DataError

SMALLEST = 16  # pixels: sides are halved as long as the smaller one stays at or above this
PATCH = 7  # pixels, a side
PATCHES = 128  # of each image at each level
DIRECTIONS = 512  # of projection
AT_A_TIME = 64  # of these, for the sake of memory
FLAT = 1.0  # grey levels: what varies less counts as varying so much, so that a flat channel does not drown the others


def swd(reals: Iterable[Tensor], fakes: Iterable[Tensor], seed: int = 0) -> dict[str, float]:
    """Distances x 1000 between as many reals as fakes: 0 for the same images, lower is better.

    For 2,000 images of 64x64: `swd2k`, the mean, then `swd2k_64`, `swd2k_32`, `swd2k_16`, by the smaller side of each level: fine
    texture first, layout and color last. Only numbers of as many images, of one size, may be compared: fewer give more.

    Computed where the batches are; keeps about 38 kB (RGB) of an image and level in memory. Raises DataError for batches that
    are not uint8 [N, C, H, W] of one shape, and for unequal numbers of images.
    """
    real, fake = _descriptors("reals", reals, seed), _descriptors("fakes", fakes, seed)
    shapes = [{side: tuple(found.shape) for side, found in levels.items()} for levels in (real, fake)]
    if shapes[0] != shapes[1]:
        raise DataError(f"swd: reals and fakes differ in number or size: patches {shapes[0]} and {shapes[1]}")
    count = next(iter(real.values())).shape[0]
    name = name_of(count)
    found = {f"{name}_{side}": 1000 * _distance(real.pop(side), fake.pop(side), seed) for side in list(real)}
    return {name: sum(found.values()) / len(found)} | found


def name_of(count: int) -> str:
    """What the metric is called for so many images: swd2k, swd500."""
    return f"swd{count // 1000}k" if count % 1000 == 0 else f"swd{count}"


def pyramid(images: Tensor) -> list[Tensor]:
    """The Laplacian pyramid (Burt and Adelson 1983) of images [N, C, H, W]: what each halving loses, and the smallest image."""
    levels = []
    while min(images.shape[2:]) // 2 >= SMALLEST:
        smaller = _blurred(images)[:, :, ::2, ::2]
        spread = images.new_zeros(images.shape)
        spread[:, :, ::2, ::2] = smaller * 4
        levels.append(images - _blurred(spread))
        images = smaller
    return [*levels, images]


def _blurred(images: Tensor) -> Tensor:
    taps = images.new_tensor([1, 4, 6, 4, 1]) / 16
    channels = images.shape[1]
    padded = F.pad(images, (2, 2, 2, 2), "reflect")
    rows = F.conv2d(padded, taps.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
    return F.conv2d(rows, taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)


def _descriptors(what: str, batches: Iterable[Tensor], seed: int) -> dict[int, Tensor]:
    """Patches [N, PATCHES, side, side, C] in fp16 (off by 1/16 of a grey level at most), by the smaller side of their level.

    Where they lie depends on an image's number alone, and is the same for reals and fakes.
    """
    found: dict[int, list[Tensor]] = {}
    shape: Any = None
    random: list[np.random.Generator] = []
    for batch in batches:
        if batch.dtype != torch.uint8 or batch.ndim != 4 or min(batch.shape[2:]) < PATCH:
            raise DataError(
                f"swd: {what}: {batch.dtype} {tuple(batch.shape)}; expected uint8 [N, C, H, W] of {PATCH}x{PATCH} pixels or more"
            )
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise DataError(f"swd: {what}: images of {tuple(batch.shape[1:])} after those of {tuple(shape)}")
        levels = pyramid(batch.float())
        random = random or [np.random.default_rng((seed, i)) for i in range(len(levels))]
        for level, numbers in zip(levels, random, strict=True):
            places = torch.from_numpy(numbers.random((len(batch), PATCHES, 2), np.float32)).to(batch.device)
            found.setdefault(min(level.shape[2:]), []).append(_patches(level, places).half())
    if not found:
        raise DataError(f"swd: {what}: no images")
    return {side: torch.cat(parts) for side, parts in found.items()}


def _patches(level: Tensor, places: Tensor) -> Tensor:
    """Patches [N, PATCHES, PATCH, PATCH, C] of a level [N, C, H, W] at `places` [N, PATCHES, 2] in [0, 1)."""
    offsets = torch.arange(PATCH, device=level.device)
    room = places.new_tensor(level.shape[2:]) - PATCH + 1
    corners = (places * room).long().minimum(room.long() - 1)[..., None] + offsets
    image = torch.arange(len(level), device=level.device)[:, None, None, None]
    return level[image, :, corners[:, :, 0, :, None], corners[:, :, 1, None, :]]


def _distance(real: Tensor, fake: Tensor, seed: int) -> float:
    """The mean over random directions of the Wasserstein distance between the projections of two sets of patches."""
    real, fake = real.flatten(0, 1).float(), fake.flatten(0, 1).float()
    scale = real.std((0, 1, 2)).clamp(min=FLAT)
    features = real[0].numel()
    directions = torch.randn(features, DIRECTIONS, generator=torch.Generator().manual_seed(seed)).to(real.device)
    directions = (F.normalize(directions, dim=0).view(*real.shape[1:], -1) / scale[:, None]).flatten(0, 2)
    total = 0.0
    for some in torch.split(directions, AT_A_TIME, 1):
        a, b = (_sorted(some.T @ patches.flatten(1).T) for patches in (real, fake))
        total += float((a - b).abs().mean(1).sum())
    return total / DIRECTIONS


def _sorted(rows: Tensor) -> Tensor:
    """Each row sorted; on a CPU by numpy and in place, in a quarter of torch's time."""
    if rows.device.type != "cpu":
        return rows.sort(1).values
    rows.numpy().sort()
    return rows
