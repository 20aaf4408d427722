"""Stage `duplicates`: of every picture that came in several times, keep the best copy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.stages.base import Context, Field, Input, Keys, Row, Stage
from foxgan.stages.selecting import decoded, read_pictures, refuse_none, write_selection, write_sheet

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.vision.dedupe import Likeness

PAIRS = 16  # on a contact sheet
NOT_QUITE = 0.25  # similarity from which pairs that stay are worth showing


class Duplicates(Stage):
    """Keep the best copy of every picture: exact, re-encoded, resized, mirrored and cropped ones are found.

    The best has the most pixels; then the sharpest, the most open license, the larger file. It takes over the origins of its copies.
    """

    name = "duplicates"
    version = 2  # since different shots before one background stay
    machine_params = frozenset({"workers"})
    whole_params = frozenset({"min_similarity", "crops", "mirrored"})
    reads = ("id",)  # of a picture: the digest of its bytes or pixels
    borrows = True

    images: Input = Field(description="Output of `scrape`, `crop` or `quality`")
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
    workers: int | None = Field(None, ge=0, description="Processes; default one per core, 0 for none")

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        from foxgan.dataset.index import read_index

        return read_index(self.images)["id"]

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import inherited

        pictures = read_pictures(self.name, self.images)
        done = ctx.each(
            out,
            pictures.select("id", "path"),
            Describer,
            keys=pictures["id"],
            description="Looking at pictures",
            workers=self.workers,
        )
        rows = inherited(done.drop("item"), pictures.drop("status"), on="id")
        with ctx.phase("compare"):
            rows, likeness = self._compared(rows, ctx)
        statuses = write_selection(out, rows, self.images)["status"]
        with ctx.phase("sheets"):
            _write_sheets(out, rows, likeness)
        refuse_none(self.name, statuses, "look at the files that its input names")

    def _compared(self, rows: DataFrame, ctx: Context) -> tuple[DataFrame, Likeness]:
        """The rows with their status, and the pairs of rows that were looked at."""
        import numpy as np

        from foxgan.vision.dedupe import Likeness, best_first, from_texts, likenesses

        known = rows["features"].is_not_null().arg_true().to_numpy().astype(np.int64)
        records = from_texts(rows["features"].drop_nulls())
        found = likenesses(records, self.crops, self.mirrored)
        ranks = dict(zip(known.tolist(), _ranks(rows[known], records), strict=True))
        likeness = Likeness(known[found.pairs], found.similarity)
        dropped = best_first(likeness, ranks, self.min_similarity)
        ctx.record(pairs=len(found.pairs), copies=len(dropped))
        return _marked(rows.drop("features"), dropped), likeness


class Describer:
    """Makes what the pictures of a batch are known by."""

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self._described(item["path"])] for item in items]

    def _described(self, path: str) -> Row:
        from foxgan.vision import dedupe, quality

        picture = decoded(path)
        if isinstance(picture, str):
            return {"status": picture}
        record = dedupe.describe(picture)
        record["bytes"] = min(os.path.getsize(path), 2**32 - 1)
        return {
            "phash": f"{int(record['word'][0]):016x}",
            "sharpness": quality.measure_sharpness(picture),
            "features": dedupe.as_text(record),
        }


def _ranks(rows: DataFrame, records: Any) -> list[Any]:
    """For every picture what sorts it before its copies if it is better."""
    from foxgan.vision.dedupe import openness

    pixels = (records["width"].astype("int64") * records["height"]).tolist()
    facts = zip(pixels, rows["sharpness"], rows["license"], records["bytes"].tolist(), rows["id"], strict=True)
    # differences in sharpness of less than a tenth are chance
    return [(-p, -round(s * 10), openness(licensed), -size, name) for p, s, licensed, size, name in facts]


def _marked(rows: DataFrame, dropped: dict[int, tuple[int, float]]) -> DataFrame:
    """The rows with what became of them: a copy names the picture that stays for it, which has its origins from then on."""
    import polars as pl

    from foxgan.dataset.index import KEPT, joined_origins

    ids = rows["id"].to_list()
    status = rows["status"].to_list() if "status" in rows.columns else [None] * len(rows)
    also = rows["also"].to_list()
    origins = rows.select("source", "source_id", "also").to_dicts()
    for copy, (best, _) in sorted(dropped.items()):
        status[copy] = "duplicate"
        also[best] = origins[best]["also"] = joined_origins(origins[best], origins[copy])
    return rows.with_columns(
        pl.Series("status", [s or KEPT for s in status], pl.String),
        pl.Series("also", also, pl.List(pl.String())),
        pl.Series("duplicate_of", [ids[dropped[n][0]] if n in dropped else None for n in range(len(ids))], pl.String),
        pl.Series("similarity", [dropped[n][1] if n in dropped else None for n in range(len(ids))], pl.Float32),
    )


def _write_sheets(out: Path, rows: DataFrame, likeness: Likeness) -> None:
    """The copies that are least alike, and the pairs that stay and are most alike, each beside the picture that it is compared with."""
    import polars as pl

    from foxgan.dataset.index import KEPT

    places = dict(rows.select("id", "path").iter_rows())
    dropped = rows.filter(pl.col("status") == "duplicate").sort("similarity", "id").head(PAIRS)
    shown: list[tuple[str, str]] = []
    for place, best, value in dropped.select("path", "duplicate_of", "similarity").iter_rows():
        shown += [(places[best], "kept"), (place, f"copy, {value:.2f}")]
    write_sheet(out / "sheets" / "copies.jpg", shown)
    kept, paths = (rows["status"] == KEPT).to_list(), rows["path"].to_list()
    shown = []
    for number in (-likeness.similarity).argsort(kind="stable").tolist():
        (a, b), value = likeness.pairs[number].tolist(), float(likeness.similarity[number])
        if value < NOT_QUITE or len(shown) >= 2 * PAIRS:
            break
        if kept[a] and kept[b]:
            shown += [(paths[a], "both kept"), (paths[b], f"{value:.2f}")]
    write_sheet(out / "sheets" / "no-copies.jpg", shown)
