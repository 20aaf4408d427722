"""A film that walks through the latent space from seed to seed, and back to the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from foxgan.devices import Device
from foxgan.errors import UsageError
from foxgan.gan.backends import BACKEND_HELP, Backend, backend_device, check_backend
from foxgan.latents.seeds import parse_seeds
from foxgan.stages.base import Context, Stage, Weights
from foxgan.stages.sample import Classes, Seeds
from foxgan.stages.weights import model_path

if TYPE_CHECKING:
    from foxgan.gan.stylegan2 import Generator
    from foxgan.images import Pixels


class Interpolate(Stage):
    """Make a looped film between seeds, linear in w."""

    name = "interpolate"
    machine_params = frozenset({"device"})
    results = ("film.mp4", "poster.png")

    model: Weights = Field(description="Output of `train`, a model file, or a model's name")
    seeds: Seeds = Field("0-7", description="Where the film passes, in this order; shared out among the cells")
    frames: int = Field(60, ge=1, le=10_000, description="Frames from one seed to the next")
    fps: int = Field(30, ge=1, le=240, description="Frames per second")
    easing: Literal["smooth", "none"] = Field("smooth", description="smooth: slow down at every seed; none: even speed")
    psi: float = Field(
        0.7, ge=-2, le=2, description="Truncation: 1 all variety, 0 the average picture, between: tidier"
    )
    cutoff: int | None = Field(None, ge=0, description="Truncate only so many layers, from the coarsest; default: all")
    classes: Classes = Field(None, description="Class or classes of the seeds, in turn; default: all of the model's")
    columns: int = Field(1, ge=1, le=64, description="Films side by side")
    rows: int = Field(1, ge=1, le=64, description="Films above each other")
    scale: int | None = Field(None, ge=1, le=64, description="Enlarge so many times; default: up to 384 pixels")
    upscale: Literal["lanczos", "nearest"] = Field("lanczos", description="Enlarge smoothly, or show the pixels")
    crf: int = Field(18, ge=0, le=51, description="Quality of the film: 0 lossless, 18 no visible loss, 51 poor")
    device: Device = Field("auto", description="auto: CUDA if there is one, else the CPU")
    backend: Backend = Field("torch", description=BACKEND_HELP)

    def check(self) -> None:
        """Refuse seeds that cannot be shared out evenly among the cells, two or more for each, and a backend on a foreign device."""
        check_backend(self.backend, self.device)
        seeds, cells = len(parse_seeds(self.seeds)), self.rows * self.columns
        if seeds % cells or seeds < 2 * cells:
            raise UsageError(
                f"seeds {self.seeds}: {seeds} seeds for {self.columns}x{self.rows} films; "
                f"give the same number to each, at least 2: {2 * cells}, {3 * cells}, {4 * cells} ... seeds"
            )

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan import images
        from foxgan.latents import film, sampling

        self.check()
        device = backend_device(self.backend, self.device)
        with ctx.phase("load"):
            G = sampling.load_generator(model_path(self.model, ctx), device, ctx.info, self.backend)
        seeds = parse_seeds(self.seeds)
        total = len(seeds) // (self.rows * self.columns) * self.frames
        with ctx.phase("film"):
            frames = ctx.track(self.film_frames(G, seeds), total, "frames")
            poster, frames = film.peek(frames)
            images.write(out / "poster.png", poster)
            count = film.write_film(out / "film.mp4", frames, self.fps, self.crf)
        ctx.record(device=device, frames=count, fps=self.fps, film_seconds=round(count / self.fps, 2))
        ctx.record(**sampling.compile_facts(G))

    def film_frames(self, G: Generator, seeds: list[int]) -> Iterator[Pixels]:
        """All frames as they go into the film: RGB, enlarged, with even sides."""
        from foxgan.latents import film, interpolation, sampling

        classes = sampling.classes_of(len(seeds), G.config.c_dim, self.classes)
        ws = sampling.map_seeds(G, seeds, classes, self.psi, self.cutoff)
        scale = self.scale or film.watchable_scale(G.config.height * self.rows, G.config.width * self.columns)
        for frame in interpolation.film_frames(G, ws, self.frames, self.rows, self.columns, self.easing):
            yield film.to_film_frame(frame, scale, self.upscale)
