"""Files as rosinality's trainer and converter write them (specs: weights §7), made from foxgan's networks."""

import argparse
import io
from typing import Any, Literal

import torch
from build_nets import Nets
from torch import Tensor, nn

from foxgan.gan.stylegan2 import Discriminator, Generator

State = dict[str, Tensor]


def rosinality(nets: Nets, container: Literal["zip", "legacy"] = "zip", **options: Any) -> bytes:
    """A checkpoint's bytes; `options` are those of `checkpoint`."""
    return saved(checkpoint(nets, **options), container)


def saved(content: Any, container: Literal["zip", "legacy"] = "zip") -> bytes:
    """Anything as a file of torch."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=container == "zip")
    return file.getvalue()


def checkpoint(
    nets: Nets, *, kind: Literal["trained", "converted"] = "trained", noises: bool = True, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The object to save, still open to change: `noises=False` leaves out the noise images, `without` top-level entries."""
    content: dict[str, Any] = {
        "g": generator_state(nets.G, noises),
        "d": discriminator_state(nets.D),
        "g_ema": generator_state(nets.G_ema, noises),
    }
    if kind == "converted":
        content["latent_avg"] = nets.G_ema.mapping.w_avg.clone()
    else:
        content |= {"g_optim": _adam_state(nets.G), "d_optim": _adam_state(nets.D), "ada_aug_p": 0.25}
        content["args"] = argparse.Namespace(
            path="X:/private/foxes", iter=800000, size=nets.config.height, r1=10.0, ckpt=None
        )
    return {name: value for name, value in content.items() if name not in without}


def generator_state(G: Generator, noises: bool = True) -> State:
    """The names of rosinality's generator, in its order of modules."""
    found = {}
    for i in range(G.mapping.num_layers):
        found |= _linear(G.mapping.get_submodule(f"fc{i}"), f"style.{i + 1}")
    images = {}
    for k, block in enumerate(G.config.blocks):
        module = G.synthesis.get_submodule(block.name)
        if k == 0:
            found["input.input"] = module.const[None]
            found |= _styled(module.conv1, "conv1") | _to_rgb(module.torgb, "to_rgb1")
            images["noises.noise_0"] = module.conv1.noise_const[None, None]
            continue
        blur = module.resample_filter * 4
        found |= _styled(module.conv0, f"convs.{2 * k - 2}") | {f"convs.{2 * k - 2}.conv.blur.kernel": blur}
        found |= _styled(module.conv1, f"convs.{2 * k - 1}")
        found |= _to_rgb(module.torgb, f"to_rgbs.{k - 1}") | {f"to_rgbs.{k - 1}.upsample.kernel": blur}
        images[f"noises.noise_{2 * k - 1}"] = module.conv0.noise_const[None, None]
        images[f"noises.noise_{2 * k}"] = module.conv1.noise_const[None, None]
    return _copied(found | (images if noises else {}))


def discriminator_state(D: Discriminator) -> State:
    """The names of rosinality's discriminator; its blur kernels carry no factor."""
    found = {}
    for i, name in enumerate(D.block_names, start=1):
        block = D.get_submodule(name)
        if i == 1:
            found |= {"convs.0.0.weight": block.fromrgb.weight, "convs.0.1.bias": block.fromrgb.bias}
        found |= {f"convs.{i}.conv1.0.weight": block.conv0.weight, f"convs.{i}.conv1.1.bias": block.conv0.bias}
        found |= {f"convs.{i}.conv2.0.kernel": block.conv1.resample_filter}
        found |= {f"convs.{i}.conv2.1.weight": block.conv1.weight, f"convs.{i}.conv2.2.bias": block.conv1.bias}
        found |= {f"convs.{i}.skip.0.kernel": block.skip.resample_filter, f"convs.{i}.skip.1.weight": block.skip.weight}
    found |= {"final_conv.0.weight": D.b4.conv.weight, "final_conv.1.bias": D.b4.conv.bias}
    return _copied(found | _linear(D.b4.fc, "final_linear.0") | _linear(D.b4.out, "final_linear.1"))


def _linear(layer: nn.Module, name: str) -> State:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}


def _modulated(layer: nn.Module, name: str) -> State:
    return {f"{name}.conv.weight": layer.weight[None]} | _linear(layer.affine, f"{name}.conv.modulation")


def _styled(layer: nn.Module, name: str) -> State:
    own = {f"{name}.noise.weight": layer.noise_strength[None], f"{name}.activate.bias": layer.bias}
    return _modulated(layer, name) | own


def _to_rgb(layer: nn.Module, name: str) -> State:
    return _modulated(layer, name) | {f"{name}.bias": layer.bias[None, :, None, None]}


def _copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _adam_state(net: nn.Module) -> dict[str, Any]:
    """What Adam remembers after one step."""
    weights = [nn.Parameter(p.detach().clone()) for p in net.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.002, betas=(0.0, 0.99))
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return optimizer.state_dict()
