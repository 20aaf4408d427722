"""A walk through w between keyframes, the last of which leads back to the first. Truncation acts on the keyframes."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foxgan.gan.ops import to_uint8
from foxgan.gan.stylegan2 import Generator
from foxgan.images import Pixels

Easing = Literal["smooth", "none"]


def timeline(frames: int, easing: Easing) -> Tensor:
    """Positions [frames] in [0, 1) on the way from one keyframe to the next; "smooth" slows down at both (3t^2 - 2t^3)."""
    t = torch.arange(frames, dtype=torch.float32) / frames
    return t * t * (3 - 2 * t) if easing == "smooth" else t


def loop(keyframes: Tensor, frames: int, easing: Easing = "smooth") -> Iterator[Tensor]:
    """`frames` steps, linear in w, from each keyframe of [N, cells, num_ws, w_dim] to the next; from the last to the first.

    Yields N * frames tensors [cells, num_ws, w_dim]. What would come next is the first one again.
    """
    times = timeline(frames, easing).to(keyframes.device)
    for start, end in zip(keyframes, keyframes.roll(-1, dims=0), strict=True):
        for t in times:
            yield start.lerp(end, t)


@torch.inference_mode()
def film_frames(
    G: Generator, ws: Tensor, frames: int, rows: int = 1, columns: int = 1, easing: Easing = "smooth"
) -> Iterator[Pixels]:
    """Frames [H, W, C], uint8, of a film through the keyframes `ws` [N, num_ws, w_dim], N a multiple of rows * columns.

    In a film of several cells, each walks its own N / (rows * columns) keyframes: the first cell the first ones, and so on.
    """
    cells = rows * columns
    keyframes = ws.reshape(cells, -1, *ws.shape[1:]).transpose(0, 1)
    for step in loop(keyframes, frames, easing):
        yield tiled(to_uint8(G.synthesis(step, noise_mode="const")), rows, columns)


def tiled(pictures: Pixels, rows: int, columns: int) -> Pixels:
    """Pixels [rows * columns, H, W, C] side by side, without gaps, as one [rows * H, columns * W, C]."""
    _, height, width, channels = pictures.shape
    cells = pictures.reshape(rows, columns, height, width, channels)
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3, 4)).reshape(rows * height, columns * width, channels)
