"""Weights fitted to other images compute what they computed before, where that can be."""

import pytest
import torch

from foxgan.errors import DataError
from foxgan.gan import adapt
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator

SMALL = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 128, "channel_max": 16, "use_noise": False}


def nets(seed: int = 0, **fields) -> tuple[Generator, Discriminator]:
    config = NetworkConfig(**{"height": 16, "width": 16} | SMALL | fields)
    random = torch.Generator().manual_seed(seed)
    G, D = Generator(config, random).requires_grad_(False), Discriminator(config, random).requires_grad_(False)
    for net in (G, D):
        for param in net.parameters():
            if param.ndim == 1:
                param.add_(0.3 * torch.randn(param.shape, generator=random))
    return G, D


def filled(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """`net` with the tensors of `state` that fit; the others as they are."""
    own = net.state_dict()
    net.load_state_dict(
        own | {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    )
    return net


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (3, 4, lambda img: torch.cat([img, torch.ones_like(img[:, :1])], dim=1)),
        (4, 3, lambda img: img[:, :3]),
        (3, 1, lambda img: img.mean(dim=1, keepdim=True)),
        (1, 3, lambda img: img.expand(-1, 3, -1, -1)),
        (1, 4, lambda img: torch.cat([img.expand(-1, 3, -1, -1), torch.ones_like(img)], dim=1)),
        (4, 1, lambda img: img[:, :3].mean(dim=1, keepdim=True)),
    ],
)
def test_a_generator_for_other_channels_draws_the_same_picture(architecture, old, new, expected):
    G, _ = nets(img_channels=old, g_architecture=architecture)
    other, _ = nets(seed=5, img_channels=new, g_architecture=architecture)
    z = random(3, 8)
    filled(other, adapt.to_channels(G.state_dict(), old, new))
    torch.testing.assert_close(other(z), expected(G(z)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (3, 4, lambda img: img[:, :3]),  # what the old D would see of the new image
        (4, 3, lambda img: torch.cat([img, torch.ones_like(img[:, :1])], dim=1)),
        (3, 1, lambda img: img.expand(-1, 3, -1, -1)),
        (1, 3, lambda img: img.mean(dim=1, keepdim=True)),
    ],
)
def test_a_discriminator_for_other_channels_judges_alike(architecture, old, new, seen):
    _, D = nets(img_channels=old, d_architecture=architecture)
    _, other = nets(seed=5, img_channels=new, d_architecture=architecture)
    img = random(4, new, 16, 16)
    filled(other, adapt.to_channels(D.state_dict(), old, new))
    # a skip D halves the image, and alpha = 1 fades at the edges when it does: only about the same there
    near = 0.2 if architecture == "skip" and old == 4 else 1e-5
    torch.testing.assert_close(other(img), D(seen(img)), atol=near, rtol=1e-4)


def test_channels_that_mean_no_colors_are_refused():
    G, _ = nets(img_channels=2)
    with pytest.raises(DataError, match="from 2 to 3 channels"):
        adapt.to_channels(G.state_dict(), 2, 3)


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0)])
def test_with_labels_added_or_taken_away_w_follows_z_as_before(before, after):
    old, new = nets(c_dim=before)[0], nets(seed=5, c_dim=after)[0]
    if before:  # what the label did cannot be kept: compare with a label that says nothing
        old.mapping.embed.weight.zero_()
        old.mapping.embed.bias.zero_()
    filled(new, adapt.to_classes(old.state_dict(), old.config, new.config))
    z, c = random(4, 8), torch.eye(3)[[0, 1, 2, 0]]
    expected = old.mapping.to_w(z, c if before else None)
    torch.testing.assert_close(new.mapping.to_w(z, c if after else None), expected, atol=1e-5, rtol=1e-4)


def test_a_wider_grid_stretches_the_constant_and_keeps_what_a_flat_picture_means_to_d():
    old, new = nets(), nets(seed=5, height=16, width=24)
    made = adapt.to_grid(old[0].state_dict(), old[0].config, new[0].config)
    assert made["synthesis.b4.const"].shape == (16, 4, 6)
    torch.testing.assert_close(made["synthesis.b4.const"].mean(), old[0].synthesis.b4.const.mean(), atol=0.05, rtol=0)
    state = adapt.to_grid(old[1].state_dict(), old[1].config, new[1].config)
    filled(new[1], state)
    flat = torch.ones(2, 16)  # features that are the same in every pixel
    before = old[1].b4.fc(flat[:, :, None, None].expand(-1, -1, 4, 4).flatten(1))
    after = new[1].b4.fc(flat[:, :, None, None].expand(-1, -1, 4, 6).flatten(1))
    assert after.shape == before.shape
    torch.testing.assert_close(after, before, atol=0.35, rtol=0.35)
