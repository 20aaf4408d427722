"""The LMDB file of a dataset: what its keys mean, and how it is opened without trusting it.

Keys are the 8-digit positions of the pictures; `meta`, `ids` and `labels` are JSON, `crc32` holds one little-endian uint32 per value. LMDB
trusts its file, and a damaged one ends the process: so the structure is verified before LMDB sees it, and values are checked by CRC.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import lmdb
import lmdb.verify
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from foxgan import images
from foxgan.dataset.codec import Encoding, Shape, decode
from foxgan.errors import DataError
from foxgan.images import Pixels

FILE = "data.mdb"
MAX_CLASSES = 100_000
PART = 64  # pictures that a thread decodes in one go
EXTRA_KEYS = (b"crc32", b"ids", b"labels", b"meta")  # beside the pictures, and after them in LMDB's order

AGAIN = "delete its folder and run `foxgan pack` again"


class Meta(BaseModel, frozen=True, strict=True):
    """What a dataset says of itself under the key `meta`."""

    format: Literal[1] = 1
    count: int = Field(ge=1, lt=10**8)
    height: int = Field(ge=1, le=16384)
    width: int = Field(ge=1, le=16384)
    channels: Literal[1, 3, 4]
    encoding: Encoding
    class_names: list[str] | None = Field(default=None, max_length=MAX_CLASSES)
    fingerprint: str = Field(default="", pattern="^([0-9a-f]{64})?$")

    @property
    def shape(self) -> Shape:
        return self.height, self.width, self.channels


def key(position: int) -> bytes:
    """The key of the picture at `position`."""
    return b"%08d" % position


def is_label(value: Any) -> bool:
    """Whether this is a class number that a dataset can hold."""
    return type(value) is int and 0 <= value < MAX_CLASSES


class Store:
    """One open file, for all that read it in this process, as LMDB forbids opening a file twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, create=False)

    def get(self, name: bytes) -> bytes:
        with self.env.begin() as txn:
            value = txn.get(name)
        if value is None:
            raise DataError(f"{self.path}: an LMDB without `{name.decode()}`, so not a dataset of foxgan; {AGAIN}")
        return bytes(value)

    def json(self, name: bytes, count: int, of: str, is_valid: Callable[[Any], bool]) -> list[Any] | None:
        """The list of `count` valid values under `name`, or None where it holds null."""
        try:
            values = json.loads(self.get(name))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: `{name.decode()}` is not JSON ({error}); {AGAIN}") from error
        if values is None or (isinstance(values, list) and len(values) == count and all(map(is_valid, values))):
            return values
        raise DataError(f"{self.path}: `{name.decode()}` is not a list of {count} {of}; {AGAIN}")

    def meta(self) -> Meta:
        try:
            meta = Meta.model_validate_json(self.get(b"meta"))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise DataError(f"{self.path}: `meta` is not that of a dataset of foxgan ({wrong}); {AGAIN}") from error
        stored = self.env.stat()["entries"] - len(EXTRA_KEYS)
        if stored != meta.count:
            raise DataError(f"{self.path}: holds {stored} pictures where `meta` says {meta.count}; {AGAIN}")
        return meta


_open_stores: WeakValueDictionary[tuple[int, ...], Store] = WeakValueDictionary()
_lock = threading.Lock()


def open_store(path: Path, verified: bool = False) -> Store:
    """The file at `path`, its structure checked unless it is `verified` already. Raises DataError."""
    try:
        with _lock:
            store = _open_stores.get(identity(path))
            if store is None:
                damage = [] if verified else problems(path)
                if damage:
                    raise DataError(f"{path}: a damaged LMDB ({damage[0]}); {AGAIN}")
                store = _open_stores[identity(path)] = Store(path)
            return store
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, so this is no dataset; `foxgan pack` makes one") from None
    except (lmdb.verify.VerifyError, lmdb.Error, OSError) as error:
        raise DataError(f"{path}: not a readable LMDB ({error}); {AGAIN}") from error


def identity(path: Path) -> tuple[int, ...]:
    """What tells this state of a file from all others."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def problems(path: Path) -> list[str]:
    """What is wrong with the structure of an LMDB file; read without LMDB. Raises lmdb.verify.VerifyError, OSError."""
    found: list[str] = lmdb.verify.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
    return found


def broken(path: Path, position: int, name: str, what: object) -> DataError:
    """The refusal of one picture, which is `what`."""
    return DataError(f"{path}: picture {position} ({name}) is {what}; {AGAIN}")


def decoded(path: Path, value: memoryview, meta: Meta, position: int, name: str) -> Pixels:
    """The picture in `value`. Raises DataError naming it."""
    try:
        return decode(value, meta.shape, meta.encoding)
    except ValueError as error:
        raise broken(path, position, name, error) from error


def meaning(
    path: Path, env: lmdb.Environment, meta: Meta, ids: Sequence[str], labels: Sequence[int] | None
) -> tuple[str, NDArray[np.uint32]]:
    """The digest of decoded pixels, ids, labels and class names, which no encoding changes; and the values' checksums."""

    def part(start: int) -> list[tuple[str, int]]:
        stop = min(start + PART, meta.count)
        return [
            (images.pixel_digest(decoded(path, value, meta, position, ids[position])), zlib.crc32(value))
            for position, value in enumerate(values(env, start, stop), start)
        ]

    digest = hashlib.sha256(json.dumps([meta.count, *meta.shape, meta.class_names]).encode())
    checksums = np.empty(meta.count, np.uint32)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = itertools.chain.from_iterable(pool.map(part, range(0, meta.count, PART)))
        for position, (pixels, checksum) in enumerate(found):
            digest.update(json.dumps([pixels, ids[position], None if labels is None else labels[position]]).encode())
            checksums[position] = checksum
    return digest.hexdigest(), checksums


def values(env: lmdb.Environment, start: int, stop: int) -> Iterator[memoryview]:
    """The encoded pictures of these positions, each valid until the next one is asked for."""
    with env.begin(buffers=True) as txn:
        for position in range(start, stop):
            yield memoryview(txn.get(key(position), b""))
