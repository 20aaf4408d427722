"""NVIDIA's TensorFlow pickles, made by hand from the description of the format: what loads, and what is refused."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from build_nets import Nets, network, random_nets
from build_nvidia_tf import Network, nvidia_tf, records
from build_pickle import dump
from checks import assert_refused, assert_same_function, assert_same_sizes, assert_same_state, loaded

from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import Model

CONFIGS = {
    "plain": network(),
    "grey, resnet G, skip D": network(img_channels=1, g_architecture="resnet", d_architecture="skip"),
    "orig": network(g_architecture="orig", d_architecture="orig"),
    "clamped": network(conv_clamp=0.5),
    "no noise": network(use_noise=False),
    "32 px, other statistics": network(height=32, width=32, mbstd_group_size=2, mbstd_num_channels=2),
    "whole batch": network(mbstd_group_size=None),
    "other mapping": network(mapping_layers=3, mapping_lr_multiplier=0.1, w_avg_beta=0.9, layer_features=7),
}
WITH_CLASSES = {
    "no mapping in D": network(c_dim=3, d_mapping_layers=0),
    "other widths": network(c_dim=3, embed_features=5, cmap_dim=5, d_mapping_layers=2, d_mapping_lr_multiplier=0.1),
}


@pytest.fixture(scope="module")
def nets() -> Nets:
    return random_nets(network())


def assert_same(model: Model, nets: Nets) -> None:
    assert_same_sizes(model.network, nets.config)
    assert_same_state(model.G, nets.G, atol=1e-6)  # biases of styles are stored less 1
    assert_same_state(model.D, nets.D)
    assert_same_state(model.G_ema, nets.G_ema, atol=1e-6)
    assert_same_function(model, nets, atol=1e-4)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_networks_of_every_kind_come_back(tmp_path, name: str, version: int) -> None:
    nets = random_nets(CONFIGS[name])
    assert_same(loaded(tmp_path, nvidia_tf(nets, version=version)), nets)


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_classes_of_version_5_come_back(tmp_path, name: str) -> None:
    nets = random_nets(WITH_CLASSES[name])
    assert_same(loaded(tmp_path, nvidia_tf(nets)), nets)


@pytest.mark.parametrize(
    ("protocol", "version", "numpy_writer", "omit_defaults", "fortran"),
    list(itertools.product((2, 3, 4, 5), (4, 5), (1, 2), (True, False), (True, False))),
)
def test_every_writer_is_understood(tmp_path, nets, protocol, version, numpy_writer, omit_defaults, fortran) -> None:
    data = nvidia_tf(nets, protocol, numpy_writer, version=version, omit_defaults=omit_defaults, fortran=fortran)
    model = loaded(tmp_path, data)
    assert_same_sizes(model.network, nets.config)
    assert_same_state(model.D, nets.D)
    assert_same_state(model.G_ema, nets.G_ema, atol=1e-6)


@pytest.mark.parametrize("version", [4, 5])
def test_a_single_network_is_the_averaged_generator(tmp_path, nets, version: int) -> None:
    model = loaded(tmp_path, nvidia_tf(nets, single=True, version=version))
    assert model.G is None and model.D is None
    assert_same_state(model.G_ema, nets.G_ema, atol=1e-6)
    assert_same_function(model, nets, atol=1e-4)


def test_unwritten_widths_are_those_of_the_published_networks(tmp_path) -> None:
    nets = random_nets(NetworkConfig(height=8, width=8))
    average = records(nets)[2]
    assert average.static_kwargs == {"resolution": 8}
    assert loaded(tmp_path, dump(average)).network == nets.config


@pytest.mark.parametrize(
    "is_written",
    [True, False],
)
def test_networks_that_once_grew_name_their_image_layers_otherwise(tmp_path, is_written: bool) -> None:
    nets = random_nets(CONFIGS["orig"])
    networks = records(nets, version=4)
    for record in (networks[1], networks[0].components["synthesis"], networks[2].components["synthesis"]):
        variables = [(re.sub(r"16x16/(ToRGB|FromRGB)/", r"\1_lod0/", name), value) for name, value in record.variables]
        assert sum("_lod0/" in name for name, _ in variables) >= 2
        record.variables = variables
    for record in networks if not is_written else ():
        del record.static_kwargs["architecture"]
    assert_same(loaded(tmp_path, dump(networks)), nets)


def test_a_mapping_of_unwritten_depth_has_8_layers(tmp_path) -> None:
    nets = random_nets(network(mapping_layers=8))
    networks = records(nets)
    assert "mapping_layers" not in networks[2].static_kwargs
    assert loaded(tmp_path, dump(networks)).network.mapping_layers == 8


@pytest.mark.parametrize(("version", "group"), [(4, 4), (5, None)])
def test_an_unwritten_group_for_batch_statistics_means_that_of_its_version(tmp_path, version: int, group) -> None:
    networks = records(random_nets(network(mbstd_group_size=group)), version=version)
    assert "mbstd_group_size" not in networks[1].static_kwargs
    assert loaded(tmp_path, dump(networks)).network.mbstd_group_size == group


def test_a_mapping_of_D_of_unwritten_depth_has_no_layer(tmp_path) -> None:
    networks = records(random_nets(network(c_dim=3, d_mapping_layers=0, d_mapping_lr_multiplier=0.1)))
    assert "mapping_layers" not in networks[1].static_kwargs
    found = loaded(tmp_path, dump(networks)).network
    assert (found.d_mapping_layers, found.d_mapping_lr_multiplier) == (0, 0.1)


def test_variables_without_a_place_are_left_alone(tmp_path, nets) -> None:
    extra = {"pl_mean_var": np.float32(0.3), "step": np.array(7, dtype=np.int64), "bytes": np.arange(4, dtype=np.uint8)}
    assert_same(loaded(tmp_path, nvidia_tf(nets, extra_variables=extra)), nets)


def test_the_source_text_in_a_file_is_never_run(tmp_path, nets) -> None:
    canary = tmp_path / "canary"
    assert_same(loaded(tmp_path, nvidia_tf(nets, source=f"open({str(canary)!r}, 'w')")), nets)
    assert not canary.exists()


def test_a_generator_without_an_average_of_w_gets_one(tmp_path, nets) -> None:
    networks = records(nets)
    networks[2].variables = [(name, value) for name, value in networks[2].variables if name != "dlatent_avg"]
    model = loaded(tmp_path, dump(networks))
    assert_same_state(model.G_ema, nets.G_ema, but=("w_avg",), atol=1e-6)
    assert "w_avg" in str(model.notes)


# Damage and contradictions


def change(record: Network, name: str, value: Any) -> None:
    """Put another value into a variable; None takes it away."""
    rest = [(key, old) for key, old in record.variables if key != name]
    assert len(rest) == len(record.variables) - 1
    record.variables = rest if value is None else [*rest, (name, value)]


def synthesis(networks: tuple[Network, Network, Network]) -> Network:
    return networks[2].components["synthesis"]


CONV = "8x8/Conv0_up/weight"
DAMAGE: dict[str, Callable[[tuple[Network, Network, Network]], Any]] = {
    "a weight is missing": lambda n: change(synthesis(n), CONV, None),
    "a weight is a text": lambda n: change(synthesis(n), CONV, "x"),
    "a weight is None": lambda n: synthesis(n).variables.append((CONV, None)),
    "a weight of another shape": lambda n: change(synthesis(n), CONV, np.zeros((3, 3, 16, 15), np.float32)),
    "a weight of another rank": lambda n: change(synthesis(n), CONV, np.zeros((3, 16), np.float32)),
    "a weight of no rank": lambda n: change(synthesis(n), CONV, np.float32(0)),
    "a weight of texts": lambda n: change(synthesis(n), CONV, np.full((3, 3, 16, 16), "x")),
    "a weight of objects": lambda n: change(synthesis(n), CONV, np.full((3, 3, 16, 16), None)),
    "an infinite weight": lambda n: change(synthesis(n), CONV, np.full((3, 3, 16, 16), np.inf, np.float32)),
    "a constant of two pictures": lambda n: change(
        synthesis(n), "4x4/Const/const", np.zeros((2, 16, 4, 4), np.float32)
    ),
    "a bias that is a number": lambda n: change(synthesis(n), "8x8/Conv1/bias", np.float32(0)),
    "variables that are a dict": lambda n: vars(synthesis(n)).update(variables={"a": 1}),
    "variables that are numbers": lambda n: vars(synthesis(n)).update(variables=[1, 2, 3]),
    "a variable's name is a number": lambda n: synthesis(n).variables.append((3, np.zeros(1))),
    "no variables": lambda n: vars(synthesis(n)).pop("variables"),
    "no components": lambda n: n[2].components.clear(),
    "components that are a list": lambda n: vars(n[2]).update(components=[1]),
    "a component that is a number": lambda n: n[2].components.update(synthesis=1),
    "a generator inside itself": lambda n: n[2].components.update(synthesis=n[2]),
    "no keywords": lambda n: vars(n[2]).pop("static_kwargs"),
    "keywords that are a list": lambda n: vars(n[2]).update(static_kwargs=[1]),
    "another resolution": lambda n: n[2].static_kwargs.update(resolution=32),
    "a resolution between two": lambda n: n[2].static_kwargs.update(resolution=17),
    "a huge resolution": lambda n: n[2].static_kwargs.update(resolution=2**40),
    "a resolution that is a text": lambda n: n[2].static_kwargs.update(resolution="big"),
    "another depth": lambda n: [record.static_kwargs.update(mapping_layers=8) for record in (n[0], n[2])],
    "other channels": lambda n: n[2].static_kwargs.update(fmap_max=15),
    "another size of D": lambda n: n[1].static_kwargs.update(resolution=8),
    "no version": lambda n: vars(n[2]).pop("version"),
    "a version that is a text": lambda n: vars(n[2]).update(version="5"),
    "a generator in the place of D": lambda n: vars(n[1]).update(vars(n[0])),
    "another nonlinearity": lambda n: n[2].static_kwargs.update(nonlinearity="relu"),
    "another nonlinearity in the mapping": lambda n: n[2].static_kwargs.update(mapping_nonlinearity="relu"),
    "another nonlinearity in D": lambda n: n[1].static_kwargs.update(nonlinearity="relu"),
    "another filter": lambda n: n[2].static_kwargs.update(resample_kernel=[1, 2, 1]),
    "an unknown architecture": lambda n: n[2].static_kwargs.update(architecture="unet"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_does_not_fit_itself_is_refused(tmp_path, nets, name: str) -> None:
    networks = records(nets)
    DAMAGE[name](networks)
    assert_refused(tmp_path, dump(networks))


@pytest.mark.parametrize(("version", "word"), [(2, "2"), (3, "StyleGAN1"), (1, "1"), (6, "6"), (2**70, "version")])
def test_other_versions_are_refused_by_name(tmp_path, nets, version: int, word: str) -> None:
    assert_refused(tmp_path, nvidia_tf(nets, version=version), word)


def test_the_label_mapping_of_version_4_is_refused_by_name(tmp_path) -> None:
    networks = records(random_nets(network(c_dim=3)), version=4)
    for record in (networks[0], networks[2]):
        mapping = record.components["mapping"]
        change(mapping, "LabelEmbed/weight", None)
        change(mapping, "LabelEmbed/bias", None)
        mapping.variables.append(("LabelConcat/weight", np.zeros((3, 6), np.float32)))
    assert_refused(tmp_path, dump(networks), "labels (version 4)")


@pytest.mark.parametrize("number", [0, 2, 4])
def test_another_number_of_networks_is_refused(tmp_path, nets, number: int) -> None:
    networks = records(nets)
    assert_refused(tmp_path, dump((networks + networks)[:number]))


def test_a_discriminator_alone_is_refused(tmp_path, nets) -> None:
    assert_refused(tmp_path, dump(records(nets)[1]))


def test_a_cut_file_is_refused_wherever_it_ends(tmp_path, nets) -> None:
    data = nvidia_tf(nets)
    for length in range(1, len(data), len(data) // 60):
        assert_refused(tmp_path, data[:length])


def test_a_text_in_the_file_cannot_spoil_the_message(tmp_path, nets) -> None:
    for text in ("A\nB", "\x1b[31mred", "x" * 100_000, "\ud800", "\u202e"):
        for place in (
            lambda n, text: vars(n[2]).update(build_func_name=text, version=3),
            lambda n, text: n[2].static_kwargs.update(architecture=text),
            lambda n, text: n[2].static_kwargs.update({text: text, "resolution": 32}),
            lambda n, text: n[2].components.update({text: n[2].components.pop("synthesis")}),
            lambda n, text: (
                synthesis(n).variables.append((text, np.zeros(1, np.float32))) or change(synthesis(n), CONV, None)
            ),
        ):
            networks = records(nets)
            place(networks, text)
            assert_refused(tmp_path, dump(networks))


def test_the_orientation_of_upsampling_kernels_matters_to_these_tests(nets) -> None:
    """A reader that forgets to flip them makes other pictures, so the tests above would notice."""
    with torch.no_grad():
        other = random_nets(nets.config).G_ema
        for block in ("b8", "b16"):
            weight = other.synthesis.get_submodule(block).conv0.weight
            weight.copy_(weight.flip(2, 3))
    z = torch.randn(2, nets.config.z_dim, generator=torch.Generator().manual_seed(0))
    assert (other(z, noise_mode="const") - nets.G_ema(z, noise_mode="const")).abs().max() > 0.1
