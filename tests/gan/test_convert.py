"""From every format that is read to the two that are written."""

import pytest
import torch

from foxgan.errors import DataError, UsageError
from foxgan.gan.checkpoint import save_snapshot
from foxgan.gan.config import NetworkConfig
from foxgan.gan.convert import convert
from foxgan.gan.model import load_model
from foxgan.gan.stylegan2 import Discriminator, Generator

# as rosinality's classes build it: 512 channels up to 32 pixels
HIS = {
    "height": 8,
    "width": 8,
    "z_dim": 16,
    "w_dim": 16,
    "mapping_layers": 3,
    "channel_base": 32768,
    "channel_max": 512,
}


def snapshot(path, **fields):
    network = NetworkConfig(**HIS | fields)
    random = torch.Generator().manual_seed(0)
    nets = {"G": Generator(network, random), "D": Discriminator(network, random), "G_ema": Generator(network, random)}
    for net in nets.values():
        net.requires_grad_(False)
        for name, tensor in net.state_dict().items():
            if name.endswith(("noise_strength", "bias", "w_avg")):
                tensor.add_(torch.randn(tensor.shape, generator=random))
    save_snapshot(path, **nets, network=network, training={"nimg": 5000})
    return path


def test_a_model_comes_back_from_rosinalitys_format_as_it_was(tmp_path):
    source = snapshot(tmp_path / "model.safetensors")
    convert(source, tmp_path / "his.pt")
    before, after = load_model(source), load_model(tmp_path / "his.pt")
    assert after.network == before.network and after.format == "rosinality" and after.notes == []
    for name in ("G_ema", "G", "D"):
        for key, value in getattr(before, name).state_dict().items():
            if name != "G" or key != "mapping.w_avg":  # he keeps one, of the average generator
                assert torch.equal(getattr(after, name).state_dict()[key], value), (name, key)


def test_rosinalitys_checkpoint_holds_his_names_shapes_and_filters(tmp_path):
    convert(snapshot(tmp_path / "model.safetensors"), tmp_path / "his.pt")
    written = torch.load(tmp_path / "his.pt", weights_only=True)
    assert sorted(written) == ["d", "g", "g_ema", "latent_avg"] and written["latent_avg"].shape == (16,)
    shapes = {key: tuple(value.shape) for key, value in written["g_ema"].items()}
    assert shapes["input.input"] == (1, 512, 4, 4) and shapes["style.1.weight"] == (16, 16)
    assert shapes["conv1.conv.weight"] == (1, 512, 512, 3, 3) and shapes["conv1.noise.weight"] == (1,)
    assert shapes["to_rgbs.0.bias"] == (1, 3, 1, 1) and shapes["noises.noise_2"] == (1, 1, 8, 8)
    assert written["g_ema"]["convs.0.conv.blur.kernel"].sum() == pytest.approx(4)
    assert written["g_ema"]["to_rgbs.0.upsample.kernel"].sum() == pytest.approx(4)
    assert written["d"]["convs.1.conv2.0.kernel"].sum() == pytest.approx(1)
    assert "convs.1.conv.blur.kernel" not in shapes, "only layers that double the size have one"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"img_channels": 1}, "1 channels, not 3"),
        ({"c_dim": 2}, "2 classes"),
        ({"height": 8, "width": 12}, "8x12 is no square power of two"),
        ({"channel_max": 64}, r"\[64, 64\], not \[512, 512\]"),
        ({"z_dim": 8}, "z_dim 8 and w_dim 16 differ"),
        ({"use_noise": False}, "no noise inputs"),
        ({"g_architecture": "orig"}, "orig and resnet"),
    ],
)
def test_what_rosinalitys_networks_cannot_be_is_refused_with_the_reason(tmp_path, fields, words):
    source = snapshot(tmp_path / "model.safetensors", **{"channel_max": 512} | fields)
    with pytest.raises(DataError, match=words):
        convert(source, tmp_path / "his.pt")
    assert not (tmp_path / "his.pt").exists()


def test_a_snapshot_of_a_foreign_file_tells_where_it_came_from(tmp_path):
    convert(snapshot(tmp_path / "model.safetensors"), tmp_path / "his.pt")
    convert(tmp_path / "his.pt", tmp_path / "ours.safetensors", half=True)
    model = load_model(tmp_path / "ours.safetensors")
    assert model.info["converted"] == {"from": "his.pt", "format": "rosinality"}
    assert model.D is not None
    assert (tmp_path / "ours.safetensors").stat().st_size < 0.6 * (tmp_path / "his.pt").stat().st_size


def test_nothing_is_overwritten_and_endings_say_the_format(tmp_path):
    source = snapshot(tmp_path / "model.safetensors")
    (tmp_path / "his.pt").write_text("mine")
    with pytest.raises(UsageError, match="his.pt: exists already"):
        convert(source, tmp_path / "his.pt")
    assert (tmp_path / "his.pt").read_text() == "mine"
    convert(source, tmp_path / "his.pt", force=True)
    with pytest.raises(UsageError, match="ending tells no format"):
        convert(source, tmp_path / "model.pkl")
    with pytest.raises(UsageError, match="wants fp32"):
        convert(source, tmp_path / "half.pt", half=True)
