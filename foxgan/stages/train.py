"""Stage `train`: from a packed dataset to a generator. Its params are those of `TrainConfig`, which the library reads itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from foxgan.devices import choose_device
from foxgan.errors import StageError, UsageError
from foxgan.gan.config import TrainConfig
from foxgan.stages.base import Context, Input, Stage, Weights
from foxgan.stages.weights import model_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foxgan.gan.monitor import TrainCallbacks


class Train(TrainConfig, Stage):
    """Train StyleGAN2-ADA on a dataset, from scratch or from another model."""

    name = "train"
    version = 4  # precision: auto is mixed on CPUs with units for bfloat16
    room = "models"
    machine_params = TrainConfig.machine
    horizon_params = frozenset({"kimg"})
    results = ("snapshot-*.safetensors", "best.json")

    dataset: Input = Field(description="Output of `pack`")
    resume: Weights | None = Field(
        None, description="Start from this model: a step, a model file, or a model's name (`foxgan models list`)"
    )

    def check(self) -> None:
        for divisor, number in (
            ("batch_gpu", "batch"),
            ("mbstd_group_size", "batch_gpu"),
            ("mbstd_group_size", "batch"),
        ):
            small, large = getattr(self, divisor), getattr(self, number)
            if small and large and large % small:
                raise UsageError(f"train: {divisor}: {small} does not divide {number}: {large}")

    def units(self, counts: Sequence[int]) -> float:
        return (self.kimg or 25_000) * 1000

    def run(self, out: Path, ctx: Context) -> None:
        import torch

        from foxgan.dataset.index import INDEX
        from foxgan.dataset.lmdb import Dataset
        from foxgan.dataset.provenance import write_attribution
        from foxgan.gan.card import photos_of, write_card
        from foxgan.gan.checkpoint import read_facts
        from foxgan.gan.training import train
        from foxgan.metrics.swd import swd

        if len(self.dataset) != 1:
            raise StageError(
                f"train: dataset: takes one packed dataset, found {len(self.dataset)}; let `pack` unite them"
            )
        folder, resume = self.dataset[0], model_path(self.resume, ctx) if self.resume else None
        watcher = watcher_of(ctx)
        ctx.record(device=choose_device(self.device), threads=self.threads or torch.get_num_threads())
        with ctx.phase("train"):
            try:
                snapshot = train(self, Dataset(folder), out, resume, watcher, photos_of(folder), swd)
            finally:
                ctx.progress.finish()
        if (folder / INDEX).exists():  # the dataset may be deleted long before the model
            write_attribution(out, folder)
        network, info = read_facts(snapshot)
        write_card(out, out.name, network, info)
        ctx.record(snapshot=snapshot.name)


def watcher_of(ctx: Context) -> TrainCallbacks:
    """Callbacks that pass on to the stage's context what training tells."""
    from foxgan.gan.monitor import TrainCallbacks

    class Watcher(TrainCallbacks):
        def begin(self, nimg: int, total: int) -> None:
            self.nimg = nimg
            ctx.progress.start("Training, kimg", max(total - nimg, 0) / 1000)

        def progress(self, nimg: int, total: int, sec_per_kimg: float, seconds_left: float) -> None:
            ctx.progress.advance((nimg - self.nimg) / 1000, f"{sec_per_kimg:.3g} s/kimg")
            self.nimg = nimg

        def tick(self, row: dict[str, Any]) -> None:
            facts = {k: v for k, v in row.items() if k not in ("seconds_left", "memory_gb")}
            ctx.record(**facts)
            words = [
                f"{name} {row[name]:.3g}" for name in ("loss_G", "loss_D_real", "loss_D_fake", "r1", "p") if name in row
            ]
            pace = f"; {row['sec_per_kimg']:.3g} s/kimg" if "sec_per_kimg" in row else ""
            ctx.info(f"{row['nimg'] / 1000:.1f} kimg: {', '.join(words)}{pace}")

        def message(self, text: str) -> None:
            ctx.info(text)

        def warning(self, text: str) -> None:
            ctx.warn(text)

    return Watcher()
