"""`data/.ledger`: one SQLite file that remembers every finished artifact, and the sha256 of outside files by their stat.

It outlives the folders, so what is finished stays known after they are gone, and 100,000 unchanged files cost one directory walk.
Nothing is lost with it: artifacts are found again from their manifests, and files are hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foxgan.errors import DataError, StageError
from foxgan.pipeline.digest import file_sha256

_SCHEMA = """
CREATE TABLE IF NOT EXISTS artifacts (
    key TEXT PRIMARY KEY, stage TEXT, lineage TEXT, digest TEXT, seconds REAL, units REAL, finished REAL, manifest TEXT);
CREATE INDEX IF NOT EXISTS by_stage ON artifacts (stage, finished);
CREATE TABLE IF NOT EXISTS uses (
    pipeline TEXT, step TEXT, key TEXT, since REAL, PRIMARY KEY (pipeline, step, key));
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INT, mtime_ns INT, inode INT, sha256 TEXT);
CREATE TABLE IF NOT EXISTS folders (path BLOB PRIMARY KEY, facts TEXT, digest TEXT);
"""
FRESH_NS = 2_000_000_000  # a file changed this shortly before hashing may change again within the same time stamp


class Ledger:
    """Opened once per run; every write is its own transaction, so a kill leaves it whole. All methods may raise StageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: dict[Path, str] = {}  # what this run has read already, so that one run sees one content
        self.hashes: dict[Path, dict[str, str]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.executescript(_SCHEMA)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StageError(
                f"{self.path}: the ledger cannot be used ({error}); make sure that the disk has room and the folder can be "
                "written to. If the file is damaged, delete it: finished folders are found again from their manifests"
            ) from error

    def close(self) -> None:
        self.db.close()

    def add(self, manifest: dict[str, Any], units: float) -> None:
        """Remember a finished artifact."""
        row = [manifest[name] for name in ("key", "stage", "lineage", "digest")]
        row += [manifest["seconds"]["total"], units, time.time(), json.dumps(manifest)]
        with self._explained():
            self.db.execute("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def manifest(self, key: str) -> dict[str, Any] | None:
        """The manifest of the artifact with this key, whether or not its folder still exists."""
        with self._explained():
            row = self.db.execute("SELECT manifest FROM artifacts WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def manifests(self) -> list[dict[str, Any]]:
        """Of all artifacts that were ever finished here, the oldest first."""
        with self._explained():
            return [json.loads(row[0]) for row in self.db.execute("SELECT manifest FROM artifacts ORDER BY finished")]

    def use(self, pipeline: str, step: str, key: str) -> None:
        """Remember that this is what `step` of `pipeline` stands for from now on."""
        if self.used(pipeline, step)[:1] != [key]:
            with self._explained():
                self.db.execute("INSERT OR REPLACE INTO uses VALUES (?, ?, ?, ?)", (pipeline, step, key, time.time()))

    def used(self, pipeline: str, step: str) -> list[str]:
        """Keys of the artifacts that `step` of `pipeline` has stood for, the current one first."""
        query = "SELECT key FROM uses WHERE pipeline = ? AND step = ? ORDER BY since DESC"
        with self._explained():
            return [row[0] for row in self.db.execute(query, (pipeline, step))]

    def named(self) -> dict[str, list[tuple[str, str]]]:
        """Keys of the artifacts that steps stand for now, with those steps (pipeline, step)."""
        query = "SELECT pipeline, step, key, MAX(since) FROM uses GROUP BY pipeline, step"
        found: dict[str, list[tuple[str, str]]] = {}
        with self._explained():
            for pipeline, step, key, _ in self.db.execute(query):
                found.setdefault(key, []).append((pipeline, step))
        return found

    def seconds_per_unit(self, stage: str, lineage: str) -> float | None:
        """How long a unit of work took the last time: of this very step if it ran before, else of its stage."""
        for column, value in (("lineage", lineage), ("stage", stage)):
            query = (
                f"SELECT seconds / units FROM artifacts WHERE {column} = ? AND units > 0 ORDER BY finished DESC LIMIT 1"
            )
            with self._explained():
                row = self.db.execute(query, (value,)).fetchone()
            if row:
                return float(row[0])
        return None

    def content_digest(self, path: Path, but: frozenset[str] = frozenset()) -> str:
        """The sha256 of an outside file, or of a folder's relative names and files. Raises DataError where it cannot be read.

        `but`: relative names that do not count.
        """
        if path not in self.contents:
            with self._reading(path):
                self.contents[path] = self._folder(path, but) if path.is_dir() else self.file_digests(path)[""]
        return self.contents[path]

    def file_digests(self, path: Path) -> dict[str, str]:
        """The sha256 of every file below an outside folder by its relative name, or of a file under "". Raises DataError."""
        if path not in self.hashes:
            with self._reading(path):
                self.hashes[path] = self._files(path, _files_of(path))
        return self.hashes[path]

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            with self._explained():
                yield
        except OSError as error:
            raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error

    def _folder(self, path: Path, but: frozenset[str]) -> str:
        """As long as no file in it has changed, one row of the ledger answers for all of them."""
        files = [file for file in _files_of(path) if file[0] not in but]
        facts = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        row = self.db.execute("SELECT facts, digest FROM folders WHERE path = ?", (os.fsencode(path),)).fetchone()
        if row and row[0] == facts:
            return str(row[1])
        now = time.time_ns()
        hashes = self.hashes[path] = self._files(path, files)
        digest = hashlib.sha256(json.dumps([[name, hashes[name]] for name, *_ in files]).encode()).hexdigest()
        if all(now - mtime > FRESH_NS for _, _, mtime, _ in files):
            values = (os.fsencode(path), facts, digest)
            self.db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", values)
        return digest

    def _files(self, path: Path, files: list[File]) -> dict[str, str]:
        """The sha256 of each of the `files` below `path`; only those are read that are not known by their stat."""
        below = os.fsencode(f"{path}{os.sep}")  # bytes: a file's name need not be valid text
        query = "SELECT path, size, mtime_ns, inode, sha256 FROM files WHERE path = ? OR path >= ? AND path < ?"
        known = {row[0]: row[1:] for row in self.db.execute(query, (os.fsencode(path), below, below + b"\xff"))}
        fresh, found = [], {}
        for name, *facts in files:
            place = os.path.join(path, name) if name else str(path)
            *stored, sha256 = known.get(os.fsencode(place), (None, ""))
            if stored != facts:
                now = time.time_ns()
                sha256 = file_sha256(Path(place))
                if now - facts[1] > FRESH_NS:
                    fresh.append((os.fsencode(place), *facts, sha256))
            found[name] = sha256
        if fresh:
            with self.db:  # one transaction for all: a commit waits for the disk
                self.db.execute("BEGIN")
                self.db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", fresh)
        return found


File = tuple[str, int, int, int]
"""Relative name, size, mtime_ns and inode."""


def _files_of(path: Path) -> list[File]:
    """Files below a folder in a fixed order, hidden ones left out; a file itself has no name."""
    if path.is_dir():
        found: list[File] = []
        _walk(str(path), "", found)
        return found
    stat = path.stat()
    return [("", stat.st_size, stat.st_mtime_ns, stat.st_ino)]


def _walk(folder: str, prefix: str, found: list[File]) -> None:
    with os.scandir(folder) as entries:
        ordered = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            _walk(entry.path, f"{prefix}{entry.name}/", found)
        elif entry.is_file():
            stat = entry.stat()
            found.append((prefix + entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
