"""Which images the discriminator sees, in which order, and reading them ahead of time in threads, always with the same result.

Threads and not processes: decoding leaves other threads alone (it holds no GIL), so two decode almost twice as much as one, and no
batch has to be handed over; at all sizes, 28 to 1024 px, spawned processes were slower, and took seconds to start.
They leave torch's operators alone: each thread that enters one gets OpenMP threads of its own, and with more of those than
cores the networks' own threads no longer wait for each other but sleep, which made steps 15 to 20 % slower.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Indices = NDArray[np.int64]
WINDOW = 0.5  # how far back, as a share of the set, an image may be swapped after it was shown
MOST_THREADS = 8  # unless more are asked for
AHEAD = 3  # batches that are being read while the networks work, or one for each thread


class ImageSet(Protocol):
    """What training asks of a dataset; `foxgan.dataset.lmdb.Dataset` is one."""

    height: int
    width: int
    channels: int
    num_classes: int
    fingerprint: str
    labels: NDArray[np.int64] | None

    def __len__(self) -> int: ...

    def images(self, indices: Any) -> Tensor:
        """The images at `indices` as a new uint8 tensor [N, C, H, W]."""
        ...


class Sampler:
    """An endless shuffle of 0..length-1: each number, once given, trades places with one of the last half of the set."""

    def __init__(self, length: int, seed: int) -> None:
        self.order: Indices = np.arange(length, dtype=np.int64)
        self.random = np.random.RandomState(seed)
        self.random.shuffle(self.order)
        self.window = int(np.rint(length * WINDOW))
        self.step = 0

    def draw(self, count: int) -> Indices:
        drawn = np.empty(count, dtype=np.int64)
        here = (self.step + np.arange(count)) % len(self.order)
        back = self.random.randint(self.window, size=count) if self.window >= 2 else np.zeros(count, np.int64)
        there = (here - back) % len(self.order)
        for i, (one, other) in enumerate(zip(here.tolist(), there.tolist(), strict=True)):
            drawn[i] = self.order[one]
            self.order[one], self.order[other] = self.order[other], drawn[i]
        self.step += count
        return drawn


class Feed:
    """Batches of real images as `img` and one-hot `c`; `state` is exact, whatever the threads have read ahead."""

    def __init__(
        self,
        images: ImageSet,
        batch: int,
        *,
        c_dim: int = 0,
        mirror: bool = False,
        subset: int | None = None,
        seed: int = 0,
        workers: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.images, self.batch, self.c_dim, self.device = images, batch, c_dim, device or torch.device("cpu")
        self.pins = self.device.type == "cuda"  # a GPU copies from pinned memory by itself, while other work goes on
        self.chosen: Indices = np.arange(len(images), dtype=np.int64)
        if subset is not None and subset < len(images):
            np.random.RandomState(seed).shuffle(self.chosen)
            self.chosen = np.sort(self.chosen[:subset])
        self.labels = (
            torch.from_numpy(images.labels[self.chosen]).to(self.device)
            if c_dim and images.labels is not None
            else None
        )
        self.sampler = Sampler(len(self.chosen) * (2 if mirror else 1), seed)
        workers = workers or min(os.cpu_count() or 1, MOST_THREADS)
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="foxgan-feed")
        self.ahead = max(AHEAD, workers)
        self.pending: deque[tuple[Indices, Future[tuple[Tensor, Tensor]]]] = deque()

    def next(self) -> tuple[Tensor, Tensor]:
        """The next real batch: `img` [batch, C, H, W] in [-1, 1], `c` [batch, c_dim]."""
        self._read_ahead()
        images, positions = (
            part.to(self.device, non_blocking=self.pins) for part in self.pending.popleft()[1].result()
        )
        img, c = images.float().div_(127.5).sub_(1), self.one_hot(positions)
        self._read_ahead()  # last, as threads that wake up take the interpreter's lock
        return img, c

    def one_hot(self, positions: Tensor) -> Tensor:
        """Labels [N, c_dim] of the images at these positions of the (sub)set; c_dim 0 gives an empty second axis."""
        if self.labels is None:
            return torch.zeros(len(positions), self.c_dim, device=self.device)
        return F.one_hot(self.labels[positions], self.c_dim).float()

    def random_labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Labels [count, c_dim] of images drawn evenly from the set."""
        if self.labels is None:
            return torch.zeros(count, self.c_dim, device=self.device)
        drawn = torch.randint(len(self.chosen), (count,), generator=generator, device=generator.device)
        return self.one_hot(drawn.to(self.device))

    def state(self) -> dict[str, Tensor]:
        random = self.sampler.random.get_state(legacy=False)["state"]
        waiting = [indices for indices, _ in self.pending]
        return {
            "order": torch.from_numpy(self.sampler.order.copy()),
            "random": torch.from_numpy(np.append(random["key"].astype(np.int64), [random["pos"], self.sampler.step])),
            "waiting": torch.from_numpy(np.concatenate([*waiting, np.empty(0, np.int64)])),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        *key, position, step = state["random"].numpy()
        self.sampler.random.set_state(("MT19937", np.array(key, np.uint32), int(position), 0, 0.0))
        self.sampler.order, self.sampler.step = state["order"].numpy().copy(), int(step)
        self.pending.clear()
        for indices in state["waiting"].numpy().reshape(-1, self.batch):
            self._submit(indices.copy())

    def close(self) -> None:
        self.threads.shutdown(wait=True, cancel_futures=True)

    def _read_ahead(self) -> None:
        while len(self.pending) < self.ahead:
            self._submit(self.sampler.draw(self.batch))

    def _submit(self, indices: Indices) -> None:
        self.pending.append((indices, self.threads.submit(self._read, indices)))

    def _read(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """A batch of images, uint8, flipped where they are to be, and their positions in the (sub)set [N]."""
        positions = indices % len(self.chosen)
        images = self.images.images(self.chosen[positions])
        flipped, pixels = indices >= len(self.chosen), images.numpy()
        pixels[flipped] = pixels[flipped, ..., ::-1]
        where = torch.from_numpy(positions)
        return (images.pin_memory(), where.pin_memory()) if self.pins else (images, where)


def grid_positions(feed: Feed, rows: int, columns: int, seed: int) -> Indices:
    """Positions of the reals of a grid: drawn by the seed; with labels, each row keeps to one class."""
    random = np.random.RandomState(seed)
    if feed.labels is None:
        return np.resize(random.permutation(len(feed.chosen)), rows * columns)
    labels = feed.labels.cpu().numpy()
    return np.concatenate(list(_rows_by_class(labels, rows, columns, random)))


def _rows_by_class(labels: Indices, rows: int, columns: int, random: np.random.RandomState) -> Iterator[Indices]:
    classes = np.unique(labels)
    for row in range(rows):
        yield np.resize(random.permutation(np.flatnonzero(labels == classes[row % len(classes)])), columns)
