"""Activation checkpointing: the same gradients of every order, with less kept for them."""

import weakref

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from foxgan.gan import losses
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator

ARCHITECTURES = ["skip", "resnet", "orig"]


class Kept:
    """Tensors that graphs hold on to while this context, in which they were built, is open."""

    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    def __enter__(self):
        self.alive = weakref.WeakSet()
        self.hooks = saved_tensors_hooks(self.pack, lambda saved: saved.tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)

    def pack(self, tensor):
        saved = self.Saved(tensor)
        self.alive.add(saved)
        return saved

    def bytes(self):
        storages = {s.tensor.untyped_storage().data_ptr(): s.tensor.untyped_storage().nbytes() for s in self.alive}
        return sum(storages.values())


def network_config(architecture):
    return NetworkConfig(
        height=32, width=32, z_dim=8, w_dim=8, channel_base=256, channel_max=8, mbstd_group_size=2,
        g_architecture=architecture, d_architecture=architecture,
    )  # fmt: skip


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def of_discriminator(architecture, checkpointing, loss):
    D = Discriminator(network_config(architecture), torch.Generator().manual_seed(0))
    D.checkpointing = checkpointing
    return outcome(D, lambda: loss(D))


def of_generator(architecture, checkpointing, loss):
    G = Generator(network_config(architecture), torch.Generator().manual_seed(0))
    G.synthesis.checkpointing = checkpointing
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    return outcome(G, lambda: loss(G))


def outcome(net, loss):
    """Loss, gradients by name, and bytes kept between the two."""
    with Kept() as kept:
        value = loss()
        size = kept.bytes()
        value.backward()
    return value.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}, size


def logits_of_reals(D):
    return losses.discriminator_real_loss(D(draw(4, 3, 32, 32))).mean()


def penalty_of_reals(D):
    real_img = draw(4, 3, 32, 32).requires_grad_(True)
    return losses.r1_penalty(real_img, D(real_img)).mean()


def brightness(G):
    return G(draw(4, 8), generator=torch.Generator().manual_seed(2)).square().mean()


def path_length(G):
    ws = G.mapping(draw(4, 8))
    img = G.synthesis(ws, generator=torch.Generator().manual_seed(2))
    return losses.path_length_penalty(img, ws, torch.zeros([]), pl_noise=draw(4, 3, 32, 32))[0].mean()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("of", "loss"), [(of_discriminator, logits_of_reals), (of_generator, brightness)])
def test_gradients_are_the_same_to_the_bit(of, loss, architecture):
    value, gradients, size = of(architecture, False, loss)
    other, recomputed, less = of(architecture, True, loss)
    assert torch.equal(value, other) and gradients.keys() == recomputed.keys()
    assert all(torch.equal(recomputed[name], gradient) for name, gradient in gradients.items())
    assert less < 0.6 * size


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("of", "loss"), [(of_discriminator, penalty_of_reals), (of_generator, path_length)])
def test_penalties_save_memory_too(of, loss, architecture):
    value, gradients, size = of(architecture, False, loss)
    other, recomputed, less = of(architecture, True, loss)
    torch.testing.assert_close(other, value)
    assert gradients.keys() == recomputed.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))
    assert less < 0.6 * size
