"""Models that a stage was given by path or by name: found, or downloaded while people see how far it is."""

from __future__ import annotations

from pathlib import Path

from foxgan.stages.context import Context, Progress


class Megabytes:
    """Shows a download on `progress`."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.name = progress, name
        self.shown: float | None = None

    def __call__(self, done: int, total: int | None) -> None:
        if self.shown is None:
            self.progress.start(f"{self.name}, MB", round((total or 0) / 1e6))
            self.shown = 0.0
        self.progress.advance(done / 1e6 - self.shown)
        self.shown = done / 1e6


def model_path(model: str, ctx: Context) -> Path:
    """The file or folder that `model` means; a public model that is not here yet is pulled. Raises what `find_model` raises."""
    from foxgan.gan.pretrained.catalog import find_model

    try:
        return find_model(model, Megabytes(ctx.progress, model))
    finally:
        ctx.progress.finish()
