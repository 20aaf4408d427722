"""Published numbers for the networks, read from tests/golden (see its README)."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def golden() -> Callable[[str], dict[str, torch.Tensor]]:
    """All arrays of a golden file by name, but for text."""

    def read(name: str) -> dict[str, torch.Tensor]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return {key: torch.tensor(arrays[key]) for key in arrays if arrays[key].dtype.kind == "f"}

    return read


@pytest.fixture
def golden_json() -> Callable[[str, str], object]:
    """A JSON text in a golden file."""

    def read(name: str, key: str) -> object:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return json.loads(str(arrays[key]))

    return read


@pytest.fixture
def networks(golden, golden_json) -> Callable[..., SimpleNamespace]:
    """G and D of a golden file with the weights stored under the given prefixes."""

    def load(net: nn.Module, arrays: dict[str, torch.Tensor], prefix: str) -> None:
        net.load_state_dict({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})

    def read(name: str, g_prefix: str = "G.", d_prefix: str = "D.") -> SimpleNamespace:
        stored = golden_json(name, "config")
        size = stored["img_resolution"]
        fields = {key: value for key, value in stored.items() if key in NetworkConfig.model_fields}
        config = NetworkConfig(height=size, width=size, **fields)
        arrays = golden(name)
        nets = SimpleNamespace(G=Generator(config), D=Discriminator(config), arrays=arrays, stored=stored)
        load(nets.G, arrays, g_prefix)
        load(nets.D, arrays, d_prefix)
        return nets

    return read


class Pictures:
    """Random drawings of a few large cells; `copies` of them once more, a little noisy and brighter."""

    def __init__(self, count: int, copies: int = 0, seed: int = 0) -> None:
        self.height, self.width, self.channels, self.num_classes, self.labels, self.fingerprint = 16, 24, 3, 0, None, ""
        random = np.random.RandomState(seed)
        pixels = random.randint(0, 200, (count, 3, 8, 12)).repeat(2, 2).repeat(2, 3)
        noisy = pixels[:copies] * 1.1 + random.normal(4, 4, pixels[:copies].shape)
        self.data = torch.from_numpy(np.concatenate([pixels, noisy]).clip(0, 255).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices: Any) -> torch.Tensor:
        return self.data[torch.as_tensor(np.asarray(indices))]


@pytest.fixture(scope="session")
def pictures() -> type[Pictures]:
    """A dataset to train on."""
    return Pictures
