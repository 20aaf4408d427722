"""The memory of a crawl, in SQLite: where each of its queries stands, and what they have found.

A page of answers and the place where it leaves its query are one transaction, so a killed crawl misses nothing and asks at most for the
page in flight again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foxgan.errors import StageError

FILE = "crawl.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queries (position INTEGER PRIMARY KEY, query TEXT UNIQUE, state TEXT, done INT DEFAULT 0);
CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY, source_id TEXT UNIQUE, record TEXT);
"""

Record = dict[str, Any]
Queries = Sequence[str] | Mapping[str, Any]  # with the states in which they begin, if not None


class Frontier:
    """The crawl in `folder`. All methods may raise StageError; closed by `close`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        folder.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self.db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self.db.executescript(_SCHEMA)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StageError(
                f"{self.path}: the crawl's memory cannot be used ({error}); make sure that the disk has room. If the file is damaged, "
                "delete it and run the step again: it asks again for what there is, and photos that are here are not fetched again"
            ) from error

    def begin(self, queries: Queries) -> None:
        """Remember what is to be asked; what is known stands where it is."""
        states = queries if isinstance(queries, Mapping) else dict.fromkeys(queries)
        rows = [(query, json.dumps(state)) for query, state in states.items()]
        with self._explained():
            self.db.executemany("INSERT OR IGNORE INTO queries (query, state) VALUES (?, ?)", rows)

    def reopen(self) -> None:
        """Ask again, each query from where it ended."""
        with self._explained():
            self.db.execute("UPDATE queries SET done = 0")

    def open_query(self) -> tuple[str, Any] | None:
        """The first query that is not done, and its state: None at its beginning."""
        with self._explained():
            row = self.db.execute(
                "SELECT query, state FROM queries WHERE NOT done ORDER BY position LIMIT 1"
            ).fetchone()
        return row and (row[0], None if row[1] is None else json.loads(row[1]))

    def store(self, query: str, records: Sequence[Record], state: Any, done: bool, more: Queries = ()) -> int:
        """Keep one page of `query`, which leaves it in `state`, with further queries that it led to; returns how many records are new."""
        rows = [(record["source_id"], json.dumps(record)) for record in records]
        with self._explained(), self.db:
            self.db.execute("BEGIN IMMEDIATE")
            before = self.db.total_changes
            self.db.executemany("INSERT OR IGNORE INTO records (source_id, record) VALUES (?, ?)", rows)
            new = self.db.total_changes - before
            self.db.execute("UPDATE queries SET state = ?, done = ? WHERE query = ?", (json.dumps(state), done, query))
            self.begin(more)
        return new

    def count(self) -> int:
        """Of the records found so far."""
        with self._explained():
            return int(self.db.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    def records(self, limit: int | None = None) -> Iterator[Record]:
        """What was found, in that order."""
        with self._explained():
            query = "SELECT record FROM records ORDER BY position LIMIT ?"
            for (record,) in self.db.execute(query, (-1 if limit is None else limit,)):
                yield json.loads(record)

    def close(self) -> None:
        self.db.close()
