"""What a shared cache says of an artifact: its manifest, without the paths of the machine that made it, and the list of its files.

What comes back was written by others: size, types, names and sizes of files are checked before anything is done with it.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foxgan.errors import DataError, StageError
from foxgan.pipeline.care.inventory import NAME, ROOMS
from foxgan.pipeline.folder import MANIFEST
from foxgan.stages import stage_class
from foxgan.stages.base import fields_of_kind

MAX_BYTES = 256_000_000  # of a manifest
MAX_FILES = 1_000_000
MAX_ROWS = 10 * MAX_FILES  # of a table
MAX_VALUES = 4 * MAX_FILES  # in a manifest's JSON; a file has three
MAX_SIZE = 1 << 50  # bytes of a file: more than any disk has, and small enough to be added up
MAX_PATH, MAX_NAME = 1000, 240  # characters of a path, bytes of each name in it

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # by Windows
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')  # on one system or another
_BESIDE = re.compile(rf"^\.\./(\.\./({'|'.join(ROOMS)})/)?{NAME.pattern}/")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=300, pattern=r"^[^/\\\x00]*$")]
Count = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SharedFile(BaseModel):
    """One file of an artifact; its bytes are the object that is named by their sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    size: Count
    sha256: Sha256


class _Place(BaseModel):
    model_config = ConfigDict(strict=True)

    path: Name
    digest: Annotated[str, Field(max_length=300)]


class _Counts(BaseModel):
    model_config = ConfigDict(strict=True)

    into: Count = Field(alias="in")
    kept: Count
    dropped: dict[str, Count]


class _Seconds(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Number]

    total: Number


class SharedManifest(BaseModel):
    """The types of all that `Store.finish` writes. What another version of foxgan adds is kept as it is."""

    model_config = ConfigDict(extra="allow", strict=True)

    stage: str
    version: int
    step: Annotated[str, Field(max_length=300)]
    key: Sha256
    lineage: Sha256
    items: Sha256 | None
    horizon: dict[str, float | None]
    params: dict[str, Any]
    inputs: dict[str, list[_Place]]
    digest: Sha256
    counts: _Counts | None
    seconds: _Seconds
    facts: dict[str, Any]
    libraries: dict[str, str]
    machine: dict[str, Any]
    foxgan: str
    finished: str
    files: Annotated[list[SharedFile], Field(max_length=MAX_FILES)]


def parse(data: bytes, key: str, where: str) -> dict[str, Any]:
    """The checked manifest of the artifact `key`, with its `files`. Raises DataError that names `where` it came from."""
    try:
        if len(data) > MAX_BYTES or data.count(b",") > MAX_VALUES:
            raise ValueError(
                f"larger than the {MAX_BYTES // 1_000_000} MB or {MAX_FILES} files that a manifest may have"
            )
        manifest = json.loads(data, parse_constant=_refuse)
        checked = SharedManifest.model_validate(manifest)
        if checked.key != key:
            raise ValueError(f"it is of key {checked.key[:12]}, asked for was {key[:12]}")
        check_names(file.path for file in checked.files)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        words = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(_damaged(where, words)) from error
    except (ValueError, RecursionError) as error:
        raise DataError(_damaged(where, str(error))) from error
    assert isinstance(manifest, dict)
    return manifest


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _damaged(where: str, what: str) -> str:
    return f"{where}: not the manifest of an artifact ({what}); delete it, and push again from a workspace that has it"


def check_names(paths: Iterable[str]) -> None:
    """Raise ValueError where a path leaves its folder, cannot be stored on every system, or is there twice."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if why := _unfit(path):
            raise ValueError(f"file {path[:200]!r}: {why}")
        folded = unicodedata.normalize("NFC", path).casefold()  # some disks tell neither case nor accents apart
        if folded in seen:
            raise ValueError(f"file {path[:200]!r}: there twice, on a disk that does not tell upper from lower case")
        seen.add(folded)
        folders.update(parent.as_posix() for parent in PurePosixPath(folded).parents)
    if both := seen & folders:
        raise ValueError(f"file {min(both)[:200]!r}: is a folder, too")


def _unfit(path: str) -> str | None:
    """Why a relative path cannot be the name of an artifact's file."""
    if len(path) > MAX_PATH:
        return f"longer than {MAX_PATH} characters"
    if found := _FORBIDDEN.search(path):
        return f"has {found[0]!r} in it"
    if path.casefold() == MANIFEST:
        return "this name is foxgan's own"
    for name in path.split("/"):
        if name.startswith(".") or not name:  # `.` and `..`, foxgan's notes of unfinished work, and absolute paths
            return "is not a plain relative path, or hidden"
        if name.endswith((".", " ", ".tmp")) or _RESERVED.fullmatch(name):
            return f"{name!r} is not a name for a finished file on every system"
        if len(name.encode(errors="surrogatepass")) > MAX_NAME or not _is_text(name):
            return "has a name that is too long, or no valid text"
    return None


def _is_text(name: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in name)


def files_of(folder: Path) -> list[tuple[str, int]]:
    """Relative path and size of every file that belongs to a finished artifact. Raises StageError for one that cannot travel."""
    found = [
        (path, size) for path, size in walk(folder) if path != MANIFEST and not path.split("/")[-1].startswith(".")
    ]
    try:
        check_names(path for path, _ in found)
    except ValueError as error:
        raise StageError(f"{folder}: cannot be shared: {error}") from error
    return sorted(found)


def walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative path and size of every file below a folder; links are left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name, entry.stat().st_size


def check_index(folder: Path) -> None:
    """Raise ValueError where a table of the artifact names a file that lies neither in it nor in another artifact's folder."""
    import polars as pl

    for table in sorted(folder.glob("*.parquet")):
        if (rows := pl.scan_parquet(table).select(pl.len()).collect().item()) > MAX_ROWS:
            raise ValueError(f"{table.name} has {rows} rows, at most {MAX_ROWS} are read")
        if "path" not in pl.read_parquet_schema(table):
            continue
        for path in pl.read_parquet(table, columns=["path"])["path"].drop_nulls():
            if why := _unfit(_BESIDE.sub("", path)):
                raise ValueError(f"{table.name} names the file {path[:200]!r}: {why}")


def portable(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as it may leave this machine: of every path only the last name is left."""
    cls = stage_class(manifest["stage"])
    references = {field for kind in ("artifact", "weights") for field in fields_of_kind(cls, kind)}
    inputs = {
        field: [{**place, "path": last_name(place["path"])} for place in places]
        for field, places in manifest["inputs"].items()
    }
    params = {field: _named(value, field in references) for field, value in manifest["params"].items()}
    rest = {name: _named(value, False) for name, value in manifest.items()}
    return {**rest, "params": params, "inputs": inputs}


def _named(value: Any, is_path: bool) -> Any:
    """A JSON value without the folders of its paths. A text that is the path of a file here is one, wherever it stands."""
    if isinstance(value, dict):
        return {key: _named(inner, is_path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, is_path) for inner in value]
    return last_name(value) if isinstance(value, str) and (is_path or _is_absolute(value)) else value


def _is_absolute(text: str) -> bool:
    return text.startswith("~") or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def last_name(path: str) -> str:
    """`crop-0123456789ab` of `/home/me/data/crop-0123456789ab`, on whatever system it was written."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
