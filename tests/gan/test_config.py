"""Settings: what `None` resolves to, and what is refused."""

import pytest

from foxgan.errors import UsageError
from foxgan.gan.config import NetworkConfig, TrainConfig


@pytest.mark.parametrize(
    ("res", "devices", "batch", "gamma", "ema_kimg"),
    [
        (128, 1, 32, 0.1024, 10),
        (256, 1, 16, 0.8192, 5),
        (512, 1, 8, 6.5536, 2.5),
        (1024, 1, 4, 52.4288, 1.25),
        (256, 8, 64, 0.2048, 20),
        (512, 8, 64, 0.8192, 20),
        (1024, 8, 32, 6.5536, 10),
    ],
)
def test_auto_gives_the_published_heuristic(res, devices, batch, gamma, ema_kimg):
    config = TrainConfig().resolved(res, res, device_count=devices)
    assert (config.batch, config.batch_gpu) == (batch, batch // devices)
    assert config.gamma == pytest.approx(gamma)
    assert config.ema_kimg == pytest.approx(ema_kimg)
    assert config.network.channel_base == (32768 if res >= 512 else 16384)
    assert config.network.mbstd_group_size == min(batch // devices, 4)
    assert config.g_lr == config.d_lr == (0.002 if res >= 1024 else 0.0025)
    assert (config.network.mapping_layers, config.ema_rampup) == (2, 0.05)


def test_auto_takes_height_times_width_for_the_squared_resolution():
    assert TrainConfig().resolved(64, 128).gamma == pytest.approx(0.0002 * 64 * 128 / 32)


@pytest.mark.parametrize(
    ("cfg", "res", "batch", "batch_gpu", "gamma", "ema", "channel_base", "mapping"),
    [
        ("stylegan2", 1024, 32, 4, 10, 10, 32768, 8),
        ("paper256", 256, 64, 8, 1, 20, 16384, 8),
        ("paper512", 512, 64, 8, 0.5, 20, 32768, 8),
        ("paper1024", 1024, 32, 4, 2, 10, 32768, 8),
        ("cifar", 32, 64, 32, 0.01, 500, 32768, 2),
    ],
)
def test_base_settings_are_those_of_the_papers(cfg, res, batch, batch_gpu, gamma, ema, channel_base, mapping):
    config = TrainConfig(cfg=cfg).resolved(res, res)
    assert (config.batch, config.batch_gpu, config.gamma, config.ema_kimg) == (batch, batch_gpu, gamma, ema)
    assert (config.network.channel_base, config.network.mapping_layers) == (channel_base, mapping)


def test_cifar_leaves_out_what_the_paper_left_out():
    config = TrainConfig(cfg="cifar").resolved(32, 32)
    assert (config.pl_weight, config.style_mixing, config.network.d_architecture) == (0, 0, "orig")
    assert config.kimg == 100_000


def test_overriding_batch_and_size_derives_the_rest_again():
    config = TrainConfig(cfg="paper256", batch=12).resolved(128, 128)
    assert config.gamma == pytest.approx(1 / 4 * 64 / 12)
    assert config.ema_kimg == pytest.approx(20 * 12 / 64)
    assert (config.batch_gpu, config.network.mbstd_group_size) == (6, 6)


def test_what_is_given_stays_as_given():
    config = TrainConfig(batch=16, gamma=3, ema_kimg=0.3, channel_max=64, mbstd_group_size=2, p=0.1).resolved(64, 64)
    assert (config.gamma, config.ema_kimg, config.p) == (3, 0.3, 0.1)
    assert (config.network.channel_max, config.network.mbstd_group_size) == (64, 2)


def test_a_source_lends_its_sizes_and_its_transfer_settings():
    source = NetworkConfig(height=64, width=64, z_dim=32, w_dim=48, mapping_layers=5, channel_base=4096, channel_max=24)
    config = TrainConfig(channel_max=32).resolved(64, 64, source=source)
    network = config.network
    assert (network.z_dim, network.w_dim, network.mapping_layers, network.channel_base) == (32, 48, 5, 4096)
    assert network.channel_max == 32  # said explicitly
    assert (config.ada_kimg, config.ema_rampup) == (100, "off")


def test_labels_make_a_conditional_network_unless_declined():
    assert TrainConfig().resolved(64, 64, num_classes=3).network.c_dim == 3
    assert TrainConfig(labels=False).resolved(64, 64, num_classes=3).network.c_dim == 0


def test_auto_precision_is_mixed_where_that_is_faster():
    assert TrainConfig().resolved(64, 64).network.num_fp16_res == 0
    assert TrainConfig().resolved(64, 64, prefer_mixed=True).network.num_fp16_res == 4
    assert TrainConfig(precision="fp32").resolved(64, 64, prefer_mixed=True).network.num_fp16_res == 0
    assert TrainConfig(precision="mixed").resolved(64, 64, device="cuda").network.conv_clamp == 256


def test_half_precision_of_a_cpu_has_the_range_of_float32_and_needs_no_clamp():
    network = TrainConfig(precision="mixed").resolved(64, 64, device="cpu").network
    assert (network.num_fp16_res, network.conv_clamp) == (4, None)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"batch": 10, "batch_gpu": 4}, "batch_gpu: 4 does not divide batch: 10"),
        ({"batch": 8, "mbstd_group_size": 3}, "mbstd_group_size: 3 does not divide batch_gpu: 8"),
        ({"labels": True}, "no labels"),
        ({"subset": 200}, "only 100 images"),
        ({"p": 0.9}, "p: 0.9 is above p_max: 0.85"),
    ],
)
def test_contradictions_are_refused_in_words(params, words):
    with pytest.raises(UsageError, match=words):
        TrainConfig(**params).resolved(64, 64, num_images=100)
