"""How long training waits for its images, as a share of the step: `python tests/benchmarks/feed.py`. Prints JSON, asserts nothing."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from reader import written

from foxgan.gan.config import TrainConfig
from foxgan.gan.sampler import Feed
from foxgan.gan.trainer import Trainer


class Held:
    """A feed that gives the same batch again and again, for a trainer whose own feed is being timed."""

    def __init__(self, feed: Feed) -> None:
        self.batch, self.random_labels = feed.next(), feed.random_labels

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.batch


def waiting(feed: Feed, step: Callable[[], object], steps: int) -> dict[str, float]:
    """Seconds per step, and the share of them in which the feed was not ready."""
    feed.next()
    step()
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        feed.next()
        waited += time.perf_counter() - asked
        step()
    seconds = time.perf_counter() - start
    return {"step_ms": round(1000 * seconds / steps, 1), "waiting_percent": round(100 * waited / seconds, 2)}


def training(folder: Path, side: int, batch: int, steps: int) -> None:
    """A real training on the CPU: the decoding threads and the networks share its cores."""
    dataset = written(folder, "png", 200, side, 3)
    for workers in (1, 2):
        config = TrainConfig(
            batch=batch, channel_base=1024, channel_max=64, z_dim=64, w_dim=64, workers=workers, aug="noaug"
        )
        trainer = Trainer(config.resolved(side, side), dataset, torch.device("cpu"))
        real = trainer.feed
        trainer.feed = Held(real)  # type: ignore[assignment]
        found = waiting(real, trainer.step, steps)
        real.close()
        print(json.dumps({"case": "training", "side": side, "batch": batch, "threads": workers} | found))


def fast_device(folder: Path, side: int, batch: int, milliseconds: float) -> None:
    """A device that is always faster than a CPU: a step is a sleep, and only decoding uses the cores."""
    dataset = written(folder, "png", 64, side, 3)
    for workers in (1, 2, 4):
        feed = Feed(dataset, batch, workers=workers)
        found = waiting(feed, lambda: time.sleep(milliseconds / 1000), 40)
        feed.close()
        case = {"case": "a device that needs", "ms": milliseconds, "side": side, "batch": batch, "threads": workers}
        print(json.dumps(case | found))


def main() -> None:
    cases = [(training, 32, 32, 12), (training, 256, 8, 4), (fast_device, 256, 32, 50), (fast_device, 1024, 4, 50)]
    for case, side, batch, extent in cases:
        with tempfile.TemporaryDirectory() as root:
            case(Path(root), side, batch, extent)


if __name__ == "__main__":
    main()
