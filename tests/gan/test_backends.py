"""The synthesis network compiled by other libraries draws what torch draws, and tells nobody."""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foxgan.errors import StageError, UsageError
from foxgan.gan import graph
from foxgan.gan.backends import backend_device, check_backend
from foxgan.gan.compiled import CompiledSynthesis, compile_synthesis
from foxgan.gan.config import NetworkConfig
from foxgan.gan.ops import to_uint8
from foxgan.gan.stylegan2 import Generator

LIBRARIES = {"openvino": "openvino", "onnx": "onnxruntime"}
NETWORKS: dict[str, dict[str, Any]] = {
    "skip": {},
    "resnet, RGBA": {"g_architecture": "resnet", "img_channels": 4},
    "orig, grey, 28x28": {"g_architecture": "orig", "img_channels": 1, "height": 28, "width": 28},
    "24x16, classes": {"height": 24, "width": 16, "c_dim": 3},
    "no noise, clamped": {"use_noise": False, "conv_clamp": 0.8},
    "resnet, clamped": {"g_architecture": "resnet", "conv_clamp": 0.8},
}


@pytest.fixture(params=list(LIBRARIES))
def backend(request: pytest.FixtureRequest) -> str:
    needs("onnx", LIBRARIES[request.param])
    return str(request.param)


def needs(*libraries: str) -> None:
    """Skip where one is missing, without importing any: that is what reports to its makers."""
    if not all(map(find_spec, libraries)):
        pytest.skip("the extra `cpu` is not installed")


def tiny(**sizes: Any) -> Generator:
    """A generator in which every parameter shows in the picture."""
    defaults = {"height": 16, "width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_max": 8}
    random = torch.Generator().manual_seed(0)
    G = Generator(NetworkConfig.model_validate(defaults | sizes), random).eval().requires_grad_(False)
    for name, value in G.synthesis.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            value.add_(torch.randn(value.shape, generator=random) * 0.3)
    return G


def some_ws(G: Generator, count: int = 3) -> Tensor:
    """Rows that differ from each other."""
    return torch.randn(count, G.num_ws, G.config.w_dim, generator=torch.Generator().manual_seed(1))


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert np.abs(to_uint8(found).astype(int) - to_uint8(expected)).max() <= 1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("noise_mode", ["const", "none"])
@pytest.mark.parametrize("network", NETWORKS)
def test_pictures_are_those_of_torch_within_a_grey_level(network: str, noise_mode: Any, backend: Any) -> None:
    G = tiny(**NETWORKS[network])
    ws = some_ws(G)
    assert_same(CompiledSynthesis(G.synthesis, backend)(ws, noise_mode), G.synthesis(ws, noise_mode))


@pytest.mark.parametrize("network", ["skip", "resnet, RGBA", "no noise, clamped"])
def test_random_noise_of_a_seed_is_that_of_torch(network: str, backend: Any) -> None:
    G = tiny(**NETWORKS[network])
    ws, compiled = some_ws(G), CompiledSynthesis(G.synthesis, backend)
    for seed in (0, 1):
        ours, torchs = (torch.Generator().manual_seed(seed) for _ in range(2))
        assert_same(compiled(ws, "random", ours), G.synthesis(ws, "random", torchs))


def test_batches_of_several_sizes_are_compiled_once_each_and_no_picture_is_overwritten(backend: Any) -> None:
    G = tiny()
    ws, compiled = some_ws(G, 7), CompiledSynthesis(G.synthesis, backend)
    parts = [compiled(part, "const") for part in ws.split(3)]
    seconds = compiled.compile_seconds
    assert_same(torch.cat(parts), G.synthesis(ws, "const"))
    compiled(ws[2:5], "const")
    assert compiled.compile_seconds == seconds > 0
    assert_same(compiled(ws[:2], "const"), G.synthesis(ws[:2], "const"))
    assert len(compiled.programs) == 2


def test_a_generator_goes_on_as_before_with_its_synthesis_compiled(backend: Any) -> None:
    G, z = tiny(c_dim=3), torch.randn(2, 8)
    arguments = {"c": torch.eye(3)[:2], "truncation_psi": 0.5, "truncation_cutoff": 2, "noise_mode": "const"}
    expected = G(z, **arguments)
    compile_synthesis(G, backend)
    assert isinstance(G.synthesis, CompiledSynthesis)
    assert_same(G(z, **arguments), expected)


def test_bfloat16_is_near_and_only_where_it_was_asked_for() -> None:
    needs("onnx", "openvino")
    G = tiny()
    ws = some_ws(G)
    try:
        compiled = CompiledSynthesis(G.synthesis, "openvino-bf16")
    except UsageError as error:
        assert "this CPU has no units for bfloat16; say backend: openvino" in str(error)
        pytest.skip(str(error))
    assert 1e-4 < (compiled(ws, "const") - G.synthesis(ws, "const")).abs().mean() < 0.02


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_told_with_what_to_install(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"backend: onnx needs {library}; `pip install 'foxgan\[cpu\]'`"):
        CompiledSynthesis(tiny().synthesis, "onnx")


def test_graphs_run_on_the_cpu_alone() -> None:
    with pytest.raises(UsageError, match="openvino runs on the CPU alone, not on device: cuda; say device: cpu, or"):
        check_backend("openvino", "cuda")
    assert backend_device("onnx", "auto") == backend_device("onnx", "cpu") == backend_device("torch", "cpu") == "cpu"


def test_a_model_that_cannot_be_compiled_is_told(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    G = tiny()
    compiled = CompiledSynthesis(G.synthesis, backend)
    compiled.models["const"] = (b"not a model", {})
    with pytest.raises(StageError, match=f"backend: {backend} cannot compile this model .*; say backend: torch"):
        compiled(some_ws(G), "const")
    monkeypatch.setattr(graph, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="an ONNX graph holds 0.0 GB; say backend: torch"):
        compiled(some_ws(G), "none")


class SignalStack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

    @classmethod
    def now(cls) -> tuple[int, int]:
        found = cls()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        return found.address or 0, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's signal stacks")
def test_compiling_leaves_the_signal_stack_of_its_thread_alone() -> None:
    """OpenVINO sets one that it unmaps later, and the next Ctrl-C ends in a segmentation fault."""
    needs("onnx", "openvino")
    before, G = SignalStack.now(), tiny()
    CompiledSynthesis(G.synthesis, "openvino")(some_ws(G), "const")
    assert SignalStack.now() == before


def test_nothing_is_sent_and_nothing_is_left_in_the_home_folder(tmp_path: Path) -> None:
    """Where OpenVINO reports, it first makes an id in ~/intel; tests and CI count as users here."""
    needs("onnx", "openvino")
    code = (
        "import sys, torch\nfrom foxgan.gan.config import NetworkConfig\nfrom foxgan.gan.stylegan2 import Generator\n"
        "from foxgan.gan.compiled import CompiledSynthesis\n"
        "G = Generator(NetworkConfig(height=8, width=8, channel_max=4, w_dim=4)).requires_grad_(False)\n"
        "CompiledSynthesis(G.synthesis, 'openvino')(torch.zeros(1, 4, 4), 'const')\n"
        "print(sorted(name for name in sys.modules if name.startswith('openvino_telemetry.')))\n"
    )
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    home = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    watched = {"CI", "TF_BUILD", "JENKINS_URL"}  # telemetry is off there anyway
    env = {key: value for key, value in os.environ.items() if key not in watched}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | nowhere | home, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "[]\n", done.stderr
    assert not list(tmp_path.rglob("*openvino*")) and not (tmp_path / "intel").exists()
