"""Files that travel with foxgan: pipelines and small weights. One lookup serves a checkout and an installed wheel."""

import json
from pathlib import Path

from foxgan.errors import UsageError

_PACKAGE = Path(__file__).parent
_WHEEL = _PACKAGE / "_shipped"  # the build puts them there; a checkout has them at its top
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent
MAX_HEADER = 16 << 20
_WEIGHTS = ("models/shipped", ".safetensors")
_KINDS = {"pipelines": ("pipelines", ".yaml"), "models": _WEIGHTS, "detectors": _WEIGHTS}


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped `pipelines`, `models` (generators) or `detectors`."""
    folder, suffix = _KINDS[kind]
    paths = (_ROOT / folder).glob(f"*{suffix}")
    return sorted(path.stem for path in paths if kind == "pipelines" or weights_kind(path) == kind)


def weights_kind(path: Path) -> str | None:
    """`models` or `detectors`, by what the header of a safetensors file says; None for a file of another kind."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            metadata = json.loads(file.read(min(size, MAX_HEADER)))["__metadata__"]
        except (ValueError, KeyError, TypeError):
            return None
    return "models" if "foxgan" in metadata else "detectors" if metadata.get("format") == "foxgan-detector" else None


def find_shipped(kind: str, name: str) -> Path | None:
    """The shipped file called `name`, or None. Only a plain name is looked up, never a path."""
    folder, suffix = _KINDS[kind]
    return _ROOT / folder / f"{name}{suffix}" if name in shipped_names(kind) else None


def shipped_file(kind: str, name: str) -> Path:
    """The shipped file called `name`. Raises UsageError that lists what there is."""
    path = find_shipped(kind, name)
    if path is None:
        shipped = ", ".join(shipped_names(kind)) or "none"
        raise UsageError(f"no file and no shipped {kind[:-1]} is called {name!r}; shipped: {shipped}")
    return path
