"""rosinality's checkpoints, made by hand from the description of the format: what loads, and what is refused."""

import argparse
import itertools
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from build_nets import Nets, network, random_nets
from build_rosinality import checkpoint, rosinality, saved
from checks import assert_refused, assert_same_function, assert_same_sizes, assert_same_state, loaded

CONFIGS = {
    "plain": network(z_dim=8),
    "8 layers": network(z_dim=8, mapping_layers=8),
    "8 px": network(z_dim=8, height=8, width=8),
    "64 px, narrower from 32 px": network(z_dim=8, height=64, width=64, channel_base=256),
    "equally wide": network(z_dim=8, channel_base=1024),
}
UNSTORED = ("channel_base", "channel_max", "w_avg_beta", "mapping_lr_multiplier")  # only their effect is in the file


@pytest.fixture(scope="module")
def nets() -> Nets:
    return random_nets(network(z_dim=8))


@pytest.mark.parametrize(
    ("name", "kind", "container"), list(itertools.product(CONFIGS, ("trained", "converted"), ("zip", "legacy")))
)
def test_all_checkpoints_come_back(tmp_path, name: str, kind: str, container: str) -> None:
    nets = random_nets(CONFIGS[name])
    model = loaded(tmp_path, rosinality(nets, kind=kind, container=container), name="000123.pt")
    assert_same_sizes(model.network, nets.config, but=UNSTORED)
    unstored = ("w_avg",) if kind == "trained" else ()
    assert_same_state(model.G, nets.G, but=("w_avg",))
    assert_same_state(model.D, nets.D)
    assert_same_state(model.G_ema, nets.G_ema, but=unstored)
    assert_same_function(model, nets, atol=1e-4)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_converted_file_may_hold_the_averaged_generator_alone(tmp_path, nets, container: str) -> None:
    data = rosinality(nets, kind="converted", container=container, without=("g", "d"))
    model = loaded(tmp_path, data, name="model.pt")
    assert model.G is None and model.D is None
    assert_same_state(model.G_ema, nets.G_ema)
    assert_same_function(model, nets, atol=1e-4)


def test_an_average_of_w_that_was_not_kept_is_made_the_same_way_at_every_load(tmp_path, nets) -> None:
    data = rosinality(nets)
    first, second = (loaded(tmp_path, data, name="000123.pt") for _ in range(2))
    w_avg = first.G_ema.mapping.w_avg
    assert torch.equal(w_avg, second.G_ema.mapping.w_avg)
    z = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(w_avg, nets.G_ema.mapping(z)[:, 0].mean(dim=0), atol=0.05, rtol=0)
    assert "w_avg" in str(first.notes)


def test_older_files_have_no_noise_images(tmp_path, nets) -> None:
    model = loaded(tmp_path, rosinality(nets, kind="converted", noises=False), name="000123.pt")
    assert_same_state(model.G_ema, nets.G_ema, but=("noise_const",))
    assert_same_function(model, nets, atol=1e-4, noise_mode="none")
    assert "noise" in str(model.notes)
    again = loaded(tmp_path, rosinality(nets, kind="converted", noises=False), name="000123.pt")
    assert_same_state(again.G_ema, model.G_ema)


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".pth", ""])
def test_the_name_of_a_file_does_not_matter(tmp_path, nets, suffix: str) -> None:
    assert_same_state(loaded(tmp_path, rosinality(nets), name=f"model{suffix}").D, nets.D)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_what_else_a_trainer_keeps_is_left_alone(tmp_path, nets, container: str) -> None:
    content = checkpoint(nets)
    content["ada_aug_p"] = torch.tensor(0.25)
    content["args"] = argparse.Namespace(nested=argparse.Namespace(a=[1, (2.5, None)]), betas=(0.0, 0.99), text="x")
    content["g_ema"] = OrderedDict(content["g_ema"])
    content["iteration"], content["mean_path_length"] = 1000, torch.zeros(1, dtype=torch.float64)
    model = loaded(tmp_path, saved(content, container), name="000123.pt")
    assert_same_state(model.G, nets.G, but=("w_avg",))


@pytest.mark.parametrize("p", [float("nan"), float("inf")])
def test_a_strength_of_augmentation_that_is_no_number_is_left_out(tmp_path, nets, p: float) -> None:
    data = saved(checkpoint(nets) | {"ada_aug_p": p})
    json.dumps(loaded(tmp_path, data, name="000123.pt").info, allow_nan=False)


def test_tensors_may_share_a_storage_or_lie_in_any_order(tmp_path, nets) -> None:
    content = checkpoint(nets, kind="converted")
    flat = torch.cat([tensor.flatten() for tensor in content["g_ema"].values()])
    start = 0
    for name, tensor in content["g_ema"].items():
        content["g_ema"][name] = flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    for name, tensor in content["d"].items():
        if tensor.ndim == 4:
            content["d"][name] = tensor.to(memory_format=torch.channels_last)
    model = loaded(tmp_path, saved(content), name="000123.pt")
    assert_same_state(model.G_ema, nets.G_ema)
    assert_same_state(model.D, nets.D)


# Damage and contradictions

CONV = "convs.0.conv.weight"
DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a weight is missing": lambda c: c["g_ema"].pop(CONV),
    "a weight is a number": lambda c: c["g_ema"].update({CONV: 1.0}),
    "a weight is None": lambda c: c["g_ema"].update({CONV: None}),
    "a weight too many": lambda c: c["g_ema"].update(other=torch.zeros(1)),
    "a weight of another shape": lambda c: c["g_ema"].update({CONV: torch.zeros(1, 16, 15, 3, 3)}),
    "a weight of another rank": lambda c: c["g_ema"].update({CONV: torch.zeros(3)}),
    "a weight of complex numbers": lambda c: c["g_ema"].update({CONV: c["g_ema"][CONV].cfloat()}),
    "an infinite weight": lambda c: c["g_ema"][CONV].view(-1)[5:6].fill_(float("inf")),
    "a weight of D is missing": lambda c: c["d"].pop("convs.1.conv1.0.weight"),
    "a layer is missing": lambda c: [c["g_ema"].pop(name) for name in list(c["g_ema"]) if name.startswith("style.1.")],
    "a resolution is missing": lambda c: [
        c["g_ema"].pop(name) for name in list(c["g_ema"]) if name.startswith("convs.1")
    ],
    "no weights": lambda c: c["g_ema"].clear(),
    "a list of weights": lambda c: c.update(g_ema=list(c["g_ema"].values())),
    "a name that is a number": lambda c: c["g_ema"].update({3: torch.zeros(1)}),
    "a huge number in a name": lambda c: c["g_ema"].update({f"convs.{10**30}.conv.weight": torch.zeros(1)}),
    "no averaged generator": lambda c: c.pop("g_ema"),
    "G of another size": lambda c: c.update(g=checkpoint(random_nets(network(z_dim=8, mapping_layers=3)))["g"]),
    "D of another size": lambda c: c.update(d=checkpoint(random_nets(network(z_dim=8, height=32, width=32)))["d"]),
    "an average of w of another size": lambda c: c.update(latent_avg=torch.zeros(9)),
}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_does_not_fit_itself_is_refused(tmp_path, nets, name: str, container: str) -> None:
    content = checkpoint(nets)
    DAMAGE[name](content)
    assert_refused(tmp_path, saved(content, container), name="000123.pt")


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_cut_file_is_refused_wherever_it_ends(tmp_path, nets, container: str) -> None:
    data = rosinality(nets, container=container)
    for length in range(1, len(data), len(data) // 60):
        assert_refused(tmp_path, data[:length], name="000123.pt")


OTHERS = {
    "a tensor": torch.zeros(3),
    "a state dict": {"weight": torch.zeros(3)},
    "lucidrains": {"GAN": {"G.initial_block": torch.zeros(1, 4, 4, 4)}, "version": "1.8.9"},
    "a number": 3,
    "a list": [torch.zeros(3)],
}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_files_of_torch_are_refused(tmp_path, name: str, container: str) -> None:
    assert_refused(tmp_path, saved(OTHERS[name], container), name="model.pt")


def test_a_whole_module_is_refused_by_the_class_it_asks_for(tmp_path) -> None:
    assert_refused(tmp_path, saved(torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear", name="model.pt")
