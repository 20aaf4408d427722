"""Detectors in ONNX files, by onnxruntime on the CPU."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np

from foxgan.errors import DataError, StageError
from foxgan.images import Pixels
from foxgan.vision.runners import Floats, Runner, in_batches
from foxgan.vision.yolo import sane_size

TASKS = (
    "detect",
    "segment",
    "pose",
)  # of those that ultralytics names in its files, the ones whose boxes are understood here


def onnx_runner(path: Path) -> Runner:
    """The network in an ONNX file. Raises StageError without onnxruntime, DataError for what is no detector."""
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
        outputs = session.get_outputs()[0].shape
    except Exception as error:  # onnxruntime has its own, undocumented types
        raise DataError(f"{path}: not a readable ONNX detector ({str(error).splitlines()[0]})") from error
    _check(path, entry, outputs, metadata)
    height, width = entry.shape[2:]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    points = _points(path, metadata)
    suppressed = outputs[2] == 6 + (points[0] * points[1] if points else 0)
    count = 1 if suppressed or not isinstance(outputs[1], int) else max(outputs[1] - 4, 1)
    names = _literal(path, metadata, "names", tuple(map(str, range(count))))
    names = tuple(str(v) for v in (names.values() if isinstance(names, dict) else names))
    imgsz = sane_size(fixed or _literal(path, metadata, "imgsz", 640), path)

    def predict(batch: Pixels) -> Floats:
        planes = batch.transpose(0, 3, 1, 2).astype(np.float32) / 255
        return np.asarray(session.run(None, {entry.name: planes})[0], np.float32)

    return Runner(in_batches(predict, 1), names, imgsz, fixed, points, suppressed)


def _check(path: Path, entry: Any, outputs: list[Any], metadata: dict[str, str]) -> None:
    """Raises DataError for a network that gives no upright boxes."""
    task = metadata.get("task", "detect")
    if task not in TASKS:
        raise DataError(
            f"{path}: a network for the task {task[:40]!r}, which finds no boxes; expected one for {', '.join(TASKS)}"
        )
    if len(entry.shape) != 4 or entry.shape[1] != 3 or len(outputs) != 3 or entry.type != "tensor(float)":
        raise DataError(
            f"{path}: input {entry.shape}, output {outputs}; expected float [N, 3, H, W] to [N, 4 + classes, boxes]"
        )


def _points(path: Path, metadata: dict[str, str]) -> tuple[int, int] | None:
    shape = _literal(path, metadata, "kpt_shape", None)
    if shape is None:
        return None
    if not isinstance(shape, list | tuple) or len(shape) != 2 or not 0 < shape[0] <= 1000 or shape[1] not in (2, 3):
        raise DataError(f"{path}: its kpt_shape is {str(shape)[:80]}; expected [points, 2 or 3]")
    return int(shape[0]), int(shape[1])


def _literal(path: Path, metadata: dict[str, str], key: str, default: Any) -> Any:
    """A value that ultralytics wrote into the metadata of an ONNX file (a Python literal)."""
    try:
        return ast.literal_eval(metadata[key])
    except KeyError:
        return default
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"{path}: its {key} are not readable: {metadata[key][:80]!r}") from error
