import numpy as np
import pytest
import torch

from foxgan.errors import UsageError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Generator
from foxgan.latents import sampling


def tiny(channels: int = 3, c_dim: int = 0, height: int = 16, width: int = 16) -> Generator:
    config = NetworkConfig(
        height=height,
        width=width,
        img_channels=channels,
        c_dim=c_dim,
        z_dim=8,
        w_dim=8,
        mapping_layers=2,
        channel_max=8,
    )
    G = Generator(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    for name, value in G.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.5)
    G.mapping.w_avg.fill_(0.3)
    return G


def test_z_follows_the_seed_convention_of_published_models() -> None:
    z = sampling.seeds_to_z([85, 3], 8)
    assert np.array_equal(z[0].numpy(), np.random.RandomState(85).randn(1, 8)[0])


def test_a_seed_gives_the_same_picture_alone_and_among_others() -> None:
    G = tiny()
    among = sampling.sample(G, [4, 5, 6], [None] * 3)
    alone = sampling.sample(G, [5], [None])
    assert np.abs(among[1].astype(int) - alone[0]).max() <= 1
    assert not np.array_equal(among[0], among[1])


def test_psi_0_gives_one_average_picture_and_a_cutoff_of_0_truncates_nothing() -> None:
    G = tiny()
    average = sampling.sample(G, [1, 2], [None] * 2, psi=0)
    assert np.array_equal(average[0], average[1])
    assert np.array_equal(
        sampling.sample(G, [1, 2], [None] * 2, psi=0, cutoff=0), sampling.sample(G, [1, 2], [None] * 2, psi=1)
    )


def test_random_noise_belongs_to_the_seed_and_not_to_the_batch() -> None:
    G = tiny()
    among = sampling.sample(G, [4, 5], [None] * 2, noise_mode="random")
    assert np.array_equal(among[1], sampling.sample(G, [5], [None], noise_mode="random")[0])
    assert not np.array_equal(among, sampling.sample(G, [4, 5], [None] * 2, noise_mode="const"))


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 16, 24), (4, 16, 16)])
def test_pictures_have_the_channels_and_size_of_the_model(channels: int, height: int, width: int) -> None:
    pictures = sampling.sample(tiny(channels, 0, height, width), [0], [None])
    assert pictures.shape == (1, height, width, channels) and pictures.dtype == np.uint8


def test_pixels_are_truncated_not_rounded() -> None:
    img = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 2.0]).reshape(1, 1, 1, 6)
    assert sampling.to_uint8(img).ravel().tolist() == [0, 0, 128, 255, 255, 255]
    assert sampling.to_uint8(torch.full((1, 1, 1, 1), 0.01)).item() == 129  # 129.275


def test_classes_cycle_and_change_the_picture() -> None:
    assert sampling.classes_of(5, 3) == [0, 1, 2, 0, 1]
    assert sampling.classes_of(3, 3, 2) == [2, 2, 2]
    assert sampling.classes_of(3, 3, [2, 0]) == [2, 0, 2]
    assert sampling.classes_of(2, 0) == [None, None]
    pictures = sampling.sample(tiny(c_dim=3), [1, 1], [0, 1])
    assert not np.array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize(("c_dim", "classes", "match"), [(3, 3, "classes 0 to 2"), (3, [], "empty"), (0, 1, "without")])
def test_a_class_the_model_does_not_have_is_refused(c_dim: int, classes: int | list[int], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        sampling.classes_of(1, c_dim, classes)
