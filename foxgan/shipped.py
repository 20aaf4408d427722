"""Files that travel with foxgan: pipelines and small weights. One lookup serves a checkout and an installed wheel."""

from pathlib import Path

from foxgan.errors import UsageError

_PACKAGE = Path(__file__).parent
_FOLDERS = {
    "pipelines": (_PACKAGE / "shipped" / "pipelines", _PACKAGE.parent / "pipelines"),
    "models": (_PACKAGE / "shipped" / "models", _PACKAGE.parent / "models" / "shipped"),
}
_SUFFIX = {"pipelines": ".yaml", "models": ".safetensors"}


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped `pipelines` or `models`."""
    suffix = _SUFFIX[kind]
    return sorted({path.stem for folder in _FOLDERS[kind] for path in folder.glob(f"*{suffix}")})


def find_shipped(kind: str, name: str) -> Path | None:
    """The shipped file called `name`, or None. Only a plain name is looked up, never a path."""
    if name not in shipped_names(kind):
        return None
    return next(p for folder in _FOLDERS[kind] if (p := folder / f"{name}{_SUFFIX[kind]}").is_file())


def shipped_file(kind: str, name: str) -> Path:
    """The shipped file called `name`. Raises UsageError that lists what there is."""
    path = find_shipped(kind, name)
    if path is None:
        raise UsageError(
            f"no file and no shipped {kind[:-1]} is called {name!r}; shipped: {', '.join(shipped_names(kind))}"
        )
    return path
