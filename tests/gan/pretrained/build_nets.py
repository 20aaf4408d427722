"""Small networks with nothing left at its initial value, to be written as foreign files and compared with what comes back."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator


class Nets(NamedTuple):
    """What a training run would save."""

    config: NetworkConfig
    G: Generator
    D: Discriminator
    G_ema: Generator


def network(**fields: Any) -> NetworkConfig:
    """Sizes that differ from each other wherever a transposed weight could go unseen."""
    small = {"height": 16, "width": 16, "z_dim": 6, "w_dim": 8, "mapping_layers": 2, "channel_base": 128}
    return NetworkConfig.model_validate(small | {"channel_max": 16} | fields)


def random_nets(config: NetworkConfig, seed: int = 0) -> Nets:
    """G, D and G_ema with random weights, biases, noise strengths and w_avg, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    nets = (Generator(config, generator), Discriminator(config, generator), Generator(config, generator))
    for net in nets:
        _stir(net, generator)
    return Nets(config, *nets)


@torch.no_grad()
def _stir(net: nn.Module, generator: torch.Generator) -> None:
    net.eval().requires_grad_(False)
    for name, tensor in net.state_dict().items():
        if name.endswith(("bias", "noise_strength", "w_avg")):
            tensor += 0.5 * torch.randn(tensor.shape, generator=generator)


def labels(config: NetworkConfig, number: int) -> Tensor | None:
    """One class after the other, one-hot [number, c_dim]; None for a network without."""
    return torch.eye(config.c_dim).repeat(number, 1)[:number] if config.c_dim else None
