"""What folders and archives have in common: files with names, some of them photos, some saying what is on the photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from foxgan.sources.candidate import Candidate, Row
from foxgan.sources.yolo import label_name, read_class_names, split_of

Labels = Literal["auto", "folders", "none"]

# Companions of photos. Everything else is tried: photos without a (right) ending are photos too.
COMPANIONS = frozenset(
    (
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
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


def clean(name: str) -> str:
    """`name` fit for a table: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def hidden(name: str) -> bool:
    """Whether a name is none of the user's: dot files, and what macOS adds to archives."""
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def photos(entries: Iterable[Entry], read: Callable[[Entry], bytes], labels: Labels) -> Iterator[Candidate]:
    """The candidates among `entries`, with what names of folders, label files and data.yaml tell about them."""
    files = {entry.name: entry for entry in entries if not hidden(entry.name)}
    names = {
        str(PurePosixPath(name).parent): read_class_names(read(entry), name)
        for name, entry in files.items()
        if labels == "auto" and PurePosixPath(name).name == "data.yaml" and not entry.refusal
    }
    pictures = [e for name, e in files.items() if PurePosixPath(name).suffix.lower() not in COMPANIONS]
    classes = sorted({PurePosixPath(e.name).parent.name for e in pictures} - {""}) if labels == "folders" else []
    numbers = {name: number for number, name in enumerate(classes)}
    for entry in pictures:
        meta: Row = {}
        if split := split_of(entry.name):
            meta["split"] = split
        folder = PurePosixPath(entry.name).parent.name
        if folder in numbers:
            meta.update({"class": folder, "label": numbers[folder]})
        label_file = files.get(label_name(entry.name) or "") if labels == "auto" and not entry.refusal else None
        yield Candidate(
            entry.name,
            entry.where,
            entry.size,
            meta,
            labels=label_file.where if label_file and not label_file.refusal else None,
            class_names=_nearest(names, entry.name) if label_file else {},
            refusal=entry.refusal,
        )


def _nearest(names: dict[str, dict[int, str]], name: str) -> dict[int, str]:
    """The class names of the closest folder above `name` that has some."""
    return next((names[str(folder)] for folder in PurePosixPath(name).parents if str(folder) in names), {})
