"""Pickles as NVIDIA's TensorFlow trainers write them (specs: weights §5), made from foxgan's networks."""

from typing import Any

import numpy as np
from build_nets import Nets
from build_pickle import EasyDict, dump
from torch import Tensor, nn

from foxgan.gan.mapping import FullyConnected, Mapping
from foxgan.gan.stylegan2 import Discriminator, Generator

CANARY = "raise SystemExit('canary')"
G_DEFAULTS = {
    "latent_size": 512,
    "label_size": 0,
    "dlatent_size": 512,
    "resolution": 1024,
    "num_channels": 3,
    "mapping_layers": 8,
    "label_fmaps": None,
    "mapping_fmaps": None,
    "mapping_lrmul": 0.01,
    "w_avg_beta": 0.995,
    "dlatent_avg_beta": 0.995,
    "fmap_base": 16384,
    "fmap_max": 512,
    "num_fp16_res": 0,
    "conv_clamp": None,
    "architecture": "skip",
    "use_noise": True,
}
D_DEFAULTS = G_DEFAULTS | {
    "architecture": "resnet",
    "mapping_layers": 0,
    "mapping_lrmul": 0.1,
    "mbstd_num_features": 1,
}
SPELLED_OUT = {"nonlinearity": "lrelu", "resample_kernel": [1, 3, 3, 1], "structure": "auto", "conditioning": []}
Arrays = dict[str, np.ndarray]


class Network:
    """A record whose state is its `__dict__`, pickled under the name of NVIDIA's class."""

    __module__ = "dnnlib.tflib.network"

    def __init__(self, **state: Any) -> None:
        vars(self).update(state)


def nvidia_tf(nets: Nets, protocol: int = 4, numpy_writer: int = 2, single: bool = False, **options: Any) -> bytes:
    """A snapshot's bytes: the three networks, or G_ema alone if `single`; `options` are those of `records`."""
    networks = records(nets, **options)
    return dump(networks[2] if single else networks, protocol, numpy_writer)


def records(
    nets: Nets,
    *,
    version: int = 5,
    omit_defaults: bool = True,
    fortran: bool = False,
    source: str = CANARY,
    extra_variables: Arrays | None = None,
) -> tuple[Network, Network, Network]:
    """(G, D, Gs) to pickle, still open to change. `fortran` stores arrays column by column."""

    def record(name: str, kwargs: dict[str, Any], variables: Arrays, **components: Network) -> Network:
        order = "F" if fortran else "C"
        state = {
            "version": version,
            "name": name,
            "static_kwargs": EasyDict(kwargs),
            "components": EasyDict(components),
            "build_module_src": source,
            "build_func_name": {"D": "D_stylegan2"}.get(name, "G_main"),
            "variables": [(key, np.array(value, order=order)) for key, value in variables.items()],
        }
        if version == 5:
            state |= {
                "input_shapes": [[None, 8]],
                "output_shapes": [[None, 1]],
                "input_names": ["in"],
                "output_names": ["out"],
            }
        return Network(**state)

    def generator(name: str, G: Generator) -> Network:
        own = {"lod": np.float32(0), "dlatent_avg": _array(G.mapping.w_avg)} | (extra_variables or {})
        parts = {
            "synthesis": record("G_synthesis", kwargs, synthesis_variables(G)),
            "mapping": record("G_mapping", kwargs, _mapping_variables(G.mapping, "Dense")),
        }
        return record(name, kwargs, own, **parts)

    kwargs = _generator_kwargs(nets, version, omit_defaults)
    d_variables = discriminator_variables(nets.D) | {"lod": np.float32(0)}
    D = record("D", _discriminator_kwargs(nets, version, omit_defaults), d_variables)
    return generator("G", nets.G), D, generator("Gs", nets.G_ema)


def _generator_kwargs(nets: Nets, version: int, omit_defaults: bool) -> dict[str, Any]:
    config = nets.config
    values = _shared_kwargs(nets) | {
        "latent_size": config.z_dim,
        "dlatent_size": config.w_dim,
        "mapping_layers": config.mapping_layers,
        "label_fmaps": config.embed_features,
        "mapping_fmaps": config.layer_features,
        "mapping_lrmul": config.mapping_lr_multiplier,
        "w_avg_beta" if version == 5 else "dlatent_avg_beta": config.w_avg_beta,
        "architecture": config.g_architecture,
        "use_noise": config.use_noise,
    }
    ignored = {"truncation_psi": 0.5, "truncation_cutoff": None, "style_mixing_prob": 0.9, "fused_modconv": True}
    return _written(values, G_DEFAULTS, SPELLED_OUT | ignored | {"mapping_nonlinearity": "lrelu"}, omit_defaults)


def _discriminator_kwargs(nets: Nets, version: int, omit_defaults: bool) -> dict[str, Any]:
    config = nets.config
    values = _shared_kwargs(nets) | {
        "architecture": config.d_architecture,
        "mapping_fmaps": config.cmap_dim,
        "mapping_layers": config.d_mapping_layers if config.c_dim else 0,
        "mapping_lrmul": config.d_mapping_lr_multiplier if config.c_dim else 0.1,
        "mbstd_group_size": config.mbstd_group_size,
        "mbstd_num_features": config.mbstd_num_channels,
    }
    group = {"mbstd_group_size": None if version == 5 else 4}
    return _written(values, D_DEFAULTS | group, SPELLED_OUT | {"freeze_layers": 0}, omit_defaults)


def _shared_kwargs(nets: Nets) -> dict[str, Any]:
    config = nets.config
    return {
        "resolution": config.height,
        "num_channels": config.img_channels,
        "label_size": config.c_dim,
        "fmap_base": config.channel_base // 2,
        "fmap_max": config.channel_max,
        "num_fp16_res": config.num_fp16_res,
        "conv_clamp": config.conv_clamp,
    }


def _written(values: dict[str, Any], defaults: dict[str, Any], more: dict[str, Any], omit: bool) -> dict[str, Any]:
    if not omit:
        return values | more
    return {name: value for name, value in values.items() if name not in defaults or defaults[name] != value}


def synthesis_variables(G: Generator) -> Arrays:
    """Local names of the synthesis component (§5.3)."""
    found = {}
    for block in G.config.blocks:
        resolution, scope, index = (
            block.resolution,
            f"{block.resolution}x{block.resolution}",
            2 * block.resolution.bit_length() - 7,
        )
        module = G.synthesis.get_submodule(block.name)
        if resolution == 4:
            found["4x4/Const/const"] = _array(module.const)[None]
            found |= _modulated(module.conv1, "4x4/Conv") | _noise(module.conv1, "noise0")
        else:
            found |= _modulated(module.conv0, f"{scope}/Conv0_up", flip=True) | _noise(module.conv0, f"noise{index}")
            found |= _modulated(module.conv1, f"{scope}/Conv1") | _noise(module.conv1, f"noise{index + 1}")
        if hasattr(module, "skip"):
            found[f"{scope}/Skip/weight"] = _hwio(module.skip.weight)
        if module.has_torgb:
            found |= _modulated(module.torgb, f"{scope}/ToRGB")
    return found


def discriminator_variables(D: Discriminator) -> Arrays:
    """Local names of D (§5.4)."""
    found = {}
    names = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "conv": "Conv"}
    for block in D.config.blocks:
        for name, layer in D.get_submodule(block.name).named_children():
            if name in names:
                found |= _plain_convolution(layer, f"{block.resolution}x{block.resolution}/{names[name]}")
    found |= _dense(D.b4.fc, "4x4/Dense0") | _dense(D.b4.out, "Output")
    return found | (_mapping_variables(D.mapping, "Mapping") if D.config.c_dim else {})


def _mapping_variables(mapping: Mapping, scope: str) -> Arrays:
    found = _dense(mapping.embed, "LabelEmbed") if mapping.c_dim else {}
    for i in range(mapping.num_layers):
        found |= _dense(mapping.get_submodule(f"fc{i}"), f"{scope}{i}")
    return found


def _modulated(layer: nn.Module, scope: str, flip: bool = False) -> Arrays:
    weight = _hwio(layer.weight)
    found = {
        "weight": weight[::-1, ::-1] if flip else weight,
        "bias": _array(layer.bias),
        "mod_weight": _array(layer.affine.weight).T,
        "mod_bias": _array(layer.affine.bias) - 1,
    }
    if hasattr(layer, "noise_strength"):
        found["noise_strength"] = _array(layer.noise_strength)
    return {f"{scope}/{name}": value for name, value in found.items()}


def _noise(layer: nn.Module, name: str) -> Arrays:
    return {name: _array(layer.noise_const)[None, None]} if hasattr(layer, "noise_const") else {}


def _plain_convolution(layer: nn.Module, scope: str) -> Arrays:
    bias = {} if layer.bias is None else {f"{scope}/bias": _array(layer.bias)}
    return {f"{scope}/weight": _hwio(layer.weight)} | bias


def _dense(layer: FullyConnected, scope: str) -> Arrays:
    return {f"{scope}/weight": _array(layer.weight).T, f"{scope}/bias": _array(layer.bias)}


def _hwio(weight: Tensor) -> np.ndarray:
    return _array(weight.permute(2, 3, 1, 0))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
