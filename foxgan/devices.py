"""Where networks run: one rule for the training, the detector and the samplers."""

from typing import Literal

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
