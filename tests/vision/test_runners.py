"""What computes a network: every backend gives torch's boxes, and a photo's do not depend on other photos."""

import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from foxgan.devices import half_is_faster
from foxgan.errors import StageError, UsageError
from foxgan.images import Pixels
from foxgan.shipped import cache_folder
from foxgan.vision import prepared
from foxgan.vision.backends import choose_backend
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector import Detector
from foxgan.vision.runner_openvino import openvino_predict
from foxgan.vision.runner_tensorrt import write_onnx
from foxgan.vision.runners import PixelGraph, in_batches, torch_predict
from foxgan.vision.yolo import Net, build, describe, save_detector
from tests.vision.test_detector import picture, small_net

FAMILIES = ["yolov6n", "yolov9t", "yolov10n", "yolo11n", "yolo12n"]  # between them, all kinds of layers


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "foxgan" / "networks"


def needs_openvino() -> None:
    if not find_spec("openvino"):
        pytest.skip("the extra `cpu` is not installed")


def network(name: str) -> torch.nn.Module:
    """One of ultralytics' untrained networks, by the name of its description."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ultralytics("nn.tasks").DetectionModel(f"{name}.yaml", nc=3, verbose=False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.fuse()
    return model.eval()  # type: ignore[no-any-return]


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("name", FAMILIES)
def test_openvino_takes_every_family_and_gives_what_torch_gives_at_any_shape(name: str, own_cache: Path) -> None:
    needs_openvino()
    model = network(name)
    predict = openvino_predict(model)
    reference = torch_predict(model, "cpu", torch.float32)
    for shape in ((1, 64, 96, 3), (1, 128, 64, 3), (2, 64, 64, 3)):
        ours, theirs = predict(noise(*shape)), reference(noise(*shape))
        assert ours.shape == theirs.shape
        if name != "yolov10n":  # its rows are the best ones, in an order that ties decide
            np.testing.assert_allclose(ours, theirs, atol=2e-2, rtol=1e-3)


def test_bf16_moves_boxes_a_little_and_only_where_it_was_asked_for(own_cache: Path) -> None:
    needs_openvino()
    model = deepcopy(small_net()).model.fuse().eval()
    pixels = noise(1, 64, 96, 3)
    exact = torch_predict(model, "cpu", torch.float32)(pixels)
    np.testing.assert_allclose(openvino_predict(model)(pixels), exact, atol=1e-2)
    try:
        half = openvino_predict(model, is_half=True)(pixels)
    except UsageError as error:
        assert "no units for bfloat16; say backend: openvino" in str(error)
        return
    assert 1e-3 < np.abs(half - exact)[:, :4].max() < 3


def test_half_precision_of_torch_is_near_full(own_cache: Path) -> None:
    model = deepcopy(small_net()).model.fuse().eval()
    pixels = noise(1, 64, 96, 3)
    full = torch_predict(deepcopy(model), "cpu", torch.float32)(pixels)
    half = torch_predict(model, "cpu", torch.float16)(pixels)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full)[:, :4].max() < 1


def test_the_graph_that_other_libraries_get_gives_what_torch_gives_at_any_shape(tmp_path: Path) -> None:
    if not find_spec("onnx") or not find_spec("onnxruntime"):
        pytest.skip("the extra `cpu` is not installed")
    import onnxruntime

    model = network("yolo11n")
    write_onnx(PixelGraph(model, exported=True).eval(), tmp_path / "a.onnx", 2)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    for shape in ((2, 64, 96, 3), (2, 96, 64, 3)):
        expected = torch_predict(model, "cpu", torch.float32)(noise(*shape))
        np.testing.assert_allclose(session.run(["boxes"], {"pixels": noise(*shape)})[0], expected, atol=2e-2)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_photo_gives_the_same_bits_alone_in_any_company_and_from_any_thread(backend: str, tmp_path: Path) -> None:
    if backend == "openvino":
        needs_openvino()
    save_detector(tmp_path / "a.safetensors", small_net(2))
    photos = [picture(n, 60 + 20 * (n % 5), 100 - 10 * (n % 3)) for n in range(12)]
    alone = [Detector(tmp_path / "a.safetensors", 64, "cpu", 0.01, backend=backend).detect([p])[0] for p in photos]  # type: ignore[arg-type]
    together = Detector(tmp_path / "a.safetensors", 64, "cpu", 0.01, backend=backend)  # type: ignore[arg-type]
    assert any(alone)
    assert together.detect(photos) == alone
    assert together.detect(photos[::-1]) == alone[::-1]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda p: together.detect([p])[0], photos)) == alone


def test_batches_always_have_the_same_size() -> None:
    sizes = []

    def predict(batch: Pixels) -> np.ndarray:
        sizes.append(len(batch))
        return batch[:, 0, 0, :1].astype(np.float32)

    pixels = np.arange(1, 8, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    assert in_batches(predict, 3)(pixels)[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert sizes == [3, 3, 3]


# The prepared network


def test_a_network_is_prepared_once_and_again_when_its_weights_are_others_or_its_file_is_damaged(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_openvino()
    made = []
    convert = sys.modules["foxgan.vision.runner_openvino"]._convert
    monkeypatch.setattr("foxgan.vision.runner_openvino._convert", lambda *a: (made.append(1), convert(*a)))
    model = deepcopy(small_net()).model.fuse().eval()
    pixels = noise(1, 64, 64, 3)
    first = openvino_predict(model)(pixels)
    assert np.array_equal(openvino_predict(deepcopy(model))(pixels), first)
    assert len(made) == 1
    [folder] = own_cache.iterdir()
    (folder / "network.xml").write_text("damaged")
    assert np.array_equal(openvino_predict(model)(pixels), first)
    assert len(made) == 2
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    assert not np.array_equal(openvino_predict(model)(pixels), first)
    assert len(made) == 3
    assert len(list(own_cache.iterdir())) == 2


def test_without_a_place_that_can_be_written_a_network_is_prepared_for_this_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_openvino()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not cache_folder().is_dir()
    model = deepcopy(small_net()).model.fuse().eval()
    assert openvino_predict(model)(noise(1, 64, 64, 3)).shape == (1, 5, 64)


def test_only_the_networks_used_last_are_kept(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "KEPT", 3)
    for number in range(5):
        prepared.prepared(f"key{number}", lambda folder: (folder / "a").touch(), lambda folder: None)
    assert len(list(own_cache.iterdir())) == 3
    assert (own_cache / "key4").is_dir()


def test_what_fails_to_be_prepared_leaves_nothing(own_cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise StageError("no")

    with pytest.raises(StageError):
        prepared.prepared("key", make, lambda folder: None)
    assert list(own_cache.iterdir()) == []


def test_a_network_that_openvino_cannot_take_is_told(own_cache: Path) -> None:
    needs_openvino()

    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = [torch.nn.Identity()]
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eig(x[..., :2, :2] * self.weight)[0].abs()[..., None]

    with pytest.raises(StageError, match="backend: openvino cannot take this network .*; say backend: torch"):
        openvino_predict(Odd())


# The choice


def test_auto_takes_openvino_on_a_cpu_where_it_is_installed_else_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_openvino()
    expected = "openvino-bf16" if half_is_faster("cpu") else "openvino"
    assert choose_backend("auto", "cpu", "a.pt") == (expected, "cpu")
    monkeypatch.setattr("foxgan.vision.backends.find_spec", lambda name: None)
    assert choose_backend("auto", "cpu", "a.pt") == ("torch", "cpu")
    assert choose_backend("auto", "cpu", "a.onnx") == ("onnx", "cpu")
    assert choose_backend("openvino", "auto", "a.pt") == ("openvino", "cpu")


@pytest.mark.parametrize(
    ("backend", "device", "weights", "message"),
    [
        ("openvino", "cuda", "a.pt", "runs on device: cpu, not on device: cuda; say device: cpu, or backend: torch"),
        ("torch-fp16", "cpu", "a.pt", "runs on device: cuda, not on device: cpu"),
        ("tensorrt", "cpu", "a.pt", "runs on device: cuda, not on device: cpu"),
        ("openvino", "auto", "a.onnx", "backend: openvino, but a.onnx is run by onnxruntime; say backend: auto"),
    ],
)
def test_what_does_not_go_together_is_refused(backend: str, device: str, weights: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_backend(backend, device, weights)  # type: ignore[arg-type]


def test_openvino_that_is_missing_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_detector(tmp_path / "a.safetensors", small_net())
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"backend: openvino needs openvino; `pip install 'foxgan\[cpu\]'`"):
        Detector(tmp_path / "a.safetensors", backend="openvino")


def test_a_described_network_runs(tmp_path: Path) -> None:
    save_detector(tmp_path / "a.safetensors", Net(build(describe("yolo11p", 2)), ("fox", "wolf"), 64))
    assert Detector(tmp_path / "a.safetensors", device="cpu").detect([picture(1)]) == [[]]
