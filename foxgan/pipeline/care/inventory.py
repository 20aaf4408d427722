"""What lies in the workspace: artifacts, what killed work left of them, and how much of the disk each fills.

Only names that foxgan gives itself are looked at. Whatever else lies in `data/` and `models/` is the user's.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Literal

from foxgan.errors import StageError
from foxgan.pipeline.folder import MANIFEST, WORK, beside, read_json, read_manifest

ROOMS = ("data", "models")
NAME = re.compile(r"(?P<stage>[a-z][a-z0-9_-]*)-[0-9a-f]{12}")
DOOMED = ".gone-"  # begins the name of a folder that is being deleted

# swap: finished by --force, but killed before it took its place. aside: what --force had begun, or has replaced. log: of an error.
# doomed: a deletion that was killed. damaged: its manifest cannot be read. foreign: only its name is like an artifact's.
Kind = Literal["artifact", "unfinished", "swap", "aside", "log", "doomed", "damaged", "foreign"]


@dataclass(frozen=True)
class Found:
    """Something that foxgan left at `path`. `home`: the folder of the artifact that it is or belongs to, whose lock counts.

    `changed`: when an artifact was finished, and when anything else was last written to; seconds since the epoch.
    """

    path: Path
    kind: Kind
    home: Path
    changed: float
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return str(self.manifest.get("key", ""))

    @property
    def stage(self) -> str:
        match = NAME.match(self.home.name)
        return match["stage"] if match else ""

    @property
    def step(self) -> str:
        """The step that it was made for; a stage that ran alone is its own step."""
        return str(self.manifest.get("step") or self.stage)


def is_own(folder: Path) -> bool:
    """Whether a folder has the name and the place of an artifact in a workspace."""
    return folder.parent.name in ROOMS and NAME.fullmatch(folder.name) is not None


def inventory(root: Path) -> list[Found]:
    """All that foxgan's stages have left in the workspace, in the order of its names. Links are not followed."""
    found = []
    for room in ROOMS:
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(os.scandir(root / room), key=lambda e: e.name):
                if not entry.is_symlink() and (item := _look(Path(entry.path))) is not None:
                    found.append(item)
    return found


def _look(path: Path) -> Found | None:
    name = path.name
    if name.startswith(DOOMED):
        return Found(path, "doomed", path, last_change(path))
    match = NAME.match(name)
    if match is None:
        return None
    home, rest = path.with_name(match[0]), name[match.end() :]
    if rest == ".error.log" and path.is_file():
        return Found(path, "log", home, path.lstat().st_mtime)
    if not path.is_dir() or rest not in ("", ".new", ".old", ".pull"):
        return None
    if rest:
        kind: Kind = "swap" if path == beside(home) and (path / MANIFEST).exists() else "aside"
        return Found(path, kind, home, last_change(path))
    return _artifact(path)


def _artifact(folder: Path) -> Found:
    """Another program's or the user's folder may have such a name by chance: what it holds must say the same key."""
    try:
        manifest = read_manifest(folder)
        facts = manifest or read_json(folder / WORK)
    except StageError:
        return Found(folder, "damaged", folder, last_change(folder))
    if not facts or not folder.name.endswith(f"-{str(facts.get('key'))[:12]}"):
        return Found(folder, "foreign", folder, last_change(folder))
    if manifest is None:
        return Found(folder, "unfinished", folder, last_change(folder), facts)
    return Found(folder, "artifact", folder, (folder / MANIFEST).stat().st_mtime, manifest)


def last_change(path: Path) -> float:
    """The latest time that something in a folder was written."""
    return max((stat.st_mtime for stat in _stats(path)), default=0.0)


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of `path` and of everything below it; what vanishes meanwhile is left out."""
    with contextlib.suppress(OSError):
        yield path.lstat()
    for place, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(os.path.join(place, name))


Inode = tuple[int, int]


class Disk:
    """Bytes that `data/` and `models/` fill. A file with several names (hard links) counts once, and is free with the last of them."""

    def __init__(self, root: Path) -> None:
        self.sizes: dict[Inode, int] = {}
        self.names: dict[Inode, int] = {}  # as many as are left, those outside of the workspace included
        self.held: dict[Path, Counter[Inode]] = {}
        for room in ROOMS:
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(root / room):
                    self._add(Path(entry.path))
        self.total = sum(self.sizes.values())

    def _add(self, path: Path) -> None:
        held = self.held[path] = Counter()
        for stat in _stats(path):
            if not S_ISDIR(stat.st_mode):
                inode = stat.st_dev, stat.st_ino
                held[inode] += 1
                self.sizes[inode], self.names[inode] = stat.st_size, stat.st_nlink

    def size(self, path: Path) -> int:
        """Bytes of the files at or below a file or folder that lies in a room."""
        return sum(self.sizes[inode] for inode in self.held.get(path, ()))

    def remove(self, path: Path) -> int:
        """Bytes that are free once `path` is deleted, after all that was removed before it."""
        freed = 0
        for inode, count in self.held.pop(path, Counter()).items():
            self.names[inode] -= count
            freed += self.sizes[inode] if self.names[inode] <= 0 else 0
        self.total -= freed
        return freed
