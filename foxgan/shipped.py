"""Files that travel with foxgan: pipelines, small weights, the catalog of public ones; and the folder where public ones lie.

One lookup serves a checkout and an installed wheel.
"""

import json
import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent
_WHEEL = _PACKAGE / "_shipped"  # the build puts them there; a checkout has them at its top
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent
MAX_HEADER = 16 << 20
LICENSE = "CC0-1.0"  # of all shipped weights; their cards say so
_WEIGHTS = ("models/shipped", ".safetensors")
_KINDS = {"pipelines": ("pipelines", ".yaml"), "models": _WEIGHTS, "detectors": _WEIGHTS}


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped `pipelines`, `models` (generators) or `detectors`."""
    folder, suffix = _KINDS[kind]
    paths = (_ROOT / folder).glob(f"*{suffix}")
    return sorted(path.stem for path in paths if kind == "pipelines" or weights_kind(path) == kind)


def weights_kind(path: Path) -> str | None:
    """`models` or `detectors`, by what the header of a safetensors file says; None for a file of another kind."""
    try:
        metadata = _metadata(path)
    except (ValueError, KeyError, TypeError):
        return None
    return "models" if "foxgan" in metadata else "detectors" if metadata.get("format") == "foxgan-detector" else None


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of what a shipped generator draws."""
    network = json.loads(_metadata(path)["foxgan"])["network"]
    return network["height"], network["width"]


def _metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata: dict[str, str] = json.loads(file.read(min(size, MAX_HEADER)))["__metadata__"]
    return metadata


def find_shipped(kind: str, name: str) -> Path | None:
    """The shipped file called `name`, or None. Only a plain name is looked up, never a path."""
    folder, suffix = _KINDS[kind]
    return _ROOT / folder / f"{name}{suffix}" if name in shipped_names(kind) else None


def catalog_file() -> Path:
    """The list of public models."""
    return _ROOT / "models" / "catalog.json"


def models_folder() -> Path:
    """Where public weights are kept and looked up: `FOXGAN_MODELS`, else a folder in the user's cache."""
    return Path(os.environ.get("FOXGAN_MODELS") or cache_folder() / "models")


def cache_folder() -> Path:
    """What foxgan keeps of things that it can make or fetch again: a folder in the user's cache."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "foxgan"
