"""Stage `autolabel`: what one detector found, as labels that another is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from foxgan.errors import StageError
from foxgan.stages.base import Context, Input, Stage

if TYPE_CHECKING:
    from polars import DataFrame

SHOWN = 24  # photos on a contact sheet
CARRIED = ("path", "width", "height", "group", "split", "label")


class Autolabel(Stage):
    """Make labels of the heads that a detector is sure of, to train a faster one on.

    A photo without any head is one to learn from, too. One with a head that scored less than `min_score` is left out (unsure): it
    would teach either that it is a head or that it is none. So let `detect` run with a low `conf`: what is below that, counts as nothing.
    """

    name = "autolabel"
    borrows = True

    heads: Input = Field(description="Output of `detect` with a low `conf` (0.1)")
    min_score: float = Field(0.5, ge=0, le=1, description="Heads that score this much are labels")
    val_share: float = Field(0.15, gt=0, lt=1, description="Share of photos kept aside, where they have no split yet")

    def run(self, out: Path, ctx: Context) -> None:
        import polars as pl

        from foxgan.dataset.index import KEPT, TRUTH, write_index

        found = _found(self.heads)
        photos = self._with_split(_judged(found, self.min_score))
        write_index(out, photos)
        kept = photos.filter(pl.col("status") == KEPT).select(pl.col("id").alias("parent"), pl.col("split"))
        labels = found.drop_nulls("box").select("id", "parent", "box", "class", "score")
        labels = labels.join(kept, on="parent", how="inner", maintain_order="left")
        write_index(out, labels, name=TRUTH)
        with ctx.phase("sheets"):
            _write_sheets(out, photos, found)
        ctx.record(**_facts(photos, labels))

    def _with_split(self, photos: DataFrame) -> DataFrame:
        """The kept photos say which are to learn from and which to score on."""
        import polars as pl

        from foxgan.dataset.index import KEPT
        from foxgan.stages.train_detector import split

        kept = photos.filter(pl.col("status") == KEPT)
        if kept["heads"].sum() == 0:
            unsure = int((photos["status"] == "unsure").sum())
            raise StageError(
                f"autolabel: no photo with a sure head among {len(photos)} ({unsure} have heads that score below {self.min_score}); "
                "try a smaller min_score, or other prompts or weights for `detect`"
            )
        train, val = split(kept.select("id", "group", "split").to_dicts(), self.val_share)
        parts = {row["id"]: part for part, rows in (("train", train), ("val", val)) for row in rows}
        known = pl.DataFrame(
            {"id": list(parts), "part": list(parts.values())}, schema={"id": pl.String, "part": pl.String}
        )
        joined = photos.join(known, on="id", how="left", maintain_order="left")
        return joined.with_columns(split=pl.coalesce("part", "split")).drop("part", "heads")


def _found(folders: tuple[Path, ...]) -> DataFrame:
    """All rows of `detect`. Raises StageError for something else."""
    from foxgan.dataset.index import read_index

    found = read_index(folders, kept=False).sort("parent", "id")
    boxes = found.drop_nulls("box")
    if found.is_empty() or found["parent"].null_count() or boxes["score"].null_count():
        raise StageError("autolabel: its input holds no findings of a detector; give the output of `detect`")
    return found


def _judged(found: DataFrame, min_score: float) -> DataFrame:
    """A row for each photo, with its status and the number of its heads."""
    import polars as pl

    from foxgan.dataset.index import KEPT, PROVENANCE

    has_box = pl.col("box").is_not_null()
    other = pl.col("status").filter(~has_box & ~pl.col("status").is_in(["no_head", KEPT])).first()
    unsure = (has_box & (pl.col("score") < min_score)).any()
    return (
        found.group_by("parent", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in (*CARRIED, *PROVENANCE)),
            heads=has_box.sum(),
            status=pl.coalesce(other, pl.when(unsure).then(pl.lit("unsure")), pl.lit(KEPT)),
        )
        .rename({"parent": "id"})
    )


def _facts(photos: DataFrame, labels: DataFrame) -> dict[str, int]:
    from foxgan.dataset.index import KEPT

    kept = int((photos["status"] == KEPT).sum())
    with_heads = labels["parent"].n_unique()
    return {
        "photos": len(photos),
        "labelled_photos": with_heads,
        "empty_photos": kept - with_heads,
        "unsure_photos": int((photos["status"] == "unsure").sum()),
        "labelled_heads": len(labels),
    }


def _write_sheets(out: Path, photos: DataFrame, found: DataFrame) -> None:
    """Photos with their labels, and those that were left out, to judge whether `min_score` is well chosen."""
    import polars as pl

    from foxgan.dataset.index import KEPT
    from foxgan.stages.agreement import write_boxes

    heads = found.drop_nulls("box").sort("score", descending=True)
    for name, status in (("labels", KEPT), ("unsure", "unsure")):
        ids = photos.filter(pl.col("status") == status)["id"].sort().head(SHOWN).to_list()
        write_boxes(out / f"{name}.jpg", photos, ids, heads)
