"""Datasets as other tools keep them: NVIDIA's layout (PNGs in folders of 1000 and `dataset.json`), as a zip or as a plain folder.

Files from outside are only ever read into memory, in bounded pieces; no name in them becomes a path that is written to.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.dataset.store import is_label
from foxgan.errors import DataError, UnsafeFileError

if TYPE_CHECKING:
    from foxgan.dataset.lmdb import Dataset  # with torch, which readers of pictures need not wait for

LABELS = "dataset.json"
MAX_FILES = 10_000_000
MAX_FILE_BYTES = 1 << 28
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can tell: equal datasets give equal files


@dataclass(frozen=True)
class Listing:
    """The pictures of a zip or folder, by name in sorted order, with one label each or None."""

    names: list[str]
    labels: list[int] | None
    class_names: list[str] | None


def read_listing(path: Path) -> Listing:
    """What a zip or a folder in NVIDIA's layout holds; without `dataset.json`, pictures without labels. Raises DataError."""
    if path.is_dir():
        names = sorted(_names_in(path))
        text = read_file(path / LABELS) if (path / LABELS).is_file() else b"{}"
    else:
        with open_zip(path) as archive:
            members = archive.namelist()
            text = read_member(archive, LABELS) if LABELS in members else b"{}"
        names = sorted(name for name in members if name.lower().endswith(ENDINGS))
    return Listing(names, *_labels(path, names, text))


def _names_in(folder: Path) -> Iterator[str]:
    for parent, _, files in os.walk(folder):  # does not follow links to folders
        for file in files:
            if file.lower().endswith(ENDINGS):
                yield (Path(parent) / file).relative_to(folder).as_posix()


def _labels(path: Path, names: list[str], text: bytes) -> tuple[list[int] | None, list[str] | None]:
    try:
        content = json.loads(text)
        pairs, class_names = content.get("labels"), content.get("class_names")
        known = None if pairs is None else {name: label for name, label in pairs}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f'{path}: {LABELS} is not {{"labels": [[name, number], ...]}} ({error})') from error
    if class_names is not None and not (isinstance(class_names, list) and all(isinstance(n, str) for n in class_names)):
        raise DataError(f"{path}: {LABELS}: `class_names` is not a list of texts")
    if known is None:
        return None, None
    for name in names:
        if not is_label(known.get(name)):
            raise DataError(f"{path}: {LABELS} has no class number for {name}; found {known.get(name)!r}")
    return [known[name] for name in names], class_names


def open_zip(path: Path) -> zipfile.ZipFile:
    """The zip at `path`, its number of files bounded. Raises DataError."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a readable zip ({error})") from error
    if len(archive.infolist()) > MAX_FILES:
        archive.close()
        raise UnsafeFileError(f"{path}: more than {MAX_FILES:,} files in one zip")
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one file in a zip, at most MAX_FILE_BYTES. Raises DataError."""
    where = f"{archive.filename}: {name}"
    try:
        with archive.open(name) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except Exception as error:  # zipfile raises half a dozen unrelated types on broken or encrypted bytes
        raise DataError(f"{where}: cannot be read ({error})") from error
    return _bounded(where, data)


def read_file(path: Path) -> bytes:
    """The bytes of a file, at most MAX_FILE_BYTES. Raises DataError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    return _bounded(str(path), data)


def _bounded(where: str, data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise UnsafeFileError(f"{where}: more than {MAX_FILE_BYTES >> 20} MiB in one file")
    return data


def write_zip(dataset: Dataset, path: Path) -> None:
    """Write `dataset` as a zip in NVIDIA's layout, PNGs uncompressed; the file appears complete or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in _files(dataset):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
    os.replace(temporary, path)


def _files(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    names = [f"{position // 1000:05d}/img{position:08d}.png" for position in range(len(dataset))]
    yield from zip(names, dataset.pngs(), strict=True)
    content: dict[str, Any] = {"labels": None}
    if dataset.labels is not None:
        content["labels"] = [[name, int(label)] for name, label in zip(names, dataset.labels, strict=True)]
    if dataset.class_names is not None:
        content["class_names"] = dataset.class_names
    yield LABELS, json.dumps(content).encode()
