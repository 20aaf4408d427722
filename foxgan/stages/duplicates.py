"""Stage `duplicates`: of every picture that came in several times, keep the best copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from foxgan.stages.base import Context, Field, Row
from foxgan.stages.selecting import Look, Selecting, Sheets, Shown

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.images import Pixels
    from foxgan.vision.dedupe import Likeness

PAIRS = 16  # on a contact sheet
NOT_QUITE = 0.25  # similarity from which pairs that stay are worth showing


class Describer(Look):
    """Makes what pictures are known by."""

    def seen(self, picture: Pixels, path: str) -> Row:
        from foxgan.vision import dedupe, quality

        record = dedupe.describe(picture)
        record["bytes"] = min(os.path.getsize(path), 2**32 - 1)
        return {
            "phash": f"{int(record['word'][0]):016x}",
            "sharpness": quality.measure_sharpness(picture),
            "features": dedupe.as_text(record),
        }


class Duplicates(Selecting):
    """Keep the best copy of every picture: exact, re-encoded, resized, mirrored and cropped ones are found.

    The best has the most pixels; then the sharpest, the most open license, the larger file. It takes over the origins of its copies.
    """

    name = "duplicates"
    version = 2  # since different shots before one background stay, and the groups of copies are one
    whole_params = frozenset({"min_similarity", "crops", "mirrored"})
    looks = Describer
    advice = "look at the files that its input names"

    min_similarity: float = Field(
        0.5,
        gt=0.25,
        le=1,
        description="Pictures at least this alike are copies: 1 to the last pixel, below 0.4 different pictures",
    )
    crops: float | None = Field(
        0.5,
        ge=0.4,
        le=1,
        description="Look for crops down to this share of a picture's sides; null: whole pictures only",
    )
    mirrored: bool = Field(True, description="Mirror images are copies, too")

    def decide(self, rows: DataFrame, ctx: Context) -> tuple[DataFrame, Sheets]:
        import numpy as np
        import polars as pl

        from foxgan.vision.dedupe import Likeness, best_first, from_texts, likenesses

        if "features" not in rows.columns:  # no picture could be read
            rows = rows.with_columns(features=pl.lit(None, pl.String))
        known = rows["features"].is_not_null().arg_true().to_numpy().astype(np.int64)
        records = from_texts(rows["features"].drop_nulls())
        found = likenesses(records, self.crops, self.mirrored)
        ranks = dict(zip(known.tolist(), _ranks(rows[known], records), strict=True))
        likeness = Likeness(known[found.pairs], found.similarity)
        dropped = best_first(likeness, ranks, self.min_similarity)
        ctx.record(pairs=len(found.pairs), copies=len(dropped))
        marked = _marked(rows.drop("features"), dropped)
        return marked, {"copies": _copies(marked), "no-copies": _no_copies(marked, likeness)}


def _ranks(rows: DataFrame, records: Any) -> list[Any]:
    """For every picture what sorts it before its copies if it is better."""
    from foxgan.vision.dedupe import openness

    pixels = (records["width"].astype("int64") * records["height"]).tolist()
    facts = zip(pixels, rows["sharpness"], rows["license"], records["bytes"].tolist(), rows["id"], strict=True)
    # differences in sharpness of less than a tenth are chance
    return [(-p, -round(s * 10), openness(licensed), -size, name) for p, s, licensed, size, name in facts]


def _marked(rows: DataFrame, dropped: dict[int, tuple[int, float]]) -> DataFrame:
    """The rows with what became of them: a copy names the picture that stays for it, which has its origins from then on, and both are
    in one group with all that was in one with either."""
    import polars as pl

    from foxgan.dataset.groups import united
    from foxgan.dataset.index import KEPT, joined_origins

    ids = rows["id"].to_list()
    status = rows["status"].to_list() if "status" in rows.columns else [None] * len(rows)
    also, groups = rows["also"].to_list(), rows["group"].to_list()
    same: list[tuple[str, str]] = []
    origins = rows.select("source", "source_id", "also").to_dicts()
    for copy, (best, _) in sorted(dropped.items()):
        status[copy] = "duplicate"
        also[best] = origins[best]["also"] = joined_origins(origins[best], origins[copy])
        groups[best] = groups[best] or groups[copy]
        same += [(groups[best], groups[copy])] if groups[copy] else []
    marked = rows.with_columns(
        pl.Series("status", [s or KEPT for s in status], pl.String),
        pl.Series("also", also, pl.List(pl.String())),
        pl.Series("group", groups, pl.String),
        pl.Series("duplicate_of", [ids[dropped[n][0]] if n in dropped else None for n in range(len(ids))], pl.String),
        pl.Series("similarity", [dropped[n][1] if n in dropped else None for n in range(len(ids))], pl.Float32),
    )
    return united(marked, same)


def _copies(rows: DataFrame) -> Shown:
    """The copies that are least alike, each after the picture that stays for it."""
    import polars as pl

    places = dict(rows.select("id", "path").iter_rows())
    dropped = rows.filter(pl.col("status") == "duplicate").sort("similarity", "id").head(PAIRS)
    pairs = dropped.select("path", "duplicate_of", "similarity").iter_rows()
    return [shown for path, best, value in pairs for shown in ((places[best], "kept"), (path, f"copy, {value:.2f}"))]


def _no_copies(rows: DataFrame, likeness: Likeness) -> Shown:
    """The pairs that stay and are most alike."""
    from foxgan.dataset.index import KEPT

    kept, paths = (rows["status"] == KEPT).to_list(), rows["path"].to_list()
    shown: list[tuple[str, str]] = []
    for number in (-likeness.similarity).argsort(kind="stable").tolist():
        (a, b), value = likeness.pairs[number].tolist(), float(likeness.similarity[number])
        if value < NOT_QUITE or len(shown) >= 2 * PAIRS:
            break
        if kept[a] and kept[b]:
            shown += [(paths[a], "both kept"), (paths[b], f"{value:.2f}")]
    return shown
