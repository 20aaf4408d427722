"""The last steps from what was taken in to the index: photos that must not be used, and the heads that are known from labels."""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from foxgan.dataset.index import KEPT, item_id
from foxgan.sources.candidate import Row


def without(withdrawn: frozenset[str], rows: pl.DataFrame, out: Path) -> pl.DataFrame:
    """Keep nothing of withdrawn photos but that they were withdrawn."""
    gone = rows.select(pl.col("id").is_in(list(withdrawn))).to_series()
    for path in rows.filter(gone)["path"].drop_nulls():
        (out / path).unlink(missing_ok=True)
    status = pl.when(gone).then(pl.lit("withdrawn")).otherwise("status")
    return rows.with_columns(status.alias("status"), pl.when(~gone).then("path").alias("path"))


def truth(rows: pl.DataFrame, class_name: str | None) -> Collection[Row]:
    """The heads of kept photos, as they were drawn or labelled."""
    heads: dict[str, Row] = {}
    photos = rows.filter(pl.col("status") == KEPT).unique("id", keep="first", maintain_order=True)
    for photo in photos.filter(pl.col("heads").list.len() > 0).iter_rows(named=True):
        for found in photo["heads"]:
            head = {field: value for field, value in found.items() if value is not None}
            head |= {"class": class_name} if class_name else {}
            head_id = item_id(photo["id"], head["box"], head.get("keypoints"))
            heads[head_id] = {"id": head_id, "parent": photo["id"], "split": photo.get("split"), **head}
    return heads.values()
