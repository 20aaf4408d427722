"""A model's weights for images of another kind: other channels, classes, or proportions, each computing the same as before where it can.

Every function takes a network's state and returns it changed; nothing is trained or drawn here. Weights of equalized layers are
multiplied by 1 / sqrt(inputs) when they run, so where the number of inputs changes, they are scaled to make up for it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.errors import DataError
from foxgan.gan.config import NetworkConfig

State = dict[str, Tensor]
COLORS = {1: (1, False), 3: (3, False), 4: (3, True)}  # channels -> colors, and whether alpha follows


def to_channels(state: State, old: int, new: int) -> State:
    """ToRGB and fromRGB layers for images of `new` channels instead of `old` (1: grey, 3: RGB, 4: RGBA).

    Grey is the mean of RGB; alpha is 1 at first. G draws, and D sees, the same pictures as before. DataError for other numbers of channels.
    """
    for channels in (old, new):
        if channels not in COLORS:
            raise DataError(f"no way leads from {old} to {new} channels; foxgan knows grey (1), RGB (3) and RGBA (4)")
    forth, opaque = _color_matrix(old, new)
    back, missing = _color_matrix(new, old)
    made = dict(state)
    last = next((key for key in reversed(state) if key.endswith("torgb.bias")), None)
    for key, value in state.items():
        if key.endswith("torgb.weight"):
            made[key] = torch.einsum("no,oihw->nihw", forth, value)
        elif key.endswith("torgb.bias"):
            made[key] = forth @ value
            if key == last:  # ToRGBs are summed up: one of them says that alpha is 1
                made[key] += opaque
        elif key.endswith("fromrgb.weight"):
            made[key] = torch.einsum("cohw,on->cnhw", value, back) * math.sqrt(new / old)
            bias = key.replace("weight", "bias")
            made[bias] = state[bias] + value[:, :, 0, 0] @ missing / math.sqrt(old)
    return made


def _color_matrix(old: int, new: int) -> tuple[Tensor, Tensor]:
    """[new, old] that turns colors of the one kind into the other, and [new] to add: an alpha that was not there is 1."""
    (old_colors, old_alpha), (new_colors, new_alpha) = COLORS[old], COLORS[new]
    matrix, added = torch.zeros(new, old), torch.zeros(new)
    if old_colors == new_colors:
        matrix[:new_colors, :old_colors] = torch.eye(new_colors)
    else:
        matrix[:new_colors, :old_colors] = 1 / old_colors
    if new_alpha and old_alpha:
        matrix[-1, -1] = 1
    elif new_alpha:
        added[-1] = 1
    return matrix, added


def to_classes(state: State, old: NetworkConfig, new: NetworkConfig) -> State:
    """The first mapping layer of G with or without the inputs that a label has; classes draw alike until they are trained apart."""
    key = "mapping.fc0.weight"
    if key not in state or bool(old.c_dim) == bool(new.c_dim):
        return state
    weight, z_dim = state[key], new.z_dim
    if not new.c_dim:
        return state | {key: weight[:, :z_dim] * math.sqrt(z_dim / weight.shape[1])}
    inputs = z_dim + (new.embed_features or new.w_dim)
    return state | {key: F.pad(weight * math.sqrt(inputs / z_dim), [0, inputs - z_dim])}


def to_grid(state: State, old: NetworkConfig, new: NetworkConfig) -> State:
    """G's constant and D's last layers stretched from the one grid to the other, bilinearly."""
    made, size = dict(state), [new.grid.height, new.grid.width]
    if "synthesis.b4.const" in state:
        made["synthesis.b4.const"] = _stretched(state["synthesis.b4.const"][None], size)[0]
    if "b4.fc.weight" in state:
        weight = state["b4.fc.weight"]
        maps = weight.reshape(len(weight), -1, old.grid.height, old.grid.width)
        share = math.sqrt(old.grid.height * old.grid.width / math.prod(size))
        made["b4.fc.weight"] = _stretched(maps, size).flatten(1) * share
    return made


def _stretched(maps: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
