"""How long training waits for its images, which threads read while the networks work on the same cores.

`python -m tests.benchmarks.feed [case ...]` prints JSON lines and asserts nothing. `wait_share` is the part of a step that the training
thread spends in `Feed.next`: waiting, converting to float, drawing numbers. It should be at most 0.01 where real networks train at 64 px;
what stands for a GPU sleeps, and after that the numbers alone take a millisecond.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from foxgan.dataset.codec import Encoding
from foxgan.dataset.lmdb import Dataset
from foxgan.gan.config import TrainConfig
from foxgan.gan.sampler import Feed
from foxgan.gan.trainer import Trainer
from tests.benchmarks.reader import drawn, written

WARM, SECONDS = 5, 5.0


@dataclass(frozen=True)
class Case:
    """Images, and the step that takes them: real networks with `params`, or milliseconds of what stands for a GPU."""

    side: int
    batch: int
    encoding: Encoding = "zstd"
    params: dict[str, Any] = field(default_factory=dict)
    gpu_ms: float = 0


DEMO = {"z_dim": 128, "w_dim": 128, "mapping_layers": 2, "channel_base": 1024, "channel_max": 128, "use_noise": False}
DEMO |= {"pl_weight": 0, "style_mixing": 0, "mirror": True, "aug": "noaug"}

CASES = {
    "train-64": Case(64, 16, params={"channel_base": 2048}),
    "train-64-png": Case(64, 16, "png", {"channel_base": 2048}),
    "demo": Case(64, 16, params=DEMO),
    "train-256": Case(256, 8, params={"channel_base": 2048, "channel_max": 64}),
    "gpu-1024": Case(1024, 4, gpu_ms=20),
    "gpu-1024-png": Case(1024, 4, "png", gpu_ms=20),
}


def made(case: Case, dataset: Dataset) -> tuple[Feed, Callable[[], object]]:
    """A feed, and a training step that takes a batch from it."""
    if not case.gpu_ms:
        config = TrainConfig(batch=case.batch, **case.params).resolved(case.side, case.side, dataset.channels)
        trainer = Trainer(config, dataset, torch.device("cpu"))
        return trainer.feed, trainer.step
    # meta: what a GPU computes, even the pixels' conversion, takes no time here
    feed = Feed(dataset, case.batch, device=torch.device("meta"))

    def stand_in() -> None:
        feed.next()
        time.sleep(case.gpu_ms / 1000)

    return feed, stand_in


def measured(name: str) -> dict[str, Any]:
    case = CASES[name]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows deletes no open file
        dataset = written(Path(folder), case.encoding, drawn(case.side), 200 if case.side > 64 else 2000)
        feed, step = made(case, dataset)
        take, waited = feed.next, 0.0

        def timed() -> Any:
            nonlocal waited
            start = time.perf_counter()
            batch = take()
            waited += time.perf_counter() - start
            return batch

        feed.next = timed  # type: ignore[method-assign]
        for _ in range(WARM):  # what was read ahead is used up
            step()
        waited, steps, start = 0.0, 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            step()
            steps += 1
        seconds = time.perf_counter() - start
        feed.close()
    return {
        "case": name,
        "side": case.side,
        "batch": case.batch,
        "encoding": case.encoding,
        "step": "stand-in" if case.gpu_ms else "real",
        "step_ms": round(1000 * seconds / steps, 1),
        "wait_ms": round(1000 * waited / steps, 2),
        "wait_share": round(waited / seconds, 4),
        "images_per_s": round(case.batch * steps / seconds, 1),
    }


def measure(names: list[str] | None = None) -> Iterator[dict[str, Any]]:
    for name in names or CASES:
        yield {**measured(name), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    names = parser.parse_args().cases
    for name in names:
        if name not in CASES:
            parser.error(f"case {name} does not exist; there are {', '.join(CASES)}")
    for record in measure(names):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
