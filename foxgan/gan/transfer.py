"""Start from another model's weights: copy by name, and say what could not be copied instead of training on a half-filled network.

Images of another resolution, number of channels, or with labels where the model had none need no word: what both have in common is
taken over. Anything else must be the same, or asked for with `adapt`.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foxgan.errors import DataError
from foxgan.gan import adapt
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import CopyReport, Model
from foxgan.gan.stylegan2 import Discriminator, Generator

LABEL_NAMES = re.compile(r"G(_ema)?\.mapping\.embed\.|D\.(mapping\.|b4\.out\.)")  # change with the classes
EDGE_NAMES = re.compile(r"(G(_ema)?\.synthesis|D)\.b(\d+)\.(torgb|fromrgb)\.")  # between features and image
BLOCK_NAMES = re.compile(r"(?:G(?:_ema)?\.synthesis|D)\.b(\d+)\.")


def copy_by_name(source: Mapping[str, Tensor], target: nn.Module, prefix: str, report: CopyReport) -> None:
    """Copy every tensor of equal name and shape into `target`; names go into `report` under `prefix`."""
    state = target.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            if name not in source:
                report.missing.append(f"{prefix}.{name}")
            elif source[name].shape != tensor.shape:
                report.mismatched.append(f"{prefix}.{name} {list(source[name].shape)} -> {list(tensor.shape)}")
            else:
                tensor.copy_(source[name])
                report.copied.append(f"{prefix}.{name}")
    report.unused += [f"{prefix}.{name}" for name in source if name not in state]


def start_from(
    source: Model, G: Generator, D: Discriminator, G_ema: Generator, origin: str, adapted: bool = False
) -> CopyReport:
    """Fill the three networks from `source`; `adapted` allows another grid or number of classes, too.

    A source without G (a model that was made to be run) lends its G_ema to both; without D, D stays as it is. DataError with
    the names where anything does not fit for another reason than the images' size, channels and classes.
    """
    old, new = source.network, G.config
    if not adapted:
        refuse_unlike(old, new, origin)
    report = CopyReport(changes=_changes(old, new))
    nets = {"G": (source.G or source.G_ema, G), "G_ema": (source.G_ema, G_ema), "D": (source.D, D)}
    for name, (net, target) in nets.items():
        if net is not None:
            copy_by_name(_fitted(net.state_dict(), old, new, origin), target, name, report)
    unexplained = [name for name in report.left_out if not _explained(name, old, new)]
    if unexplained:
        names = f"{', '.join(unexplained[:4])}{' ...' if len(unexplained) > 4 else ''}"
        raise DataError(
            f"{origin} does not fit the networks to train: {len(unexplained)} tensors are not in both, or have other shapes: "
            f"{names}; leave sizes such as mapping_layers to the model, or match them"
        )
    return report


def refuse_unlike(old: NetworkConfig, new: NetworkConfig, origin: str) -> None:
    """DataError if the images have other proportions or another number of classes than the model's, which only `adapt` allows."""
    grids = [(n.grid.height, n.grid.width) for n in (old, new)]
    if grids[0] != grids[1]:
        sizes = [f"{n.height}x{n.width} (from a grid of {h}x{w})" for n, (h, w) in zip((old, new), grids, strict=True)]
        step = 2**new.grid.doublings
        raise DataError(
            f"{origin} makes {sizes[0]}, the dataset holds {sizes[1]}; crop and pack to a size with the model's grid, such as "
            f"{grids[0][0] * step}x{grids[0][1] * step}, or say adapt: true to stretch what can be"
        )
    if old.c_dim and new.c_dim and old.c_dim != new.c_dim:
        raise DataError(
            f"{origin} has {old.c_dim} classes, the dataset {new.c_dim}; pack the same classes, train with labels: false, "
            "or say adapt: true to learn all classes anew"
        )


def _changes(old: NetworkConfig, new: NetworkConfig) -> list[str]:
    facts = [
        ("resolution", f"{old.height}x{old.width}", f"{new.height}x{new.width}"),
        ("channels", old.img_channels, new.img_channels),
        ("classes", old.c_dim, new.c_dim),
    ]
    return [f"{name} {before} -> {after}" for name, before, after in facts if before != after]


def _fitted(state: adapt.State, old: NetworkConfig, new: NetworkConfig, origin: str) -> adapt.State:
    """The source's weights in the shapes of the target, as far as images make the difference."""
    try:
        if old.img_channels != new.img_channels:
            state = adapt.to_channels(state, old.img_channels, new.img_channels)
    except DataError as error:
        raise DataError(f"{origin}: {error}") from None
    if old.grid[:2] != new.grid[:2]:
        state = adapt.to_grid(state, old, new)
    return adapt.to_classes(state, old, new)


def _explained(name: str, old: NetworkConfig, new: NetworkConfig) -> bool:
    """Whether it is only natural that the tensor called `name` could not be copied."""
    if old.c_dim != new.c_dim and LABEL_NAMES.match(name):
        return True
    if name.split(" ")[0].endswith("noise_const") and old.grid[:2] != new.grid[:2]:
        return True
    if old.grid.doublings == new.grid.doublings:
        return False
    shared = 4 << min(old.grid.doublings, new.grid.doublings)
    block = BLOCK_NAMES.match(name)
    return bool(EDGE_NAMES.match(name)) or (block is not None and int(block[1]) > shared)
