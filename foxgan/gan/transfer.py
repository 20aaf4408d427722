"""Start from another model's weights: copy by name, and say what could not be copied instead of training on a half-filled network."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from foxgan.errors import DataError
from foxgan.gan.checkpoint import Model
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator

LABEL_NAMES = re.compile(
    r"G(_ema)?\.mapping\.(embed\.|fc0\.weight)|D\.(mapping\.|b4\.out\.)"
)  # change with the classes


@dataclass
class CopyReport:
    """State names by what became of them: `missing` in the source, `mismatched` in shape, `unused` by the target."""

    copied: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[str]:
        return self.missing + self.mismatched + self.unused

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} tensors copied"]
        for word in ("missing", "mismatched", "unused"):
            names = getattr(self, word)
            if names:
                parts.append(f"{len(names)} {word} ({', '.join(names[:4])}{' ...' if len(names) > 4 else ''})")
        return ", ".join(parts)


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


def start_from(source: Model, G: Generator, D: Discriminator, G_ema: Generator, origin: str) -> CopyReport:
    """Fill the three networks from `source`, a model of the same sizes; only its classes may differ.

    A source without G (a model that was made to be run) lends its G_ema to both; without D, D stays as it is. DataError with
    the names where anything else does not fit.
    """
    check_shape(source.network, G.config, origin)
    report = CopyReport()
    copy_by_name((source.G or source.G_ema).state_dict(), G, "G", report)
    copy_by_name(source.G_ema.state_dict(), G_ema, "G_ema", report)
    if source.D is not None:
        copy_by_name(source.D.state_dict(), D, "D", report)
    unexplained = [name for name in report.left_out if not LABEL_NAMES.match(name)]
    if unexplained or (report.left_out and source.network.c_dim == G.config.c_dim):
        raise DataError(
            f"{origin} does not fit the networks to train: {report}; leave sizes to the model, or match them"
        )
    return report


def check_shape(source: NetworkConfig, target: NetworkConfig, origin: str) -> None:
    """DataError if the model makes other images than the dataset holds."""
    shapes = [f"{n.height}x{n.width} with {n.img_channels} channels" for n in (source, target)]
    if shapes[0] != shapes[1]:
        raise DataError(f"{origin} makes {shapes[0]}, the dataset holds {shapes[1]}; crop and pack to the model's size")
