"""The reader of a packed dataset, as a torch Dataset, and the digest of what a dataset means."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan.dataset.codec import decode_into, encode, restore
from foxgan.dataset.store import AGAIN, FILE, broken, decoded, is_label, key, meaning, open_store, values
from foxgan.errors import DataError


class Dataset(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures and labels: `dataset[i]` is a uint8 tensor [C, H, W] and an int64 tensor [] (-1 where there are no labels).

    `labels` is int64 [N] or None, `num_classes` 0 without labels, `fingerprint` the digest of all that the dataset means. It may be sent
    to worker processes, forked or spawned. Raises DataError naming the file where it is missing, damaged or foreign.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path) / FILE if Path(path).is_dir() else Path(path)
        self._load(verified=False)

    def _load(self, verified: bool) -> None:
        self._store = open_store(self.path, verified)
        self.meta = self._store.meta()
        self.height, self.width, self.channels = self.meta.shape
        self.fingerprint = self.meta.fingerprint
        self.class_names = self.meta.class_names
        self.ids: list[str] = self._store.json(b"ids", len(self), "texts", lambda i: isinstance(i, str)) or []
        labels = self._store.json(b"labels", len(self), "class numbers", is_label)
        self.labels: NDArray[np.int64] | None = None if labels is None else np.array(labels, np.int64)
        self.num_classes = 0 if labels is None else max(len(self.class_names or ()), 1 + max(labels))
        self._checksums = np.frombuffer(self._store.get(b"crc32"), "<u4")
        if not len(self.ids) == len(self._checksums) == len(self):
            raise DataError(f"{self.path}: not an id and a checksum for each of {len(self)} pictures; {AGAIN}")
        self._checked = np.zeros(len(self), bool)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._load(verified=True)  # by the process that sent it

    def __len__(self) -> int:
        return self.meta.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        label = -1 if self.labels is None else int(self.labels[index])
        return self.images([index])[0], torch.tensor(label)

    def images(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> torch.Tensor:
        """The pictures at these positions (negative ones count from the end), a new uint8 tensor [N, C, H, W]."""
        batch = np.empty((len(indices), self.channels, self.height, self.width), np.uint8)
        with self._store.env.begin(buffers=True) as txn:
            for planes, index in zip(batch, indices, strict=True):
                position = range(len(self))[int(index)]
                value = memoryview(txn.get(key(position), b""))
                self._check(position, value)
                try:
                    decode_into(planes, value, self.meta.encoding)
                except ValueError as error:
                    raise broken(self.path, position, self.ids[position], error) from error
        restore(batch, self.meta.encoding)
        return torch.from_numpy(batch)

    def _check(self, position: int, value: memoryview) -> None:
        """Raise DataError for a value that is not what was written; once, as this takes longer than copying the pixels."""
        if not self._checked[position]:
            if zlib.crc32(value) != self._checksums[position]:
                raise broken(self.path, position, self.ids[position], "damaged")
            self._checked[position] = True

    def pngs(self) -> Iterator[bytes]:
        """The pictures as PNG files, in order."""
        for position, value in enumerate(values(self._store.env, 0, len(self))):
            if self.meta.encoding == "png":
                yield bytes(value)
            else:
                yield encode(decoded(self.path, value, self.meta, position, self.ids[position]), "png")

    def recomputed_fingerprint(self) -> str:
        """The fingerprint of what the file really holds, from its decoded pictures. Raises DataError for a damaged one."""
        labels = None if self.labels is None else self.labels.tolist()
        found, checksums = meaning(self.path, self._store.env, self.meta, self.ids, labels)
        if (checksums != self._checksums).any():
            position = int(np.flatnonzero(checksums != self._checksums)[0])
            raise broken(self.path, position, self.ids[position], "damaged")
        return found


def open_dataset(path: Path | str) -> Dataset:
    """The dataset in a folder that `foxgan pack` made, or in a link to it. Raises DataError."""
    return Dataset(path)


def lmdb_digest(path: Path) -> str:
    """The sha256 of what a dataset means (decoded pictures, ids, labels), whatever its encoding. Raises DataError."""
    return Dataset(path).recomputed_fingerprint()
