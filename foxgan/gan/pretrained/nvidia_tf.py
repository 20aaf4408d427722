"""NVIDIA's TensorFlow pickles: StyleGAN2 (version 4) and StyleGAN2-ADA (version 5), by the name map of specs: weights §5.

A network stores only the keywords that somebody gave, so what the variables' names and shapes tell goes before the defaults.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from foxgan.errors import DataError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.pretrained.foreign import Budget, Foreign, Tensors, network_of
from foxgan.gan.pretrained.records import Array, Malformed, TFNetwork, shown

VERSIONS = {4: "StyleGAN2", 5: "StyleGAN2-ADA"}
OLDER = {2: "ProGAN", 3: "StyleGAN1"}
G_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
D_LAYERS = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip"}
END_LAYERS = {"Conv": "conv", "Dense0": "fc", "FromRGB": "fromrgb"}
FLIPPED = ("Conv0_up", "Skip")  # of G: transposed convolutions, whose kernel TensorFlow stores the other way round
FIELDS = {"mod_weight": "affine.weight", "mod_bias": "affine.bias"}
IGNORED = ("lod", "pl_mean_var")  # what training alone needs
MAX_DEPTH = 4

# keyword of both networks -> size of ours; those of G alone and of D alone
SHARED = {"label_size": "c_dim", "num_channels": "img_channels", "fmap_max": "channel_max"}
SHARED |= {"num_fp16_res": "num_fp16_res", "conv_clamp": "conv_clamp"}
OF_G = {"latent_size": "z_dim", "dlatent_size": "w_dim", "mapping_layers": "mapping_layers", "use_noise": "use_noise"}
OF_G |= {"mapping_lrmul": "mapping_lr_multiplier", "architecture": "g_architecture", "label_fmaps": "embed_features"}
OF_G |= {"mapping_fmaps": "layer_features", "w_avg_beta": "w_avg_beta", "dlatent_avg_beta": "w_avg_beta"}
OF_D = {"architecture": "d_architecture", "mapping_layers": "d_mapping_layers", "mbstd_group_size": "mbstd_group_size"}
OF_D |= {"mapping_lrmul": "d_mapping_lr_multiplier", "mbstd_num_features": "mbstd_num_channels"}
DEFAULTS = {"c_dim": 0, "img_channels": 3, "channel_max": 512, "num_fp16_res": 0, "conv_clamp": None}
G_DEFAULTS = {"z_dim": 512, "w_dim": 512, "mapping_layers": 8, "mapping_lr_multiplier": 0.01, "g_architecture": "skip"}
G_DEFAULTS |= {"w_avg_beta": 0.995, "use_noise": True, "embed_features": None, "layer_features": None}
D_DEFAULTS = {
    "d_architecture": "resnet",
    "d_mapping_layers": 0,
    "d_mapping_lr_multiplier": 0.1,
    "mbstd_num_channels": 1,
}
USUAL = {"nonlinearity": "lrelu", "mapping_nonlinearity": "lrelu", "resample_kernel": [1, 3, 3, 1]}


def knows(found: Any) -> bool:
    nets = found if isinstance(found, tuple | list) else [found]
    return 1 <= len(nets) <= 3 and all(isinstance(net, TFNetwork) for net in nets)


def read(found: Any, budget: Budget) -> Foreign:
    """The networks of a triple (G, D, average of G), or of one generator alone."""
    names = ("G", "D", "G_ema") if isinstance(found, tuple | list) and len(found) == 3 else ("G_ema",)
    nets = dict(zip(names, found if isinstance(found, tuple | list) else [found], strict=True))
    version = _version(nets["G_ema"])
    variables = {name: dict(_variables(net, budget)) for name, net in nets.items()}
    network = network_of({name: _sizes(net, variables[name], version, name == "D") for name, net in nets.items()})
    notes: list[str] = []
    tensors: dict[str, Tensors] = {}
    for name, arrays in variables.items():
        tensors[name], unknown = _renamed(arrays, network, name == "D", budget)
        if unknown:
            notes.append(f"{name}: variables without a place here are left out: {', '.join(unknown[:8])}")
    return Foreign(f"NVIDIA TensorFlow ({VERSIONS[version]})", network, tensors, notes)


def _version(net: TFNetwork) -> int:
    version = net.state.get("version")
    if not isinstance(version, int):
        raise Malformed("TensorFlow networks without a version")
    if version in OLDER:
        raise DataError(
            f"holds a {OLDER[version]} network (version {version}); foxgan loads StyleGAN2, versions 4 and 5"
        )
    if version not in VERSIONS:
        raise DataError(f"holds TensorFlow networks of version {shown(version)}; foxgan loads versions 4 and 5")
    return version


def _variables(net: TFNetwork, budget: Budget, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    """All variables with the scopes of the components in front."""
    own, components = net.state.get("variables", []), net.state.get("components", {})
    if depth > MAX_DEPTH or not isinstance(own, list) or not isinstance(components, dict):
        raise Malformed("a network that is not one of TensorFlow's")
    for entry in own:
        name, array = entry
        if not isinstance(array, Array):
            raise Malformed("a variable without an array")
        yield prefix + budget.part(name), array
    for name, component in components.items():
        if not isinstance(component, TFNetwork):
            raise Malformed("a component that is no network")
        yield from _variables(component, budget, f"{prefix}{budget.part(name)}/", depth + 1)


def _sizes(net: TFNetwork, arrays: Mapping[str, Array], version: int, is_d: bool) -> dict[str, Any]:
    """Sizes of a network in the terms of `NetworkConfig`."""
    keywords = net.state.get("static_kwargs") or {}
    if not isinstance(keywords, dict):
        raise Malformed("a network without the keywords that it was made with")
    for name, usual in USUAL.items():
        if keywords.get(name) not in (None, usual):
            raise DataError(f"{name}: {shown(keywords[name])}; foxgan knows {usual} only")
    if any("LabelConcat" in name for name in arrays) or (is_d and version == 4 and keywords.get("label_size")):
        raise DataError("is a StyleGAN2 with labels (version 4), whose labels enter in a way that foxgan does not have")
    sides = [int(m[1]) for name in arrays if (m := re.match(r"(?:synthesis/)?(\d+)x\1/", name))]
    resolution = max(sides, default=0)
    if keywords.get("resolution", resolution) != resolution or not resolution:
        raise DataError(
            f"its variables end at {resolution}x{resolution}, its keywords say {shown(keywords.get('resolution'))}"
        )
    renames = SHARED | (OF_D if is_d else OF_G)
    sizes = DEFAULTS | (D_DEFAULTS | {"mbstd_group_size": 4 if version == 4 else None} if is_d else G_DEFAULTS)
    if any("RGB_lod" in name for name in arrays):  # names of growing networks, which have one ToRGB and one FromRGB
        sizes["d_architecture" if is_d else "g_architecture"] = "orig"
    sizes |= {renames[name]: value for name, value in keywords.items() if name in renames}
    sizes |= {"height": resolution, "width": resolution, "channel_base": int(keywords.get("fmap_base", 16384)) * 2}
    if is_d:
        sizes["cmap_dim"] = _side(arrays, "LabelEmbed/weight", 1)
    else:
        sizes["w_avg_beta"] = 1.0 if sizes["w_avg_beta"] is None else sizes["w_avg_beta"]
        depth = sum(1 for name in arrays if re.fullmatch(r"mapping/Dense\d+/weight", name))
        if keywords.get("mapping_layers", depth) != depth:
            raise DataError(f"has {depth} mapping layers, its keywords say {shown(keywords['mapping_layers'])}")
        sizes["mapping_layers"] = depth
    return sizes


def _side(arrays: Mapping[str, Array], name: str, axis: int) -> int | None:
    shape = arrays[name].array.shape if name in arrays else ()
    return int(shape[axis]) if len(shape) > axis else None


def _renamed(
    arrays: Mapping[str, Array], network: NetworkConfig, is_d: bool, budget: Budget
) -> tuple[Tensors, list[str]]:
    """State names and tensors of ours for variables of theirs, and the names that have no place."""
    tensors: Tensors = {}
    unknown = []
    for name, array in arrays.items():
        ours = (_d_name if is_d else _g_name)(name, network.height)
        if ours is not None:
            tensors[ours] = _laid_out(name, budget.take(array), is_d)
        elif name not in IGNORED:
            unknown.append(name)
    return tensors, unknown


def _g_name(name: str, resolution: int) -> str | None:
    if name == "dlatent_avg":
        return "mapping.w_avg"
    if m := re.fullmatch(r"mapping/(?:LabelEmbed|Dense(\d+))/(weight|bias)", name):
        return f"mapping.{'embed' if m[1] is None else f'fc{m[1]}'}.{m[2]}"
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const"
    if m := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
        block, layer = 4 << (int(m[1]) + 1) // 2, "conv0" if int(m[1]) % 2 else "conv1"
        return f"synthesis.b{block}.{layer}.noise_const"
    name = name.replace("synthesis/ToRGB_lod0/", f"synthesis/{resolution}x{resolution}/ToRGB/")
    m = re.fullmatch(r"synthesis/(\d+)x\1/(\w+)/(weight|bias|mod_weight|mod_bias|noise_strength)", name)
    if m is None or m[2] not in G_LAYERS:
        return None
    return f"synthesis.b{m[1]}.{G_LAYERS[m[2]]}.{FIELDS.get(m[3], m[3])}"


def _d_name(name: str, resolution: int) -> str | None:
    if m := re.fullmatch(r"(?:LabelEmbed|Mapping(\d+))/(weight|bias)", name):
        return f"mapping.{'embed' if m[1] is None else f'fc{m[1]}'}.{m[2]}"
    if m := re.fullmatch(r"Output/(weight|bias)", name):
        return f"b4.out.{m[1]}"
    if m := re.fullmatch(r"FromRGB_lod(\d{1,2})/(weight|bias)", name):
        return f"b{resolution >> int(m[1])}.fromrgb.{m[2]}"
    m = re.fullmatch(r"(\d+)x\1/(\w+)/(weight|bias)", name)
    layers = END_LAYERS if m and m[1] == "4" else D_LAYERS
    return f"b{m[1]}.{layers[m[2]]}.{m[3]}" if m and m[2] in layers else None


def _laid_out(name: str, tensor: Tensor, is_d: bool) -> Tensor:
    """The variable in PyTorch's order of axes, and as ours means it."""
    if name.endswith("/mod_bias"):
        return tensor + 1
    if name.endswith("/Const/const"):  # [1, C, 4, 4]
        return tensor.squeeze(0)
    if re.fullmatch(r"synthesis/noise\d+", name):  # [1, 1, R, R]
        return tensor.squeeze(0).squeeze(0)
    if not name.endswith("weight"):
        return tensor
    if tensor.ndim == 4:
        layer = name.split("/")[-2]
        tensor = tensor.flip(0, 1) if layer in FLIPPED and not is_d else tensor
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.t().contiguous() if tensor.ndim == 2 else tensor
