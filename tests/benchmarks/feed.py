"""How long training waits for its images, read by threads (as foxgan does) and by processes; prints JSON lines, asserts nothing.

`python tests/benchmarks/feed.py [case ...]`, see `CASES`. `wait` is the share of a step in which the training thread waited.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from reader import written

from foxgan.dataset.lmdb import Dataset
from foxgan.gan.config import TrainConfig
from foxgan.gan.sampler import Feed
from foxgan.gan.trainer import Trainer

CASES: dict[str, tuple[int, int, str, int, Any]] = {
    # side, channels, encoding, batch, and the step: real networks of at most so many channels, or milliseconds of what stands for a GPU
    "tiny-28": (28, 1, "png", 32, 16),
    "tiny-32": (32, 3, "png", 32, 16),
    "middle": (256, 3, "png", 8, 16),
    "large-50": (1024, 3, "png", 4, ("waits", 50)),  # the training thread waits for the GPU
    "large-100": (1024, 3, "png", 4, ("waits", 100)),
    "large-busy": (1024, 3, "png", 4, ("starts", 100)),  # it is busy with starting small operators
    "large-raw": (1024, 3, "raw", 4, ("waits", 50)),
    "tiny-busy": (32, 3, "png", 32, ("starts", 20)),
    "large-most": (1024, 3, "png", 4, ("waits", 0)),
    "raw-most": (1024, 3, "raw", 4, ("waits", 0)),
    "tiny-most": (32, 3, "png", 32, ("waits", 0)),
}
IMAGES, WARM, STEPS = 200, 8, 50


class Processes(torch.utils.data.Dataset[torch.Tensor]):
    """The batches of a feed by torch's DataLoader: spawned processes that read whole batches into shared memory."""

    def __init__(self, feed: Feed, workers: int) -> None:
        self.images, self.device = feed.images, feed.device
        draws = (feed.sampler.draw(feed.batch) % len(feed.chosen) for _ in iter(int, 1))
        self.batches = iter(
            torch.utils.data.DataLoader(
                self,
                sampler=draws,  # type: ignore[arg-type]
                batch_size=None,
                num_workers=workers,
                multiprocessing_context="spawn",
            )
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"images": self.images}

    def __getitem__(self, indices: Any) -> torch.Tensor:
        return self.images.images(indices)  # type: ignore[no-any-return]

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        return next(self.batches).to(self.device).float() / 127.5 - 1, torch.zeros(0)


def made(case: str, dataset: Dataset, workers: int) -> tuple[Feed, Callable[[], object]]:
    """A feed, and a training step that takes a batch from it."""
    *_, batch, step = CASES[case]
    if isinstance(step, int):
        config = TrainConfig(batch=batch, channel_max=step, z_dim=32, w_dim=32, workers=workers)
        resolved = config.resolved(dataset.height, dataset.width, dataset.channels)
        trainer = Trainer(resolved, dataset, torch.device("cpu"))
        return trainer.feed, trainer.step
    kind, milliseconds = step
    # meta: what a GPU computes, even the pixels' conversion, takes no time here
    feed, small = Feed(dataset, batch, workers=workers, device=torch.device("meta")), torch.zeros(16, 16)

    def stand_in() -> None:
        feed.next()
        end = time.perf_counter() + milliseconds / 1000
        if kind == "waits":
            time.sleep(milliseconds / 1000)
        while time.perf_counter() < end:
            small.add_(1)

    return feed, stand_in


def measured(case: str, dataset: Dataset, kind: str, workers: int) -> dict[str, Any]:
    begin, waited = time.perf_counter(), 0.0
    feed, step = made(case, dataset, workers)
    take = feed.next if kind == "threads" else Processes(feed, workers).next

    def timed() -> Any:
        nonlocal waited
        start = time.perf_counter()
        batch = take()
        waited += time.perf_counter() - start
        return batch

    feed.next = timed  # type: ignore[method-assign]
    step()
    first = time.perf_counter() - begin
    for _ in range(WARM):  # what was read ahead is used up
        step()
    waited, start, cpu = 0.0, time.perf_counter(), cpu_seconds()
    for _ in range(STEPS):
        step()
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    feed.close()
    per_step = {"step_ms": 1000 * seconds / STEPS, "wait_ms": 1000 * waited / STEPS, "cpu_ms": 1000 * cpu / STEPS}
    return {
        "case": case,
        "by": f"{workers} {kind}",
        "first_step_s": round(first, 2),
        **{name: round(value, 1) for name, value in per_step.items()},
        "wait": round(waited / seconds, 4),
        "images_per_s": round(feed.batch * STEPS / seconds, 1),
    }


def cpu_seconds() -> float:
    """Of this process and its children."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return float(sum(sum(p.cpu_times()[:2]) for p in family))


def main(cases: list[str]) -> None:
    torch.set_num_threads(1)
    for case in cases or CASES:
        side, channels, encoding, *_ = CASES[case]
        with tempfile.TemporaryDirectory() as folder:
            dataset = written(Path(folder), encoding, IMAGES, side, channels)  # type: ignore[arg-type]
            for kind in ("threads", "processes"):
                for workers in (1, 2, 4):
                    load = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
                    print(json.dumps(measured(case, dataset, kind, workers) | load), flush=True)
            del dataset  # Windows deletes no open file


if __name__ == "__main__":
    main(sys.argv[1:])
