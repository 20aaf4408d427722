"""Pictures read per second from a dataset in one process: `python tests/benchmarks/reader.py [side] [channels]`."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from foxgan.dataset.codec import Encoding, encode
from foxgan.dataset.lmdb import Dataset
from foxgan.dataset.store import Meta
from foxgan.dataset.writer import Writer
from foxgan.images import cv2


def written(folder: Path, encoding: Encoding, count: int, side: int, channels: int) -> Dataset:
    """Blurred noise, which PNG shrinks about as far as photos."""
    noise = np.random.default_rng(0).random((side, side, channels), np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    value = encode(smooth.astype(np.uint8).reshape(side, side, channels), encoding)
    with Writer(folder, encoding) as writer:
        for _ in range(count):
            writer.add(value)
        meta = {"count": count, "height": side, "width": side, "channels": channels, "encoding": encoding}
        writer.finish(Meta.model_validate(meta), [str(i) for i in range(count)], None)
    return Dataset(folder)


def main(side: int = 64, channels: int = 3) -> None:
    count = min(20_000, 200_000_000 // (side * side * channels))
    for encoding in ("png", "raw"):
        with tempfile.TemporaryDirectory() as folder:
            dataset = written(Path(folder), encoding, count, side, channels)
            order = np.random.default_rng(1).permutation(count)
            start, start_cpu = time.perf_counter(), time.process_time()
            for position in range(0, count, 64):
                dataset.images(order[position : position + 64])
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
            size = dataset.path.stat().st_size
            speed = f"{count / seconds:,.0f} images/s, {1e6 * cpu / count:.0f} us of CPU each, {size / count:,.0f} bytes each"
            print(f"{encoding}: {count} of {side}x{side}x{channels}: {speed}")
            del dataset  # Windows deletes no open file


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
