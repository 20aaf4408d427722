"""Where networks run: one rule for the training, the detector and the samplers."""

import ctypes
import platform
import sys
from importlib import import_module
from typing import Any, Literal

from foxgan.errors import UsageError

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: str) -> str:
    """`auto` is CUDA if there is one, else the CPU; Apple's MPS is used when asked for. Raises UsageError for what is not here."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "cpu": True, "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available.get(name):
        here = ", ".join(device for device, is_here in available.items() if is_here)
        raise UsageError(
            f"device: {name}, but torch {torch.__version__} finds only {here} here; say one of them, or auto"
        )
    return name


def half_is_faster(device: str) -> bool:
    """Whether networks on `device` are best trained in mixed precision: on CUDA, and on CPUs with units for bfloat16.

    Elsewhere bfloat16 is emulated. A torch that can't tell what a CPU has counts as elsewhere.
    """
    import torch

    if device == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return device == "cuda"


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have this process use the memory that it frees again, instead of handing it back: networks on a CPU are faster for it.

    Each step needs the same large tensors; from the kernel they come page by page, zeroed, which takes longer than most of what is
    then done with them. glibc's own choice keeps nothing above 32 MiB. Does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def import_backend(library: str, backend: str) -> Any:
    """A library that runs networks, of the extra `cpu` or installed by hand. Raises UsageError where it is missing."""
    # Importing openvino reports to Google Analytics through this package; without it, openvino uses its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(library)
    except ImportError as error:
        install = "foxgan[cpu]" if library in ("onnx", "onnxruntime", "openvino") else library
        raise UsageError(f"backend: {backend} needs {library}; `pip install '{install}'`") from error
