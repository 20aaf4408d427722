"""Snapshots and states as files: what comes back, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from foxgan.errors import DataError, StageError
from foxgan.gan.checkpoint import latest_snapshot, latest_state, save_snapshot, save_state
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import load_model
from foxgan.gan.stylegan2 import Discriminator, Generator

NETWORK = NetworkConfig(height=16, width=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8)


@pytest.fixture(scope="module")
def nets():
    return Generator(NETWORK), Discriminator(NETWORK), Generator(NETWORK)


@pytest.fixture
def snapshot(tmp_path, nets):
    G, D, G_ema = nets
    path = tmp_path / "snapshot-000000064.safetensors"
    save_snapshot(path, G=G, D=D, G_ema=G_ema, network=NETWORK, training={"nimg": 64})
    return path


def test_a_snapshot_brings_back_all_three_networks(snapshot, nets):
    model = load_model(snapshot)
    for net, original in zip((model.G, model.D, model.G_ema), nets, strict=True):
        assert net is not None and not net.training
        for name, tensor in original.state_dict().items():
            assert torch.equal(net.state_dict()[name], tensor), name
    assert model.network == NETWORK
    assert model.info == {"nimg": 64}


def test_a_folder_means_its_newest_snapshot(snapshot, nets):
    newer = snapshot.with_name("snapshot-000000128.safetensors")
    save_snapshot(newer, G_ema=nets[2], network=NETWORK, training={"nimg": 128})
    assert latest_snapshot(snapshot.parent) == newer
    assert load_model(snapshot.parent).info == {"nimg": 128}


def test_half_precision_halves_the_file_and_keeps_the_pictures(snapshot, nets, tmp_path):
    small = tmp_path / "small.safetensors"
    save_snapshot(small, D=nets[1], G_ema=nets[2], network=NETWORK, training={}, half=True)
    model = load_model(small)
    assert model.G is None and model.D is not None
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.G_ema(z, noise_mode="const"), nets[2](z, noise_mode="const"), atol=0.02, rtol=0)
    assert small.stat().st_size < snapshot.stat().st_size / 2


def edited(path, change):
    """The same snapshot with another `foxgan` header."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["foxgan"])
    change(facts, tensors)
    save_file(tensors, path, metadata={"foxgan": json.dumps(facts)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, t: f.update(format=99), "newer foxgan"),
        (lambda f, t: f["network"].update(channel_max=10**9), "channel_max"),
        (lambda f, t: f["network"].update(colour=True), "colour"),
        (lambda f, t: f["network"].update(height=17), "17x16"),
        (lambda f, t: f["network"].update(channel_max=16), "do not fit"),
        (lambda f, t: t.pop("G_ema.mapping.fc1.weight"), "do not fit.*G_ema.mapping.fc1.weight"),
        (lambda f, t: f.pop("training"), "not what foxgan writes"),
    ],
)
def test_a_snapshot_that_is_not_what_it_says_is_refused(snapshot, change, words):
    edited(snapshot, change)
    with pytest.raises(DataError, match=words) as caught:
        load_model(snapshot)
    assert str(snapshot) in str(caught.value)


def test_a_cut_file_is_refused(snapshot):
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    with pytest.raises(DataError, match="is it complete"):
        load_model(snapshot)


@pytest.mark.parametrize("content", [b"", b"<html>no such model</html>", b"\xff" * 64])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="model.safetensors"):
        load_model(path)


def test_safetensors_of_others_are_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="not a foxgan snapshot"):
        load_model(tmp_path / "x.safetensors")


def test_a_missing_file_or_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="none.safetensors"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="folder of a `train` or `export`"):
        load_model(tmp_path)


def test_a_state_counts_only_once_its_json_is_there(tmp_path):
    save_state(tmp_path, 64, {"x": torch.ones(2)}, {"batch_idx": 4})
    save_state(tmp_path, 128, {"x": torch.zeros(2)}, {"batch_idx": 8})
    (tmp_path / "state-000000128.json").unlink()
    found = latest_state(tmp_path)
    assert found is not None
    snapshot, tensors, facts = found
    assert snapshot.name == "snapshot-000000064.safetensors"
    assert (facts["nimg"], facts["batch_idx"], tensors["x"].tolist()) == (64, 4, [1, 1])
    assert latest_state(tmp_path / "elsewhere") is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path, nets):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StageError, match="could not be written"):
        save_snapshot(tmp_path / "file" / "x.safetensors", G_ema=nets[2], network=NETWORK, training={})


def test_no_temporary_file_is_left_after_a_failed_write(tmp_path, nets):
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(StageError):
        save_snapshot(tmp_path / "taken.safetensors", G_ema=nets[2], network=NETWORK, training={})
    assert [p.name for p in tmp_path.iterdir()] == ["taken.safetensors"]
