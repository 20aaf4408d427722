"""A model to give away: it draws what its training drew, other trainings start from it, and it tells nothing of this machine."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.dataset.lmdb import Dataset
from foxgan.dataset.provenance import ATTRIBUTION
from foxgan.errors import StageError
from foxgan.gan.card import CARD_FILE
from foxgan.gan.checkpoint import latest_snapshot
from foxgan.gan.model import load_model
from foxgan.stages.base import Context
from foxgan.stages.export import Export
from foxgan.stages.pack import Pack
from foxgan.stages.train import Train

TINY = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "tick_kimg": 0.004, "threads": 1, "device": "cpu"}
TINY |= {"grid_columns": 2, "grid_rows": 2, "workers": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    rows = []
    for i in range(6):
        crop = np.random.RandomState(i).randint(0, 255, (16, 16, 3), np.uint8)
        path, crop_id = folder / f"{i}.png", images.pixel_digest(crop)
        images.write(path, crop)
        rows.append({"id": crop_id, "path": str(path), "height": 16, "width": 16, "channels": 3})
    write_index(folder, rows)
    (folder / "set").mkdir()
    Pack(images=folder, workers=0).run(folder / "set", Context())
    return folder / "set"


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    Train(dataset=dataset, kimg=0.008, **TINY).run(out, Context())
    return out


def exported(out: Path, model: Path, **params: bool) -> Path:
    out.mkdir()
    Export(model=str(model), **params).run(out, Context())
    return out


def test_an_exported_model_draws_what_its_training_drew(trained: Path, tmp_path: Path) -> None:
    out = exported(tmp_path / "out", trained)
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    before, after = (load_model(folder).G_ema(z, noise_mode="const") for folder in (trained, out))
    torch.testing.assert_close(after, before, atol=0.02, rtol=0)
    snapshot = latest_snapshot(trained)
    assert (out / "model.safetensors").stat().st_size < snapshot.stat().st_size / 2


def test_full_precision_is_exact_and_without_discriminator_the_file_is_smaller(trained: Path, tmp_path: Path) -> None:
    whole = load_model(exported(tmp_path / "whole", trained, half=False))
    for name, tensor in load_model(trained).G_ema.state_dict().items():
        assert torch.equal(whole.G_ema.state_dict()[name], tensor), name
    bare = exported(tmp_path / "bare", trained, discriminator=False)
    assert load_model(bare).D is None and whole.D is not None
    with pytest.raises(StageError, match="discriminator: false"):
        exported(tmp_path / "again", bare)


def test_a_training_starts_from_an_exported_model(trained: Path, dataset: Path, tmp_path: Path) -> None:
    out = exported(tmp_path / "out", trained)
    Train(dataset=dataset, resume=str(out), kimg=0.004, g_lr=1e-12, d_lr=1e-12, **TINY).run(
        tmp_path / "next", Context()
    )
    source, found = load_model(out), load_model(tmp_path / "next")
    assert source.D is not None and found.D is not None
    for old, new in ((source.G_ema, found.G), (source.D, found.D)):
        for name, value in old.named_parameters():
            torch.testing.assert_close(new.get_parameter(name), value, atol=1e-6, rtol=0, msg=name)


def test_the_file_tells_how_it_was_trained_but_no_path(trained: Path, dataset: Path, tmp_path: Path) -> None:
    with safe_open(exported(tmp_path / "out", trained) / "model.safetensors", framework="pt") as file:
        text = file.metadata()["foxgan"]
    training = json.loads(text)["training"]
    assert training["nimg"] == 8 and training["config"]["batch"] == 4
    assert training["dataset"] == Dataset(dataset).fingerprint
    assert str(dataset.parent) not in text and str(trained) not in text


def test_the_list_of_pictures_follows_from_the_dataset_to_the_model_that_is_given_away(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    listed = (dataset / ATTRIBUTION).read_bytes()
    out = exported(tmp_path / "out", trained)
    assert (trained / ATTRIBUTION).read_bytes() == (out / ATTRIBUTION).read_bytes() == listed
    for folder in (trained, out):
        card = (folder / CARD_FILE).read_text()
        assert f"[{ATTRIBUTION}]" in card and "unknown 6" in card
    file = exported(tmp_path / "of a file", latest_snapshot(trained))
    assert (file / ATTRIBUTION).read_bytes() == listed
