"""Stage `align`: turn, move and scale the windows of heads until the heads agree with each other."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foxgan.errors import StageError
from foxgan.stages.base import Context, Field, Input, Keys, Row, Stage
from foxgan.stages.selecting import decoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from polars import DataFrame

    from foxgan.images import Pixels

# What a head keeps of the row that it was, beside the columns of provenance.
CARRIED = ("path", "parent", "width", "height", "group", "split", "label", "score", "keypoints", "class", "traits")
FEW = 12  # heads that have no mean worth following
SHOWN = 48  # heads on the contact sheet
REACH = 1.5  # side of what is looked at, in sides of the head's box


class Align(Stage):
    """Bring heads into one position without labels: each is turned, moved and scaled until it agrees with the mean of its like.

    Its rows are those of `detect` with a square box and a `roll` of its own, so that `crop` still cuts once, from the photo.
    """

    name = "align"
    machine_params = frozenset({"workers"})
    whole_params = frozenset({"start", "max_roll", "clusters"})
    reads = ("id",)  # of a head: the digest of its photo and box
    borrows = True

    heads: Input = Field(description="Output of `detect`, or photos whose heads are known")
    start: Literal["keypoints", "box"] = Field(
        "keypoints", description="Begin from eyes and nose, where they are known, or always from the box"
    )
    max_roll: float = Field(30, ge=0, le=90, description="Turn no head by more than this, in degrees")
    clusters: int | None = Field(
        None, ge=1, le=256, description="Means that heads may follow; default one for 25 heads, at most 32"
    )
    workers: int | None = Field(
        None, ge=0, description="Processes that cut small pictures; default one per core, 0 for none"
    )

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        from foxgan.dataset.index import read_heads

        return read_heads(self.heads)["id"]

    def run(self, out: Path, ctx: Context) -> None:
        import polars as pl

        from foxgan.dataset.index import PROVENANCE, read_heads, write_index

        found = read_heads(self.heads).sort("parent", "id")
        if found.is_empty():
            raise StageError("align: its input has no head to look at; see why its index dropped them all")
        done = ctx.each(
            out,
            found.select("id", "box", "path"),
            Looker,
            keys=found["id"],
            description="Looking at heads",
            workers=self.workers,
            batch=32,
        )
        done = done.select("item", *(c for c in ("box", "features", "status") if c in done.columns))
        rows = found.select("id", *PROVENANCE, *CARRIED)[done["item"]].hstack(done.drop("item"))
        known = rows.filter(pl.col("features").is_not_null()) if "features" in rows.columns else rows.clear()
        if known.is_empty():
            reasons = ", ".join(sorted(set(rows["status"])))
            raise StageError(
                f"align: none of {len(rows)} heads can be looked at ({reasons}); look at the photos that its input names"
            )
        lost = rows.join(known, on="id", how="anti", maintain_order="left")
        aligned = self._aligned(known, out, ctx)
        write_index(out, pl.concat([aligned, lost.drop("features", strict=False)], how="diagonal"))

    def _aligned(self, rows: DataFrame, out: Path, ctx: Context) -> DataFrame:
        """The rows with the boxes and rolls at which their heads agree."""
        import numpy as np

        from foxgan.vision.congeal import congeal
        from foxgan.vision.motions import gradients

        thumbs = [_thumb(text) for text in rows["features"]]
        boxes = np.array(rows["box"].to_list(), np.float64)
        start, spread = _beginnings(boxes, rows["keypoints"].to_list() if self.start == "keypoints" else [])
        motions = start
        if len(rows) < FEW:
            ctx.warn(
                f"align: {len(rows)} heads are too few to have a mean that is worth following; they stay as they are"
            )
        else:
            with ctx.phase("align"):
                fields = [gradients(thumb) for thumb in thumbs]
                track = partial(_tracked, ctx)
                found = congeal(fields, start, spread, self.max_roll, self.clusters, track)
            motions = found.motions
            facts = {"agreement_before": found.before.mean(), "agreement": found.after.mean()}
            ctx.record(heads=len(rows), **{name: round(float(value), 4) for name, value in facts.items()})
        with ctx.phase("sheets"):
            _write_sheets(out, thumbs, motions)
        return _placed(rows.drop("features"), boxes, motions)


class Looker:
    """Cuts the small pictures that heads are aligned by."""

    def __init__(self) -> None:
        self.photo: tuple[str, Pixels | str] | None = None

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self._looked(item)] for item in items]

    def _looked(self, item: Row) -> Row:
        from foxgan import images
        from foxgan.vision import crop, motions

        if self.photo is None or self.photo[0] != item["path"]:
            self.photo = item["path"], decoded(item["path"])
        photo = self.photo[1]
        if isinstance(photo, str):
            return {"status": photo}
        box = crop.clipped_box(item["box"], *photo.shape[:2])
        if box is None:
            return {"status": "no_box"}
        size = motions.SIDE, motions.SIDE
        thumb = crop.cut(images.as_rgb(images.flatten(photo)), crop.head_window(box, size, REACH - 1), size)
        text = base64.b64encode(images.encode_jpeg(thumb, 95)).decode()
        return {"box": [round(v, 3) for v in box], "features": text}


def _thumb(text: str) -> Pixels:
    from foxgan import images

    return images.decode(base64.b64decode(text))


def _tracked(ctx: Context, rounds: range) -> Iterable[int]:
    return ctx.track(rounds, len(rounds), "Aligning heads")


def _beginnings(
    boxes: NDArray[np.float64], keypoints: list[list[float | None] | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The motions to begin from, as boxes or eyes say, and how far they may be off."""
    import numpy as np

    from foxgan.vision import align, congeal

    start = np.zeros((len(boxes), 4))
    spread = np.tile(congeal.BOX_SPREAD, (len(boxes), 1))
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    eyes = []
    for number, values in enumerate(keypoints):
        face = align.face_of(align.points_of(values, 0.3), sides[number])
        if face is not None and abs(face.roll()) <= 90:
            eyes.append(number)
            start[number, 1] = math.radians(face.roll())
            start[number, 2:] = (np.array(face.middle) - middles[number]) / (REACH / 2 * sides[number])
            spread[number] = congeal.POINTS_SPREAD
    if eyes:
        # the eyes come to lie where they lie in the boxes on average: turned with the head, that is the way from there to the middle
        shift = start[eyes, 2] + 1j * start[eyes, 3]
        turn = np.exp(1j * start[eyes, 1])
        place = 1j * np.median((shift / turn).imag)
        start[eyes, 2:] = np.stack([(shift - turn * place).real, (shift - turn * place).imag], axis=1)
    return start, spread


def _placed(rows: DataFrame, boxes: NDArray[np.float64], motions: NDArray[np.float64]) -> DataFrame:
    """The rows with their square boxes, rolls and ids."""
    import numpy as np
    import polars as pl

    from foxgan.dataset.index import COLUMNS, item_id

    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 + motions[:, 2:] * (REACH / 2 * sides)[:, None]
    half = (sides * np.exp(motions[:, 0]) / 2)[:, None]
    placed = np.round(np.concatenate([middles - half, middles + half], axis=1), 2).tolist()
    rolls = np.round(np.degrees(motions[:, 1]), 2).tolist()
    ids = [item_id(photo, box, roll) for photo, box, roll in zip(rows["parent"], placed, rolls, strict=True)]
    return rows.with_columns(
        pl.Series("id", ids, pl.String),
        pl.Series("box", placed, COLUMNS["box"]),
        pl.Series("roll", rolls, COLUMNS["roll"]),
    )


def _write_sheets(out: Path, thumbs: list[Pixels], motions: NDArray[np.float64]) -> None:
    """The mean of all heads before and after, and some heads."""
    import numpy as np

    from foxgan import images
    from foxgan.vision.motions import moved_pictures

    moved = moved_pictures(np.stack(thumbs), motions)
    (out / "sheets").mkdir(exist_ok=True)
    means = [np.round(pictures.mean(axis=0)).astype(np.uint8) for pictures in (np.stack(thumbs), moved)]
    sheet = images.contact_sheet(means, ["before", "after"], tile=320, columns=2)
    images.write(out / "sheets" / "means.jpg", sheet, quality=90)
    chosen = range(0, len(moved), max(1, len(moved) // SHOWN))
    images.write(
        out / "sheets" / "aligned.jpg",
        images.contact_sheet([moved[n] for n in chosen], tile=96, columns=12),
        quality=85,
    )
