"""What became of each item, one JSON line each: how a killed run goes on, and how a later artifact takes items over."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
JOURNAL = "items.jsonl"
# Reasons that may have passed: a later run asks for these items again.
PASSING = re.compile(rb"worker_died|connection|timeout|http_(408|425|429|5\d\d)")
_STATUS = re.compile(rb'"status": "([^"]*)"')  # in a line: within a text, quotes would be escaped
_PATH = re.compile(rb'"path": ("(?:[^"\\]|\\.)*")')
_KEY, _ROWS, _END = (
    b'{"key": "',
    b'", "rows": ',
    b"]}\n",
)  # a line begins so; keys are plain text, so none of this has to be escaped


class Journal:
    """The lines of a folder that is being filled; a torn last line is forgotten, and so are failures that may have passed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / JOURNAL
        self.done: dict[str, int] = {}  # where the lines of finished items begin: they may be many
        self.size = 0
        for entry in _entries(path):
            if _is_final(entry.line):
                self.done[entry.key] = self.size
            self.size += len(entry.line)
        self.file = path.open("r+b" if path.exists() else "w+b")
        self.file.truncate(self.size)
        self.file.seek(self.size)
        self.reader = path.open("rb")

    def write(self, entries: dict[str, list[Row]]) -> None:
        """Add finished items; files that belong to them must be complete."""
        for key, rows in entries.items():
            self._append(key, _line(key, rows))
        self.file.flush()

    def _append(self, key: str, line: bytes) -> None:
        self.file.write(line)
        self.done[key] = self.size
        self.size += len(line)

    def take_over(self, earlier: Path, wanted: set[str], out: Path, kept_only: bool) -> int:
        """Link to `out` what the artifact `earlier` has of the `wanted` items, which are taken out of it; returns how many.

        `kept_only` leaves out what was dropped there, so that it is asked for again.
        """
        link = Linker(earlier, out)
        before = len(wanted)
        for line in _lines(earlier / JOURNAL):
            key = _key(line)
            if key in wanted and _is_final(line, kept_only) and all(map(link, _paths(line))):
                self._append(key, line)
                wanted.remove(key)
        self.file.flush()
        return before - len(wanted)

    def rows(self, key: str) -> list[Row]:
        """What became of the item `key`, which is done."""
        self.reader.seek(self.done[key])
        return list(json.loads(self.reader.readline())["rows"])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self.file.fileno())
        self.file.close()
        self.reader.close()


class Linker:
    """Brings finished files, which nobody changes any more, from one artifact into another."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = str(source), str(target)
        self.folders: set[str] = set()

    def __call__(self, relative: str) -> bool:
        """Whether the file is in the target now: as a link where the disk can, else as a copy; False if the source has lost it.

        A name that leads elsewhere is refused: the source may have come from another machine.
        """
        if relative.startswith(("/", "\\")) or ".." in relative or ":" in relative:
            return False
        source, target = f"{self.source}/{relative}", f"{self.target}/{relative}"
        folder = target.rpartition("/")[0]
        if folder not in self.folders:
            os.makedirs(folder, exist_ok=True)
            self.folders.add(folder)
        try:
            os.link(source, target)
        except FileExistsError:
            return True
        except FileNotFoundError:
            return False
        except OSError:  # another disk, or one without links, or too many of them
            _copy(source, target)
        return True


def _copy(source: str, target: str) -> None:
    temporary = f"{target}.tmp"
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def journalled(folder: Path, kept_only: bool = False) -> Iterator[str]:
    """Keys of the items that need not be asked for again, found without reading all that lines say."""
    for line in _lines(folder / JOURNAL):
        if _is_final(line, kept_only):
            yield _key(line)


class Entry(NamedTuple):
    """One line of a journal, and what it says."""

    line: bytes
    key: str
    rows: list[Row]


def _entries(path: Path) -> Iterator[Entry]:
    """What the lines say, up to a damaged one."""
    for line in _lines(path):
        try:
            entry = json.loads(line)
            yield Entry(line, entry["key"], list(entry["rows"]))
        except (ValueError, TypeError, KeyError):
            return


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, up to a damaged one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), path.open("rb") as file:
        for line in file:
            if not line.startswith(_KEY) or not line.endswith(_END):
                return
            yield line


def _key(line: bytes) -> str:
    return line[len(_KEY) : line.find(_ROWS)].decode(errors="replace")


def _paths(line: bytes) -> list[str]:
    """The files of an item, without reading the rest of the line."""
    return [str(json.loads(path)) for path in _PATH.findall(line)]


def _line(key: str, rows: Iterable[Row]) -> bytes:
    return _KEY + key.encode() + _ROWS + json.dumps(rows).encode() + b"}\n"


def _is_final(line: bytes, kept_only: bool = False) -> bool:
    """Whether an item need not be asked for again; with `kept_only`, whatever was dropped is."""
    reasons = [status for status in _STATUS.findall(line) if status != b"kept"]
    return not (reasons and kept_only) and not any(map(PASSING.fullmatch, reasons))
