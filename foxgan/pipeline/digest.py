"""Output digests: the sha256 of what a folder means, whatever container, compression or time stamp it came in."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path

from foxgan.errors import DataError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_HEADER = 100_000_000


def output_digest(folder: Path, globs: Iterable[str]) -> str:
    """The digest of an artifact: its index tables, and the files that match `globs` by what they mean."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.parquet")):
        from foxgan.dataset.index import index_digest

        digest.update(f"table {path.name} {index_digest(folder, path.name)}\n".encode())
    for path in sorted({p for pattern in globs for p in folder.glob(pattern) if p.is_file()}):
        digest.update(f"file {path.relative_to(folder).as_posix()} {file_meaning(path)}\n".encode())
    return digest.hexdigest()


def file_meaning(path: Path) -> str:
    """The digest of one file: tensors by name, pixels of pictures, decoded values of an LMDB, else its bytes."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return tensors_digest(path)
    if suffix == ".mdb":
        from foxgan.dataset.lmdb import lmdb_digest

        return lmdb_digest(path.parent)
    if suffix in PICTURES:
        from foxgan.images import decode, pixel_digest

        return pixel_digest(decode(path, mode="any"))
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_digest(path: Path) -> str:
    """The sha256 over (name, dtype, shape, values) of all tensors of a safetensors file, sorted by name; metadata left out."""
    with path.open("rb") as file:
        prefix = file.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= size <= min(MAX_HEADER, path.stat().st_size):
            raise DataError(f"{path}: not a safetensors file; delete it and run the step again")
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        digest = hashlib.sha256()
        for name, tensor in sorted(header.items()):
            start, end = tensor["data_offsets"]
            file.seek(8 + size + start)
            values = hashlib.sha256(file.read(end - start)).hexdigest()
            digest.update(f"{name} {tensor['dtype']} {tensor['shape']} {values}\n".encode())
    return digest.hexdigest()
