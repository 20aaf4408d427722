"""Finds heads in photos with a YOLO network: pixels in, boxes out, from foxgan's own files, ultralytics' .pt or ONNX.

A photo is padded to its own shape, and equal shapes go together. On the CPU they still run one by one: a batch changes the last bits,
and then a photo's boxes would depend on its neighbours, and an interrupted or enlarged run on where it was cut.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan.devices import choose_device
from foxgan.errors import DataError, StageError, UsageError
from foxgan.images import Pixels, resize
from foxgan.vision.known import find_detector
from foxgan.vision.nms import suppress
from foxgan.vision.prompts import Prompts
from foxgan.vision.yolo import load_net, sane_size

STRIDE = 32
GREY = 114  # what YOLO networks are trained to see as padding
ROUNDING = 16  # boxes lie on 1/16 pixel: exact in float32, so that an id can be computed again from an index
MAX_BOXES = 300


@dataclass(frozen=True)
class Head:
    """One animal's head: `box` is xyxy in the photo's pixels, inside the photo; `score` is in 0..1."""

    box: tuple[float, float, float, float]
    score: float
    name: str


@dataclass(frozen=True)
class Runner:
    """A network ready to run: float32 [N, 3, H, W] in 0..1 to raw predictions [N, 4 + classes, boxes] on the CPU."""

    predict: Callable[[torch.Tensor], torch.Tensor]
    names: tuple[str, ...]
    imgsz: int
    fixed: tuple[int, int] | None = None  # height and width, where the file allows no other
    single: bool = False  # one photo at a time


class Detector:
    """A loaded network and its thresholds.

    `imgsz` is the longer side that photos are scaled to (default: what it was trained at), `iou` the overlap from which two boxes
    are one head, whatever their classes; `classes` keeps some class names only; `max_heads` keeps the best of a photo; `prompts` say
    what a network of open vocabulary looks for.
    Raises UsageError for an unknown name or class, DataError (UnsafeFileError) for a file that is no (harmless) detector.
    """

    def __init__(
        self,
        weights: str | Path,
        imgsz: int | None = None,
        device: str = "auto",
        conf: float = 0.25,
        iou: float = 0.5,
        classes: Sequence[str] | None = None,
        max_heads: int = 20,
        prompts: Prompts | None = None,
    ) -> None:
        path = find_detector(weights)
        if path.suffix == ".onnx" and prompts is not None:
            raise UsageError(f"{path}: an ONNX file finds its own classes only, so it takes no `prompts`")
        is_onnx = path.suffix == ".onnx"
        self.runner = _onnx_runner(path) if is_onnx else _torch_runner(path, choose_device(device), prompts)
        self.imgsz = imgsz or self.runner.imgsz
        self.conf, self.iou, self.max_heads = conf, iou, max_heads
        unknown = set(classes or ()) - set(self.runner.names)
        if unknown:
            raise UsageError(f"{path}: knows no class {sorted(unknown)[0]!r}, only {', '.join(self.runner.names)}")
        self.classes = None if classes is None else [i for i, n in enumerate(self.runner.names) if n in classes]

    def detect(self, images: Sequence[Pixels]) -> list[list[Head]]:
        """The heads of each photo (RGB uint8 [H, W, 3], any sizes), best first."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        padded = [letterbox(image, self.imgsz, self.runner.fixed) for image in images]
        for position, picture in enumerate(padded):
            groups[picture.shape].append(position)
        found: list[list[Head]] = [[] for _ in images]
        for members in groups.values():
            step = 1 if self.runner.single else len(members)
            for part in (members[i : i + step] for i in range(0, len(members), step)):
                batch = torch.from_numpy(np.stack([padded[i] for i in part])).permute(0, 3, 1, 2).float() / 255
                for position, prediction in zip(part, self.runner.predict(batch), strict=True):
                    shape = images[position].shape
                    found[position] = self._heads(self._boxes(prediction), shape, padded[position].shape)
        return found

    def _boxes(self, prediction: torch.Tensor) -> NDArray[np.float32]:
        names = len(self.runner.names)
        return suppress(prediction.float().numpy(), names, self.conf, self.iou, self.classes, MAX_BOXES)

    def _heads(self, rows: NDArray[Any], shape: tuple[int, ...], padded: tuple[int, ...]) -> list[Head]:
        """Rows of (xyxy, score, class) in the padded picture, as heads in the photo."""
        height, width = shape[:2]
        inner_height, inner_width = scaled_shape(height, width, *_limits(self.imgsz, self.runner.fixed))
        top, left = (padded[0] - inner_height) // 2, (padded[1] - inner_width) // 2
        heads: dict[tuple[float, ...], Head] = {}
        for x0, y0, x1, y1, score, number in rows[:, :6].tolist():
            x0, x1 = (min(max((x - left) * width / inner_width, 0), width) for x in (x0, x1))
            y0, y1 = (min(max((y - top) * height / inner_height, 0), height) for y in (y0, y1))
            x0, y0, x1, y1 = box = tuple(round(v * ROUNDING) / ROUNDING for v in (x0, y0, x1, y1))
            if x1 > x0 and y1 > y0:
                heads.setdefault(box, Head((x0, y0, x1, y1), round(score, 4), self._name(int(number))))
        return list(heads.values())[: self.max_heads]

    def _name(self, number: int) -> str:
        names = self.runner.names  # a network without NMS of ours may count further than its names
        return names[number] if number < len(names) else str(number)


# Pixels


def letterbox(image: Pixels, imgsz: int, fixed: tuple[int, int] | None = None) -> Pixels:
    """Scaled until its longer side is `imgsz`, then grey all around up to multiples of 32 (or to `fixed` height and width)."""
    height, width = scaled_shape(image.shape[0], image.shape[1], *_limits(imgsz, fixed))
    rows, columns = fixed or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    padded = np.full((rows, columns, 3), GREY, np.uint8)
    top, left = (rows - height) // 2, (columns - width) // 2
    padded[top : top + height, left : left + width] = resize(image, height, width)
    return padded


def _limits(imgsz: int, fixed: tuple[int, int] | None) -> tuple[int, int]:
    return fixed or (imgsz, imgsz)


def scaled_shape(height: int, width: int, max_height: int, max_width: int) -> tuple[int, int]:
    """The largest height and width of the same proportions within the limits, at least 1 pixel."""
    scale = min(max_height / height, max_width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


# Networks


def _torch_runner(path: Path, device: str, prompts: Prompts | None) -> Runner:
    net = load_net(path, prompts)
    model = net.model.fuse().to(device).eval()

    def predict(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            output = model(batch.to(device))
        return _first_tensor(output).cpu()

    return Runner(predict, net.names, net.imgsz, single=device == "cpu")


def _first_tensor(output: Any) -> torch.Tensor:
    while isinstance(output, list | tuple):
        output = output[0]
    assert isinstance(output, torch.Tensor)
    return output


def _onnx_runner(path: Path) -> Runner:
    try:
        import onnxruntime
    except ImportError as error:
        raise StageError(f"{path}: ONNX files need onnxruntime; `pip install 'foxgan[cpu]'`") from error
    onnxruntime.disable_telemetry_events()  # Windows builds have them
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        metadata = session.get_modelmeta().custom_metadata_map
        channels, height, width = entry.shape[1:]
        outputs = session.get_outputs()[0].shape
    except Exception as error:  # onnxruntime has its own, undocumented types
        raise DataError(f"{path}: not a readable ONNX detector ({str(error).splitlines()[0]})") from error
    if channels != 3 or len(outputs) != 3 or entry.type != "tensor(float)":
        raise DataError(
            f"{path}: input {entry.shape}, output {outputs}; expected float [N, 3, H, W] to [N, 4 + classes, boxes]"
        )
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    count = max(outputs[1] - 4, 1) if isinstance(outputs[1], int) else 1
    names = _literal(path, metadata, "names", tuple(map(str, range(count))))
    names = tuple(str(v) for v in (names.values() if isinstance(names, dict) else names))
    imgsz = sane_size(fixed or _literal(path, metadata, "imgsz", 640), path)

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {entry.name: batch.numpy()})[0])

    return Runner(predict, names, imgsz, fixed, single=True)


def _literal(path: Path, metadata: dict[str, str], key: str, default: Any) -> Any:
    """A value that ultralytics wrote into the metadata of an ONNX file (a Python literal)."""
    try:
        return ast.literal_eval(metadata[key])
    except KeyError:
        return default
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"{path}: its {key} are not readable: {metadata[key][:80]!r}") from error
