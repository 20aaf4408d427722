"""Which snapshot is the best so far: a metric of G_ema against the reals, computed while training, that takes nothing from it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foxgan.gan import ops
from foxgan.gan.checkpoint import save_best
from foxgan.gan.sampler import Indices
from foxgan.gan.trainer import Trainer

Metric = Callable[[Iterable[Tensor], Iterable[Tensor]], dict[str, float]]
"""Scores by name of batches of reals and of fakes, uint8 [N, C, H, W]. The first one decides what is best: lower is better."""

SEED = 1  # of latents and noise: the same for every snapshot and every run, so that they can be compared


class Judge:
    """Scores G_ema by `metric` on `metric_images` reals, drawn by a seed, and as many fakes with their classes (psi 1).

    `best`: the `nimg` of the best snapshot so far, the `metric` and its `value`; None without any. `verdict` tells it in words.
    """

    def __init__(self, metric: Metric | None, trainer: Trainer) -> None:
        self.metric, self.trainer = metric, trainer
        self.best: dict[str, Any] | None = None
        self.verdict = ""
        order = np.random.RandomState(SEED).permutation(len(trainer.feed.chosen))
        self.positions = np.resize(order, trainer.config.metric_images)

    @property
    def best_nimg(self) -> int | None:
        return self.best["nimg"] if self.best else None

    def scores(self, nimg: int) -> dict[str, float]:
        """What the metric says of the networks as they are, after `nimg` images."""
        assert self.metric is not None
        with torch.inference_mode():
            found = self.metric(self._reals(), self._fakes())
        name, value = next(iter(found.items()))
        if self.best is None or value < self.best["value"]:
            self.best = {"nimg": nimg, "metric": name, "value": value}
        best = f"best: {self.best['value']:.4g} at {self.best['nimg'] / 1000:g} kimg"
        self.verdict = f"{name} {value:.4g} at {nimg / 1000:g} kimg ({best})"
        return found

    def save(self, folder: Path) -> None:
        """Note in `folder` which snapshot is best, if one is."""
        if self.best is not None:
            save_best(folder, self.best)

    def _chunks(self) -> Iterator[Indices]:
        size = self.trainer.config.batch_gpu
        return (self.positions[start : start + size] for start in range(0, len(self.positions), size))

    def _reals(self) -> Iterator[Tensor]:
        feed = self.trainer.feed
        return (feed.images.images(feed.chosen[chunk]).to(self.trainer.device) for chunk in self._chunks())

    def _fakes(self) -> Iterator[Tensor]:
        trainer, device = self.trainer, self.trainer.device
        random = torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(SEED)
        for chunk in self._chunks():
            z = ops.randn([len(chunk), trainer.config.network.z_dim], device, random)
            c = trainer.feed.one_hot(torch.from_numpy(chunk).to(device))
            pixels = ops.to_uint8(trainer.G_ema(z, c, generator=random))
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
