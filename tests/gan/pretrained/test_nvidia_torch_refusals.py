"""NVIDIA's PyTorch pickles that are damaged, contradict themselves or need another network than foxgan's: all refused in a line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from build_nets import Nets, network, random_nets
from build_nvidia_torch import init_kwargs, nvidia_torch, snapshot, state
from build_pickle import Call, Raw, dump
from checks import assert_refused


@pytest.fixture(scope="module")
def nets() -> Nets:
    return random_nets(network(height=8, width=8))


def weight(content: dict[str, Any]) -> dict[str, Any]:
    """Where a weight of G_ema lies."""
    return state(content["G_ema"], "synthesis", "b8", "conv0")["_parameters"]


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a weight is missing": lambda s: weight(s).pop("weight"),
    "a weight is None": lambda s: weight(s).update(weight=None),
    "a weight is a number": lambda s: weight(s).update(weight=1.0),
    "a weight too many": lambda s: weight(s).update(other=torch.zeros(1)),
    "a weight of another shape": lambda s: weight(s).update(weight=weight(s)["weight"][:-1].clone()),
    "a weight of another rank": lambda s: weight(s).update(weight=weight(s)["weight"].flatten()),
    "a weight of complex numbers": lambda s: weight(s).update(weight=weight(s)["weight"].cfloat()),
    "an infinite weight": lambda s: weight(s)["weight"].data.view(-1)[5:6].fill_(float("inf")),
    "a weight that is not a number": lambda s: weight(s)["weight"].data.view(-1)[5:6].fill_(float("nan")),
    "no tensors at all": lambda s: state(s["G_ema"]).update(_modules={}),
    "no state": lambda s: s["G_ema"].args[0].pop("state"),
    "a state that is a list": lambda s: s["G_ema"].args[0].update(state=[1]),
    "children that are a list": lambda s: state(s["G_ema"]).update(_modules=[1]),
    "a child that is a number": lambda s: state(s["G_ema"])["_modules"].update(mapping=1),
    "a child whose name is a number": lambda s: state(s["G_ema"])["_modules"].update({1: s["G"]}),
    "keywords that are a list": lambda s: state(s["G_ema"]).update(_init_kwargs=[1]),
    "no keywords": lambda s: state(s["G_ema"]).pop("_init_kwargs"),
    "too many positions": lambda s: state(s["G_ema"]).update(_init_args=tuple(range(50))),
    "a network that is a dict": lambda s: s.update(G_ema={}),
    "a network that is None": lambda s: s.update(G_ema=None),
    "a tensor for a network": lambda s: s.update(G_ema=torch.zeros(3)),
    "D in the place of G": lambda s: s.update(G_ema=s["D"]),
    "no G_ema": lambda s: s.pop("G_ema"),
    "an unknown class": lambda s: s["G_ema"].args[0].update(class_name="Transformer"),
    "a class that is a number": lambda s: s["G_ema"].args[0].update(class_name=7),
    "G of another size": lambda s: s.update(G=snapshot(random_nets(network(w_dim=9)))["G"]),
    "D of another size": lambda s: s.update(D=snapshot(random_nets(network(height=32, width=32)))["D"]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_does_not_fit_itself_is_refused(tmp_path, nets, name: str) -> None:
    content = snapshot(nets)
    DAMAGE[name](content)
    assert_refused(tmp_path, dump(content))


KEYWORDS = {
    "z_dim": [5, 0, -6, 2**70, 6.5, None, "x", [6], float("nan"), 2**200_000, torch.zeros(2)],
    "img_resolution": [32, 17, 0, -16, 2**40, None, "x", (16, 16)],
    "img_channels": [1, 0, 2**40, None],
    "c_dim": [3, -1, 2**40, None],
    "mapping_kwargs": [
        None,
        [1],
        "x",
        {"num_layers": 0},
        {"num_layers": 2**40},
        {"num_layers": "x"},
        {"num_layers": None},
    ],
    "synthesis_kwargs": [None, [1], {}, {"channel_base": 0}, {"channel_max": -1, "channel_base": 128}],
}


@pytest.mark.parametrize(("keyword", "number"), [(k, i) for k, values in KEYWORDS.items() for i in range(len(values))])
def test_keywords_that_do_not_fit_are_refused(tmp_path, nets, keyword: str, number: int) -> None:
    content = snapshot(nets, without=("G", "D"))
    init_kwargs(content["G_ema"])[keyword] = KEYWORDS[keyword][number]
    assert_refused(tmp_path, dump(content))


UNSUPPORTED = {
    "G, another nonlinearity": ("G_ema", "synthesis_kwargs", {"activation": "relu"}),
    "G, another filter": ("G_ema", "synthesis_kwargs", {"resample_filter": [1, 2, 1]}),
    "G, other kernels": ("G_ema", "synthesis_kwargs", {"kernel_size": 1}),
    "G, an unknown architecture": ("G_ema", "synthesis_kwargs", {"architecture": "unet"}),
    "mapping, another nonlinearity": ("G_ema", "mapping_kwargs", {"activation": "linear"}),
    "D, another nonlinearity": ("D", "block_kwargs", {"activation": "swish"}),
    "D, another filter": ("D", "block_kwargs", {"resample_filter": [1, 1]}),
    "end of D, another nonlinearity": ("D", "epilogue_kwargs", {"activation": "relu"}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_networks_that_compute_otherwise_are_refused(tmp_path, nets, name: str) -> None:
    network, place, change = UNSUPPORTED[name]
    content = snapshot(nets, without=("G",))
    init_kwargs(content[network])[place] |= change
    assert_refused(tmp_path, dump(content), *change)


@pytest.mark.parametrize("change", [{"activation": "relu"}, {"resample_filter": [1, 2, 1]}, {"kernel_size": 1}])
def test_flat_keywords_that_compute_otherwise_are_refused(tmp_path, nets, change: dict[str, Any]) -> None:
    content = snapshot(nets, layout="sg3", without=("G",))
    init_kwargs(content["G_ema"]).update(change)
    assert_refused(tmp_path, dump(content), *change)


def test_a_stylegan3_generator_is_refused_for_its_architecture(tmp_path, nets) -> None:
    content = snapshot(nets, layout="sg3")
    kwargs = init_kwargs(content["G_ema"])
    del kwargs["fused_modconv_default"]
    kwargs |= {"magnitude_ema_beta": 0.999, "num_critical": 2, "conv_kernel": 1}
    synthesis = state(content["G_ema"], "synthesis")
    synthesis["_modules"]["L0_36_16"] = synthesis["_modules"].pop("b4")
    assert_refused(tmp_path, dump(content), "architecture", "StyleGAN2")


OTHER_FILES = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html>\n<html><body>404: no such model</body></html>",
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "noise": bytes(range(256)) * 20,
    "zeros": bytes(5000),
    "only a stop": b".",
    "only a header": b"\x80\x04",
    "a list": dump([1, 2, 3]),
    "an empty dict": dump({}),
    "another dict": dump({"a": 1, b"b": [2], 3: None, (4, 5): 6.5}),
    "a triple": dump((1, 2, 3)),
    "a text": dump("G_ema"),
    "None": dump(None),
    "a tensor": dump(torch.zeros(3)),
    "only a hook": dump({"G_ema": Call("collections", "OrderedDict")}),
    "a zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", OTHER_FILES)
@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_other_files_are_refused(tmp_path, name: str, suffix: str) -> None:
    assert_refused(tmp_path, OTHER_FILES[name], name=f"model{suffix}")


def test_a_cut_file_is_refused_wherever_it_ends(tmp_path, nets) -> None:
    data = nvidia_torch(nets)
    for length in range(1, len(data), len(data) // 60):
        assert_refused(tmp_path, data[:length])


def test_the_message_for_a_network_that_does_not_fit_names_what_does_not(tmp_path, nets) -> None:
    content = snapshot(nets)
    del weight(content)["weight"]
    assert_refused(tmp_path, dump(content), "G_ema.synthesis.b8.conv0.weight")


def test_a_text_in_the_file_cannot_spoil_the_message(tmp_path, nets) -> None:
    for text in ("A\nB", "\x1b[31mred", "x" * 100_000, "\ud800", "\u202e"):
        content = snapshot(nets)
        content["G_ema"].args[0]["class_name"] = text
        assert_refused(tmp_path, dump(content))
        content = snapshot(nets)
        init_kwargs(content["G_ema"])[text] = text
        weight(content)[text] = weight(content).pop("weight")
        assert_refused(tmp_path, dump(content))
        assert_refused(tmp_path, dump({"G_ema": Call(text, text)}))
        assert_refused(tmp_path, dump({"G_ema": Raw(dump(text)[2:-1])}))
