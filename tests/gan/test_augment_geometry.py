"""The warp of images of any shape, against the same picture drawn anew from its formula at the warped places.

Sums of a few cosines are their own mirror image at all edges, so the formula also says what lies outside.
"""

import math

import pytest
import torch
from torch import Tensor

from foxgan.gan.augment import AugmentPipe, Draws

SIZES = [(32, 32), (128, 64), (64, 128), (48, 80), (16, 64), (64, 16), (8, 64), (8, 8), (9, 13), (21, 10)]


def drawn(waves: Tensor, x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """[C, ...]: the picture of `waves` [C, K, K] at pixels x, y, which may lie anywhere."""
    across, down = (
        torch.stack([torch.cos(math.pi * k * place / (side - 1)) for k in range(waves.shape[2])])
        for place, side in ((x, width), (y, height))
    )
    return torch.einsum("cij,i...,j...->c...", waves, down, across)


def warped(waves: Tensor, inverse: Tensor, height: int, width: int) -> Tensor:
    """The picture through one matrix [3, 3] from output to input pixels, the origin at the center."""
    y, x = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in (height, width))
    places = torch.stack(torch.broadcast_tensors(x[None], y[:, None], torch.ones(1, 1, dtype=torch.float64)))
    x, y, _ = torch.einsum("ij,jhw->ihw", inverse.double(), places)
    return drawn(waves, x + (width - 1) / 2, y + (height - 1) / 2, height, width).float()


def picture(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Waves and the picture [3, H, W] that they make."""
    waves = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 3
    return waves, warped(waves, torch.eye(3), height, width)


def tolerance(height: int, width: int) -> float:
    """A wave takes few pixels of a small image, and bilinear interpolation between half pixels blurs it."""
    return 0.05 if min(height, width) >= 32 else 0.15


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_drawn_warp_shows_the_picture_and_its_mirror_images(height, width):
    """At full strength, so corners reach far outside: black there would be seen as an error of about 1."""
    waves, img = picture(height, width)
    pipe = AugmentPipe.from_text("bg")
    inverse = pipe._geometry(Draws(40, 1.0, torch.Generator().manual_seed(1), None), height, width)
    out = pipe._warp(img.expand(40, -1, -1, -1), inverse)
    expected = torch.stack([warped(waves, matrix, height, width) for matrix in inverse])
    assert (out - expected).abs().max() < tolerance(height, width)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("turns", "back"), [(1, (0, -1, 1, 0)), (2, (-1, 0, 0, -1)), (3, (0, 1, -1, 0))])
def test_quarter_turns_of_any_shape_are_those_of_the_mirrored_plane(height, width, turns, back):
    waves, img = picture(height, width)
    out = AugmentPipe(rotate90=1.0)(img[None], percentile=turns / 4)[0]
    inverse = torch.eye(3)
    inverse[:2, :2] = torch.tensor(back).reshape(2, 2)
    assert (out - warped(waves, inverse, height, width)).abs().max() < tolerance(height, width)
    assert (out - img).abs().max() > 0.3


def test_a_quarter_turn_of_128x64_puts_what_was_above_the_middle_to_its_left():
    img = torch.zeros(1, 1, 128, 64)
    img[:, :, 40:48, 28:36] = 1  # 20 pixels above the middle
    out = AugmentPipe(rotate90=1.0)(img, percentile=0.25)[0, 0]
    y, x = (out > 0.5).nonzero().double().mean(dim=0)
    assert (y.item(), x.item()) == pytest.approx((63.5, 11.5), abs=0.5)


def test_a_translation_of_an_oblong_image_is_a_share_of_each_side():
    img = torch.zeros(1, 1, 128, 64)
    img[:, :, 60:68, 28:36] = 1
    out = AugmentPipe(xint=1.0)(img, percentile=1.0)[0, 0]
    y, x = (out > 0.5).nonzero().double().mean(dim=0)
    assert (y.item() - 63.5, x.item() - 31.5) == pytest.approx((16, 8), abs=0.1)
