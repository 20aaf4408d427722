"""Public models by their short names: what is known of each, and its file, downloaded once into the models folder and checked.

A hash that the catalog does not know is written down when the file is first seen, in `hashes.json` beside the files, so that
the same name never quietly stands for other weights. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from foxgan.errors import DataError, DownloadError, UsageError, did_you_mean
from foxgan.shipped import catalog_file, find_shipped, models_folder, shipped_names

if TYPE_CHECKING:
    from foxgan.download import OnProgress

__all__ = [
    "PublicModel",
    "catalog",
    "find_model",
    "local_path",
    "models_folder",
    "public_model",
    "pull",
    "unknown_model",
]

HASHES = "hashes.json"
FRESH_NS = 2_000_000_000  # a file that changed so recently may change again without a new time stamp

Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Side = Annotated[int, Field(ge=4, le=4096)]


class PublicModel(BaseModel):
    """A trained generator that somebody has published. What is not known for sure is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=60, description="Short name, also of its file")
    url: Url = Field(description="Where the file is")
    format: Literal["nvidia-torch", "nvidia-tf", "rosinality"]
    height: Side | None = Field(None, description="Of its pictures, in pixels")
    width: Side | None = None
    domain: str = Field(description="What it draws, in a word or two")
    dataset: str | None = Field(None, description="What it was trained on")
    author: str | None = None
    license: str | None = Field(None, description="Of the weights, as their authors state it")
    license_url: Url | None = None
    noncommercial: bool | None = Field(None, description="Whether the license allows non-commercial use only")
    page: Url | None = Field(None, description="Where it is described")
    size: int | None = Field(None, gt=0, description="Bytes of the file")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    note: str | None = None

    @property
    def file(self) -> str:
        """Name of its file in the models folder."""
        return self.name + PurePosixPath(urlsplit(self.url).path).suffix


def catalog() -> dict[str, PublicModel]:
    """All public models, by name."""
    return _read(catalog_file())


@cache
def _read(path: Path) -> dict[str, PublicModel]:
    models = TypeAdapter(list[PublicModel]).validate_json(path.read_bytes())
    return {model.name: model for model in models}


def public_model(model: str | Path) -> PublicModel | None:
    """What the catalog tells of a model, given by name or by its file in the models folder; None where it does not know it."""
    if not os.path.exists(model):
        return catalog().get(str(model))
    path = Path(model).resolve()
    return next((m for m in catalog().values() if path == (models_folder() / m.file).resolve()), None)


def unknown_model(name: str) -> UsageError:
    """The refusal of a name that stands for no model."""
    shipped = shipped_names("models")
    return UsageError(
        f"no file, no shipped and no public model is called {name!r}{did_you_mean(name, [*shipped, *catalog()])}; "
        f"shipped: {', '.join(shipped) or 'none'}; public: {len(catalog())}, see `foxgan models list`"
    )


def local_path(name: str) -> Path:
    """Where the file of a public model lies once it was pulled. Raises UsageError for an unknown name."""
    if name not in catalog():
        raise unknown_model(name)
    return models_folder() / catalog()[name].file


def find_model(model: str | Path, on_progress: OnProgress | None = None) -> Path:
    """The file (or folder) that `model` means: an existing path, the name of a shipped model, or of a public one, which is pulled.

    Raises DataError for a path that does not exist, UsageError for an unknown name, and what `pull` raises.
    """
    if os.path.exists(model):
        return Path(model)
    name = str(model)
    if isinstance(model, Path) or name != os.path.basename(name) or name.endswith((".safetensors", ".pkl", ".pt")):
        raise DataError(
            f"{model}: no such file; expected a model, the folder of a `train` or `export`, or a model's name"
        )
    shipped = find_shipped("models", name)
    if shipped is not None:
        return shipped
    if name not in catalog():
        raise unknown_model(name)
    return pull(name, on_progress)


def pull(name: str, on_progress: OnProgress | None = None) -> Path:
    """The file of a public model, downloaded if it is not there yet.

    Raises DownloadError where it cannot be had, DataError where it is not the file that the catalog knows or that was there before.
    """
    path = local_path(name)
    model = catalog()[name]
    if not path.is_file():
        with _lock(path):  # another process may be pulling the same
            if not path.is_file():
                _note(path, _downloaded(model, path, on_progress))
                return path
    _check(model, path)
    return path


def _downloaded(model: PublicModel, path: Path, on_progress: OnProgress | None) -> str:
    from foxgan.download import download

    expected, source = _expected(model, path)
    try:
        return download(model.url, path, sha256=expected, size=model.size, on_progress=on_progress)
    except DataError as error:
        raise DataError(f"{model.name}: {error} ({source})") from error
    except DownloadError as error:
        raise DownloadError(
            f"{model.name}: {error}; try again later, or get the file from that address in another way and put it at {path} "
            "(FOXGAN_MODELS names the folder)"
        ) from error


def _check(model: PublicModel, path: Path) -> None:
    """DataError unless the file has the expected hash; what nobody knew is noted."""
    expected, source = _expected(model, path)
    noted = _noted(path.parent).get(path.name, {})
    if noted.get("stat") == _stat(path) and noted.get("sha256") == expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in (None, found):
        raise DataError(
            f"{path}: its sha256 is {found}, expected {expected} ({source}); delete the file and run "
            f"`foxgan models pull {model.name}`"
        )
    with contextlib.suppress(PermissionError):  # a folder that others keep: hash it again the next time
        _note(path, found)


def _expected(model: PublicModel, path: Path) -> tuple[str | None, str]:
    """The sha256 of the catalog, else the one that was noted when the file was first seen; and which of them it is."""
    if model.sha256:
        return model.sha256, "that hash is in the catalog"
    noted = _noted(path.parent).get(path.name, {}).get("sha256")
    return (
        noted,
        f"that hash is from the first time; if the authors have replaced the file, delete {path.name} in {path.parent / HASHES}",
    )


def _stat(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _noted(folder: Path) -> dict[str, Any]:
    """What is known of the files of `folder`: by name, `sha256` and the `stat` they had then."""
    path = folder / HASHES
    try:
        noted = json.loads(path.read_bytes())
        if isinstance(noted, dict) and all(isinstance(entry, dict) for entry in noted.values()):
            return noted
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    raise DataError(
        f"{path}: not the list of hashes that foxgan wrote; restore it, or delete it to trust the files as they are"
    )


def _note(path: Path, sha256: str) -> None:
    stat = _stat(path)
    is_settled = time.time_ns() - stat[1] > FRESH_NS
    with _lock(path.with_name(HASHES)):
        noted = _noted(path.parent) | {path.name: {"sha256": sha256, "stat": stat if is_settled else None}}
        temporary = path.with_name(f"{HASHES}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(noted, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path.with_name(HASHES))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process at a time does something to `path`. The folder is made if need be."""
    from filelock import FileLock

    locks = path.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{path.name}.lock"):
        yield
