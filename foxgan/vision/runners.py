"""What runs a network: torch, or a library that has its own file of it, prepared once.

Whatever the backend, a photo's boxes do not depend on its neighbours: an interrupted or enlarged run must not depend on where it was
cut. A batch of another size changes the last bits, so that on a CPU photos run one by one, and on CUDA always `CUDA_BATCH` together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan.errors import UsageError
from foxgan.images import Pixels
from foxgan.vision.backends import Backend, choose_backend
from foxgan.vision.prompts import Prompts
from foxgan.vision.yolo import Net, load_net

CUDA_BATCH = 16

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Runner:
    """A network ready to run: `predict` takes uint8 [N, H, W, 3] of any number and gives the raw predictions of each, float32.

    These are [4 + classes + anything, boxes], or rows (xyxy, score, class, anything) where the network has `suppressed` already.
    """

    predict: Callable[[Pixels], Floats]
    names: tuple[str, ...]
    imgsz: int
    fixed: tuple[int, int] | None = None  # height and width, where the file allows no other
    points: tuple[int, int] | None = (
        None  # of a pose network: how many, and numbers for each (x, y and maybe how visible)
    )
    suppressed: bool = False
    parallel: int = 0  # threads in which `predict` may be called at the same time; 0: one batch after the other


def make_runner(
    path: Path, backend: Backend, device: str, imgsz: int | None = None, prompts: Prompts | None = None
) -> Runner:
    """The network in a file, for pictures of up to `imgsz`, on the best that there is here; with `prompts`, one of open vocabulary.

    Raises UsageError, StageError or DataError.
    """
    chosen, device = choose_backend(backend, device, path)
    if chosen == "onnx":
        if prompts is not None:
            raise UsageError(f"{path}: an ONNX file finds its own classes only, so it takes no `prompts`")
        from foxgan.vision.runner_onnx import onnx_runner

        return onnx_runner(path)
    net = load_net(path, prompts)
    net.model.fuse()
    if chosen in ("openvino", "openvino-bf16"):
        from foxgan.vision.runner_openvino import openvino_predict

        return _runner(
            net, openvino_predict(net.model, is_half=chosen == "openvino-bf16"), parallel=torch.get_num_threads()
        )
    if chosen == "tensorrt":
        from foxgan.vision.runner_tensorrt import tensorrt_predict

        return _runner(net, in_batches(tensorrt_predict(net.model, imgsz or net.imgsz, CUDA_BATCH), CUDA_BATCH))
    predict = torch_predict(net.model, device, torch.float16 if chosen == "torch-fp16" else torch.float32)
    return _runner(net, in_batches(predict, CUDA_BATCH if device == "cuda" else 1))


def _runner(net: Net, predict: Callable[[Pixels], Floats], parallel: int = 0) -> Runner:
    head = net.model.model[-1]
    points = getattr(head, "kpt_shape", None)
    return Runner(
        predict,
        net.names,
        net.imgsz,
        points=None if points is None else (int(points[0]), int(points[1])),
        suppressed=bool(getattr(head, "end2end", False)),
        parallel=parallel,
    )


def torch_predict(model: Any, device: str, dtype: torch.dtype) -> Callable[[Pixels], Floats]:
    """The network by torch itself."""
    graph = PixelGraph(model).to(device, dtype).eval()
    lock = threading.Lock()  # the network remembers the shape that it saw last

    def predict(batch: Pixels) -> Floats:
        with lock, torch.inference_mode():
            found: Floats = graph(torch.from_numpy(batch).to(device)).cpu().numpy()
        return found

    return predict


class PixelGraph(torch.nn.Module):
    """A YOLO network from uint8 [N, H, W, 3] to its first output alone."""

    def __init__(self, model: Any, exported: bool = False) -> None:
        super().__init__()
        self.model = model
        head = model.model[-1]
        head.export = head.dynamic = exported  # no output for a loss, and places of boxes computed from the shape

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Raw predictions."""
        dtype = next(self.model.parameters()).dtype
        output = self.model(pixels.permute(0, 3, 1, 2).to(dtype) / 255)
        while isinstance(output, list | tuple):
            output = output[0]
        assert isinstance(output, torch.Tensor)
        return output.float()


def in_batches(predict: Callable[[Pixels], Floats], size: int) -> Callable[[Pixels], Floats]:
    """`predict` for any number of pictures, always called with `size` of them: the last batch is filled up with black ones."""

    def predict_all(batch: Pixels) -> Floats:
        found = []
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            missing = np.zeros((size - len(part), *part.shape[1:]), np.uint8)
            found.append(predict(np.concatenate([part, missing]) if len(missing) else part)[: len(part)])
        return np.concatenate(found)

    return predict_all
