"""Files that travel with foxgan: pipelines and small weights. One lookup serves a checkout and an installed wheel."""

from pathlib import Path

from foxgan.errors import UsageError

_PACKAGE = Path(__file__).parent
_WHEEL = _PACKAGE / "_shipped"  # the build puts them there; a checkout has them at its top
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent
_KINDS = {"pipelines": ("pipelines", ".yaml"), "models": ("models/shipped", ".safetensors")}


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped `pipelines` or `models`."""
    folder, suffix = _KINDS[kind]
    return sorted(path.stem for path in (_ROOT / folder).glob(f"*{suffix}"))


def find_shipped(kind: str, name: str) -> Path | None:
    """The shipped file called `name`, or None. Only a plain name is looked up, never a path."""
    folder, suffix = _KINDS[kind]
    return _ROOT / folder / f"{name}{suffix}" if name in shipped_names(kind) else None


def shipped_file(kind: str, name: str) -> Path:
    """The shipped file called `name`. Raises UsageError that lists what there is."""
    path = find_shipped(kind, name)
    if path is None:
        shipped = ", ".join(shipped_names(kind))
        raise UsageError(f"no file and no shipped {kind[:-1]} is called {name!r}; shipped: {shipped}")
    return path
