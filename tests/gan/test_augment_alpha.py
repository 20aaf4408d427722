"""Images with alpha: straight colors, so that every op can be undone whatever alpha is, and with finite derivatives."""

import pytest
import torch
from torch import Tensor

from foxgan.gan.augment import AugmentPipe
from foxgan.gan.augpipes import OPS


def pipe(text: str, channels: int = 4, p: float = 1.0) -> AugmentPipe:
    made = AugmentPipe.from_text(text, channels)
    made.p.fill_(p)
    return made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cutouts(n: int = 6, side: int = 24) -> Tensor:
    """[N, 4, H, W]: noisy colors everywhere, alpha 1 in a disc with a soft edge and -1 around it."""
    color = torch.rand(n, 3, side, side, generator=seeded(1)) * 2 - 1
    place = torch.arange(side) - (side - 1) / 2
    alpha = (side / 3 - torch.hypot(place[:, None], place)).clamp(-1, 1)
    return torch.cat([color, alpha.expand(n, 1, -1, -1)], dim=1)


def test_a_color_op_does_to_color_what_it_does_without_alpha_seen_or_not():
    img = cutouts()
    out = pipe("color")(img, seeded())
    torch.testing.assert_close(out[:, :3], pipe("color", 3)(img[:, :3], seeded()))
    assert torch.equal(out[:, 3], img[:, 3])


@pytest.mark.parametrize("name", ["blit", "geom", "bg", "filter"])
def test_other_ops_treat_all_four_channels_alike(name):
    img = cutouts()
    out = pipe(name)(img, seeded())
    for channel in range(4):
        alone = pipe(name, 1)(img[:, channel : channel + 1], seeded())
        torch.testing.assert_close(out[:, channel : channel + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["bg", "bgc", "bgcf", "cutout"])
def test_every_op_is_affine_in_the_channels_whatever_alpha_is(name):
    """Of the mean of two images it makes the mean of what it makes of each: nothing is multiplied with alpha or divided by it."""
    one, other = cutouts(), cutouts().flip(0).roll(5, dims=3)
    augment = pipe(name)
    mean = augment((one + other) / 2, seeded())
    torch.testing.assert_close(mean, (augment(one, seeded()) + augment(other, seeded())) / 2, atol=1e-5, rtol=1e-4)


def test_invisible_color_still_reaches_the_discriminator_and_its_gradient_the_generator():
    hidden = torch.cat([cutouts()[:, :3], torch.full([6, 1, 24, 24], -1.0)], dim=1).requires_grad_()
    out = pipe("bgc")(hidden, seeded())
    assert out[:, :3].std() > 0.1
    (gradient,) = torch.autograd.grad(out[:, :3].square().sum(), hidden, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), hidden)
    assert gradient.isfinite().all() and second.isfinite().all()
    assert (second[:, :3].abs().amax(dim=1) > 0).float().mean() > 0.9


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("op", OPS)
def test_grey_and_transparent_images_can_be_differentiated_twice(op, channels):
    """As for color, against the op's own Jacobian."""
    augment = pipe(op, channels)
    img = cutouts(2, 8)[:, :channels].requires_grad_()
    out = augment(img, seeded(3))
    (gradient,) = torch.autograd.grad((out**3).sum(), img, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), img)
    jacobian = torch.autograd.functional.jacobian(lambda x: augment(x, seeded(3)), img.detach())
    jacobian, flat = jacobian.reshape(out.numel(), img.numel()), out.detach().flatten()
    expected = jacobian.T @ (6 * flat * (jacobian @ (2 * jacobian.T @ (3 * flat**2))))
    torch.testing.assert_close(second.flatten(), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_hue_and_saturation_leave_grey_alone_and_filters_reach_every_channel(channels):
    img = cutouts()[:, :channels]
    assert torch.equal(pipe("hue,saturation", channels)(img, seeded()), img) is (channels == 1)
    changed = (pipe("filter,noise", channels)(img, seeded()) - img).abs().mean(dim=(0, 2, 3))
    assert (changed > 0.01).all()
