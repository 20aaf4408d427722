"""Writes a dataset's LMDB file, under a temporary name until it is complete: a crash loses no more than the last megabytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb
import lmdb.verify

from foxgan.dataset.store import EXTRA_KEYS, FILE, Meta, meaning, problems
from foxgan.errors import StageError

FIRST_MAP = 1 << 24  # bytes; doubled when full, because some systems reserve the whole map on disk
FLUSH_BYTES = 1 << 25  # one transaction


class Writer:
    """Appends encoded pictures to a temporary file, which `finish` turns into `folder/data.mdb`.

    What an interrupted writer of the same `plan` (a text that tells what is written, in which order) has left is kept: go on with
    picture number `count`. Raises StageError where the disk is full or refuses.
    """

    def __init__(self, folder: Path, plan: str) -> None:
        self.folder = folder
        self.path = folder / f"data-{hashlib.sha256(plan.encode()).hexdigest()[:16]}.tmp"
        self.pending: list[tuple[bytes, bytes]] = []
        self.pending_bytes = 0
        with self._refusing():
            for other in folder.glob("data-*.tmp"):
                if other != self.path or not _is_sound(other):
                    other.unlink()
            room = max(FIRST_MAP, 2 * self.path.stat().st_size if self.path.exists() else 0)
            # LMDB's first file format, which all tools read
            self.env = lmdb.open(str(self.path), subdir=False, lock=False, map_size=room, lib_version=0)
            with self.env.begin(write=True) as txn:
                for name in EXTRA_KEYS:  # left by a kill between their commit and the renaming
                    txn.delete(name)
            self.count = self.env.stat()["entries"]

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.env.close()

    def add(self, value: bytes) -> None:
        """Append the encoded picture with number `count`."""
        self._put(b"%08d" % self.count, value)
        self.count += 1

    def finish(self, meta: Meta, ids: Sequence[str], labels: Sequence[int] | None) -> Path:
        """Read all pictures back, note what they mean, and give the file its name.

        Raises DataError naming the item where one is not a picture of the shape that `meta` says.
        """
        assert self.count == meta.count == len(ids) and (labels is None or len(labels) == self.count)
        self._flush()
        fingerprint, checksums = meaning(self.path, self.env, meta, ids, labels)
        meta = meta.model_copy(update={"fingerprint": fingerprint})
        self._put(b"crc32", checksums.astype("<u4").tobytes())
        self._put(b"ids", json.dumps(list(ids)).encode())
        self._put(b"labels", json.dumps(None if labels is None else list(labels)).encode())
        self._put(b"meta", meta.model_dump_json().encode())
        self._flush()
        with self._refusing():
            self.env.sync(True)
            self.env.close()
            os.replace(self.path, self.folder / FILE)
        return self.folder / FILE

    def _put(self, name: bytes, value: bytes) -> None:
        self.pending.append((name, value))
        self.pending_bytes += len(value)
        if self.pending_bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        while self.pending:
            with self._refusing():
                try:
                    with self.env.begin(write=True) as txn:
                        for name, value in self.pending:
                            txn.put(name, value, append=True)
                    self.pending.clear()
                except lmdb.MapFullError:
                    self.env.set_mapsize(2 * self.env.info()["map_size"])
        self.pending_bytes = 0

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise StageError(
                f"{self.path}: cannot be written ({error}); make room on the disk or check the folder's permissions, "
                "then run the step again: it goes on from there"
            ) from error


def _is_sound(path: Path) -> bool:
    try:
        return not problems(path)
    except (lmdb.verify.VerifyError, OSError):
        return False
