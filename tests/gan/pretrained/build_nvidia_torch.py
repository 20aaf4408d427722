"""Pickles as NVIDIA's PyTorch trainers write them (specs: weights §1, §2), made from foxgan's networks."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from build_nets import Nets
from build_pickle import Call, EasyDict, dump
from torch import Tensor, nn

Layout = Literal["ada", "sg3"]
Store = Callable[[Tensor], Tensor]
CANARY = "raise SystemExit('canary')"
LATER_HOOKS = ("_backward_pre_hooks", "_is_full_backward_hook", "_forward_hooks_with_kwargs", "_state_dict_pre_hooks")
DEFAULTS: dict[Layout, dict[str, Any]] = {
    "ada": {"num_fp16_res": 0, "conv_clamp": None, "w_avg_beta": 0.995},
    "sg3": {"num_fp16_res": 4, "conv_clamp": 256, "w_avg_beta": 0.998},
}
SHARED_DEFAULTS = {
    "channel_base": 32768,
    "channel_max": 512,
    "num_layers": 8,
    "lr_multiplier": 0.01,
    "use_noise": True,
    "freeze_layers": 0,
    "cmap_dim": None,
    "embed_features": None,
    "layer_features": None,
    "mbstd_group_size": 4,
    "mbstd_num_channels": 1,
}
# what no network of foxgan varies, as a trainer may spell it out
FIXED = {
    "mapping": {"activation": "lrelu"},
    "synthesis": {
        "resample_filter": [1, 3, 3, 1],
        "kernel_size": 3,
        "activation": "lrelu",
        "fp16_channels_last": False,
    },
    "block": {"activation": "lrelu", "resample_filter": [1, 3, 3, 1], "fp16_channels_last": False},
    "epilogue": {"activation": "lrelu"},
}


def nvidia_torch(nets: Nets, protocol: int = 4, numpy_writer: int = 2, **options: Any) -> bytes:
    """A snapshot's bytes; `options` are those of `snapshot`."""
    return dump(snapshot(nets, **options), protocol, numpy_writer)


def snapshot(
    nets: Nets,
    *,
    layout: Layout = "ada",
    omit_defaults: bool = True,
    positional: bool = False,
    store: Store = torch.clone,
    old_torch: bool = False,
    frozen: int = 0,
    source: str = CANARY,
    augment_p: float | None = None,
    without: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The object to pickle, still open to change: each module is a `Call` whose one argument is its `meta`.

    `omit_defaults` leaves out keywords at the layout's default; `positional` gives the first ones by position; `store` lays
    a tensor out in memory; `frozen` layers of D are buffers; `without` drops and `extra` adds top-level entries.
    """
    g_kwargs = _generator_kwargs(nets, layout, omit_defaults)
    d_kwargs = _discriminator_kwargs(nets, layout, omit_defaults, frozen)
    write = _ModuleWriter(source, layout, store, old_torch)
    size = nets.config.height
    content = {
        "training_set_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "path": "X:/private/foxes.zip"}
        | {"use_labels": nets.config.c_dim > 0, "max_size": 1000, "xflip": False, "resolution": size},
        "G": write.top(nets.G, "Generator", g_kwargs, 5 if positional else 0),
        "D": write.top(nets.D, "Discriminator", d_kwargs, 3 if positional else 0, _first_layers(nets.D, frozen)),
        "G_ema": write.top(nets.G_ema, "Generator", g_kwargs, 5 if positional else 0),
        "augment_pipe": None
        if augment_p is None
        else write.top(_augment_pipe(augment_p), "AugmentPipe", {"xflip": 1}, 0),
    }
    return {name: value for name, value in (content | (extra or {})).items() if name not in without}


def state(module: Call, *path: str) -> dict[str, Any]:
    """The state of a module in a snapshot, or of a child of it, open to change."""
    found = module.args[0]["state"]
    return state(found["_modules"][path[0]], *path[1:]) if path else found


def init_kwargs(module: Call) -> EasyDict:
    """The keywords that a network of a snapshot was built with, open to change."""
    return state(module)["_init_kwargs"]


def channels_last(tensor: Tensor) -> Tensor:
    """What a trainer with `--nhwc` keeps its convolutions in."""
    return tensor.clone(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.clone()


def offset_view(tensor: Tensor) -> Tensor:
    """A view into a longer storage whose remainder must not be read."""
    padded = torch.cat([torch.full([3], math.nan), tensor.flatten(), torch.full([2], math.nan)])
    return padded[3:-2].view(tensor.shape)


def _kwargs(values: dict[str, Any], layout: Layout, omit_defaults: bool, fixed: str | None = None) -> EasyDict:
    defaults = SHARED_DEFAULTS | DEFAULTS[layout]
    if omit_defaults:
        return EasyDict({name: v for name, v in values.items() if name not in defaults or defaults[name] != v})
    return EasyDict(values | (FIXED[fixed] if fixed else {}))


def _generator_kwargs(nets: Nets, layout: Layout, omit: bool) -> EasyDict:
    config = nets.config
    mapping = {
        "num_layers": config.mapping_layers,
        "embed_features": config.embed_features,
        "layer_features": config.layer_features,
        "lr_multiplier": config.mapping_lr_multiplier,
        "w_avg_beta": config.w_avg_beta,
    }
    synthesis = _widths(nets) | {"use_noise": config.use_noise}
    if config.g_architecture != "skip" or not omit:
        synthesis["architecture"] = config.g_architecture
    written = _kwargs(synthesis, layout, omit, "synthesis")
    return EasyDict(
        {"z_dim": config.z_dim, "c_dim": config.c_dim, "w_dim": config.w_dim}
        | {"img_resolution": config.height, "img_channels": config.img_channels}
        | {"mapping_kwargs": _kwargs(mapping, layout, omit, "mapping")}
        | ({"synthesis_kwargs": written} if layout == "ada" else {"fused_modconv_default": "inference_only"} | written)
    )


def _discriminator_kwargs(nets: Nets, layout: Layout, omit: bool, frozen: int) -> EasyDict:
    config = nets.config
    mapping = {"num_layers": config.d_mapping_layers, "lr_multiplier": config.d_mapping_lr_multiplier}
    epilogue = {"mbstd_group_size": config.mbstd_group_size, "mbstd_num_channels": config.mbstd_num_channels}
    own = _widths(nets) | {"cmap_dim": config.cmap_dim}
    if config.d_architecture != "resnet" or not omit:
        own["architecture"] = config.d_architecture
    return EasyDict(
        {"c_dim": config.c_dim, "img_resolution": config.height, "img_channels": config.img_channels}
        | _kwargs(own, layout, omit)
        | {"block_kwargs": _kwargs({"freeze_layers": frozen}, layout, omit, "block")}
        | {"mapping_kwargs": _kwargs(mapping, layout, omit, "mapping")}
        | {"epilogue_kwargs": _kwargs(epilogue, layout, omit, "epilogue")}
    )


def _widths(nets: Nets) -> dict[str, Any]:
    return nets.config.model_dump(include={"channel_base", "channel_max", "num_fp16_res", "conv_clamp"})


def _first_layers(D: nn.Module, number: int) -> set[str]:
    """Names of the first convolutions seen from the image (§4.2)."""
    kinds = ("fromrgb", "conv0", "conv1", "skip")
    blocks = [name for name, _ in D.named_children() if name not in ("b4", "mapping")]
    names = [f"{block}.{kind}" for block in blocks for kind in kinds if hasattr(D.get_submodule(block), kind)]
    return set(names[:number])


def _augment_pipe(p: float) -> nn.Module:
    pipe = nn.Module()
    for name, value in {"p": torch.tensor(p), "Hz_geom": torch.randn(12), "Hz_fbank": torch.randn(4, 43)}.items():
        pipe.register_buffer(name, value)
    return pipe


class _ModuleWriter:
    """Turns modules into calls of the function that NVIDIA's reader executes `source` with."""

    def __init__(self, source: str, layout: Layout, store: Store, old_torch: bool) -> None:
        self.source, self.layout, self.store, self.old_torch = source, layout, store, old_torch

    def top(
        self, net: nn.Module, class_name: str, kwargs: dict[str, Any], positional: int, frozen: set[str] = frozenset()
    ) -> Call:
        args = tuple(list(kwargs.values())[:positional])
        rest = EasyDict(list(kwargs.items())[positional:])
        config = getattr(net, "config", None)
        own = {} if config is None else {"img_resolution": config.height, "img_channels": config.img_channels}
        if class_name == "Generator":
            own |= {"z_dim": config.z_dim, "c_dim": config.c_dim, "w_dim": config.w_dim, "num_ws": config.num_ws}
        return self._module(net, "", class_name, own | {"_init_args": args, "_init_kwargs": rest}, frozen)

    def _module(self, net: nn.Module, path: str, class_name: str, own: dict[str, Any], frozen: set[str]) -> Call:
        shell = nn.Module()
        shell.training = False
        for name, parameter in net._parameters.items():
            if parameter is None:  # both spellings occur
                shell._parameters |= {name: None} if self.layout == "sg3" else {}
                shell.__dict__ |= {name: None} if self.layout == "ada" else {}
            elif path in frozen:
                shell._buffers[name] = self._tensor(parameter.data)
            else:
                shell._parameters[name] = self._parameter(parameter.data)
        shell._buffers |= {name: self._tensor(buffer) for name, buffer in net._buffers.items()}
        for name, child in net.named_children():
            place = f"{path}.{name}".lstrip(".")
            shell._modules[name] = self._module(child, place, type(child).__name__, self._attributes(child), frozen)
        state = vars(shell) | own
        if self.old_torch:
            ordered = {name: OrderedDict(state[name]) for name in ("_parameters", "_buffers", "_modules")}
            state = {name: v for name, v in (state | ordered).items() if name not in LATER_HOOKS}
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": class_name, "state": state}
        return Call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)

    def _attributes(self, net: nn.Module) -> dict[str, Any]:
        """What a layer remembers besides tensors; some of it numpy's."""
        own: dict[str, Any] = {"_init_args": (), "_init_kwargs": EasyDict(), "activation": "lrelu"}
        if hasattr(net, "weight_gain"):
            own |= {"weight_gain": np.float64(net.weight_gain), "conv_clamp": getattr(net, "conv_clamp", None)}
        if hasattr(net, "block_names"):
            own |= {"block_resolutions": [int(name[1:]) for name in net.block_names], "num_ws": np.int64(net.num_ws)}
            own |= {"sizes": np.arange(6.0).reshape(2, 3)} if self.layout == "sg3" else {}
        return own

    def _tensor(self, tensor: Tensor) -> Any:
        stored = self.store(tensor)
        if not self.old_torch:
            return stored
        place = (stored.storage_offset(), tuple(stored.shape), stored.stride())
        return Call("torch._utils", "_rebuild_tensor", stored._typed_storage(), *place)

    def _parameter(self, tensor: Tensor) -> Any:
        if not self.old_torch:
            return nn.Parameter(self.store(tensor), requires_grad=False)
        return Call("torch._utils", "_rebuild_parameter", self._tensor(tensor), False, OrderedDict())
