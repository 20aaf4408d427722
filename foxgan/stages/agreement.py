"""Stage `agreement`: how well a detector's heads agree with labels, those of another detector or of people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from foxgan.errors import StageError
from foxgan.stages.base import Context, Input, Stage

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.vision.agreement import Pair

SHOWN = 24  # photos on the contact sheet


class Agreement(Stage):
    """Compare found heads with labels: average precision, precision, recall, and the photos where they differ most."""

    name = "agreement"
    results = ("metrics.json",)

    heads: Input = Field(description="Output of `detect`; average precision wants a low `conf` (0.01)")
    reference: Input = Field(description="Output of `autolabel`, or of a `scrape` with labelled heads")
    split: Literal["val", "train", "test", "all"] = Field("val", description="Compare in photos of this split only")
    min_score: float = Field(0.25, ge=0, le=1, description="Heads that count for precision and recall score this much")
    classes: bool = Field(False, description="A head fits only where its class is the label's, too")

    def run(self, out: Path, ctx: Context) -> None:
        import polars as pl

        from foxgan.vision.agreement import agreement

        photos, found, labels = self._read()
        by_class = sorted(set(labels["class"].drop_nulls())) if self.classes else [None]
        ids = photos["id"].to_list()
        sure = found.filter(pl.col("score") >= self.min_score)
        every = [agreement(_pairs(ids, _of(found, name), _of(labels, name))) for name in by_class]
        at_score = [agreement(_pairs(ids, _of(sure, name), _of(labels, name))) for name in by_class]
        facts = {
            **{name: _mean(asdict(part)[name] for part in every) for name in ("map50", "map50_95")},
            **{name: _mean(asdict(part)[name] for part in at_score) for name in ("precision", "recall", "mean_iou")},
            "photos": len(photos),
            "found_heads": len(sure),
            "labelled_heads": len(labels),
        }
        (out / "metrics.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        wrong = [sum(part.missed[n] + part.extra[n] for part in at_score) for n in range(len(ids))]
        worst = [ids[n] for n in sorted(range(len(ids)), key=lambda n: (-wrong[n], ids[n])) if wrong[n]]
        with ctx.phase("sheets"):
            write_boxes(out / "worst.jpg", photos, worst[:SHOWN], sure)
        ctx.info(f"agreement: mAP50 {facts['map50']:.3f}, mAP50-95 {facts['map50_95']:.3f} in {len(ids)} photos")
        ctx.record(**facts)

    def _read(self) -> tuple[DataFrame, DataFrame, DataFrame]:
        """The photos to compare in, their found heads and their labels. Raises StageError where there are none."""
        import polars as pl

        from foxgan.dataset.index import TRUTH, read_index

        bare = [folder for folder in self.reference if not (folder / TRUTH).is_file()]
        if bare:
            raise StageError(
                f"agreement: {bare[0]}: no labelled heads ({TRUTH}); give the output of `autolabel` or labelled photos"
            )
        looked_at = read_index(self.heads, kept=False)
        looked_at = looked_at.filter(
            pl.col("parent").is_not_null() & (pl.col("box").is_null() | pl.col("score").is_not_null())
        )
        if self.split != "all":
            looked_at = looked_at.filter(pl.col("split") == self.split)
        known = read_index(self.reference)["id"]
        looked_at = looked_at.filter(pl.col("parent").is_in(known.implode())).sort("parent", "id")
        if looked_at.is_empty():
            raise StageError(
                f"agreement: `heads` and `reference` have no photo of split {self.split} in common; let `detect` look at the output of "
                "`autolabel`, or compare with split: all"
            )
        photos = looked_at.unique("parent", keep="first", maintain_order=True).select(
            pl.col("parent").alias("id"), "path"
        )
        labels = read_index(self.reference, name=TRUTH).drop_nulls("box")
        labels = labels.filter(pl.col("parent").is_in(photos["id"].implode()))
        return photos, looked_at.drop_nulls("box"), labels


def _of(heads: DataFrame, name: str | None) -> DataFrame:
    import polars as pl

    return heads if name is None else heads.filter(pl.col("class") == name)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return round(sum(numbers) / len(numbers), 5) if numbers else 0.0


def _pairs(ids: Sequence[str], found: DataFrame, labels: DataFrame) -> list[Pair]:
    """The boxes of each photo."""
    import numpy as np

    from foxgan.vision.agreement import Pair

    mine, theirs = ({key[0]: part for key, part in frame.group_by("parent")} for frame in (found, labels))

    def boxes(part: DataFrame | None) -> Any:
        return np.zeros((0, 4)) if part is None else np.array(part["box"].to_list(), float)

    def scores(part: DataFrame | None) -> Any:
        return np.zeros(0) if part is None else part["score"].to_numpy().astype(float)

    return [Pair(boxes(mine.get(i)), scores(mine.get(i)), boxes(theirs.get(i))) for i in ids]


def write_boxes(path: Path, photos: DataFrame, ids: Sequence[str], heads: DataFrame) -> None:
    """A contact sheet of the photos `ids` with the boxes of their `heads`; nothing is written for none."""
    from foxgan import images

    paths = dict(photos.select("id", "path").iter_rows())
    boxes = {k[0]: part for k, part in heads.group_by("parent", maintain_order=True)}
    pictures, texts, drawn = [], [], []
    for number in ids:
        try:
            pictures.append(images.decode(Path(paths[number])))
        except (images.ImageError, OSError):
            continue
        part = boxes.get(number)
        texts.append(
            "none" if part is None else " ".join(f"{c} {s:.2f}" for c, s in part.select("class", "score").iter_rows())
        )
        drawn.append([] if part is None else [tuple(box) for box in part["box"].to_list()])
    if pictures:
        images.write(path, images.contact_sheet(pictures, texts, drawn), 85)
