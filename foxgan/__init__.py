"""foxgan: from a species' name to a trained image generator. Attributes are loaded on first use, so importing it is light."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "FoxganError": ("foxgan.errors", "FoxganError"),
    "load_model": ("foxgan.gan.model", "load_model"),
    "open_dataset": ("foxgan.dataset.lmdb", "open_dataset"),
    "run": ("foxgan.pipeline.run", "run"),
}
__all__ = ["FoxganError", "__version__", "load_model", "open_dataset", "run"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'foxgan' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
