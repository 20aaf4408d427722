"""What may compute a detector's network. Light, so that a command line can offer it at once."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from foxgan.devices import choose_device, half_is_faster
from foxgan.errors import UsageError

Backend = Literal["auto", "torch", "torch-fp16", "openvino", "openvino-bf16", "tensorrt"]
BACKEND_HELP = (
    "What computes: auto takes torch-fp16 on CUDA, and with the extra `cpu` openvino on a CPU, in bf16 where it has units for that; "
    "else torch. Boxes differ by about half a percent of their size. An .onnx file is always run by onnxruntime"
)
DEVICES = {"torch-fp16": "cuda", "openvino": "cpu", "openvino-bf16": "cpu", "tensorrt": "cuda"}


def choose_backend(backend: Backend, device: str, weights: str | Path) -> tuple[str, str]:
    """What computes the network in the file `weights`, and on which device. Raises UsageError for what does not go together."""
    if str(weights).endswith(".onnx"):
        if backend != "auto":
            raise UsageError(f"backend: {backend}, but {weights} is run by onnxruntime; say backend: auto")
        return "onnx", "cpu"
    if (wanted := DEVICES.get(backend)) and device not in ("auto", wanted):
        raise UsageError(
            f"backend: {backend} runs on device: {wanted}, not on device: {device}; say device: {wanted}, or backend: torch"
        )
    device = choose_device(wanted or device)
    return (_fastest(device) if backend == "auto" else backend), device


def _fastest(device: str) -> str:
    if device == "cuda":
        return "torch-fp16"
    if device != "cpu" or find_spec("openvino") is None:  # found without importing it: that alone takes half a second
        return "torch"
    return "openvino-bf16" if half_is_faster("cpu") else "openvino"
