"""Augmentation: published numbers, the properties each op promises, small and oblong pictures, gradients of gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from foxgan.errors import UsageError
from foxgan.gan import augment
from foxgan.gan.augment import AugmentPipe
from foxgan.gan.augpipes import AUGPIPES, OPS

PERCENTILES = ("0.05", "0.25", "0.4", "0.6", "0.75", "0.95")


def pictures(n: int = 4, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth random images in about -1..1."""
    noise = torch.randn(n, channels, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(height, width), mode="bicubic").clamp(-2, 2) / 2


def at(pipe: AugmentPipe, p: float) -> AugmentPipe:
    pipe.p.fill_(p)
    return pipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("percentile", PERCENTILES)
@pytest.mark.parametrize(
    ("file", "name"),
    [("b", "blit"), ("g", "geom"), ("c", "color"), ("f", "filter"), ("cut", "cutout"), ("bgc", "bgc")],
)
def test_every_category_matches_the_published_values(golden, file, name, percentile):
    a = golden(f"ada_{file}")
    found = AugmentPipe.from_text(name)(a["x"], percentile=float(percentile))
    torch.testing.assert_close(found, a[f"percentile_{percentile}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_noise_is_as_strong_as_published(golden, percentile):
    a = golden("ada_n")
    found = AugmentPipe.from_text("noise")(a["x"], seeded(), float(percentile)) - a["x"]
    assert found.std() == pytest.approx((a[f"percentile_{percentile}"] - a["x"]).std().item(), rel=0.05)


def test_filter_bank_splits_an_impulse_into_four_bands():
    bank = augment.wavelet_filter_bank()
    impulse = torch.zeros(43)
    impulse[21] = 1
    torch.testing.assert_close(bank.sum(dim=0), impulse, atol=1e-6, rtol=0)
    torch.testing.assert_close(bank.sum(dim=1), torch.tensor([1.0, 0, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(bank[:, 21], torch.tensor([0.125, 0.125, 0.25, 0.5]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", AUGPIPES)
def test_at_strength_zero_every_pipe_is_the_identity(name):
    img = pictures()
    assert torch.equal(AugmentPipe.from_text(name)(img), img)


def test_the_warp_of_nothing_changes_nothing():
    img = pictures(2, height=24, width=40)
    torch.testing.assert_close(
        AugmentPipe.from_text("geom")._warp(img, torch.eye(3).repeat(2, 1, 1)), img, atol=1e-5, rtol=0
    )


def test_images_whose_gates_stay_shut_pass_untouched():
    img = pictures(64, height=16, width=16)
    out = at(AugmentPipe.from_text("bgcfnc"), 0.05)(img, seeded())
    same = (out == img).flatten(1).all(dim=1)
    expected = 64 * (1 - 0.05 / 2) ** 2 * (1 - 0.05) ** 14  # xflip and lumaflip do nothing half of the time
    assert expected - 16 < same.sum() < expected + 16
    assert out.isfinite().all()


def test_strength_is_the_share_of_images_an_op_changes():
    img = pictures(1).expand(2000, -1, -1, -1)
    for op, share in (("brightness", 0.3), ("contrast", 0.3), ("cutout", 0.3), ("noise", 0.3), ("lumaflip", 0.15)):
        out = at(AugmentPipe(**{op: 1.0}), 0.3)(img, seeded())
        changed = (out != img).flatten(1).any(dim=1).float().mean()
        assert changed == pytest.approx(share, abs=0.04), op


def test_a_multiplier_scales_an_ops_probability():
    img = pictures(1, height=16, width=16).expand(2000, -1, -1, -1)
    out = at(AugmentPipe(brightness=0.5), 0.4)(img, seeded())
    assert (out != img).flatten(1).any(dim=1).float().mean() == pytest.approx(0.2, abs=0.04)


def test_rotation_before_or_after_happens_as_often_as_p_says():
    draws = augment.Draws(4000, 0.4, seeded(), None)
    inverse = AugmentPipe(rotate=1.0)._geometry(draws, 32, 32)
    turned = (inverse != torch.eye(3)).flatten(1).any(dim=1).float().mean()
    assert turned == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("op", ["xflip", "rotate90"])
def test_turns_and_flips_put_pixels_where_they_belong(op):
    img = pictures(1, height=32, width=32)
    out = at(AugmentPipe(**{op: 1.0}), 1.0)(img.expand(40, -1, -1, -1), seeded())
    wanted = [img[0], img[0].flip(2)] if op == "xflip" else [img[0].rot90(k, (1, 2)) for k in range(4)]
    # sym6 is not quite symmetric: mirrored, its two filters no longer cancel exactly
    nearest = torch.stack([(out - w).abs().mean(dim=(1, 2, 3)) for w in wanted])
    assert nearest.amin(dim=0).max() < 0.02
    assert set(nearest.argmin(dim=0).tolist()) == set(range(len(wanted)))


def test_a_quarter_turn_of_an_oblong_image_keeps_its_middle_square():
    img = pictures(1, height=32, width=64)
    out = AugmentPipe(rotate90=1.0)(img, percentile=0.25)
    assert out.shape == img.shape
    square, turned = img[0, :, :, 16:48], out[0, :, :, 16:48]
    distances = [(turned - square.rot90(k, (1, 2))).abs().mean().item() for k in range(4)]
    assert min(distances) < 0.02
    assert distances.index(min(distances)) in (1, 3)


def test_integer_translation_reaches_an_eighth_of_each_side():
    draws = augment.Draws(2000, 1.0, seeded(), None)
    shift = AugmentPipe(xint=1.0)._geometry(draws, 64, 128)[:, :2, 2]
    assert torch.equal(shift, shift.round())
    assert shift[:, 0].abs().max() == 16
    assert shift[:, 1].abs().max() == 8


def test_a_shift_shows_the_mirrored_edge_not_black():
    img = torch.ones(2, 3, 32, 32) * 0.7
    out = at(AugmentPipe(xint=1.0, xfrac=1.0), 1.0)(img, seeded())
    torch.testing.assert_close(out, img, atol=1e-4, rtol=0)


def test_contrast_luma_flip_and_hue_keep_their_invariants():
    img = pictures(8)
    hue = at(AugmentPipe(hue=1.0, saturation=1.0), 1.0)(img, seeded())
    torch.testing.assert_close(hue.mean(dim=1), img.mean(dim=1), atol=1e-5, rtol=0)  # luma stays
    flip = at(AugmentPipe(lumaflip=1.0), 1.0)(img, seeded())
    assert ((flip.mean(dim=1).abs() - img.mean(dim=1).abs()).abs() < 1e-5).all()
    contrast = at(AugmentPipe(contrast=1.0), 1.0)(img, seeded())
    ratio = contrast.flatten(1) / img.flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)


def test_grey_is_augmented_like_a_grey_color_image():
    grey = pictures(6, channels=1)
    pipe = at(AugmentPipe(brightness=1.0, contrast=1.0, lumaflip=1.0), 1.0)
    color = pipe(grey.expand(-1, 3, -1, -1), seeded())
    torch.testing.assert_close(pipe(grey, seeded()), color.mean(dim=1, keepdim=True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_moves_with_the_picture_and_keeps_its_values(channels):
    img = pictures(6, channels=channels)
    color = at(AugmentPipe.from_text("color", channels), 1.0)(img, seeded())
    assert torch.equal(color[:, -1], img[:, -1])
    assert (color[:, 0] - img[:, 0]).abs().mean() > 0.05
    moved = at(AugmentPipe.from_text("geom", channels), 1.0)(img[:, -1:].expand(-1, channels, -1, -1), seeded())
    assert torch.equal(moved[:, -1], moved[:, 0])
    assert (moved[:, -1] - img[:, -1]).abs().mean() > 0.05


def test_color_ops_on_many_channels_are_refused_but_geometry_is_not():
    with pytest.raises(UsageError, match="5 channels"):
        AugmentPipe.from_text("bgc", 5)
    img = pictures(2, channels=5)
    assert at(AugmentPipe.from_text("bg", 5), 1.0)(img, seeded()).shape == img.shape


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'bgx'.*bgcfnc"):
        AugmentPipe.from_text("bgx")
    with pytest.raises(UsageError, match="blur.*cutout"):
        AugmentPipe(blur=1.0)


def test_cutout_blanks_a_rectangle_of_half_each_side():
    img = torch.ones(300, 3, 16, 32)
    out = at(AugmentPipe(cutout=1.0), 1.0)(img, seeded())
    blank = (out == 0).all(dim=1)
    rows, cols = blank.any(dim=2).sum(dim=1), blank.any(dim=1).sum(dim=1)
    assert torch.equal(blank.sum(dim=(1, 2)), rows * cols)
    assert rows.max() in (8, 9)
    assert cols.max() in (16, 17)
    assert rows.min() < 6  # it may hang over the edge


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (12, 40), (28, 28)])
@pytest.mark.parametrize("name", ["bgc", "bgcfnc"])
def test_small_and_oblong_images_go_through_everything(name, height, width):
    img = pictures(8, height=height, width=width)
    out = at(AugmentPipe.from_text(name), 1.0)(img, seeded())
    assert out.shape == img.shape
    assert out.isfinite().all()
    assert (out - img).abs().mean() > 0.05


def test_the_filter_of_a_small_image_is_that_of_its_mirrored_tiling():
    img = pictures(2, height=16, width=16)
    gains = torch.tensor([[2.0, 0.5, 1.5, 0.3], [0.2, 1.0, 3.0, 1.0]])
    pipe = AugmentPipe.from_text("filter")
    row = torch.cat([img, img.flip(3)[..., 1:-1]], dim=3)  # one period of endless reflection
    tile = torch.cat([row, row.flip(2)[:, :, 1:-1]], dim=2).repeat(1, 1, 3, 3)
    torch.testing.assert_close(
        pipe._filter(tile, gains)[:, :, 30:46, 30:46], pipe._filter(img, gains), atol=1e-5, rtol=1e-5
    )


def test_large_pads_of_one_image_do_not_change_another():
    img = pictures(2, height=24, width=24)
    pipe = AugmentPipe.from_text("geom")
    turn = augment.rotation(torch.tensor([0.3]))
    far = augment.scaling(torch.tensor([2.5]), torch.tensor([2.5]))
    together = pipe._warp(img, torch.cat([turn, far]))
    torch.testing.assert_close(together[:1], pipe._warp(img[:1], turn), atol=1e-5, rtol=0)


def test_same_generator_same_augmentation():
    img = pictures(8)
    pipe = at(AugmentPipe.from_text("bgcfnc"), 0.7)
    assert torch.equal(pipe(img, seeded(5)), pipe(img, seeded(5)))
    assert not torch.equal(pipe(img, seeded(5)), pipe(img, seeded(6)))


@pytest.mark.parametrize("op", OPS)
def test_every_op_can_be_differentiated_twice(op):
    """A cubic after the op has a second derivative; autograd's is compared with that of the op's own Jacobian."""
    pipe = at(AugmentPipe(**{op: 1.0}), 1.0)
    img = pictures(2, height=8, width=8).requires_grad_()
    out = pipe(img, seeded(3))
    probe = torch.randn(out.shape, generator=seeded(1))
    (gradient,) = torch.autograd.grad((out**3 * probe).sum(), img, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), img)

    jacobian = torch.autograd.functional.jacobian(lambda x: pipe(x, seeded(3)), img.detach()).reshape(
        out.numel(), img.numel()
    )
    flat = out.detach().flatten()
    g = jacobian.T @ (3 * flat**2 * probe.flatten())
    expected = jacobian.T @ (6 * flat * probe.flatten() * (jacobian @ (2 * g)))
    assert expected.abs().max() > 0
    torch.testing.assert_close(second.flatten(), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_only_p_and_the_filters_are_stored():
    state = AugmentPipe.from_text("bgc").state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "p": (),
        "Hz_geom": (12,),
        "Hz_fbank": (4, 43),
    }
    assert state["Hz_geom"].sum() == pytest.approx(1)
    assert state["Hz_geom"].square().sum() == pytest.approx(0.5)
    assert math.isclose(state["p"].item(), 0)
