"""Small pictures of a head's oriented gradients, and what moving, turning and scaling does to them.

A motion leads from the aligned picture into the head's own: [N, 4] with the logarithm of its scale, its roll in radians (clockwise) and its
shift x, y, where a picture reaches from -1 to 1.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from foxgan.images import Pixels, cv2

SIDE = 40  # of the pictures
BINS = 8  # directions of a gradient
SCALE = 96.0  # of gradients in a byte
FAINT = 4.0  # squared change of Lab per pixel that counts as noise


def gradients(picture: Pixels) -> Pixels:
    """How much a picture, RGB [SIDE, SIDE, 3], changes in each direction, by its surroundings: uint8 [BINS, SIDE, SIDE]."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    across, down = (cv2.Sobel(lab, cv2.CV_32F, x, 1 - x, scale=0.25, borderType=cv2.BORDER_REFLECT) for x in (1, 0))
    strongest = (across**2 + down**2).argmax(axis=2)[..., None]  # of lightness and the two colours
    across, down = (np.take_along_axis(d, strongest, 2)[..., 0] for d in (across, down))
    size = np.hypot(across, down)
    turn = np.arctan2(down, across) / (2 * np.pi) % 1 * BINS
    bins = [np.maximum(0, 1 - np.abs((turn - b + BINS / 2) % BINS - BINS / 2)) * size for b in range(BINS)]
    around = cv2.GaussianBlur(size**2, (0, 0), SIDE / 10, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.round(np.stack(bins) / np.sqrt(around + FAINT) * SCALE).clip(0, 255), np.uint8)


def places(side: int) -> Tensor:
    """Of the pixels along a side, from -1 to 1."""
    return (torch.arange(side) + 0.5) / side * 2 - 1


def focus(side: int, sigma: float) -> Tensor:
    """Weights [side, side] around the middle."""
    at = places(side)
    return torch.exp(-(at[None] ** 2 + at[:, None] ** 2) / (2 * sigma**2))


def mirrored(pictures: Tensor) -> Tensor:
    """Mirror images [N, BINS, H, W]: a gradient to the right points to the left."""
    return pictures.flip(-1)[:, [(BINS // 2 - b) % BINS for b in range(BINS)]]


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    reach = int(3 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(BINS, 1, 1, -1)
    pictures = F.conv2d(F.pad(pictures, (reach, reach, 0, 0), mode="replicate"), kernel, groups=BINS)
    return F.conv2d(F.pad(pictures, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=BINS)


def moved(pictures: Tensor, motions: Tensor) -> Tensor:
    """The pictures as their motions say."""
    a, b = (motions[:, 0].exp() * f(motions[:, 1]) for f in (torch.cos, torch.sin))
    rows = torch.stack([a, -b, motions[:, 2], b, a, motions[:, 3]], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def moved_pictures(pictures: Pixels, motions: NDArray[np.float64]) -> Pixels:
    """RGB [N, SIDE, SIDE, 3] as their motions say, for people to look at."""
    layers = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    seen = moved(layers, torch.from_numpy(motions).float()).permute(0, 2, 3, 1)
    return np.asarray(seen.round().clamp(0, 255).to(torch.uint8).numpy())


def slopes_of(mean: Tensor) -> Tensor:
    """How every value of a mean changes with a small motion, [BINS * H * W, 4]."""
    side = mean.shape[-1]
    down, across = torch.gradient(mean, spacing=2 / side, dim=(1, 2))
    y, x = places(side)[:, None], places(side)[None]
    return torch.stack([across * x + down * y, down * x - across * y, across, down], -1).reshape(-1, 4)


def undone(motions: Tensor, steps: Tensor) -> Tensor:
    """`motions` after the inverse of the small motions `steps` (change of scale, turn, shift)."""
    whole = torch.polar(motions[:, 0].exp(), motions[:, 1])
    step, shift = torch.complex(1 + steps[:, 0], steps[:, 1]), torch.complex(steps[:, 2], steps[:, 3])
    turned, at = whole / step, torch.complex(motions[:, 2], motions[:, 3]) - whole * shift / step
    return torch.stack([turned.abs().log(), turned.angle(), at.real, at.imag], 1)


def cluster(values: Tensor, number: int, rounds: int = 8) -> Tensor:
    """The cluster (0 to `number` - 1) of every row, by k-means from rows chosen by chance, always the same."""
    chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    centres = values[chosen[:number]]
    labels = torch.zeros(len(values), dtype=torch.long)
    for _ in range(rounds):
        labels = ((centres**2).sum(1) - 2 * values @ centres.T).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, labels, values)
        counts = torch.bincount(labels, minlength=number)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return labels
