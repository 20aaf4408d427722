"""What travels with foxgan is found by name, and only as what it is."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import foxgan.shipped
from foxgan.errors import UsageError
from foxgan.gan.checkpoint import save_snapshot
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Generator
from foxgan.shipped import find_shipped, shipped_names, weights_kind
from foxgan.stages.detect import Detect
from foxgan.stages.train import Train


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that ships the detector fox-heads, a generator, and files of other kinds."""
    detector = find_shipped("detectors", "fox-heads")
    assert detector is not None
    folder = tmp_path / "models" / "shipped"
    folder.mkdir(parents=True)
    (folder / "heads.safetensors").write_bytes(detector.read_bytes())
    network = NetworkConfig(height=8, width=8, z_dim=4, w_dim=4, mapping_layers=1, channel_max=4)
    save_snapshot(folder / "wolves.safetensors", G_ema=Generator(network), network=network, training={})
    save_file({"a": torch.zeros(1)}, folder / "other.safetensors")
    (folder / "torn.safetensors").write_bytes(detector.read_bytes()[:1000])
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    monkeypatch.setattr(foxgan.shipped, "_ROOT", tmp_path)
    return folder


def test_detectors_and_generators_are_listed_apart(shipped: Path) -> None:
    assert (shipped_names("models"), shipped_names("detectors")) == (["wolves"], ["heads"])
    assert weights_kind(shipped / "other.safetensors") is None


def test_a_model_of_the_wrong_kind_is_refused_with_the_names_of_the_right_kind(shipped: Path) -> None:
    assert Train.find_weights("wolves") == shipped / "wolves.safetensors"
    assert Detect.find_weights("heads") == shipped / "heads.safetensors"
    with pytest.raises(UsageError, match="no shipped model is called 'heads'; shipped: wolves$"):
        Train.find_weights("heads")
    with pytest.raises(UsageError, match="no detector is called so; shipped: heads;"):
        Detect.find_weights("wolves")
