"""Stage `export`: one file to give away or to ship, without what only the next step of its own training needs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from foxgan.errors import StageError
from foxgan.stages.base import Context, Stage, Weights
from foxgan.stages.weights import model_path


class Export(Stage):
    """Make one small file of a trained model, to draw from and to start other trainings from."""

    name = "export"
    room = "models"
    results = ("model.safetensors",)

    model: Weights = Field(description="Output of `train`, a model file, or a model's name")
    half: bool = Field(True, description="Store half precision: half the size, the same pictures within a grey level")
    discriminator: bool = Field(
        True, description="Keep the discriminator, which a training from this model starts with"
    )

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.provenance import ATTRIBUTION
        from foxgan.gan.card import write_card
        from foxgan.gan.checkpoint import MODEL_FILE, save_snapshot
        from foxgan.gan.model import load_model
        from foxgan.images import write_bytes

        found = model_path(self.model, ctx)
        model = load_model(found)
        if self.discriminator and model.D is None:
            raise StageError(f"export: {self.model} holds no discriminator; say discriminator: false")
        path = out / MODEL_FILE
        save_snapshot(
            path,
            G_ema=model.G_ema,
            D=model.D if self.discriminator else None,
            network=model.network,
            training=model.info or {},
            half=self.half,
        )
        listed = (found if found.is_dir() else found.parent) / ATTRIBUTION
        if model.format == "foxgan" and listed.is_file():
            write_bytes(out / ATTRIBUTION, listed.read_bytes())
        write_card(out, out.name, model.network, model.info or {})
        ctx.record(megabytes=round(path.stat().st_size / 1e6, 2), nimg=(model.info or {}).get("nimg"))
