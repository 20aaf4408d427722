"""What an interrupted detector training goes on from: weights, averages, optimizer and scores, as safetensors and JSON.

Random numbers are not among it: every epoch begins from the seed and its own number.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foxgan.errors import FoxganError
from foxgan.vision.yolo import Net, load_net, save_detector

FORMAT = 1
SECONDS = 20.0  # between two states, at least: small sets have epochs of a second
FOLDER = "state"
GROUP_FIELDS = (
    "params",
    "fused",
    "foreach",
    "capturable",
    "differentiable",
)  # of the optimizer, that a file need not tell


@dataclass(frozen=True)
class State:
    """A training as it was after an epoch."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    best: Net | None

    @property
    def log(self) -> str:
        """The log of all epochs up to here."""
        return str(self.facts["log"])

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train."""
        return bool(self.facts["done"])

    def restore(self, training: Any) -> Net | None:
        """Bring a training that was just set up to where it was; returns the best network so far."""
        training.model.load_state_dict(self._part("model"))
        training.ema.ema.load_state_dict(self._part("ema"))
        training.ema.updates = self.facts["updates"]
        optimizer = training.optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self._part("optimizer").items():
            number, _, key = name.partition(".")
            moments.setdefault(int(number), {})[key] = tensor
        groups = zip(optimizer["param_groups"], self.facts["groups"], strict=True)
        training.optimizer.load_state_dict({"state": moments, "param_groups": [old | new for old, new in groups]})
        training.best_fitness = self.facts["best_fitness"]
        training.stopper.__dict__.update(self.facts["stopper"])
        training.start_epoch = self.facts["epoch"]
        return self.best

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(f"{prefix}."): t for k, t in self.tensors.items() if k.startswith(f"{prefix}.")}


def saving_is_due(folder: Path) -> bool:
    """Whether the last state is old enough for a new one."""
    try:
        return time.time() - (folder / FOLDER / "state.json").stat().st_mtime >= SECONDS
    except OSError:
        return True


def save_state(folder: Path, training: Any, best: Net | None) -> None:
    """Write the state after an epoch. It counts from the moment its JSON file, written last, is there; older files then go."""
    place, epoch = folder / FOLDER, training.epoch + 1
    place.mkdir(exist_ok=True)
    optimizer = training.optimizer.state_dict()
    parts = {"model": training.model.state_dict(), "ema": training.ema.ema.state_dict()}
    tensors = {f"{part}.{key}": tensor for part, state in parts.items() for key, tensor in state.items()}
    for number, moments in optimizer["state"].items():
        tensors |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    names = [f"state-{epoch}.safetensors"]
    _replace(
        place / names[0], lambda tmp: save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, tmp)
    )
    if best is not None:
        names.append(f"best-{int(best.metrics['epoch'])}.safetensors")
        if not (place / names[1]).exists():
            _replace(place / names[1], lambda tmp: save_detector(tmp, best))
    facts = {
        "format": FORMAT,
        "epoch": epoch,
        "done": bool(training.stop),
        "files": names,
        "updates": training.ema.updates,
        "groups": [{k: v for k, v in g.items() if k not in GROUP_FIELDS} for g in optimizer["param_groups"]],
        "best_fitness": None if training.best_fitness is None else float(training.best_fitness),
        "stopper": {k: v for k, v in vars(training.stopper).items() if k != "patience"},
        "log": training.csv.read_text(encoding="utf-8"),
    }
    text = json.dumps(facts, default=float)
    _replace(place / "state.json", lambda tmp: tmp.write_text(text, encoding="utf-8"))
    for path in place.iterdir():
        if path.name not in (*names, "state.json"):
            path.unlink()


def load_state(folder: Path) -> State | None:
    """The last complete state of a training in `folder`; None where there is none that can be read: it begins anew then."""
    place = folder / FOLDER
    try:
        facts = json.loads((place / "state.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            return None
        file, *best = facts["files"]
        with safe_open(place / Path(file).name, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a dict)
        return State(facts, tensors, load_net(place / Path(best[0]).name) if best else None)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, FoxganError):
        return None


def _replace(path: Path, write: Any) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    write(temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
