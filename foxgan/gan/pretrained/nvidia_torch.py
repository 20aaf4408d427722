"""NVIDIA's PyTorch pickles: stylegan2-ada-pytorch, and StyleGAN2 in the layout of the stylegan3 repository (specs: weights §1-3).

The sizes come from the keywords that the networks were made with; what these leave unsaid, from the layers' attributes, then from
the defaults of the layout. The source text that travels in such a file is searched for one word and never executed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from foxgan.errors import DataError
from foxgan.gan.pretrained.foreign import Budget, Foreign, network_of, strength
from foxgan.gan.pretrained.records import Malformed, Module, TensorRecord, shown
from foxgan.gan.stylegan2 import TAPS

NETS = ("G", "D", "G_ema")
G_ORDER = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "mapping_kwargs", "synthesis_kwargs")
D_ORDER = (
    *("c_dim", "img_resolution", "img_channels", "architecture", "channel_base", "channel_max", "num_fp16_res"),
    *("conv_clamp", "cmap_dim", "block_kwargs", "mapping_kwargs", "epilogue_kwargs"),
)
STYLEGAN3 = ("num_critical", "first_cutoff", "margin_size", "use_radial_filters", "magnitude_ema_beta")
MAX_DEPTH = 16


def knows(found: Any) -> bool:
    return isinstance(found, Mapping) and isinstance(found.get("G_ema"), Module)


def read(found: Mapping[str, Any], budget: Budget) -> Foreign:
    """The networks of the dictionary in such a pickle."""
    nets = {name: found[name] for name in NETS if isinstance(found.get(name), Module)}
    notes = []
    if "D" in nets and nets["D"].class_name != "Discriminator":
        notes.append(f"D is left out: it is a {nets.pop('D').class_name}, of another architecture")
    later = _is_later(nets["G_ema"])
    sizes = {name: (_d_sizes if name == "D" else _g_sizes)(net, later) for name, net in nets.items()}
    tensors = {name: dict(_tensors(net, budget)) for name, net in nets.items()}
    return Foreign("NVIDIA PyTorch", network_of(sizes), tensors, notes, _facts(found))


def _facts(found: Mapping[str, Any]) -> dict[str, Any]:
    """How strongly D's images were augmented at the end, where the file tells."""
    pipe = found.get("augment_pipe")
    p = _nested(pipe.state, "_buffers").get("p") if isinstance(pipe, Module) else None
    return strength(float(p.tensor())) if isinstance(p, TensorRecord) and p.shape == () else {}


def _keywords(net: Module, order: tuple[str, ...]) -> dict[str, Any]:
    args, kwargs = net.state.get("_init_args", ()), net.state.get("_init_kwargs")
    if not isinstance(kwargs, dict) or not isinstance(args, tuple | list) or len(args) > len(order):
        raise Malformed(f"a {net.class_name} without the keywords that it was made with")
    return dict(zip(order, args, strict=False)) | kwargs


def _nested(keywords: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = keywords.get(name) or {}
    if not isinstance(found, dict):
        raise Malformed(f"{name} that is no dictionary")
    return found


def _is_later(net: Module) -> bool:
    """Whether a generator comes from the stylegan3 repository, whose unwritten sizes are others: its keywords are flat."""
    keywords = _keywords(net, G_ORDER)
    return bool(_flat(keywords)) or ("synthesis_kwargs" not in keywords and "fused_modconv_default" in net.source)


def _flat(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of the synthesis network that stand beside those of the generator."""
    return {name: value for name, value in keywords.items() if name not in G_ORDER}


def _g_sizes(net: Module, later: bool) -> dict[str, Any]:
    """Sizes of a generator, in the terms of `NetworkConfig`."""
    keywords = _keywords(net, G_ORDER)
    if net.class_name != "Generator" or any(name in keywords for name in STYLEGAN3):
        raise DataError(f"its generator is a {net.class_name} of another architecture; foxgan loads StyleGAN2")
    mapping = _nested(keywords, "mapping_kwargs")
    synthesis = _nested(keywords, "synthesis_kwargs") | _flat(keywords)
    mapper, layer = net.children().get("mapping"), _first_layer(net)
    _refuse_unusual(synthesis | {"mapping activation": mapping.get("activation", "lrelu")})
    beta = _said("w_avg_beta", mapping, mapper, 0.998 if later else 0.995)
    return {
        "height": keywords.get("img_resolution"),
        "width": keywords.get("img_resolution"),
        "img_channels": keywords.get("img_channels"),
        "c_dim": keywords.get("c_dim"),
        "z_dim": keywords.get("z_dim"),
        "w_dim": keywords.get("w_dim"),
        "mapping_layers": _said("num_layers", mapping, mapper, 8),
        "mapping_lr_multiplier": mapping.get("lr_multiplier", 0.01),
        "embed_features": mapping.get("embed_features"),
        "layer_features": mapping.get("layer_features"),
        "w_avg_beta": 1.0 if beta is None else beta,
        "channel_base": synthesis.get("channel_base", 32768),
        "channel_max": synthesis.get("channel_max", 512),
        "num_fp16_res": synthesis.get("num_fp16_res", 4 if later else 0),
        "conv_clamp": _said("conv_clamp", synthesis, layer, 256 if later else None),
        "g_architecture": synthesis.get("architecture", "skip"),
        "use_noise": synthesis.get("use_noise", True),
    }


def _d_sizes(net: Module, later: bool) -> dict[str, Any]:
    """Sizes of a discriminator, in the terms of `NetworkConfig`."""
    keywords = _keywords(net, D_ORDER)
    block, mapping, end = (_nested(keywords, f"{part}_kwargs") for part in ("block", "mapping", "epilogue"))
    _refuse_unusual(block | {f"epilogue {name}": value for name, value in end.items() if name == "activation"})
    _refuse_unusual({"mapping activation": mapping.get("activation", "lrelu")})
    epilogue = net.children().get("b4")
    return {
        "height": keywords.get("img_resolution"),
        "width": keywords.get("img_resolution"),
        "img_channels": keywords.get("img_channels"),
        "c_dim": keywords.get("c_dim"),
        "channel_base": keywords.get("channel_base", 32768),
        "channel_max": keywords.get("channel_max", 512),
        "num_fp16_res": keywords.get("num_fp16_res", 4 if later else 0),
        "conv_clamp": _said(
            "conv_clamp", keywords, net.children().get(f"b{keywords.get('img_resolution')}"), 256 if later else None
        ),
        "d_architecture": keywords.get("architecture", "resnet"),
        "cmap_dim": keywords.get("cmap_dim") or None,
        "d_mapping_layers": mapping.get("num_layers", 8),
        "d_mapping_lr_multiplier": mapping.get("lr_multiplier", 0.01),
        "mbstd_group_size": _said("mbstd_group_size", end, None, 4),
        "mbstd_num_channels": _said("mbstd_num_channels", end, epilogue, 1),
    }


def _said(name: str, keywords: Mapping[str, Any], net: Module | None, default: Any) -> Any:
    """A size by keyword, else by the attribute that the network keeps of it, else by default."""
    return keywords[name] if name in keywords else net.state.get(name, default) if net else default


def _first_layer(net: Module) -> Module | None:
    for name in ("synthesis", "b4", "conv1"):
        net = net.children().get(name)  # type: ignore[assignment]
        if net is None:
            return None
    return net


def _refuse_unusual(keywords: Mapping[str, Any]) -> None:
    """What the published code can do, but no published model does, and foxgan does not either."""
    usual = {"kernel_size": 3, "activation": "lrelu", "resample_filter": list(TAPS)}
    for name, value in keywords.items():
        expected = usual.get(name.split(" ")[-1])
        if expected is not None and (list(value) if isinstance(value, tuple) else value) != expected:
            raise DataError(f"{name}: {shown(value)}; foxgan knows {expected} only")


def _tensors(net: Module, budget: Budget, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All parameters and buffers by their state name. Frozen layers hold theirs as buffers: the same names."""
    if depth > MAX_DEPTH:
        raise Malformed("networks nested deeper than any")
    for kind in ("_parameters", "_buffers"):
        for name, record in _nested(net.state, kind).items():
            if isinstance(record, TensorRecord):
                yield prefix + budget.part(name), budget.take(record)
    for name, child in net.children().items():
        yield from _tensors(child, budget, f"{prefix}{budget.part(name)}.", depth + 1)
