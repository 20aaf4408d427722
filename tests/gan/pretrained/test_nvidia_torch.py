"""NVIDIA's PyTorch pickles, made by hand from the description of the format: what loads, and as what."""

import itertools
import json
from typing import Any

import pytest
import torch
from build_nets import Nets, network, random_nets
from build_nvidia_torch import Layout, channels_last, init_kwargs, nvidia_torch, offset_view, snapshot, state
from build_pickle import dump
from checks import assert_refused, assert_same_function, assert_same_sizes, assert_same_state, loaded

from foxgan.gan.config import NetworkConfig

CONFIGS = {
    "plain": network(),
    "grey, resnet G, skip D": network(img_channels=1, g_architecture="resnet", d_architecture="skip"),
    "orig": network(g_architecture="orig", d_architecture="orig"),
    "classes": network(c_dim=3),
    "classes, other widths": network(
        c_dim=3, embed_features=5, layer_features=7, cmap_dim=5, d_mapping_layers=2, d_mapping_lr_multiplier=0.1
    ),
    "clamped": network(conv_clamp=0.5),
    "no noise": network(use_noise=False),
    "32 px, other statistics": network(height=32, width=32, mbstd_group_size=2, mbstd_num_channels=2),
    "no statistics, whole batch": network(mbstd_num_channels=0, mbstd_group_size=None),
    "other mapping": network(mapping_layers=3, mapping_lr_multiplier=0.1, w_avg_beta=0.9),
}


@pytest.fixture(scope="module")
def nets() -> Nets:
    return random_nets(network())


def assert_same(model: Any, nets: Nets) -> None:
    assert_same_sizes(model.network, nets.config)
    for found, expected in ((model.G, nets.G), (model.D, nets.D), (model.G_ema, nets.G_ema)):
        assert_same_state(found, expected)
    assert_same_function(model, nets, atol=1e-5)


@pytest.mark.parametrize("layout", ["ada", "sg3"])
@pytest.mark.parametrize("name", CONFIGS)
def test_networks_of_every_kind_come_back_exactly(tmp_path, name: str, layout: Layout) -> None:
    nets = random_nets(CONFIGS[name])
    assert_same(loaded(tmp_path, nvidia_torch(nets, layout=layout)), nets)


@pytest.mark.parametrize(
    ("protocol", "layout", "numpy_writer", "omit_defaults"),
    list(itertools.product((3, 4, 5), ("ada", "sg3"), (1, 2), (True, False))),
)
def test_every_writer_is_understood(tmp_path, nets, protocol, layout, numpy_writer, omit_defaults) -> None:
    options = {"layout": layout, "omit_defaults": omit_defaults, "old_torch": protocol == 3, "augment_p": 0.3}
    assert_same(loaded(tmp_path, nvidia_torch(nets, protocol, numpy_writer, **options)), nets)


@pytest.mark.parametrize("layout", ["ada", "sg3"])
@pytest.mark.parametrize("store", [channels_last, offset_view, lambda t: t.t().contiguous().t() if t.ndim == 2 else t])
def test_tensors_may_lie_in_memory_in_any_order(tmp_path, nets, store, layout: Layout) -> None:
    assert_same(loaded(tmp_path, nvidia_torch(nets, store=store, layout=layout)), nets)


def test_tensors_may_share_a_storage(tmp_path, nets) -> None:
    content = snapshot(nets, store=lambda t: t)
    content["G"] = content["G_ema"]  # a memo reference
    model = loaded(tmp_path, dump(content))
    assert_same(model, nets._replace(G=nets.G_ema))


def test_keywords_may_be_given_by_position(tmp_path) -> None:
    nets = random_nets(network(c_dim=3))
    assert_same(loaded(tmp_path, nvidia_torch(nets, positional=True)), nets)


@pytest.mark.parametrize("frozen", [1, 4, 7, 100])
@pytest.mark.parametrize("architecture", ["resnet", "orig", "skip"])
def test_frozen_layers_of_D_load_like_others(tmp_path, frozen: int, architecture: str) -> None:
    nets = random_nets(network(d_architecture=architecture))
    assert_same(loaded(tmp_path, nvidia_torch(nets, frozen=frozen)), nets)


@pytest.mark.parametrize(("layout", "clamp", "half", "beta"), [("ada", None, 0, 0.995), ("sg3", 256, 4, 0.998)])
def test_unwritten_keywords_mean_the_defaults_of_their_trainer(tmp_path, layout: Layout, clamp, half, beta) -> None:
    nets = random_nets(network(conv_clamp=clamp, num_fp16_res=half, w_avg_beta=beta))
    content = snapshot(nets, layout=layout)
    assert "conv_clamp" not in str(init_kwargs(content["G"])) + str(init_kwargs(content["D"]))
    found = loaded(tmp_path, dump(content)).network
    assert (found.conv_clamp, found.num_fp16_res, found.w_avg_beta) == (clamp, half, beta)


def test_unwritten_widths_are_those_of_the_published_networks(tmp_path) -> None:
    nets = random_nets(NetworkConfig(height=8, width=8))
    content = snapshot(nets, without=("G", "D"))
    assert init_kwargs(content["G_ema"])["synthesis_kwargs"] == init_kwargs(content["G_ema"])["mapping_kwargs"] == {}
    assert loaded(tmp_path, dump(content)).network == nets.config


def test_half_precision_layers_are_told_but_compute_in_full_on_a_cpu(tmp_path) -> None:
    nets = random_nets(network(num_fp16_res=2, conv_clamp=256))
    model = loaded(tmp_path, nvidia_torch(nets, store=channels_last))
    assert model.network.num_fp16_res == 2
    full = random_nets(network(conv_clamp=256))
    assert_same_state(model.G_ema, full.G_ema)
    assert_same_function(model, full, atol=1e-5)


def test_a_mapping_of_unwritten_depth_has_8_layers(tmp_path) -> None:
    nets = random_nets(network(mapping_layers=8))
    content = snapshot(nets)
    assert "num_layers" not in init_kwargs(content["G"])["mapping_kwargs"]
    model = loaded(tmp_path, dump(content))
    assert model.network.mapping_layers == 8
    assert_same(model, nets)


@pytest.mark.parametrize(("held", "written"), [(2, None), (2, 8), (8, 2)])
def test_a_mapping_of_another_depth_than_said_is_refused(tmp_path, held: int, written: int | None) -> None:
    content = snapshot(random_nets(network(mapping_layers=held)))
    for name in ("G", "G_ema"):
        kwargs = init_kwargs(content[name])["mapping_kwargs"]
        kwargs.pop("num_layers", None)
        kwargs |= {} if written is None else {"num_layers": written}
    assert_refused(tmp_path, dump(content), "mapping.fc")


@pytest.mark.parametrize("name", ["G", "D", "augment_pipe", "training_set_kwargs"])
def test_all_but_the_averaged_generator_may_be_absent(tmp_path, nets, name: str) -> None:
    model = loaded(tmp_path, nvidia_torch(nets, without=(name,)))
    assert_same_state(model.G_ema, nets.G_ema)
    assert (model.G is None, model.D is None) == (name == "G", name == "D")


def test_what_descendants_add_is_left_alone(tmp_path, nets) -> None:
    progress = {"cur_nimg": torch.tensor(1000), "cur_tick": 3, "best_fid": 9.5, "pl_mean": torch.zeros([])}
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    extra = {"progress": progress, "cur_nimg": 1000, "G_opt_state": optimizer}
    assert_same(loaded(tmp_path, nvidia_torch(nets, extra=extra)), nets)


def test_the_facts_of_a_file_can_be_stored_again_and_keep_its_owner_private(tmp_path, nets) -> None:
    info = loaded(tmp_path, nvidia_torch(nets, augment_p=0.3)).info
    assert "private" not in json.dumps(info, allow_nan=False)


@pytest.mark.parametrize("p", [float("nan"), float("inf")])
def test_a_strength_of_augmentation_that_is_no_number_is_left_out(tmp_path, nets, p: float) -> None:
    info = loaded(tmp_path, nvidia_torch(nets, augment_p=p)).info
    assert info is not None and "p" not in info
    assert json.loads(json.dumps(info, allow_nan=False)) == info, "it can be stored again"


def test_an_average_of_w_that_was_not_kept_is_made(tmp_path, nets) -> None:
    content = snapshot(nets)
    for name in ("G", "G_ema"):
        init_kwargs(content[name])["mapping_kwargs"]["w_avg_beta"] = None
        del state(content[name], "mapping")["_buffers"]["w_avg"]
    model = loaded(tmp_path, dump(content))
    assert_same_state(model.G_ema, nets.G_ema, but=("w_avg",))
    assert model.G_ema.mapping.w_avg.isfinite().all()
    assert "w_avg" in str(model.notes)


def test_the_source_text_in_a_file_is_never_run(tmp_path, nets) -> None:
    canary = tmp_path / "canary"
    assert_same(loaded(tmp_path, nvidia_torch(nets, source=f"open({str(canary)!r}, 'w')")), nets)
    assert not canary.exists()
