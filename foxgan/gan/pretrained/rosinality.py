"""Checkpoints of rosinality's stylegan2-pytorch, trained or converted, read and written (specs: weights §7)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from foxgan.errors import DataError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.pretrained.foreign import Budget, Foreign, strength
from foxgan.gan.pretrained.records import Array, Malformed, TensorRecord, shown

NETS = {"G_ema": "g_ema", "G": "g", "D": "d"}
LAYER = {  # of a modulated layer: ours -> theirs
    "weight": "conv.weight",
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "noise_strength": "noise.weight",
    "bias": "activate.bias",
}
TORGB = {name: LAYER[name] for name in ("weight", "affine.weight", "affine.bias")} | {"bias": "bias"}
FILTER = ".kernel"  # ends the names of the fixed low-pass filters


def knows(found: Any) -> bool:
    return isinstance(found, Mapping) and isinstance(found.get("g_ema"), Mapping)


def names_of(network: NetworkConfig) -> tuple[dict[str, str], dict[str, str]]:
    """State names of G and of D: ours -> theirs, for all that both programs store but the filters."""
    doublings = network.grid.doublings
    g = {"synthesis.b4.const": "input.input"}
    for i in range(network.mapping_layers):
        g |= {f"mapping.fc{i}.{field}": f"style.{i + 1}.{field}" for field in ("weight", "bias")}
    layers = [("b4.conv1", "conv1")]
    torgbs = [("b4.torgb", "to_rgb1")]
    d = dict(_conv("b4.conv", "final_conv", 0, 1))
    for k in range(doublings):
        ours = f"b{8 << k}"
        layers += [(f"{ours}.conv0", f"convs.{2 * k}"), (f"{ours}.conv1", f"convs.{2 * k + 1}")]
        torgbs.append((f"{ours}.torgb", f"to_rgbs.{k}"))
        theirs = f"convs.{doublings - k}"
        d |= dict(_conv(f"{ours}.conv0", f"{theirs}.conv1", 0, 1)) | dict(
            _conv(f"{ours}.conv1", f"{theirs}.conv2", 1, 2)
        )
        d[f"{ours}.skip.weight"] = f"{theirs}.skip.1.weight"
    for number, (ours, theirs) in enumerate(layers):
        g |= {f"synthesis.{ours}.{field}": f"{theirs}.{name}" for field, name in LAYER.items()}
        g[f"synthesis.{ours}.noise_const"] = f"noises.noise_{number}"
    for ours, theirs in torgbs:
        g |= {f"synthesis.{ours}.{field}": f"{theirs}.{name}" for field, name in TORGB.items()}
    d |= dict(_conv(f"b{4 << doublings}.fromrgb", "convs.0", 0, 1))
    d |= {f"b4.fc.{field}": f"final_linear.0.{field}" for field in ("weight", "bias")}
    d |= {f"b4.out.{field}": f"final_linear.1.{field}" for field in ("weight", "bias")}
    return g, d


def _conv(ours: str, theirs: str, weight: int, bias: int) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.{weight}.weight"
    yield f"{ours}.bias", f"{theirs}.{bias}.bias"


def read(found: Mapping[str, Any], budget: Budget) -> Foreign:
    """The networks of a checkpoint's dictionary. Optimizers, and what else it may hold, are not looked at."""
    states = {name: found[theirs] for name, theirs in NETS.items() if isinstance(found.get(theirs), Mapping)}
    network = _network(states["G_ema"])
    names = dict(zip(("G", "D"), names_of(network), strict=True))
    tensors = {}
    for name, state in states.items():
        known = names["D" if name == "D" else "G"]
        tensors[name] = {
            ours: _reshaped(ours, budget.take(_record(state, theirs)))
            for ours, theirs in known.items()
            if theirs in state
        }
        unknown = [n for n in state.keys() - set(known.values()) if not str(n).endswith(FILTER)]
        if unknown:
            raise DataError(
                f"{name} holds names that foxgan does not know: {', '.join(sorted(map(shown, unknown))[:4])}"
            )
    average = found.get("latent_avg")
    if isinstance(average, TensorRecord | Array):
        w_avg = budget.take(average).flatten()
        for name in tensors.keys() - {"D"}:
            tensors[name]["mapping.w_avg"] = w_avg.clone()
    return Foreign("rosinality", network, tensors, facts=strength(found.get("ada_aug_p")))


def _record(state: Mapping[str, Any], name: str) -> TensorRecord:
    record = state[name]
    if not isinstance(record, TensorRecord):
        raise Malformed(f"{name} that is no tensor")
    return record


def _network(g: Mapping[str, Any]) -> NetworkConfig:
    """All sizes, read off the shapes of the average generator; D must follow the same."""
    layers = [n for n in g if re.fullmatch(r"style\.\d+\.weight", str(n))]
    doublings = sum(1 for n in g if re.fullmatch(r"to_rgbs\.\d+\.bias", str(n)))
    if not layers or not doublings or doublings > 11:
        raise DataError("has no mapping network or no resolutions in its g_ema")
    const, style = _record(g, "input.input").shape, _record(g, "style.1.weight").shape
    channels = [const[1]] + [_record(g, f"convs.{2 * k}.conv.weight").shape[1] for k in range(doublings)]
    below = [c * (4 << i) for i, c in enumerate(channels) if c < max(channels)]
    base = max(below, default=max(32768, channels[-1] * (4 << doublings)))  # where all have the most, his default fits
    network = NetworkConfig(
        height=4 << doublings,
        width=4 << doublings,
        img_channels=_record(g, "to_rgb1.conv.weight").shape[1],
        z_dim=style[1],
        w_dim=style[0],
        mapping_layers=len(layers),
        channel_base=base,
        channel_max=max(channels),
        mbstd_group_size=4,
    )
    if [block.channels for block in network.blocks] != channels:
        raise DataError(f"has {channels} channels by resolution, which no channel_base and channel_max give")
    return network


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Theirs as ours: without the axes that they keep for broadcasting."""
    if name.endswith("noise_const"):
        return tensor.reshape(tensor.shape[-2:])
    if name.endswith("noise_strength"):
        return tensor.reshape([])
    if name.endswith("const") or (name.startswith("synthesis.") and name.endswith(".weight") and tensor.ndim == 5):
        return tensor.squeeze(0)
    return tensor.flatten() if name.endswith("torgb.bias") else tensor


def checkpoint_of(nets: Mapping[str, nn.Module], network: NetworkConfig) -> dict[str, Any]:
    """The dictionary that rosinality's code loads with `strict=True`; save it with torch.save.

    DataError, with the reasons, for networks that his classes cannot be built as.
    """
    if reasons := list(_unlike(network)):
        raise DataError(f"rosinality's networks cannot be this model: {'; '.join(reasons)}")
    g_names, d_names = names_of(network)
    checkpoint: dict[str, Any] = {}
    for name, net in nets.items():
        state = net.state_dict()
        known = d_names if name == "D" else g_names
        made = {theirs: _shaped_back(ours, state[ours]) for ours, theirs in known.items()}
        kernels = _d_kernels(network) if name == "D" else _g_kernels(network)
        taps = state["b4.conv.resample_filter" if name == "D" else "synthesis.b4.resample_filter"]
        checkpoint[NETS[name]] = made | {kernel: taps * gain for kernel, gain in kernels}
        if name == "G_ema":
            checkpoint["latent_avg"] = state["mapping.w_avg"].clone()
    return checkpoint


def _unlike(network: NetworkConfig) -> Iterator[str]:
    if network.height != network.width or network.grid[:2] != (4, 4):
        yield f"{network.height}x{network.width} is no square power of two"
    if network.img_channels != 3:
        yield f"it has {network.img_channels} channels, not 3"
    if network.c_dim:
        yield f"it has {network.c_dim} classes"
    if (network.g_architecture, network.d_architecture) != ("skip", "resnet"):
        yield f"its architectures are {network.g_architecture} and {network.d_architecture}, not skip and resnet"
    if network.z_dim != network.w_dim or network.layer_features not in (None, network.w_dim):
        yield f"z_dim {network.z_dim} and w_dim {network.w_dim} differ"
    if not network.use_noise:
        yield "it has no noise inputs"
    widths = [[min(512, m * 16384 // block.resolution) for block in network.blocks] for m in (1, 2)]
    if [block.channels for block in network.blocks] not in widths:
        yield f"its channels are {[block.channels for block in network.blocks]}, not {widths[0]} or {widths[1]}"


def _g_kernels(network: NetworkConfig) -> Iterator[tuple[str, float]]:
    for k in range(network.grid.doublings):
        yield f"convs.{2 * k}.conv.blur.kernel", 4
        yield f"to_rgbs.{k}.upsample.kernel", 4


def _d_kernels(network: NetworkConfig) -> Iterator[tuple[str, float]]:
    for k in range(1, network.grid.doublings + 1):
        yield f"convs.{k}.conv2.0.kernel", 1
        yield f"convs.{k}.skip.0.kernel", 1


def _shaped_back(name: str, tensor: Tensor) -> Tensor:
    """Ours as theirs."""
    tensor = tensor.detach().cpu()
    if name.endswith("noise_const"):
        return tensor[None, None].clone()
    if name.endswith("noise_strength"):
        return tensor.reshape(1).clone()
    if name.endswith("torgb.bias"):
        return tensor.reshape(1, -1, 1, 1).clone()
    if name.endswith("b4.const") or (name.startswith("synthesis.") and name.endswith(".weight") and tensor.ndim == 4):
        return tensor[None].clone()
    return tensor.clone()
