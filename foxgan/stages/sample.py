"""From seeds to pictures: one PNG each, and a grid of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from foxgan.devices import Device
from foxgan.gan.backends import BACKEND_HELP, Backend, backend_device, check_backend
from foxgan.latents.seeds import normal_seeds, parse_seeds
from foxgan.stages.base import Context, Row, Stage, Weights
from foxgan.stages.weights import model_path

if TYPE_CHECKING:
    from foxgan.gan.stylegan2 import Generator
    from foxgan.images import Pixels

Seeds = Annotated[str, BeforeValidator(normal_seeds)]
Classes = Annotated[list[int] | None, BeforeValidator(lambda v: [v] if isinstance(v, int) else v)]
MAX_GRID = 400  # pictures; more would make a file that no viewer opens


class Sample(Stage):
    """Draw pictures from a trained generator, one per seed."""

    name = "sample"
    machine_params = frozenset({"device"})
    results = ("images/*.png", "grid.png")

    model: Weights = Field(description="Output of `train`, a model file, or a model's name")
    seeds: Seeds = Field("0-59", description="Which pictures: 0-59, 1,5,7-9, or a list of numbers")
    psi: float = Field(
        0.7, ge=-2, le=2, description="Truncation: 1 all variety, 0 the average picture, between: tidier"
    )
    cutoff: int | None = Field(None, ge=0, description="Truncate only so many layers, from the coarsest; default: all")
    noise_mode: Literal["const", "random", "none"] = Field("const", description="Fine detail: fixed, by seed, or none")
    classes: Classes = Field(None, description="Class or classes, in turn; default: all of the model's")
    columns: int | None = Field(None, ge=1, le=256, description="Pictures side by side in the grid")
    batch: int = Field(16, ge=1, le=4096, description="Pictures computed together")
    device: Device = Field("auto", description="auto: CUDA if there is one, else the CPU")
    backend: Backend = Field("torch", description=BACKEND_HELP)

    def check(self) -> None:
        """Refuse a backend that does not run on the device asked for."""
        check_backend(self.backend, self.device)

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan import images
        from foxgan.dataset.index import write_index
        from foxgan.latents import sampling

        device = backend_device(self.backend, self.device)
        ctx.record(device=device)
        with ctx.phase("load"):
            G = sampling.load_generator(model_path(self.model, ctx), device, ctx.info, self.backend)
        seeds = list(dict.fromkeys(parse_seeds(self.seeds)))
        classes = sampling.classes_of(len(seeds), G.config.c_dim, self.classes)
        (out / "images").mkdir(exist_ok=True)
        rows: list[Row] = []
        shown: list[Pixels] = []
        with ctx.phase("sample"):
            for row, picture in ctx.track(self.pictures(G, seeds, classes, out), len(seeds), "pictures"):
                rows.append(row)
                shown += [picture] if len(shown) < MAX_GRID else []
            images.save_grid(out / "grid.png", shown, self.columns or grid_columns(len(shown), G.config.c_dim))
        write_index(out, rows)
        ctx.record(**sampling.compile_facts(G))

    def pictures(
        self, G: Generator, seeds: list[int], classes: list[int | None], out: Path
    ) -> Iterator[tuple[Row, Pixels]]:
        """Each picture and its index row. A batch whose files are all there, from an interrupted run, is not computed again."""
        from foxgan import images
        from foxgan.dataset.index import canonical_json
        from foxgan.latents import sampling

        for start in range(0, len(seeds), self.batch):
            part = slice(start, start + self.batch)
            paths = [out / "images" / f"seed{seed:04d}.png" for seed in seeds[part]]
            if all(path.exists() for path in paths):
                batch = [images.decode(path, mode="any") for path in paths]
            else:
                batch = list(sampling.sample(G, seeds[part], classes[part], self.psi, self.cutoff, self.noise_mode))
            for seed, chosen, path, picture in zip(seeds[part], classes[part], paths, batch, strict=True):
                if not path.exists():
                    images.write(path, picture)
                height, width, channels = picture.shape
                yield (
                    {
                        "id": images.pixel_digest(picture),
                        "path": path.relative_to(out).as_posix(),
                        "width": width,
                        "height": height,
                        "channels": channels,
                        "source": "sample",
                        "source_id": str(seed),
                        "label": chosen,
                        "traits": canonical_json(sampling.traits_of(seed, self.psi, chosen)),
                    },
                    picture,
                )


def grid_columns(count: int, c_dim: int) -> int:
    """Columns for a grid of `count` pictures: one per class where that fits, else a shape of about 16:10."""
    return c_dim if 2 <= c_dim <= 20 and count >= c_dim else max(1, round((count * 1.6) ** 0.5))
