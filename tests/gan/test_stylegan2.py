"""The networks: published numbers, names and counts; sizes of every shape; half precision; FreezeD."""

import pytest
import torch

from foxgan.errors import DataError, UsageError
from foxgan.gan import losses
from foxgan.gan.config import NetworkConfig
from foxgan.gan.shapes import grid_of, nearest_sizes
from foxgan.gan.stylegan2 import Discriminator, Generator

ARCHITECTURES = ("skip", "resnet", "orig")


def small(height: int = 32, width: int = 32, **fields) -> NetworkConfig:
    return NetworkConfig(
        height=height, width=width, **({"z_dim": 16, "w_dim": 16, "channel_base": 256, "channel_max": 16} | fields)
    )


def built(config: NetworkConfig, seed: int = 0) -> tuple[Generator, Discriminator]:
    generator = torch.Generator().manual_seed(seed)
    return Generator(config, generator), Discriminator(config, generator)


def latents(config: NetworkConfig, n: int = 2, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    c = (
        torch.eye(config.c_dim)[torch.randint(config.c_dim, [n], generator=generator)]
        if config.c_dim
        else torch.zeros(n, 0)
    )
    return torch.randn(n, config.z_dim, generator=generator), c


@pytest.mark.parametrize("name", ["sg2_uncond_32", "sg2_cond_16", "sg2_resnetG_skipD_16", "sg2_orig_16"])
def test_images_and_logits_match_the_published_values(networks, name):
    nets = networks(name)
    a = nets.arrays
    with torch.no_grad():
        for suffix, psi, cutoff in (("", 1, None), ("_psi07", 0.7, None), ("_psi05_cutoff4", 0.5, 4)):
            ws = nets.G.mapping(a["z"], a["c"], psi, cutoff)
            torch.testing.assert_close(ws, a[f"ws{suffix}"], atol=1e-5, rtol=0)
            img = nets.G.synthesis(ws, noise_mode="const")
            torch.testing.assert_close(img, a[f"img_const{suffix}"], atol=1e-4, rtol=0)
        torch.testing.assert_close(nets.G(a["z"], a["c"], noise_mode="none"), a["img_none"], atol=1e-4, rtol=0)
        torch.testing.assert_close(nets.D(a["d_in"], a["d_c"]), a["d_logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("size", "channel_base", "mapping_layers", "g_params", "d_params"),
    [
        (1024, 32768, 8, 30_370_060, 29_012_513),
        (512, 32768, 8, 30_276_583, 28_982_849),
        (256, 16384, 8, 24_767_458, 24_001_089),
        (256, 32768, 8, 30_034_338, 28_864_129),
        (256, 16384, 2, 23_191_522, 24_001_089),
        (512, 32768, 2, 28_700_647, 28_982_849),
        (1024, 32768, 2, 28_794_124, 29_012_513),
        (128, 16384, 2, 22_949_277, 23_882_369),
    ],
)
def test_parameter_counts_are_the_published_ones(size, channel_base, mapping_layers, g_params, d_params):
    config = NetworkConfig(height=size, width=size, channel_base=channel_base, mapping_layers=mapping_layers)
    with torch.device("meta"):
        nets = Generator(config), Discriminator(config)
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [g_params, d_params]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("height", "width", "fields"),
    [
        (28, 28, {"img_channels": 1, "c_dim": 10}),
        (48, 80, {}),
        (80, 48, {"img_channels": 4}),
        (64, 128, {"channel_max": 8}),
        (24, 24, {"use_noise": False}),
        (8, 8, {"mbstd_num_channels": 0}),
    ],
)
def test_every_shape_trains_in_every_architecture(architecture, height, width, fields):
    config = small(height, width, g_architecture=architecture, d_architecture=architecture, **fields)
    G, D = built(config)
    z, c = latents(config)
    img = G(z, c)
    assert img.shape == (2, config.img_channels, height, width)
    assert img.dtype == torch.float32
    logits = D(img, c)
    assert logits.shape == (2, 1)
    logits.sum().backward()
    without = {name for net in (G, D) for name, p in net.named_parameters() if p.grad is None}
    assert not without


def test_28x28_keeps_the_names_of_a_power_of_two():
    G, D = built(small(28, 28, img_channels=1))
    assert G.synthesis.b4.const.shape[1:] == (7, 7)
    assert G.synthesis.b16.conv1.noise_const.shape == (28, 28)
    assert [name for name, _ in D.named_children()] == ["b16", "b8", "b4"]
    assert G.num_ws == 6


def test_noise_of_a_wide_image_is_as_wide():
    G, _ = built(small(64, 128))
    assert G.synthesis.b64.conv0.noise_const.shape == (64, 128)
    assert G.synthesis.b4.const.shape[1:] == (4, 8)


@pytest.mark.parametrize(
    ("height", "width", "nearest"),
    [
        (50, 64, "48x64 or 56x64"),
        (127, 127, "128x128 or 112x112"),
        (60, 200, "56x200 or 64x208"),
        (5, 5, "8x8"),
        (4, 4, "8x8"),
    ],
)
def test_a_size_without_a_grid_is_refused_with_the_nearest_that_have_one(height, width, nearest):
    with pytest.raises(DataError, match=f"{height}x{width}.*{nearest}"):
        NetworkConfig(height=height, width=width)


def test_sizes_that_are_offered_instead_are_accepted():
    for height in range(1, 140):
        for width in range(1, 140, 3):
            for size in nearest_sizes(height, width):
                grid = grid_of(*size)
                assert 4 <= min(grid[:2]) <= 7


def test_same_seed_same_networks():
    for net, again, other in zip(built(small()), built(small()), built(small(), seed=1), strict=True):
        states = [list(n.state_dict().values()) for n in (net, again, other)]
        assert all(torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(states[0], states[2], strict=True))


def test_random_noise_follows_its_generator_and_needs_a_strength():
    config = small()
    G, _ = built(config)
    ws = G.mapping(latents(config)[0])
    draw = [G.synthesis(ws, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draw[0], draw[2])  # noise_strength starts at 0
    for name, param in G.named_parameters():
        if name.endswith("noise_strength"):
            param.data.fill_(0.3)
    draw = [G.synthesis(ws, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draw[0], draw[1])
    assert (draw[0] - draw[2]).abs().mean() > 0.01


def test_an_unknown_noise_mode_is_refused_with_the_known_ones():
    config = small()
    G, _ = built(config)
    with pytest.raises(UsageError, match="constant.*random, const, none"):
        G(latents(config)[0], noise_mode="constant")


@pytest.mark.parametrize("c", [None, torch.zeros(2, 3)])
def test_missing_or_misshaped_labels_are_refused(c):
    G, D = built(small(c_dim=10))
    with pytest.raises(UsageError, match="10 classes"):
        G.mapping(torch.zeros(2, 16), c)
    with pytest.raises(UsageError, match="10 classes"):
        D(torch.zeros(2, 3, 32, 32), c)


def test_the_mean_of_w_moves_only_when_asked():
    config = small()
    G, _ = built(config)
    z, c = latents(config, n=8)
    G(z, c)
    assert G.mapping.w_avg.abs().max() == 0
    G(z, c, update_w_avg=True)
    torch.testing.assert_close(G.mapping.w_avg, G.mapping(z, c)[:, 0].mean(dim=0) * (1 - config.w_avg_beta))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_is_close_to_full(architecture):
    fields = {"g_architecture": architecture, "d_architecture": architecture, "conv_clamp": 256.0, "c_dim": 3}
    full, half = (built(small(num_fp16_res=n, **fields)) for n in (0, 4))
    assert half[0].synthesis.b8.in_half
    assert not half[0].synthesis.b4.in_half
    z, c = latents(small(c_dim=3), n=8)
    with torch.no_grad():
        images = [G(z, c, noise_mode="const") for G, _ in (full, half)]
        assert images[1].dtype == torch.float32
        assert (images[0] - images[1]).square().mean().sqrt() < 0.02 * images[0].std()
        logits = [D(images[0], c) for _, D in (full, half)]
        assert logits[1].dtype == torch.float32
        assert (logits[0] - logits[1]).abs().max() < 0.03 * logits[0].std() + 0.02


def test_half_precision_trains_with_both_penalties():
    G, D = built(small(num_fp16_res=2, conv_clamp=256.0))
    ws = G.mapping(latents(G.config, n=4)[0])
    img = G.synthesis(ws)
    penalty, _ = losses.path_length_penalty(img, ws, torch.zeros([]))
    penalty.mean().backward()
    real = img.detach().requires_grad_()
    losses.r1_penalty(real, D(real)).mean().backward()
    grads = [p.grad for net in (G, D) for p in net.parameters() if p.grad is not None]
    assert len(grads) > 30
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in grads)


def test_conv_clamp_bounds_what_layers_give():
    config = small(conv_clamp=0.1)
    G, D = built(config)
    seen = []
    G.synthesis.b32.conv1.register_forward_hook(lambda *args: seen.append(args[2].x.abs().max().item()))
    D.b16.conv1.register_forward_hook(lambda *args: seen.append(args[2].abs().max().item()))
    D(G(latents(config)[0]))
    assert seen[0] == pytest.approx(0.1)
    assert seen[1] == pytest.approx(0.1 * 0.5**0.5)  # a branch of a residual sum is clamped by its gain, too


@pytest.mark.parametrize(
    ("architecture", "num_layers", "frozen"),
    [
        ("resnet", 1, ["b32.fromrgb"]),
        ("resnet", 4, ["b32.fromrgb", "b32.conv0", "b32.conv1", "b32.skip"]),
        ("resnet", 5, ["b32.fromrgb", "b32.conv0", "b32.conv1", "b32.skip", "b16.conv0"]),
        ("orig", 4, ["b32.fromrgb", "b32.conv0", "b32.conv1", "b16.conv0"]),
        ("skip", 4, ["b32.fromrgb", "b32.conv0", "b32.conv1", "b16.fromrgb"]),
    ],
)
def test_freezed_freezes_layers_from_the_image_on(architecture, num_layers, frozen):
    _, D = built(small(d_architecture=architecture))
    D.freeze(num_layers)
    found = dict.fromkeys(name.rsplit(".", 1)[0] for name, p in D.named_parameters() if not p.requires_grad)
    assert list(found) == frozen


def test_freezed_never_freezes_the_end_of_d():
    _, D = built(small())
    D.freeze(1000)
    assert all(p.requires_grad for p in D.b4.parameters())
    assert not any(p.requires_grad for p in D.b8.parameters())


def test_config_survives_json():
    config = small(28, 28, conv_clamp=256.0, mbstd_group_size=None)
    assert NetworkConfig.model_validate_json(config.model_dump_json()) == config
