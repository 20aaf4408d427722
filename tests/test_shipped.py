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
from foxgan.shipped import find_shipped, models_folder, picture_size, shipped_names, weights_kind
from foxgan.stages.detect import Detect
from foxgan.stages.train import Train


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that ships the detector fox-heads, a generator, and files of other kinds."""
    detector = find_shipped("detectors", "fox-heads")
    assert detector is not None
    folder = tmp_path / "models" / "shipped"
    folder.mkdir(parents=True)
    (tmp_path / "models" / "catalog.json").write_text("[]")
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
    with pytest.raises(UsageError, match="no public model is called 'heads'; shipped: wolves; public: 0, see"):
        Train.find_weights("heads")
    with pytest.raises(UsageError, match="no detector is called so; shipped: heads;"):
        Detect.find_weights("wolves")


def test_the_size_of_what_a_shipped_generator_draws_is_read_from_its_header(shipped: Path) -> None:
    assert picture_size(shipped / "wolves.safetensors") == (8, 8)


def test_without_a_setting_public_weights_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOXGAN_MODELS", raising=False)
    assert models_folder().parts[-2:] == ("foxgan", "models")


@pytest.mark.parametrize(
    ("system", "name", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "/c", "/c/foxgan/models"),
        ("linux", "XDG_CACHE_HOME", "", "/h/.cache/foxgan/models"),
        ("darwin", "XDG_CACHE_HOME", "/c", "/h/Library/Caches/foxgan/models"),
        ("win32", "LOCALAPPDATA", "/a", "/a/foxgan/models"),
        ("linux", "FOXGAN_MODELS", "/m", "/m"),
    ],
)
def test_every_system_has_its_place_for_public_weights(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str, value: str, expected: str
) -> None:
    monkeypatch.delenv("FOXGAN_MODELS", raising=False)
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setenv(name, value)
    assert models_folder().as_posix() == expected
