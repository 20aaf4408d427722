"""Photos of a folder and its subfolders, in the order of their names. Links that lead out of it are refused."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foxgan.errors import DataError
from foxgan.sources.candidate import Candidate, Hashes, Loaded, Refused, Source, no_hashes
from foxgan.sources.tree import Entry, Labels, clean, hidden, photos
from foxgan.sources.yolo import MAX_LABEL_BYTES


@dataclass(frozen=True)
class Folder(Source):
    """One or more folders; with several, a photo's source id begins with the name of its folder."""

    roots: tuple[Path, ...]
    max_bytes: int
    labels: Labels = "auto"
    name: str = "folder"

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        yield from photos(self._entries(hashes), self._read, self.labels)

    def load(self, candidate: Candidate) -> Loaded:
        try:
            data = self._path(candidate.where).read_bytes()
            labels = candidate.labels and self._text(candidate.labels)
        except OSError as error:
            raise Refused("unreadable") from error
        return Loaded(data, labels=labels or None)

    def _read(self, entry: Entry) -> bytes:
        try:
            return self._text(entry.where)
        except OSError as error:
            raise DataError(f"{self._path(entry.where)}: not readable ({error.strerror})") from error

    def _text(self, where: tuple[str | int, ...]) -> bytes:
        with self._path(where).open("rb") as file:
            return file.read(MAX_LABEL_BYTES)

    def _path(self, where: tuple[str | int, ...]) -> Path:
        number, name = where
        return self.roots[int(number)] / str(name)

    def _entries(self, hashes: Hashes) -> Iterator[Entry]:
        for number, root in enumerate(self.roots):
            if not root.is_dir():
                raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
            prefix = f"{number}-{root.resolve().name}/" if len(self.roots) > 1 else ""
            known = hashes(root)
            for name, entry in _files(root):
                size, refusal = self._look(root, entry)
                yield Entry(clean(prefix + name), (number, name), size, refusal, known.get(name, ""))

    def _look(self, root: Path, entry: os.DirEntry[str]) -> tuple[int, str]:
        try:
            found = entry.stat()
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root.resolve()):
                return 0, "outside_link"
        except OSError:
            return 0, "unreadable"
        if not stat.S_ISREG(found.st_mode):
            return 0, "not_a_file"
        return found.st_size, "too_large" if found.st_size > self.max_bytes else ""


def _files(folder: str | Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `folder` that is no folder, by relative name: first its own files, then those of its subfolders."""
    with os.scandir(folder) as found:
        entries = sorted((e for e in found if not hidden(e.name)), key=lambda e: e.name)
    below = []
    for entry in entries:
        if not entry.is_dir():
            yield prefix + entry.name, entry
        elif not entry.is_symlink():
            below.append(entry)
    for entry in below:
        yield from _files(entry.path, f"{prefix}{entry.name}/")
