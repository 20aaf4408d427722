"""Encoded pictures of earlier datasets, to be copied into a new one: never encoded again, and checked before they are trusted."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foxgan.dataset.codec import Encoding, Shape
from foxgan.dataset.store import FILE, Store, key, open_store
from foxgan.errors import DataError


class EarlierValues:
    """Values by the ids of their pictures, from datasets in `folders` that have this encoding and shape; damaged ones give nothing."""

    def __init__(self, folders: Sequence[Path], encoding: Encoding, shape: Shape) -> None:
        self.where: dict[str, tuple[Store, int, int]] = {}  # file, position, checksum
        for folder in folders:
            with contextlib.suppress(DataError):
                self._add(open_store(folder / FILE), encoding, shape)

    def _add(self, store: Store, encoding: Encoding, shape: Shape) -> None:
        meta = store.meta()
        if (meta.encoding, meta.shape) != (encoding, shape):
            return
        ids = store.json(b"ids", meta.count, "texts", lambda value: isinstance(value, str)) or []
        checksums = np.frombuffer(store.get(b"crc32"), "<u4")
        for position, (name, checksum) in enumerate(zip(ids, checksums.tolist(), strict=False)):
            self.where.setdefault(name, (store, position, checksum))

    def __enter__(self) -> EarlierValues:
        return self

    def __exit__(self, *_: object) -> None:
        self.where.clear()  # the files are closed with the last one that reads them

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> bytes | None:
        """The value of one picture, or None where there is none, or a damaged one."""
        if name not in self.where:
            return None
        store, position, checksum = self.where[name]
        value = store.get(key(position))
        if zlib.crc32(value) == checksum:
            return value
        del self.where[name]
        return None
