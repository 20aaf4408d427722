"""A trained model in memory, and the one door through which every weight file comes in: `load_model`.

Whatever the format, the networks are built from sizes, every tensor is checked by name and shape, and only then is memory
filled. What a format does not store (noise, the mean of w) is made the same way at every load, and said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foxgan.errors import DataError
from foxgan.gan.checkpoint import is_safetensors, latest_snapshot, read_snapshot
from foxgan.gan.config import NetworkConfig
from foxgan.gan.pretrained.catalog import find_model
from foxgan.gan.pretrained.foreign import Foreign, read_foreign
from foxgan.gan.stylegan2 import Discriminator, Generator

KINDS: dict[str, type[Generator | Discriminator]] = {"G": Generator, "D": Discriminator, "G_ema": Generator}
W_SAMPLES = 10_000  # for the mean of w, as NVIDIA's tools draw
REMADE = {  # buffers that a foreign format may lack, and how they are made then
    "resample_filter": "",  # always the same one
    "noise_const": "noise images are drawn by seed 0",
    "w_avg": f"the mean of w is estimated from {W_SAMPLES:,} z",
}


@dataclass
class CopyReport:
    """State names by what became of them: `missing` in the source, `mismatched` in shape, `unused` by the target.

    `changes` tells in words how the source was fitted before it was copied.
    """

    changes: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[str]:
        return self.missing + self.mismatched + self.unused

    def __str__(self) -> str:
        parts = [*self.changes, f"{len(self.copied)} tensors copied"]
        for names, word in ((self.missing + self.mismatched, "new"), (self.unused, "unused")):
            if names:
                parts.append(f"{len(names)} {word} ({', '.join(names[:4])}{' ...' if len(names) > 4 else ''})")
        return ", ".join(parts)


@dataclass
class Model:
    """The networks of one file, in eval mode. `G`, `D` are None where it holds only `G_ema`.

    `info` tells how they came about, `format` who wrote the file, `report` what became of its tensors, and `notes`, in a sentence each,
    what was left out or made anew.
    """

    G_ema: Generator
    network: NetworkConfig
    G: Generator | None = None
    D: Discriminator | None = None
    info: dict[str, Any] | None = None
    format: str = "foxgan"
    notes: list[str] = field(default_factory=list)
    report: CopyReport = field(default_factory=CopyReport)

    @property
    def nets(self) -> dict[str, Generator | Discriminator]:
        """The networks that are there, by name."""
        found = {"G": self.G, "D": self.D, "G_ema": self.G_ema}
        return {name: net for name, net in found.items() if net is not None}


def load_model(model: str | Path, device: str | torch.device = "cpu") -> Model:
    """The networks of a file, of a folder's best snapshot, or of a shipped or public model called `model`, as fp32 on `device`.

    Opens foxgan's snapshots, NVIDIA's pickles (PyTorch and TensorFlow) and rosinality's checkpoints, and runs nothing of what is in
    them. On a CPU all layers compute in fp32, also those that were trained in half precision. Raises DataError for a file
    that is damaged or does not fit, UnsafeFileError for one that asks for more than weights, UsageError for an unknown name.
    """
    path = find_model(model)
    if path.is_dir():
        path = latest_snapshot(path)
    if is_safetensors(path):
        network, tensors, training = read_snapshot(path)
        return _built(path, Foreign("foxgan", network, tensors, facts=training), device)
    return _built(path, read_foreign(path), device)


def _built(path: Path, file: Foreign, device: str | torch.device) -> Model:
    is_cpu = torch.device(device).type == "cpu"
    running = file.network.model_copy(update={"num_fp16_res": 0}) if is_cpu else file.network
    with torch.device("meta"):  # no memory before all names and shapes are right
        nets = {name: KINDS[name](running) for name in KINDS if name in file.tensors or name == "G_ema"}
    report = CopyReport()
    for name, net in nets.items():
        _check(path, name, net, file.tensors.get(name, {}), file.format != "foxgan", report)
    lacking = {key.rsplit(".", 1)[-1] for key in report.missing}
    for name, net in nets.items():
        _fill(path, name, net, file.tensors[name])
        net.eval().requires_grad_(False).to(device)
    return Model(
        **nets,  # type: ignore[arg-type]
        network=file.network,
        info=file.facts,
        format=file.format,
        notes=file.notes + [f"the file holds no {kind}: {REMADE[kind]}" for kind in sorted(lacking)],
        report=report,
    )


def _check(
    path: Path,
    name: str,
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    is_foreign: bool,
    report: CopyReport,
) -> None:
    """DataError if anything is missing (but for buffers of foreign files, see `REMADE`), or too much, or of another shape."""
    expected = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    missing = [key for key in expected if key not in tensors]
    wrong = [f"{key} is missing" for key in missing if not is_foreign or key.rsplit(".", 1)[-1] not in REMADE]
    for key, value in tensors.items():
        if tuple(value.shape) != expected.get(key):
            wrong.append(f"{key} {list(value.shape)} -> {list(expected[key]) if key in expected else 'no place'}")
    if wrong:
        words = ", ".join(f"{name}.{text}" for text in wrong[:3])
        raise DataError(f"{path}: its tensors do not fit the sizes that it says: {words} ({len(wrong)} in all)")
    report.copied += [f"{name}.{key}" for key in tensors]
    report.missing += [
        f"{name}.{key}" for key in missing if not key.endswith("resample_filter")
    ]  # known without a file


def _fill(path: Path, name: str, net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give `net`, which has no memory yet, the tensors; make what is missing, from a seed of its own."""
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise DataError(f"{path}: {name}.{key} holds numbers that are not finite; the training or the file broke")
    if any(key not in tensors for key in net.state_dict()):
        template = type(net)(net.config, torch.Generator().manual_seed(0))
        made = {key: value for key, value in template.state_dict().items() if key not in tensors}
    else:
        made = {}
    net.load_state_dict({**made, **tensors}, assign=True)
    if isinstance(net, Generator) and "mapping.w_avg" in made:
        net.mapping.w_avg.copy_(_mean_w(net))


@torch.no_grad()
def _mean_w(G: Generator) -> Tensor:
    """The mean of w over random z (and classes, in turn), for files that do not store it."""
    z = torch.randn(W_SAMPLES, G.config.z_dim, generator=torch.Generator().manual_seed(0))
    c = (
        torch.eye(G.config.c_dim).repeat(W_SAMPLES // max(G.config.c_dim, 1) + 1, 1)[:W_SAMPLES]
        if G.config.c_dim
        else None
    )
    return G.mapping.to_w(z, c).mean(dim=0)
