"""Pictures read into batches: our LMDB in every encoding, beside torchvision's `ImageFolder`, a zip of PNGs and a folder of arrays.

`python -m tests.benchmarks.reader` prints JSON lines and asserts nothing. Ours is read as training reads it, by a `Feed` with so many
threads; the others by torch's `DataLoader` with so many processes, in batches of the same size. `pinned`: batches end in pinned memory
and then on the GPU. Pictures are drawn animals. A figure is the best of `ROUNDS`, in which all take turns; all files are in the page
cache. `share_of_memory_bandwidth` is decoded bytes per second by what a copy of 256 MiB moves, its reading and its writing counted.
"""

import json
import multiprocessing
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from foxgan import images
from foxgan.dataset.codec import Encoding, encode
from foxgan.dataset.lmdb import Dataset
from foxgan.dataset.store import Meta
from foxgan.dataset.writer import Writer
from foxgan.gan.sampler import Feed
from foxgan.images import Pixels
from foxgan.vision.synthetic import SPECIES, draw_photo
from tests.benchmarks.peak import best_seconds

SIZES = {
    64: (4000, 32),
    256: (400, 16),
    1024: (40, 4),
}  # side: pictures, more than a processor's cache holds, and batch
WORKERS = (1, 2)
ROUNDS, SECONDS = 2, 0.5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "meta")  # meta: only reading takes time

Take = Callable[[], object]


def drawn(side: int, count: int = 12) -> list[Pixels]:
    """Animals on their backgrounds, RGB."""
    photos = (draw_photo(0, number, SPECIES[number % len(SPECIES)], max(side, 256)) for number in range(count))
    return [images.resize(photo.image, side, side) for photo in photos]


def written(folder: Path, encoding: Encoding, pictures: list[Pixels], count: int) -> Dataset:
    """A dataset of `count` pictures, these over and over."""
    values = [encode(picture, encoding) for picture in pictures]
    folder.mkdir(exist_ok=True)
    with Writer(folder, encoding) as writer:
        for number in range(count):
            writer.add(values[number % len(values)])
        sizes = dict(zip(("height", "width", "channels"), pictures[0].shape, strict=True))
        meta = Meta.model_validate({**sizes, "count": count, "encoding": encoding})
        writer.finish(meta, [str(number) for number in range(count)], None)
    return Dataset(folder)


class Zipped(torch.utils.data.Dataset[torch.Tensor]):
    """The PNGs of a zip, which every process opens for itself."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.archive: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.archive is None:
            self.archive = zipfile.ZipFile(self.path)
        picture = images.decode(self.archive.read(f"{index}.png"), mode="any")
        return torch.from_numpy(picture.transpose(2, 0, 1).copy())


class Arrays(torch.utils.data.Dataset[torch.Tensor]):
    """A folder of arrays [C, H, W], one file each."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.folder / f"{index}.npy"))


def others(folder: Path, pictures: list[Pixels], count: int) -> dict[str, tuple[Any, float]]:
    """What others read, by name, with the bytes of a picture in it."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    pngs = [encode(picture, "png") for picture in pictures]
    (folder / "pngs" / "class").mkdir(parents=True)
    (folder / "arrays").mkdir()
    with zipfile.ZipFile(folder / "pngs.zip", "w") as archive:
        for number in range(count):
            data = pngs[number % len(pngs)]
            archive.writestr(f"{number}.png", data)
            (folder / "pngs" / "class" / f"{number}.png").write_bytes(data)
            np.save(folder / "arrays" / f"{number}.npy", pictures[number % len(pngs)].transpose(2, 0, 1).copy())
    return {
        "ImageFolder": (ImageFolder(folder / "pngs", PILToTensor()), sum(map(len, pngs)) / len(pngs)),
        "zip of PNGs": (Zipped(folder / "pngs.zip", count), (folder / "pngs.zip").stat().st_size / count),
        "folder of arrays": (Arrays(folder / "arrays", count), (folder / "arrays" / "0.npy").stat().st_size),
    }


def by_threads(dataset: Dataset, batch: int, workers: int) -> tuple[Take, Callable[[], object]]:
    """What takes the next batch, and what ends the reading."""
    feed = Feed(dataset, batch, workers=workers, device=DEVICE)
    return feed.next, feed.close


def by_processes(dataset: Any, batch: int, workers: int) -> tuple[Take, Callable[[], object]]:
    """As `by_threads`, with torch's DataLoader; forked where that is possible, so that the processes are there at once."""
    loader = torch.utils.data.DataLoader(
        dataset,
        batch,
        sampler=torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=1 << 30),
        num_workers=workers,
        pin_memory=DEVICE.type == "cuda",
        multiprocessing_context="fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn",
    )
    batches = [iter(loader)]

    def take() -> object:
        found = next(batches[0])
        return (found[0] if isinstance(found, list) else found).to(DEVICE, non_blocking=True).float()

    return take, batches.clear  # what iterates no more ends its processes


def images_per_s(take: Take, batch: int, workers: int) -> float:
    for _ in range(4 + 2 * workers):  # what was read ahead is used up
        take()
    start, taken = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        take()
        taken += batch
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return taken / (time.perf_counter() - start)


def copied_bytes_per_s() -> float:
    source = torch.ones(1 << 28, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * len(source) / best_seconds(lambda: target.copy_(source))


def measured(side: int, folder: Path, bandwidth: float) -> Iterator[dict[str, Any]]:
    count, batch = SIZES[side]
    pictures = drawn(side)
    sources: dict[str, tuple[Any, float]] = {}
    for encoding in get_args(Encoding):
        dataset = written(folder / encoding, encoding, pictures, count)
        sources[f"LMDB, {encoding}"] = dataset, dataset.path.stat().st_size / count
    sources |= others(folder, pictures, count)
    best: dict[tuple[str, int], float] = {}
    for _ in range(ROUNDS):
        for name, (source, _) in sources.items():
            for workers in WORKERS:
                take, end = (by_threads if name.startswith("LMDB") else by_processes)(source, batch, workers)
                found = images_per_s(take, batch, workers)
                end()
                best[name, workers] = max(best.get((name, workers), 0), found)
    for (name, workers), speed in best.items():
        yield {
            "side": side,
            "reader": name,
            "workers": workers,
            "batch": batch,
            "pinned": DEVICE.type == "cuda",
            "images_per_s": round(speed, 1),
            "mpixels_per_s": round(speed * side * side / 1e6, 2),
            "share_of_memory_bandwidth": round(speed * pictures[0].nbytes / bandwidth, 5),
            "bytes_per_image": round(sources[name][1]),
        }


def measure() -> Iterator[dict[str, Any]]:
    bandwidth = copied_bytes_per_s()
    yield {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "copied_gb_per_s": round(bandwidth / 1e9, 2)}
    for side in SIZES:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows deletes no open file
            yield from measured(side, Path(folder), bandwidth)


if __name__ == "__main__":
    for record in measure():
        print(json.dumps(record), flush=True)
