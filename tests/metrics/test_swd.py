"""The sliced Wasserstein distance: what it is zero for, which level sees which difference, and that nothing else matters."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.errors import DataError
from foxgan.metrics.swd import name_of, pyramid, swd


def blobs(count: int = 32, height: int = 64, width: int = 64, channels: int = 3, seed: int = 0) -> Tensor:
    """Pictures with detail at all scales."""
    random = torch.Generator().manual_seed(seed)
    picture = torch.zeros(count, channels, height, width)
    for step in (1, 4, 16):
        grid = torch.randn(count, channels, -(-height // step), -(-width // step), generator=random)
        picture += F.interpolate(grid, scale_factor=step)[:, :, :height, :width]
    return (picture * 25 + 128).clamp(0, 255).to(torch.uint8)


def changed(pictures: Tensor, change: str) -> Tensor:
    x = pictures.float()
    if change == "blur":
        x = F.avg_pool2d(x, 3, 1, 1)
    if change == "noise":
        x = x + 25 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    if change == "colour":
        x = x + torch.tensor([40, 0, -40])[:, None, None]
    return x.clamp(0, 255).to(torch.uint8)


def test_the_same_pictures_have_no_distance_and_two_halves_of_one_set_a_small_one():
    reals, others = blobs(), blobs(seed=1)
    assert set(swd([reals], [reals]).values()) == {0}
    small, large = swd([reals], [others]), swd([reals], [changed(others, "noise")])
    assert 0 < small["swd32"] < 0.4 * large["swd32"]


def test_names_tell_how_many_pictures_and_which_level():
    assert list(swd([blobs(2)], [blobs(2)])) == ["swd2", "swd2_64", "swd2_32", "swd2_16"]
    assert [name_of(count) for count in (500, 1000, 2500, 16000)] == ["swd500", "swd1k", "swd2500", "swd16k"]


@pytest.mark.parametrize(("change", "level"), [("blur", 64), ("noise", 64), ("colour", 16)])
def test_a_difference_shows_at_its_level(change: str, level: int):
    reals = blobs()
    same, other = swd([reals], [blobs(seed=1)]), swd([reals], [changed(blobs(seed=1), change)])
    grown = {name: other[name] - same[name] for name in same if "_" in name}
    assert max(grown, key=lambda name: grown[name]) == f"swd32_{level}"
    assert other["swd32"] > 2 * same["swd32"]


def test_more_of_a_difference_is_more_distance():
    reals = blobs(16)
    found = [swd([reals], [(reals.float() * k).to(torch.uint8)])["swd16"] for k in (0.9, 0.7, 0.4)]
    assert found == sorted(found)


def test_batches_do_not_matter_but_for_rounding():
    reals, fakes = blobs(24), blobs(24, seed=1)
    once = swd([reals], [fakes])
    assert swd(iter(reals.split(5)), iter(fakes.split(7))) == pytest.approx(once, rel=1e-3)
    assert swd([reals], [fakes]) == once
    assert swd([reals], [fakes], seed=1) != once


@pytest.mark.parametrize(
    ("height", "width", "channels", "levels"),
    [(40, 96, 1, [40, 20]), (28, 28, 4, [28]), (8, 12, 3, [8]), (7, 35, 3, [7])],
)
def test_any_shape_and_number_of_channels(height: int, width: int, channels: int, levels: list[int]):
    reals, fakes = (blobs(8, height, width, channels, seed) for seed in (0, 1))
    found = swd([reals], [fakes])
    assert list(found) == ["swd8", *(f"swd8_{side}" for side in levels)]
    assert all(value > 0 for value in found.values())


def test_a_channel_that_never_changes_does_not_drown_the_others():
    """Opaque pictures against fakes whose alpha is off by one grey level now and then."""
    reals, fakes = blobs(8, channels=4), blobs(8, channels=4, seed=1)
    reals[:, 3] = 255
    fakes[:, 3] = 255
    before = swd([reals], [fakes])["swd8"]
    fakes[:, 3, ::9, ::9] = 254
    assert swd([reals], [fakes])["swd8"] == pytest.approx(before, rel=0.05)


def test_the_pyramid_adds_up_to_the_picture():
    picture = blobs(2).float()
    *details, rest = pyramid(picture)
    assert [level.shape[2] for level in (*details, rest)] == [64, 32, 16]
    assert abs(float(details[0].mean())) < 0.5 and float(rest.mean()) == pytest.approx(float(picture.mean()), rel=0.02)


@pytest.mark.parametrize(
    ("reals", "fakes", "words"),
    [
        ([blobs(4)], [blobs(3)], "differ in number or size"),
        ([blobs(4)], [blobs(4, 32, 32)], "differ in number or size"),
        ([blobs(4)], [blobs(2), blobs(2, 32, 32)], "images of .* after those of"),
        ([blobs(4).float()], [blobs(4)], "reals: torch.float32 .*expected uint8"),
        ([blobs(4, 4, 4)], [blobs(4, 4, 4)], "expected uint8 .*7x7 pixels"),
        ([], [blobs(4)], "reals: no images"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(reals: list[Tensor], fakes: list[Tensor], words: str):
    with pytest.raises(DataError, match=words):
        swd(reals, fakes)
