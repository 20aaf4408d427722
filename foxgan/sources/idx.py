"""Images and labels in the IDX format of MNIST (http://yann.lecun.com/exdb/mnist), gzip or not.

A file is big-endian: 0, 0, type (8 = uint8), number of dimensions; one uint32 per dimension; the values.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from foxgan.errors import DataError, UnsafeFileError
from foxgan.images import encode_png
from foxgan.sources.archive import open_stream
from foxgan.sources.candidate import Candidate, Hashes, Loaded, Source, no_hashes

MAX_BYTES = 8 * 2**30  # MNIST has 47 MB


@dataclass(frozen=True)
class Idx(Source):
    """Files of images [N, H, W] or [N, H, W, C] and, one for each or none, files of labels [N]."""

    paths: tuple[Path, ...]
    label_paths: tuple[Path, ...] = ()
    name: str = "idx"
    _arrays: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_arrays": {}}  # each worker reads the file: cheaper than sending it

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        pairs = find_pairs(self.paths, self.label_paths)
        several = len({stem(images) for images, _ in pairs}) < len(pairs)
        for number, (images, labels) in enumerate(pairs):
            count = read_header(images)[0]
            classes = read_idx(labels).tolist() if labels else [None] * count
            if len(classes) != count:
                raise DataError(
                    f"{labels}: {len(classes)} labels, but {images.name} has {count} images; are they a pair?"
                )
            split = next(
                (s for p, s in (("train", "train"), ("t10k", "test"), ("test", "test")) if p in images.name), None
            )
            content = hashes(images).get("", "")
            prefix = f"{number}-{stem(images)}" if several else stem(images)
            for position, label in enumerate(classes):
                meta = {} if label is None else {"label": label, "class": str(label)}
                if split:
                    meta["split"] = split
                yield Candidate(f"{prefix}#{position:06}", (str(images), position), 0, meta, content=content)

    def load(self, candidate: Candidate) -> Loaded:
        path, position = str(candidate.where[0]), int(candidate.where[1])
        if path not in self._arrays:
            self._arrays[path] = read_idx(Path(path))
        image = self._arrays[path][position]
        image = image.reshape(*image.shape[:2], -1)
        height, width, channels = image.shape
        return Loaded(encode_png(image), shape=(height, width, channels), suffix="png")

    def close(self) -> None:
        self._arrays.clear()


def stem(path: Path) -> str:
    """`train-images-idx3-ubyte` of `train-images-idx3-ubyte.gz`."""
    return path.name.removesuffix(".gz")


def find_pairs(paths: tuple[Path, ...], label_paths: tuple[Path, ...]) -> list[tuple[Path, Path | None]]:
    """Image files with their label files: as given, else by MNIST's naming; a folder means all image files in it."""
    images = [file for path in paths for file in (_image_files(path) if path.is_dir() else [path])]
    for path in (*images, *label_paths):
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected an IDX file such as train-images-idx3-ubyte.gz")
    if label_paths:
        if len(label_paths) != len(images):
            raise DataError(
                f"{len(images)} image files, but {len(label_paths)} label files; give one for each, in the same order"
            )
        return list(zip(images, label_paths, strict=True))
    return [(path, label_file(path)) for path in images]


def _image_files(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if "-images" in p.name and "idx" in p.name)
    packed = [p for p in found if p.suffix == ".gz" and p.with_suffix("") in found]  # there twice: packed and not
    if not found:
        raise DataError(f"{folder}: no IDX images in it; expected names such as train-images-idx3-ubyte.gz")
    return [p for p in found if p not in packed]


def label_file(images: Path) -> Path | None:
    """The file of labels beside a file of images, by MNIST's naming; None where there is none."""
    name = stem(images).replace("-images", "-labels").replace("idx3", "idx1").replace("idx4", "idx1")
    candidates = [images.with_name(name + ending) for ending in ("", ".gz")] if name != stem(images) else []
    return next((path for path in candidates if path.is_file()), None)


def read_header(path: Path) -> tuple[int, ...]:
    """The dimensions that the file claims, checked for sense. Raises DataError."""
    with _reading(path) as stream:
        return _header(path, stream)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The values, shaped as the header says. Raises DataError for any other length, UnsafeFileError for a huge one."""
    with _reading(path) as stream:
        shape = _header(path, stream)
        expected = int(np.prod(shape, dtype=object))
        if expected > MAX_BYTES:
            raise UnsafeFileError(
                f"{path}: its header claims {shape}, {expected:,} bytes; at most {MAX_BYTES:,} are read"
            )
        data = stream.read(expected + 1)
        if len(data) != expected:
            found = "more" if len(data) > expected else f"{len(data):,}"
            raise DataError(f"{path}: its header says {shape}, {expected:,} bytes, but {found} follow; fetch it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _header(path: Path, stream: IO[bytes]) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != 8 or magic[3] not in (1, 3, 4):
        raise DataError(f"{path}: begins with {magic!r}, which is no IDX file of bytes with 1, 3 or 4 dimensions")
    shape = tuple(int.from_bytes(stream.read(4), "big") for _ in range(magic[3]))
    sides, channels = shape[1:3], shape[3:]
    if any(not 0 < side <= 16384 for side in sides) or any(c not in (1, 3, 4) for c in channels):
        raise DataError(
            f"{path}: claims the shape {shape}; expected count, height, width and perhaps 1, 3 or 4 channels"
        )
    return shape


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    with open_stream(path) as stream:
        try:
            yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: broken gzip data ({error}); fetch it again") from error
