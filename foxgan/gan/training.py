"""The training run around `Trainer`: where it starts, ticks, snapshots, and how it is interrupted and goes on to the bit.

`kimg` only says when to stop: nothing before the end depends on it, so a longer run is a shorter one that went on.
"""

import time
from pathlib import Path
from typing import Any

import torch

from foxgan.devices import choose_device
from foxgan.errors import DataError, StageError, UsageError
from foxgan.gan.ada import WARN_AT
from foxgan.gan.checkpoint import Model, latest_state, load_model, numbered, prune, save_snapshot, save_state
from foxgan.gan.config import ResolvedConfig, TrainConfig
from foxgan.gan.interruption import interruptions
from foxgan.gan.monitor import Grids, StatsFile, memory_gb
from foxgan.gan.sampler import ImageSet
from foxgan.gan.trainer import Trainer
from foxgan.gan.transfer import start_from


class TrainCallbacks:
    """What a caller may want to hear of; override what matters. Nothing that happens here can change the training."""

    def begin(self, nimg: int, total: int) -> None:
        """Training is about to go from `nimg` to `total` images."""

    def progress(self, nimg: int, total: int, sec_per_kimg: float, seconds_left: float) -> None:
        """An iteration is done."""

    def tick(self, row: dict[str, Any]) -> None:
        """A row of `stats.jsonl` is written."""

    def grid(self, path: Path) -> None:
        """A grid of reals or fakes is written."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def warning(self, text: str) -> None:
        """Something that may spoil the result."""


def train(
    config: TrainConfig,
    images: ImageSet,
    out: Path,
    resume: Path | None = None,
    callbacks: TrainCallbacks | None = None,
) -> Path:
    """Train on `images` until `config.kimg` and return the last snapshot; goes on from what `out` holds.

    A new run starts from the snapshot `resume`, if given. Ctrl-C saves at the next iteration, then raises KeyboardInterrupt; a
    killed run goes on from its last save. On a CPU both end with the weights of an undisturbed run. Raises StageError
    when numbers become NaN or the disk is full, DataError and UsageError for inputs that don't fit.
    """
    device = torch.device(choose_device(config.device))
    source = load_model(resume) if resume else None
    settings = config.resolved(
        images.height,
        images.width,
        images.channels,
        images.num_classes,
        len(images),
        device=device.type,
        source=source.network if source else None,
    )
    threads = torch.get_num_threads()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Run(settings, images, out, device, callbacks or TrainCallbacks()).run(source, resume)
    except OSError as error:
        raise StageError(
            f"{out}: training could not go on ({error}); is the disk full or the folder read-only?"
        ) from None
    finally:
        torch.set_num_threads(threads)


class Run:
    """One call of `train`."""

    def __init__(
        self, config: ResolvedConfig, images: ImageSet, out: Path, device: torch.device, callbacks: TrainCallbacks
    ) -> None:
        self.config, self.images, self.out, self.callbacks = config, images, out, callbacks
        self.total = round(config.kimg * 1000)
        self.tick_nimg = max(round(config.tick_kimg * 1000), 1)
        self.trainer = Trainer(config, images, device)
        self.offset = 0  # bytes of stats.jsonl that belong to the state we start from
        self.seconds = 0.0  # of training before this call
        self.warned = False

    def run(self, source: Model | None, resume: Path | None) -> Path:
        try:
            fresh = not self._go_on()
            if fresh and source is not None:
                report = start_from(source, self.trainer.G, self.trainer.D, self.trainer.G_ema, str(resume))
                self.callbacks.message(f"start from {resume}: {report}")
            self._refuse_overshoot()
            self.callbacks.message(self._chosen())
            self.stats = StatsFile(self.out, self.offset, self.trainer.nimg)
            self.grids = Grids(self.out / "grids", self.trainer)
            try:
                if fresh:
                    self.callbacks.grid(self.grids.reals(self.trainer.feed))
                self._loop()
            finally:
                self.stats.close()
        finally:
            self.trainer.feed.close()
        return self._snapshot_path(self.trainer.nimg)

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
        if not self._due(trainer.nimg, 1):
            self._tick()  # a last row, after the state: a longer run shall not know of it

    def _maintain(self, interrupted: bool) -> None:
        """What is due after an iteration: a row of numbers, a grid, a save."""
        nimg, config = self.trainer.nimg, self.config
        done, late = nimg >= self.total, time.monotonic() - self.saved > config.save_minutes * 60
        if self._due(nimg, 1):
            self._tick()
            self.trainer.means.sums.clear()
        if self._due(nimg, config.grid_ticks) or done:
            self.callbacks.grid(self.grids.fakes(self.trainer.G_ema, nimg))
        if self._due(nimg, config.snapshot_ticks) or late or done or interrupted:
            self._save(done)

    def _pace(self) -> float:
        """Seconds per image since this call began."""
        return (time.monotonic() - self.started) / max(self.trainer.nimg - self.first, 1)

    def _due(self, nimg: int, ticks: int) -> bool:
        """Whether the step that led to `nimg` crossed a multiple of `ticks` ticks; the very first one always did."""
        every = self.tick_nimg * ticks
        return nimg == self.config.batch or nimg // every > (nimg - self.config.batch) // every

    def _tick(self) -> None:
        trainer, now = self.trainer, time.monotonic()
        self._refuse_nan()
        p = float(trainer.augment.p) if trainer.augment is not None else 0.0
        row: dict[str, Any] = {"nimg": trainer.nimg, "tick": trainer.nimg // self.tick_nimg}
        row |= trainer.means.values()
        row |= {"pl_mean": float(trainer.pl_mean), "p": p}
        row["sec_per_kimg"] = (now - self.tick_started) / max(trainer.nimg - self.tick_first, 1) * 1000
        row["seconds"] = self.seconds + now - self.started
        row["seconds_left"] = self._pace() * max(self.total - trainer.nimg, 0)
        row |= memory_gb(trainer.device)
        self.stats.write(row)
        self.tick_started, self.tick_first = now, trainer.nimg
        self.callbacks.tick(row)
        if p >= WARN_AT and trainer.ada is not None and not self.warned:
            self.warned = True
            self.callbacks.warning(
                f"augment probability {p:.2f} at {trainer.nimg / 1000:.1f} kimg: D overfits, and augmentations may leak into the "
                f"fakes (limit p_max {self.config.p_max}); more photos, mirror: true or transfer from a model help"
            )

    def _save(self, done: bool) -> None:
        self._refuse_nan()
        trainer, nimg, now = self.trainer, self.trainer.nimg, time.monotonic()
        training: dict[str, Any] = {"nimg": nimg, "p": float(trainer.augment.p) if trainer.augment is not None else 0.0}
        training |= {"pl_mean": float(trainer.pl_mean), "dataset": self.images.fingerprint}
        training["config"] = self._comparable()
        save_snapshot(
            self._snapshot_path(nimg),
            G=trainer.G,
            D=trainer.D,
            G_ema=trainer.G_ema,
            network=self.config.network,
            training=training,
        )
        tensors, facts = trainer.state()
        facts |= {"stats_bytes": self.stats.offset, "seconds": self.seconds + now - self.started}
        facts |= {"dataset": self.images.fingerprint, "config": self._comparable()}
        save_state(self.out, nimg, tensors, facts)
        self._prune(nimg, done)
        self.saved = time.monotonic()

    def _prune(self, nimg: int, done: bool) -> None:
        """Keep the last two snapshots, and the last one by ticks: with it a finished folder looks the same however it came about."""
        before = sorted(n for n in numbered(self.out, "snapshot", ".safetensors") if n < nimg)
        by_ticks = [n for n in before if self._due(n, self.config.snapshot_ticks)]
        prune(self.out, {nimg, *by_ticks[-1:], *([] if done else before[-1:])})

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
        now, then = self._comparable(), facts["config"]
        then = now | then | {"network": now["network"] | then["network"]}  # settings that came later change nothing
        then, now = (c | {f"network.{name}": value for name, value in c.pop("network").items()} for c in (then, now))
        changed = [name for name, value in now.items() if then[name] != value]
        if changed:
            words = "; ".join(f"{name}: {then[name]} -> {now[name]}" for name in changed)
            raise UsageError(f"{self.out}: was begun with other settings ({words}); {self._way_out(changed)}")
        model = load_model(snapshot)
        assert model.G is not None and model.D is not None
        for target, saved in ((self.trainer.G, model.G), (self.trainer.D, model.D), (self.trainer.G_ema, model.G_ema)):
            target.load_state_dict(saved.state_dict())
        self.trainer.load_state(tensors, facts)
        self.offset, self.seconds = facts["stats_bytes"], facts["seconds"]
        self.callbacks.message(f"going on from {self.trainer.nimg / 1000:g} kimg")
        return True

    def _way_out(self, changed: list[str]) -> str:
        """What works where a run cannot go on because of `changed` settings. In a pipeline only the machine can have changed them."""
        anew = "train anew, with `foxgan run PIPELINE --force STEP` or into a new folder"
        if self.config.precision != "auto" or set(changed) - {"network.num_fp16_res", "network.conv_clamp"}:
            return f"say the same again, or {anew}"
        return (
            "precision: auto is mixed on CUDA and fp32 elsewhere, and this run was begun on the other; go on there "
            f"(`--set STEP.device=cpu` if that was the CPU), or {anew}; `--set STEP.precision=fp32` trains alike on both"
        )

    def _comparable(self) -> dict[str, Any]:
        """The settings on which weights depend: all but when to stop, and the machine."""
        return self.config.model_dump(mode="json", exclude={"kimg"} | self.config.machine)

    def _refuse_overshoot(self) -> None:
        if self.trainer.nimg >= self.total + self.config.batch:
            raise UsageError(
                f"{self.out}: is already at {self.trainer.nimg / 1000:g} kimg, more than kimg: {self.config.kimg:g}; "
                "train into a new folder"
            )

    def _refuse_nan(self) -> None:
        broken = self.trainer.broken()
        if broken:
            good = sorted(numbered(self.out, "snapshot", ".safetensors").items())
            raise StageError(
                f"training broke down before {self.trainer.nimg / 1000:g} kimg: not finite: {broken}; "
                f"the last good snapshot is {good[-1][1] if good else 'none yet'}; try a higher gamma or lower g_lr and d_lr"
            )

    def _chosen(self) -> str:
        """The settings that were derived, for people to see."""
        names = (
            "batch",
            "batch_gpu",
            "gamma",
            "g_lr",
            "d_lr",
            "ema_kimg",
            "ema_rampup",
            "mapping_layers",
            "channel_base",
            "channel_max",
        )
        settings = self.config.model_dump(include=set(names))
        device = self.trainer.device
        return f"cfg {self.config.cfg} on {device}: " + ", ".join(
            f"{n} {settings[n]}" for n in names if settings[n] is not None
        )

    def _snapshot_path(self, nimg: int) -> Path:
        return self.out / f"snapshot-{nimg:09d}.safetensors"
