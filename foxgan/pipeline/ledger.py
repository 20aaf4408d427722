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
"""
FRESH_NS = 2_000_000_000  # a file changed this shortly before hashing may change again within the same time stamp


class Ledger:
    """Opened once per run; every write is its own transaction, so a kill leaves it whole. All methods may raise StageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: dict[Path, str] = {}  # what this run has read already, so that one run sees one content
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

    def content_digest(self, path: Path) -> str:
        """The sha256 of an outside file, or of a folder's relative names and files. Raises DataError where it cannot be read."""
        if path not in self.contents:
            try:
                with self._explained():
                    self.contents[path] = self._read(path)
            except OSError as error:
                raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
        return self.contents[path]

    def _read(self, path: Path) -> str:
        files = [("", str(path), path.stat())] if path.is_file() else list(_walk(path))
        below = os.fsencode(f"{path}{os.sep}")  # bytes: a file's name need not be valid text
        query = "SELECT path, size, mtime_ns, inode, sha256 FROM files WHERE path = ? OR path >= ? AND path < ?"
        known = {row[0]: row[1:] for row in self.db.execute(query, (os.fsencode(path), below, below + b"\xff"))}
        fresh, lines = [], []
        for name, file, stat in files:
            facts = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            *stored, sha256 = known.get(os.fsencode(file), (None, ""))
            if tuple(stored) != facts:
                now = time.time_ns()
                sha256 = file_sha256(Path(file))
                if now - stat.st_mtime_ns > FRESH_NS:
                    fresh.append((os.fsencode(file), *facts, sha256))
            lines.append([name, sha256])
        if fresh:
            with self.db:  # one transaction for all: a commit waits for the disk
                self.db.execute("BEGIN")
                self.db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", fresh)
        return lines[0][1] if path.is_file() else hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _walk(folder: str | Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Files below `folder` in a fixed order, hidden ones left out."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            for name, path, stat in _walk(entry.path):
                yield f"{entry.name}/{name}", path, stat
        elif entry.is_file():
            yield entry.name, entry.path, entry.stat()
