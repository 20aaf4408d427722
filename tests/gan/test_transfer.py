"""What is taken over from another model, and what is refused."""

import pytest
import torch

from foxgan.errors import DataError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import Model
from foxgan.gan.stylegan2 import Discriminator, Generator
from foxgan.gan.transfer import CopyReport, start_from

SMALL = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 256, "channel_max": 16}


def sizes(**fields) -> NetworkConfig:
    return NetworkConfig(**{"height": 32, "width": 32} | SMALL | fields)


def model(network: NetworkConfig, seed: int = 0) -> Model:
    random = torch.Generator().manual_seed(seed)
    return Model(
        G=Generator(network, random),
        D=Discriminator(network, random),
        G_ema=Generator(network, random),
        network=network,
    )


def transfer(old: NetworkConfig, new: NetworkConfig, adapted: bool = False) -> tuple[Model, Model, CopyReport]:
    source, target = model(old), model(new, seed=9)
    assert target.G is not None and target.D is not None
    return source, target, start_from(source, target.G, target.D, target.G_ema, "base.pkl", adapted)


def test_the_same_sizes_are_copied_whole():
    source, target, report = transfer(sizes(), sizes())
    assert not report.left_out and not report.changes
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(source, name).state_dict().items():
            assert torch.equal(getattr(target, name).state_dict()[key], value), key


@pytest.mark.parametrize(("old", "new"), [(64, 16), (16, 64)])
def test_another_resolution_shares_all_blocks_up_to_the_smaller_one(old, new):
    source, target, report = transfer(sizes(height=old, width=old), sizes(height=new, width=new))
    assert report.changes == [f"resolution {old}x{old} -> {new}x{new}"]
    for name in ("synthesis.b4.const", "synthesis.b16.conv1.weight", "synthesis.b16.torgb.weight", "mapping.w_avg"):
        assert torch.equal(target.G.state_dict()[name], source.G.state_dict()[name]), name
    assert torch.equal(target.D.state_dict()["b16.conv0.weight"], source.D.state_dict()["b16.conv0.weight"])
    beyond = {int(name.split(".b")[1].split(".")[0]) for name in report.left_out if name.startswith("G.")}
    assert beyond == {32, 64}
    edges = {name for name in report.left_out if "fromrgb" in name}
    assert edges == {
        f"D.b{side}.fromrgb.{field}" for side in (16, 64) for field in ("weight", "bias", "resample_filter")
    }


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_every_architecture_moves_to_another_resolution(architecture):
    fields = {"g_architecture": architecture, "d_architecture": architecture}
    _, target, report = transfer(sizes(**fields), sizes(height=16, width=16, **fields))
    assert "G.synthesis.b8.conv0.weight" in report.copied
    assert target.D(target.G(torch.randn(4, 8))).shape == (4, 1)


def test_channels_and_labels_are_fitted_and_reported():
    source, target, report = transfer(sizes(), sizes(img_channels=4, c_dim=3))
    assert report.changes == ["channels 3 -> 4", "classes 0 -> 3"]
    assert {name.split(".")[1] for name in report.missing} == {"mapping"}
    assert all(name.startswith("D.b4.out") for name in report.mismatched)
    assert "channels 3 -> 4" in str(report) and "new (G.mapping.embed" in str(report)
    z, w = torch.randn(2, 8), source.G.mapping
    torch.testing.assert_close(target.G.mapping.to_w(z, torch.eye(3)[:2]), w.to_w(z, None))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"mapping_layers": 4}, "mapping.fc2.weight"),  # the depth that the reference drops without a word
        ({"mapping_layers": 8}, {}, "mapping.fc2.weight"),
        ({}, {"channel_max": 32}, r"b4.const \[16, 4, 4\] -> \[32, 4, 4\]"),
        ({}, {"height": 16, "width": 16, "channel_max": 32}, "b4.const"),
        ({}, {"use_noise": False}, "noise_strength"),
        ({}, {"g_architecture": "resnet"}, "skip.weight"),
        ({}, {"z_dim": 4}, "mapping.fc0.weight"),
        (
            {},
            {"height": 48, "width": 80},
            r"32x32 \(from a grid of 4x4\), the dataset holds 48x80 \(from a grid of 6x10\).*32x32",
        ),
        ({"c_dim": 3}, {"c_dim": 5}, "has 3 classes, the dataset 5"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(old, new, words):
    with pytest.raises(DataError, match=f"base.pkl.*{words}"):
        transfer(sizes(**old), sizes(**new))


def test_adapt_stretches_to_other_proportions_and_learns_other_classes():
    source, target, report = transfer(sizes(c_dim=3), sizes(height=48, width=80, c_dim=5), adapted=True)
    assert report.changes == ["resolution 32x32 -> 48x80", "classes 3 -> 5"]
    assert target.G.synthesis.b4.const.shape == (16, 6, 10)
    assert {name.split(" ")[0].rsplit(".", 1)[-1] for name in report.mismatched} == {"noise_const", "weight"}
    assert "D.b4.fc.weight" in report.copied
    assert torch.equal(target.G.synthesis.b32.conv1.weight, source.G.synthesis.b32.conv1.weight)
    img = target.G(torch.randn(5, 8), torch.eye(5))
    assert img.shape == (5, 3, 48, 80) and torch.isfinite(target.D(img, torch.eye(5))).all()


def test_adapt_does_not_excuse_other_sizes():
    with pytest.raises(DataError, match="mapping.fc2"):
        transfer(sizes(), sizes(mapping_layers=4), adapted=True)


def test_a_model_made_to_be_run_lends_its_average_and_leaves_d_alone():
    source, target = model(sizes()), model(sizes(), seed=9)
    before = target.D.b4.fc.weight.clone()
    start_from(Model(G_ema=source.G_ema, network=source.network), target.G, target.D, target.G_ema, "base.pkl")
    assert torch.equal(target.G.synthesis.b4.const, source.G_ema.synthesis.b4.const)
    assert torch.equal(target.D.b4.fc.weight, before)
