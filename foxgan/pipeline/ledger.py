"""`data/.ledger`: one SQLite file that remembers every finished artifact, and the sha256 of outside files by their stat.

It outlives the folders, so what is finished stays known after they are gone, and 100,000 unchanged files cost one directory walk.
"""

from __future__ import annotations

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
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime_ns INT, inode INT, sha256 TEXT);
"""
FRESH_NS = 2_000_000_000  # a file changed this shortly before hashing may change again within the same time stamp


class Ledger:
    """Opened once per run; every write is its own transaction, so a kill leaves it whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise StageError(
                f"{path}: the ledger cannot be opened ({error}); if the folder can be written to, delete this file: "
                "finished folders are found again from their manifests"
            ) from error

    def close(self) -> None:
        self.db.close()

    def add(self, manifest: dict[str, Any], units: float) -> None:
        """Remember a finished artifact."""
        self.db.execute(
            "INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                manifest["key"], manifest["stage"], manifest["lineage"], manifest["digest"], manifest["seconds"]["total"], units,
                time.time(),
                json.dumps(manifest),
            ),
        )  # fmt: skip

    def manifest(self, key: str) -> dict[str, Any] | None:
        """The manifest of the artifact with this key, whether or not its folder still exists."""
        row = self.db.execute("SELECT manifest FROM artifacts WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def seconds_per_unit(self, stage: str, lineage: str) -> float | None:
        """How long a unit of work took the last time: of this very step if it ran before, else of its stage."""
        for column, value in (("lineage", lineage), ("stage", stage)):
            row = self.db.execute(
                f"SELECT seconds / units FROM artifacts WHERE {column} = ? AND units > 0 ORDER BY finished DESC LIMIT 1",
                (value,),
            ).fetchone()
            if row:
                return float(row[0])
        return None

    def content_digest(self, path: Path) -> str:
        """The sha256 of an outside file, or of a folder's relative names and files. Raises DataError where it cannot be read."""
        try:
            if path.is_file():
                return self._file_digest(path, path.stat())
            digest = hashlib.sha256()
            for name, file, stat in _walk(path):
                digest.update(f"{name} {self._file_digest(file, stat)}\n".encode())
            return digest.hexdigest()
        except OSError as error:
            raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error

    def _file_digest(self, path: Path, stat: os.stat_result) -> str:
        name, facts = str(path), (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        row = self.db.execute("SELECT size, mtime_ns, inode, sha256 FROM files WHERE path = ?", (name,)).fetchone()
        if row and tuple(row[:3]) == facts:
            return str(row[3])
        now = time.time_ns()
        sha256 = file_sha256(path)
        if now - stat.st_mtime_ns > FRESH_NS:
            self.db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (name, *facts, sha256))
        return sha256


def _walk(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Files below `folder` in a fixed order, hidden ones left out."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            for name, path, stat in _walk(Path(entry.path)):
                yield f"{entry.name}/{name}", path, stat
        elif entry.is_file():
            yield entry.name, Path(entry.path), entry.stat()
