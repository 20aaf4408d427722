"""The training run around `Trainer`: where it starts, ticks, snapshots, and how it is interrupted and goes on to the bit.

`kimg` only says when to stop: nothing before the end depends on it, so a longer run is a shorter one that went on.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foxgan.devices import choose_device, half_is_faster, keep_freed_memory
from foxgan.errors import DataError, StageError, UsageError
from foxgan.gan import health
from foxgan.gan.best import Judge, Metric
from foxgan.gan.card import Facts, base_of, refuse_clash, terms_of
from foxgan.gan.checkpoint import latest_snapshot, latest_state, numbered, prune, save_snapshot, save_state
from foxgan.gan.config import ResolvedConfig, TrainConfig
from foxgan.gan.interruption import interruptions
from foxgan.gan.model import Model, load_model
from foxgan.gan.monitor import Grids, Stats, TrainCallbacks, Warnings, memory_gb
from foxgan.gan.sampler import ImageSet
from foxgan.gan.settings import chosen, comparable, refuse_changed
from foxgan.gan.trainer import Trainer
from foxgan.gan.transfer import start_from


def train(
    config: TrainConfig,
    images: ImageSet,
    out: Path,
    resume: str | Path | None = None,
    callbacks: TrainCallbacks | None = None,
    photos: Facts | None = None,
    metric: Metric | None = None,
) -> Path:
    """Train on `images` until `config.kimg`; goes on from what `out` holds. Returns the last snapshot, or the best one by `metric`.

    `metric` is computed, by other latents than the training's, when `config.metric` asks for it.

    A new run starts from the model `resume` (a file, a folder or a name), if given; `photos` tells whose images they are, for the
    card of the model (see `foxgan.gan.card`). Ctrl-C saves at the next iteration, then raises KeyboardInterrupt; a
    killed run goes on from its last save. On a CPU both end with the weights of an undisturbed run. Raises StageError
    when numbers become NaN or the disk is full, DataError and UsageError for inputs that don't fit.
    """
    device = torch.device(choose_device(config.device))
    source = load_model(resume) if resume else None
    base = base_of(resume, source) if resume and source else {}
    refuse_clash(base, photos or {}, config.accept_license)
    settings = config.resolved(
        images.height,
        images.width,
        images.channels,
        images.num_classes,
        len(images),
        device=device.type,
        source=source.network if source else None,
        prefer_mixed=half_is_faster(device.type),
    )
    if settings.metric != "none" and metric is None:
        raise UsageError(
            f"metric: {settings.metric}: `train` was given no function for it; pass metric=..., or metric: none"
        )
    if device.type == "cpu":
        keep_freed_memory()
    threads = torch.get_num_threads()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
        run = Run(settings, images, out, device, callbacks or TrainCallbacks(), metric)
        run.origin = {key: facts for key, facts in (("base", base), ("photos", photos)) if facts}
        return run.run(source, str(resume))
    except OSError as error:
        raise StageError(
            f"{out}: training could not go on ({error}); is the disk full or the folder read-only?"
        ) from None
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        what = " ".join(str(error).partition("\n\nSet ")[0].split())  # without advice on debugging the compiler
        raise StageError(
            f"compile: true: {what}; it needs a C++ compiler, on CUDA Triton; `compile: false` trains alike"
        ) from None
    finally:
        torch.set_num_threads(threads)


class Run:
    """One call of `train`."""

    def __init__(
        self,
        config: ResolvedConfig,
        images: ImageSet,
        out: Path,
        device: torch.device,
        callbacks: TrainCallbacks,
        metric: Metric | None,
    ) -> None:
        self.config, self.images, self.out, self.callbacks = config, images, out, callbacks
        self.total = round(config.kimg * 1000)
        self.tick_nimg = max(round(config.tick_kimg * 1000), 1)
        self.trainer = Trainer(config, images, device)
        self.judge = Judge(None if config.metric == "none" else metric, self.trainer)
        self.offsets = 0, 0  # bytes of stats.jsonl and warnings.jsonl that belong to the state we start from
        self.seconds = 0.0  # of training before this call
        self.origin: Facts = {}  # whose photos and whose weights

    def run(self, source: Model | None, resume: str) -> Path:
        try:
            fresh = not self._go_on()
            if fresh and source is not None:
                trainer = self.trainer
                report = start_from(source, trainer.G, trainer.D, trainer.G_ema, resume, self.config.adapt)
                for text in (str(report), f"terms: {terms_of(self.origin['base'])}", *source.notes):
                    self.callbacks.message(f"start from {resume}: {text}")
            self._refuse_overshoot()
            for line in chosen(self.config, self.trainer.device.type):
                self.callbacks.message(line)
            self.stats = Stats(self.out, self.offsets[0], self.trainer.nimg)
            self.warnings = Warnings(self.out, self.offsets[1])
            try:
                self.grids = Grids(self.out / "grids", self.trainer)
                if fresh:
                    self.callbacks.grid(self.grids.reals)
                    self._warn(
                        health.image_warnings(
                            self.images, self.trainer.feed.chosen, self.config, transfer=source is not None
                        )
                    )
                self._loop()
            finally:
                self.stats.close()
                self.warnings.close()
        finally:
            self.trainer.feed.close()
        return latest_snapshot(self.out)

    def _loop(self) -> None:
        trainer = self.trainer
        self.started = self.saved = self.tick_started = time.monotonic()
        self.first = self.tick_first = trainer.nimg
        self.callbacks.begin(trainer.nimg, self.total)
        with interruptions() as interrupted:
            while trainer.nimg < self.total:
                trainer.step()
                pace = self._pace()
                self.callbacks.progress(trainer.nimg, self.total, pace * 1000, pace * max(self.total - trainer.nimg, 0))
                self._maintain(interrupted.is_set())
                if interrupted.is_set() and trainer.nimg < self.total:
                    self.callbacks.message(
                        f"interrupted at {trainer.nimg / 1000:g} kimg, goes on from there when run again"
                    )
                    raise KeyboardInterrupt
        self._conclude()

    def _maintain(self, interrupted: bool) -> None:
        """What is due after an iteration: a row of numbers with a grid and a metric, a save."""
        nimg, config = self.trainer.nimg, self.config
        done, late = nimg >= self.total, time.monotonic() - self.saved > config.save_minutes * 60
        if self._due(nimg, 1):
            self._tick(self._due(nimg, config.grid_ticks), self._due(nimg, config.metric_ticks))
            self.trainer.means.sums.clear()
        if self._due(nimg, config.snapshot_ticks) or late or done or interrupted or self.judge.best_nimg == nimg:
            self._save(done)

    def _conclude(self) -> None:
        """A grid, a metric and a row for the end where none was due. They come after the state: a longer run shall not know of them."""
        nimg, config = self.trainer.nimg, self.config
        self._prune(nimg, done=True)  # a kill may have come between the last state and this
        row, grid, metric = (not self._due(nimg, n) for n in (1, config.grid_ticks, config.metric_ticks))
        if row or (metric and self.judge.metric):
            self._tick(grid, metric)
        else:
            self._measure(grid, metric=False)
        self.judge.save(self.out)

    def _pace(self) -> float:
        """Seconds per image since this call began."""
        return (time.monotonic() - self.started) / max(self.trainer.nimg - self.first, 1)

    def _due(self, nimg: int, ticks: int) -> bool:
        """Whether the step that led to `nimg` crossed a multiple of `ticks` ticks; the very first one always did."""
        every = self.tick_nimg * ticks
        return nimg == self.config.batch or nimg // every > (nimg - self.config.batch) // every

    def _measure(self, grid: bool, metric: bool) -> dict[str, float]:
        """Draw a grid, compute the metric, as asked; the numbers that come of it."""
        nimg, found = self.trainer.nimg, dict[str, float]()
        self._refuse_nan()
        if grid:
            path, found["diversity"] = self.grids.fakes(self.trainer.G_ema, nimg)
            self.callbacks.grid(path)
        if metric and self.judge.metric:
            found |= self.judge.scores(nimg)
            self.callbacks.message(self.judge.verdict)
        return found

    def _tick(self, grid: bool, metric: bool) -> None:
        """Write a row of numbers, and tell what they warn of. The pace does not count what is measured here."""
        trainer, now = self.trainer, time.monotonic()
        measured = self._measure(grid, metric)
        row: dict[str, Any] = {"nimg": trainer.nimg, "tick": trainer.nimg // self.tick_nimg}
        row |= trainer.means.values()
        row |= {"pl_mean": float(trainer.pl_mean), "p": self._p()}
        row |= {"d_accuracy": health.d_accuracy(row)} if "sign_real" in row else {}
        row |= measured
        if trainer.nimg > self.tick_first:
            row["sec_per_kimg"] = (now - self.tick_started) / (trainer.nimg - self.tick_first) * 1000
        row["seconds"] = self.seconds + now - self.started
        row["seconds_left"] = self._pace() * max(self.total - trainer.nimg, 0)
        row |= memory_gb(trainer.device)
        self.stats.write(row)
        self.tick_started, self.tick_first = time.monotonic(), trainer.nimg
        self.callbacks.tick(row)
        self._warn(health.run_warnings(self.stats.rows, self.config))

    def _warn(self, found: Mapping[str, str]) -> None:
        for text in self.warnings.tell(found, self.trainer.nimg):
            self.callbacks.warning(text)

    def _p(self) -> float:
        return float(self.trainer.augment.p) if self.trainer.augment is not None else 0.0

    def _save(self, done: bool) -> None:
        self._refuse_nan()
        trainer, nimg, now = self.trainer, self.trainer.nimg, time.monotonic()
        training: dict[str, Any] = {"nimg": nimg, "p": self._p()}
        training |= {"pl_mean": float(trainer.pl_mean), "dataset": self.images.fingerprint}
        training |= {"config": comparable(self.config)} | self.origin
        save_snapshot(
            self._snapshot_path(nimg),
            G=trainer.G,
            D=trainer.D,
            G_ema=trainer.G_ema,
            network=self.config.network,
            training=training,
        )
        tensors, facts = trainer.state()
        facts |= {"stats_bytes": self.stats.offset, "warnings_bytes": self.warnings.offset}
        facts |= {"best": self.judge.best, "seconds": self.seconds + now - self.started}
        facts |= {"dataset": self.images.fingerprint, "config": comparable(self.config)}
        save_state(self.out, nimg, tensors, facts)
        self.judge.save(self.out)
        self._prune(nimg, done)
        self.saved = time.monotonic()

    def _prune(self, nimg: int, done: bool) -> None:
        """Keep the last two snapshots, the best, and the last one by ticks: a finished folder looks the same however it came about."""
        before = sorted(n for n in numbered(self.out, "snapshot", ".safetensors") if n < nimg)
        by_ticks = [n for n in before if self._due(n, self.config.snapshot_ticks)]
        prune(self.out, {nimg, *by_ticks[-1:], *([] if done else before[-1:])}, self.judge.best_nimg)

    def _go_on(self) -> bool:
        """Restore what `out` holds; False if there is nothing."""
        found = latest_state(self.out)
        if found is None:
            return False
        snapshot, tensors, facts = found
        if facts["dataset"] != self.images.fingerprint:
            raise DataError(
                f"{self.out}: was begun with another dataset; train into a new folder, or with `resume` from its snapshot"
            )
        refuse_changed(self.out, self.config, facts["config"], snapshot)
        model = load_model(snapshot)
        assert model.G is not None and model.D is not None
        for target, saved in ((self.trainer.G, model.G), (self.trainer.D, model.D), (self.trainer.G_ema, model.G_ema)):
            target.load_state_dict(saved.state_dict())
        self.trainer.load_state(tensors, facts)
        self.offsets, self.seconds = (facts["stats_bytes"], facts.get("warnings_bytes", 0)), facts["seconds"]
        self.judge.best = facts.get("best")
        self.judge.save(self.out)  # a shorter run may have found its end better
        self.callbacks.message(f"going on from {self.trainer.nimg / 1000:g} kimg")
        return True

    def _refuse_overshoot(self) -> None:
        if self.trainer.nimg >= self.total + self.config.batch:
            raise UsageError(
                f"{self.out}: is already at {self.trainer.nimg / 1000:g} kimg, more than kimg: {self.config.kimg:g}; "
                "train into a new folder"
            )

    def _refuse_nan(self) -> None:
        broken = self.trainer.broken()
        if broken:
            good = numbered(self.out, "snapshot", ".safetensors")
            precision = " or precision: fp32" if self.config.network.num_fp16_res else ""
            last = f"{good[max(good)]}, from which `resume` can start" if good else "none yet"
            raise StageError(
                f"training broke down before {self.trainer.nimg / 1000:g} kimg: not finite: {broken}; the last good snapshot is "
                f"{last}; try a higher gamma, lower g_lr and d_lr{precision}; "
                "with the same settings it may well break down again"
            )

    def _snapshot_path(self, nimg: int) -> Path:
        return self.out / f"snapshot-{nimg:09d}.safetensors"
