"""Stage `quality`: drop pictures that are too blurred, dark, grey, framed or written over to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foxgan.stages.base import Context, Field, Input, Row
from foxgan.stages.selecting import COLUMNS, Look, Selecting, Sheets, Shown

if TYPE_CHECKING:
    from polars import DataFrame, Expr

    from foxgan.images import Pixels


@dataclass(frozen=True)
class Check:
    """A threshold, `min_...` or `max_...`, the score that it is held against, and the reason of what it drops."""

    param: str
    score: str
    reason: str

    @property
    def lowest(self) -> bool:
        return self.param.startswith("min_")


NEAR = 2  # times a threshold; what is kept by more is not shown

# in this order: the first that a picture fails is its reason
CHECKS = (
    Check("min_side", "side", "too_small"),
    Check("max_aspect", "aspect", "odd_aspect"),
    Check("max_border", "border", "border"),
    Check("min_brightness", "brightness", "too_dark"),
    Check("max_brightness", "brightness", "too_bright"),
    Check("max_clipped", "clipped", "clipped"),
    Check("min_colour", "colour", "grey"),
    Check("min_sharpness", "sharpness", "blurry"),
    Check("max_overlay", "overlay", "overlay"),
)


class Examiner(Look):
    """Measures pictures."""

    def seen(self, picture: Pixels, path: str) -> Row:
        from foxgan.vision import quality

        height, width = picture.shape[:2]
        return {"height": height, "width": width, **quality.measure(picture)}


class Quality(Selecting):
    """Drop pictures that fall short: small, oblong, framed, dark, bright, clipped, grey, blurred, or with text over them.

    Every score is in the index. `null` switches a check off. `decisions` of a person come before all checks.
    """

    name = "quality"
    version = 2  # since slanted watermarks count as overlays
    whole_params = frozenset({*(check.param for check in CHECKS), "decisions"})
    looks = Examiner
    advice = "loosen the checks with these reasons, or switch them off (`null`)"

    min_side: int | None = Field(64, ge=1, description="Drop (too_small) what has a shorter side below this, in pixels")
    max_aspect: float | None = Field(
        3.0, ge=1, description="Drop (odd_aspect) what is longer than this times its shorter side"
    )
    max_border: float | None = Field(
        0.05, ge=0, le=1, description="Drop (border) what is an even frame or bars by more than this share"
    )
    min_brightness: float | None = Field(0.08, ge=0, le=1, description="Drop (too_dark) below this mean, 0 to 1")
    max_brightness: float | None = Field(0.95, ge=0, le=1, description="Drop (too_bright) above this mean")
    max_clipped: float | None = Field(
        0.5, ge=0, le=1, description="Drop (clipped) where more than this share of the pixels is black or white"
    )
    min_colour: float | None = Field(
        0.005, ge=0, le=1, description="Drop (grey) with hues spread less than this, where most pictures have colour"
    )
    min_sharpness: float | None = Field(0.12, ge=0, description="Drop (blurry) below this: detail by contrast")
    max_overlay: float | None = Field(
        0.004, ge=0, le=1, description="Drop (overlay) where lines of text cover more than this share"
    )
    decisions: Input | None = Field(
        None, description="Choices of a person, from `foxgan review`: they come before all checks"
    )

    def decide(self, rows: DataFrame, ctx: Context) -> tuple[DataFrame, Sheets]:
        from foxgan.dataset.decisions import apply, read_all

        thresholds = {check.param: getattr(self, check.param) for check in CHECKS}
        rows = apply(judged(rows, thresholds), read_all(self.decisions or ()), ctx.warn)
        return rows, {check.reason: _near(rows, check, thresholds[check.param]) for check in CHECKS}


def judged(rows: DataFrame, thresholds: Mapping[str, float | None]) -> DataFrame:
    """The rows with their status: kept, what it was before, or the reason of the first check that fails."""
    import polars as pl

    from foxgan.dataset.index import KEPT

    before = rows["status"] if "status" in rows.columns else pl.Series([None] * len(rows), dtype=pl.String)
    rows = rows.with_columns(before.fill_null(KEPT).alias("status"))
    for check in reversed(CHECKS):
        threshold = thresholds[check.param]
        if threshold is None or (check.reason == "grey" and not _mostly_coloured(rows, threshold)):
            continue
        failed = _score(check) < threshold if check.lowest else _score(check) > threshold
        failed &= pl.col("status").is_in([KEPT, *(c.reason for c in CHECKS)])
        rows = rows.with_columns(pl.when(failed).then(pl.lit(check.reason)).otherwise("status").alias("status"))
    return rows


def _mostly_coloured(rows: DataFrame, threshold: float) -> bool:
    """A set of grey pictures is meant to be one."""
    coloured = (rows["colour"] >= threshold).sum()
    return 2 * coloured > rows["colour"].count()


def _score(check: Check) -> Expr:
    import polars as pl

    if check.score == "side":
        return pl.min_horizontal("width", "height")
    if check.score == "aspect":
        return pl.max_horizontal("width", "height") / pl.min_horizontal("width", "height")
    return pl.col(check.score)


def _near(rows: DataFrame, check: Check, threshold: float | None) -> Shown:
    """The pictures that a check only just keeps, and those that it only just drops."""
    import polars as pl

    from foxgan.dataset.index import KEPT

    if threshold is None:
        return []
    near = rows.with_columns(_score(check).cast(pl.Float64).alias("score")).drop_nulls("score")
    score, failed = pl.col("score"), pl.col("status") == check.reason
    close = score <= NEAR * threshold if check.lowest else score >= threshold / NEAR
    near = near.filter(failed | (close & (pl.col("status") == KEPT))).sort((score - threshold).abs(), "id")
    parts = [near.filter(part).head(COLUMNS).sort("score") for part in (~failed, failed)]
    limit = f"{'min' if check.lowest else 'max'} {threshold:.3g}"
    shown = pl.concat(parts).select("path", "status", "score").iter_rows()
    return [(path, f"{status} {score:.3g}, {limit}") for path, status, score in shown]
