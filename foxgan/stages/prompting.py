"""The model and the prompts of `detect`, made ready before its workers start; terms of use are told and noted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foxgan.stages.base import Context
from foxgan.stages.weights import Megabytes

if TYPE_CHECKING:
    from foxgan.stages.detect import Detect
    from foxgan.vision.prompts import Prompts

LICENSE = "AGPL-3.0 (ultralytics)"  # of all their published weights


def prepared(detect: Detect, ctx: Context) -> Prompts | None:
    """What to look for, with its vectors; public files that are not here yet are downloaded. None without prompts."""
    from foxgan.vision.known import PUBLIC, find_detector
    from foxgan.vision.prompts import prepare

    try:
        weights = find_detector(detect.model, Megabytes(ctx.progress, Path(detect.model).name))
        license = LICENSE if weights.name in PUBLIC else None
        if detect.prompts is None:
            _tell_model(ctx, weights, license)
            return None
        ready = prepare(weights, detect.prompts, detect.encoder, Megabytes(ctx.progress, "text encoder"))
    finally:
        ctx.progress.finish()
    _tell_model(ctx, weights, license or ready.license)
    if ready.source is not None:
        terms = ready.source.license or "license unknown: ask its author"
        ctx.info(f"detect: {ready.source.file}, which reads the prompts: {terms}")
        ctx.record(encoder=ready.source.file, encoder_sha256=ready.source.sha256, encoder_license=terms)
    return ready.prompts


def _tell_model(ctx: Context, weights: Path, license: str | None) -> None:
    if license is not None:
        ctx.info(f"detect: {weights.name}: {license}; what is built with it has to keep to that license")
        ctx.record(model_license=license)
