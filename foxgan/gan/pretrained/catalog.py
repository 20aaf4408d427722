"""Public models by their short names: what is known of each, and its file in the models folder. Nothing heavy is imported here."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from foxgan import public
from foxgan.errors import DataError, UsageError, did_you_mean
from foxgan.public import PublicFile
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

    Raises UsageError for an unknown name, and what `public.pull` raises.
    """
    local_path(name)
    model = catalog()[name]
    return public.pull(
        PublicFile(name, model.url, model.file, model.sha256, model.size, f"run `foxgan models pull {name}`"),
        on_progress,
    )
