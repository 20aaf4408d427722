"""Our networks against the plain reference that benchmarks measure them by: images, logits, and all derivatives that training takes."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from foxgan.gan import losses
from foxgan.gan.config import NetworkConfig, TrainConfig
from foxgan.gan.stylegan2 import Discriminator, Generator
from foxgan.gan.trainer import Trainer
from tests.benchmarks.plain import PlainDiscriminator, PlainGenerator, make_plain
from tests.benchmarks.train_step import phases_of, timed, trainer_of

CASES = {
    "skip G, resnet D": {},
    "orig": {"g_architecture": "orig", "d_architecture": "orig"},
    "resnet G, skip D": {"g_architecture": "resnet", "d_architecture": "skip"},
    "clamped": {"g_architecture": "resnet", "conv_clamp": 0.7},
    "classes, oblong, groups of 2": {"c_dim": 3, "height": 20, "mbstd_group_size": 2, "mbstd_num_channels": 2},
    "no noise, no statistics": {"use_noise": False, "mbstd_num_channels": 0},
}
SMALL = {
    "height": 16,
    "width": 16,
    "z_dim": 12,
    "w_dim": 12,
    "channel_base": 128,
    "channel_max": 16,
    "mapping_layers": 2,
}


class Pair:
    """Our networks, the plain ones with the same weights, and something to put in."""

    def __init__(self, **fields) -> None:
        self.config = NetworkConfig.model_validate({**SMALL, **fields})
        random = torch.Generator().manual_seed(0)
        self.G, self.D = Generator(self.config, random), Discriminator(self.config, random)
        for name, param in [*self.G.named_parameters(), *self.D.named_parameters()]:
            if name.endswith(("bias", "noise_strength")):  # so that it matters where they are added
                param.data += 0.3 * torch.randn(param.shape, generator=random)
        self.plain_G, self.plain_D = PlainGenerator(self.G), PlainDiscriminator(self.D)
        shape = [4, self.config.img_channels, self.config.height, self.config.width]
        self.z, self.img = torch.randn(4, 12, generator=random), torch.randn(shape, generator=random)
        self.c = torch.eye(self.config.c_dim)[torch.arange(4) % 3] if self.config.c_dim else torch.zeros(4, 0)

    def both(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        yield self.G, self.D
        yield self.plain_G, self.plain_D


@pytest.fixture(params=CASES)
def pair(request) -> Pair:
    return Pair(**CASES[request.param])


def assert_same(ours: dict[str, Tensor], plain: dict[str, Tensor]) -> None:
    """Up to rounding: 1e-4 of the largest number of each tensor."""
    assert ours.keys() == plain.keys()
    for name, expected in plain.items():
        assert ours[name].shape == expected.shape, name
        assert (ours[name] - expected).abs().max() <= 1e-4 * expected.abs().max() + 1e-7, name


def gradients(loss: Tensor, *nets: nn.Module) -> dict[str, Tensor]:
    """Of all parameters that `loss` hangs on, by name; at least one per layer."""
    params = {f"{i}.{name}": p for i, net in enumerate(nets) for name, p in net.named_parameters()}
    found = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    by_name = {name: g for name, g in zip(params, found, strict=True) if g is not None}
    assert len(by_name) > 12
    return by_name


def test_plain_networks_have_the_same_weights_under_the_same_names(pair):
    for ours, plain in zip(*pair.both(), strict=True):
        assert list(plain.state_dict()) == list(ours.state_dict())
        assert all(a is b for a, b in zip(plain.parameters(), ours.parameters(), strict=True))
        assert all(a is b for a, b in zip(plain.buffers(), ours.buffers(), strict=True))


def test_images_and_logits_are_those_of_the_plain_equations(pair):
    found = []
    for G, D in pair.both():
        ws = G.mapping(pair.z, pair.c)
        image, noisy = (G.synthesis(ws, noise_mode=mode) for mode in ("none", "const"))
        found.append({"ws": ws, "image": image, "noisy": noisy, "logits": D(pair.img, pair.c)})
    assert_same(*found)
    assert torch.equal(found[0]["image"], found[0]["noisy"]) != pair.config.use_noise


def test_gradients_of_the_main_losses_are_those_of_the_plain_equations(pair):
    found = []
    for G, D in pair.both():
        logits = D(G.synthesis(G.mapping(pair.z, pair.c), noise_mode="const"), pair.c)
        real = losses.discriminator_real_loss(D(pair.img, pair.c)).mean()
        found.append(gradients(losses.generator_loss(logits).mean() + real, G, D))
    assert_same(*found)


def test_gradients_of_the_r1_penalty_are_those_of_the_plain_equations(pair):
    found = []
    for _, D in pair.both():
        img = pair.img.clone().requires_grad_()
        found.append(gradients(losses.r1_penalty(img, D(img, pair.c)).mean(), D))
    assert_same(*found)


def test_gradients_of_the_path_length_penalty_are_those_of_the_plain_equations(pair):
    found = []
    for G, _ in pair.both():
        ws = G.mapping(pair.z, pair.c)
        img = G.synthesis(ws, noise_mode="const")
        penalty, _ = losses.path_length_penalty(img, ws, torch.tensor(0.1), pl_noise=pair.img)
        found.append(gradients(penalty.mean(), G))
    assert_same(*found)


def test_the_plain_generator_draws_its_own_noise(pair):
    images = [
        pair.plain_G.synthesis(pair.plain_G.mapping(pair.z, pair.c), generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2]) != pair.config.use_noise


def test_a_trainer_made_plain_has_the_losses_of_ours_and_goes_on(pictures):
    fields = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "channel_base": 128, "use_noise": False}
    told = []
    for plain in (False, True):
        images = pictures(8)
        config = TrainConfig(**fields, aug="noaug").resolved(images.height, images.width, images.channels)
        trainer = Trainer(config, images, torch.device("cpu"))
        if plain:
            make_plain(trainer)
        before = [p.clone() for p in trainer.G_ema.parameters()]
        trainer.step()
        told.append(trainer.means.values())
        trainer.step()
        assert not trainer.broken()
        assert not all(torch.equal(a, b) for a, b in zip(before, trainer.G_ema.parameters(), strict=True))
        trainer.feed.close()
    assert told[0].keys() >= {"loss_G", "pl", "loss_D_fake", "loss_D_real", "r1"}
    assert told[1] == pytest.approx(told[0], rel=1e-3)


@pytest.mark.parametrize("plain", [False, True])
def test_each_phase_of_the_benchmark_trains_its_network(plain):
    trainer = trainer_of("8", "cpu", plain, batch=4, z_dim=8, w_dim=8, channel_max=8, aug="fixed", p=0.3)
    nets = {"Gmain": "G", "Greg": "G", "Dmain": "D", "Dreg": "D", "rest": "G_ema"}
    phases = phases_of(trainer)
    assert list(phases) == list(nets)
    for name, phase in phases.items():
        before = {net: [p.clone() for p in getattr(trainer, net).parameters()] for net in set(nets.values())}
        phase()
        moved = {
            net
            for net, params in before.items()
            if not all(torch.equal(a, b) for a, b in zip(params, getattr(trainer, net).parameters(), strict=True))
        }
        assert moved == {nets[name]}, name
    times = timed({"a": phases, "b": phases}, rounds=(2, 2))
    trainer.feed.close()
    assert [len(seconds) for seconds in times["b"].values()] == [2] * 5
