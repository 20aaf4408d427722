"""What may compute the synthesis network: torch, or on CPUs a compiled graph. Light, so that a command line can offer it at once.

The default stays torch even where the others are installed: a key promises equal pictures, and those of two libraries differ by
the rounding of a grey level here and there.
"""

from typing import Literal

from foxgan.devices import choose_device
from foxgan.errors import UsageError

Backend = Literal["torch", "openvino", "openvino-bf16", "onnx"]
BACKEND_HELP = (
    "What draws: torch; on a CPU with the extra `cpu` also openvino or onnx, faster and the same within a grey level, and "
    "openvino-bf16, twice as fast again, but half a grey level off on average and up to 15 in places"
)


def check_backend(backend: Backend, device: str) -> None:
    """UsageError where graphs, which run on CPUs alone, are asked of another device."""
    if backend != "torch" and device not in ("auto", "cpu"):
        raise UsageError(
            f"backend: {backend} runs on the CPU alone, not on device: {device}; say device: cpu, or backend: torch"
        )


def backend_device(backend: Backend, device: str) -> str:
    """The device that networks are loaded to; see `choose_device`. For graphs, `auto` is the CPU."""
    check_backend(backend, device)
    return choose_device(device) if backend == "torch" else "cpu"
