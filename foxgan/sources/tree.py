"""What folders and archives have in common: files with names, some of them photos, some saying what is on the photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Literal

from foxgan.sources.candidate import Candidate, Row
from foxgan.sources.yolo import PointShape, label_folder, read_class_names, read_point_shape, split_of

Labels = Literal["auto", "folders", "none"]

# Companions of photos. Everything else is tried: photos without a (right) ending are photos too.
COMPANIONS = frozenset(
    (
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".parquet",
        ".yaml",
        ".yml",
        ".xml",
        ".md",
        ".cache",
        ".ini",
        ".html",
        ".db",
        ".log",
    )
)


@dataclass(frozen=True)
class Entry:
    """A file of a folder or an archive; `name` has forward slashes and no surrogates."""

    name: str
    where: tuple[str | int, ...]
    size: int
    refusal: str = ""
    content: str = ""  # digest of its bytes, as far as known


def clean(name: str) -> str:
    """`name` fit for a table: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def hidden(name: str) -> bool:
    """Whether a name is none of the user's: dot files, and what macOS adds to archives."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def photos(entries: Iterable[Entry], read: Callable[[Entry], bytes], labels: Labels) -> Iterator[Candidate]:
    """The candidates among `entries`, with what names of folders, label files and data.yaml tell about them."""
    files = {entry.name: entry for entry in entries if not hidden(entry.name)}
    known = {
        folder_of(name): _DataFile.of(read(entry), name)
        for name, entry in files.items()
        if labels == "auto"
        and name.endswith("data.yaml")
        and PurePosixPath(name).name == "data.yaml"
        and not entry.refusal
    }
    pictures = [entry for name, entry in files.items() if ending(name) not in COMPANIONS]
    classes = sorted({PurePosixPath(folder_of(e.name)).name for e in pictures} - {""}) if labels == "folders" else []
    facts = cache(lambda folder: _Facts.of(folder, classes, known))  # many photos share a folder
    for entry in pictures:
        about = facts(folder_of(entry.name))
        label_file = _label_file(entry, about, files) if labels == "auto" else None
        yield Candidate(
            entry.name,
            entry.where,
            entry.size,
            about.meta,
            labels=label_file.where if label_file else None,
            class_names=about.data.class_names if label_file else {},
            point_shape=about.data.point_shape if label_file else None,
            refusal=entry.refusal,
            content=f"{entry.content} {label_file.content}" if label_file else entry.content,
        )


@dataclass(frozen=True)
class _DataFile:
    """What a data.yaml tells of the label files below its folder."""

    class_names: Mapping[int, str]
    point_shape: PointShape | None = None

    @classmethod
    def of(cls, text: bytes, where: str) -> _DataFile:
        return cls(read_class_names(text, where), read_point_shape(text, where))


@dataclass(frozen=True)
class _Facts:
    """What a folder's name tells of the photos in it."""

    meta: Row
    labels: str | None  # folder of their label files
    data: _DataFile

    @classmethod
    def of(cls, folder: str, classes: list[str], known: Mapping[str, _DataFile]) -> _Facts:
        own = PurePosixPath(folder).name
        split = split_of(folder)
        meta: Row = {"split": split} if split else {}
        if own in classes:
            meta |= {"class": own, "label": classes.index(own)}
        return cls(meta, label_folder(folder), _nearest(known, folder))


def _label_file(entry: Entry, about: _Facts, files: Mapping[str, Entry]) -> Entry | None:
    if about.labels is None or entry.refusal:
        return None
    found = files.get(f"{about.labels}/{PurePosixPath(entry.name).stem}.txt")
    return found if found and not found.refusal else None


def folder_of(name: str) -> str:
    """`a/b` of `a/b/c.jpg`, "" at the top."""
    return name.rpartition("/")[0]


def ending(name: str) -> str:
    """`.jpg` of `a/b/C.JPG`; a name that only begins with a dot has none."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and suffix and dot else ""


def _nearest(known: Mapping[str, _DataFile], folder: str) -> _DataFile:
    """The data.yaml of the closest folder that has one: `folder` itself or one above it."""
    above = [folder, *map(str, PurePosixPath(folder).parents)]
    return next((known[place] for place in ("" if a == "." else a for a in above) if place in known), _DataFile({}))
