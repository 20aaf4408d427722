"""Every op's distribution and its gate, against the published ones, measured on many draws."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from foxgan.gan.augment import AugmentPipe, Draws
from foxgan.gan.augpipes import OPS

N, HEIGHT, WIDTH = 20_000, 64, 128


def geometry(p: float = 1.0, **multipliers: float) -> Tensor:
    """[N, 3, 3]"""
    draws = Draws(N, p, torch.Generator().manual_seed(0), None)
    return AugmentPipe(**multipliers)._geometry(draws, HEIGHT, WIDTH)


def color(p: float = 1.0, **multipliers: float) -> Tensor:
    """[N, 4, 4]"""
    return AugmentPipe(**multipliers)._color(Draws(N, p, torch.Generator().manual_seed(0), None), is_rgb=True)


def gains(p: float = 1.0, multiplier: float = 1.0) -> Tensor:
    """[N, 4]"""
    return AugmentPipe(imgfilter=multiplier)._band_gains(Draws(N, p, torch.Generator().manual_seed(0), None))


def saturation(matrix: Tensor) -> Tensor:
    """By how much a color without luma is stretched."""
    return (matrix[:, 0, 0] - matrix[:, 0, 1] - matrix[:, 1, 0] + matrix[:, 1, 1]) / 2


NORMAL: dict[str, tuple[Callable[[], Tensor], float]] = {  # what is normally distributed, and its standard deviation
    "scale": (lambda: -geometry(scale=1.0)[:, 0, 0].log2(), 0.2),
    "aniso": (lambda: -geometry(aniso=1.0)[:, 0, 0].log2(), 0.2),
    "xfrac, x": (lambda: -geometry(xfrac=1.0)[:, 0, 2] / WIDTH, 0.125),
    "xfrac, y": (lambda: -geometry(xfrac=1.0)[:, 1, 2] / HEIGHT, 0.125),
    "brightness": (lambda: color(brightness=1.0)[:, 0, 3], 0.2),
    "contrast": (lambda: color(contrast=1.0)[:, 0, 0].log2(), 0.5),
    "saturation": (lambda: saturation(color(saturation=1.0)).log2(), 1.0),
    "imgfilter, two bands": (lambda: (gains()[:, 0] / gains()[:, 3]).log2(), math.sqrt(2)),
}


@pytest.mark.parametrize("name", NORMAL)
def test_normal_draws_have_the_published_width(name):
    draw, std = NORMAL[name]
    values = draw().double() / std
    at = torch.tensor([-2.0, -1, -0.5, 0, 0.5, 1, 2], dtype=torch.float64)
    found = (values[:, None] < at).double().mean(dim=0)
    expected = (1 + torch.erf(at / math.sqrt(2))) / 2
    assert (found - expected).abs().max() < 0.015


def test_scale_is_even_and_aniso_keeps_the_area():
    even, uneven = geometry(scale=1.0), geometry(aniso=1.0)
    assert torch.equal(even[:, 0, 0], even[:, 1, 1])
    torch.testing.assert_close(uneven[:, 0, 0] * uneven[:, 1, 1], torch.ones(N))


def test_flips_and_quarter_turns_are_equally_likely():
    assert (geometry(xflip=1.0)[:, 0, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.015)
    assert (color(lumaflip=1.0)[:, 0, 0] < 0.9).float().mean() == pytest.approx(0.5, abs=0.015)
    turned = geometry(rotate90=1.0)[:, :2, 0]
    for direction in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        share = (turned == torch.tensor(direction)).all(dim=1).float().mean()
        assert share == pytest.approx(0.25, abs=0.015)


def test_integer_translations_are_uniform_within_an_eighth_of_each_side():
    for axis, side in ((0, WIDTH), (1, HEIGHT)):
        shift = geometry(xint=1.0)[:, axis, 2]
        most = side // 8
        counts = torch.bincount((shift + most).long(), minlength=2 * most + 1) / N
        assert len(counts) == 2 * most + 1
        expected = torch.full([2 * most + 1], 1 / (2 * most))
        expected[[0, -1]] /= 2  # half as much is rounded to the outermost
        assert (counts - expected).abs().max() < 0.01


@pytest.mark.parametrize("op", ["rotate", "hue"])
def test_angles_are_uniform(op):
    matrix = geometry(rotate=1.0)[:, :2, :2] if op == "rotate" else color(hue=1.0)[:, :3, :3]
    cos = matrix[:, 0, 0] if op == "rotate" else (matrix.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    sin = matrix[:, 1, 0] if op == "rotate" else (matrix[:, 1, 0] - matrix[:, 0, 1]) * math.sqrt(3) / 2
    angle = torch.atan2(sin, cos)
    counts = torch.histc(angle, bins=16, min=-math.pi, max=math.pi) / N
    assert (counts - 1 / 16).abs().max() < 0.008


def test_images_are_turned_both_before_and_after_they_are_stretched():
    stretch = geometry(rotate=1.0, aniso=1.0)[:, :2, :2]
    for square in (stretch @ stretch.mT, stretch.mT @ stretch):  # its longer axis shows the turn on either side
        direction = torch.stack([square[:, 0, 0] - square[:, 1, 1], 2 * square[:, 0, 1]], dim=1)
        direction = direction / direction.norm(dim=1, keepdim=True)
        assert direction.mean(dim=0).abs().max() < 0.03
        assert direction.std(dim=0).sub(math.sqrt(0.5)).abs().max() < 0.03


def test_a_filter_keeps_the_energy_of_natural_images():
    one_band = gains(0.02)
    one_band = one_band[(one_band != 1).any(dim=1)]
    energy = (torch.tensor([10, 1, 1, 1]) / 13 * one_band.square()).sum(dim=1)
    assert len(one_band) > 1000
    assert (energy - 1).abs().quantile(0.9) < 1e-5  # where two bands changed, only the second was balanced exactly


def test_noise_is_half_normal():
    zeros = torch.zeros(2000, 1, 32, 32)
    pipe = AugmentPipe(noise=1.0)
    pipe.p.fill_(1)
    sigma = pipe(zeros, torch.Generator().manual_seed(0)).flatten(1).std(dim=1) / 0.1
    for at in (0.25, 0.5, 1.0, 2.0):
        assert (sigma < at).float().mean() == pytest.approx(math.erf(at / math.sqrt(2)), abs=0.04)


def test_cutouts_are_centered_anywhere_with_equal_chance():
    ones = torch.ones(8000, 1, 16, 32)
    pipe = AugmentPipe(cutout=1.0)
    pipe.p.fill_(1)
    blank = 1 - pipe(ones, torch.Generator().manual_seed(0)).mean(dim=(0, 1))

    def expected(side: int) -> Tensor:
        place = (torch.arange(side) + 0.5) / side
        return (place + 0.25).clamp(max=1) - (place - 0.25).clamp(min=0)

    assert (blank - expected(16).outer(expected(32))).abs().max() < 0.03


CHANGE = {"xflip": 0.5, "rotate90": 0.75, "lumaflip": 0.5}  # an active op may still leave an image as it is


@pytest.mark.parametrize("op", OPS)
def test_every_op_is_active_with_its_multiplier_times_p(op):
    """Each alone, and at a multiplier of a half; the four bands of the filter have a gate each."""
    p, share = 0.4, 0.2
    if op in ("noise", "cutout"):
        img = torch.ones(N, 1, 4, 4)
        pipe = AugmentPipe(**{op: 0.5})
        pipe.p.fill_(p)
        changed = (pipe(img, torch.Generator().manual_seed(0)) != img).flatten(1).any(dim=1)
    elif op == "imgfilter":
        changed = (gains(p, 0.5) != 1).any(dim=1)
        share = 1 - (1 - share) ** 4
    else:
        matrix = geometry(p, **{op: 0.5}) if op in OPS[:7] else color(p, **{op: 0.5})
        changed = (matrix != torch.eye(matrix.shape[1])).flatten(1).any(dim=1)
    at_zero = {"xint": 1 / 16 * 1 / 8}.get(op, 0)  # both shifts rounded to nothing
    expected = share * CHANGE.get(op, 1 - at_zero)
    assert changed.float().mean() == pytest.approx(expected, abs=0.012)


def test_both_axes_of_a_translation_share_a_gate():
    for op in ("xint", "xfrac"):
        moved = geometry(0.3, **{op: 1.0})[:, :2, 2] != 0
        assert moved.any(dim=1).float().mean() == pytest.approx(0.3, abs=0.015)
