"""What the stages have in common that keep some pictures and drop others: the rows stay what they were, and so do the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from foxgan.errors import StageError
from foxgan.stages.base import Context, Field, Input, Keys, Row, Stage

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.images import Pixels

TILE, COLUMNS = 160, 8  # of a contact sheet
Shown: TypeAlias = Sequence[tuple[str, str]]  # files, each with its label
Sheets: TypeAlias = Mapping[str, Shown]  # by name


class Selecting(Stage):
    """Looks at every picture by itself, and then decides over all of them. A child says how, and shows what was near."""

    machine_params = frozenset({"workers"})
    reads = ("id",)  # of a picture: the digest of its bytes or pixels
    borrows = True
    looks: ClassVar[type[Look]]
    advice: ClassVar[str]  # for a person of whose pictures none is kept

    images: Input = Field(description="Output of `scrape`, `crop`, `quality` or `duplicates`")
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
            self.looks,
            keys=pictures["id"],
            description="Looking at pictures",
            workers=self.workers,
        )
        with ctx.phase("decide"):
            rows, sheets = self.decide(inherited(done.drop("item"), pictures.drop("status"), on="id"), ctx)
        statuses = write_selection(out, rows, self.images)["status"]
        with ctx.phase("sheets"):
            for name, shown in sheets.items():
                write_sheet(out / "sheets" / f"{name}.jpg", shown)
        refuse_none(self.name, statuses, self.advice)

    def decide(self, rows: DataFrame, ctx: Context) -> tuple[DataFrame, Sheets]:
        """The rows with their status, and what to show of them."""
        raise TypeError(f"stage {self.name} does not say how it decides")


class Look:
    """Looks at the pictures of a batch; a child says at what."""

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self._row(item["path"])] for item in items]

    def _row(self, path: str) -> Row:
        picture = decoded(path)
        return {"status": picture} if isinstance(picture, str) else self.seen(picture, path)

    def seen(self, picture: Pixels, path: str) -> Row:
        """What the index says of one picture."""
        raise TypeError(f"{type(self).__name__} does not say what it sees")


def read_pictures(stage: str, folders: Sequence[Path]) -> DataFrame:
    """The kept pictures of `folders`, sorted by id. Raises StageError for heads, several of which share a picture, and for none at all."""
    from foxgan.dataset.index import read_index

    frame = read_index(folders).drop("merged").sort("id")
    if frame.is_empty():
        raise StageError(f"{stage}: its input has no picture to look at; see why its index dropped them all")
    if frame["box"].count():
        raise StageError(
            f"{stage}: its input holds heads, several of which share a photo; it takes photos or crops: use it before `detect` or "
            "after `crop`"
        )
    return frame


def write_selection(out: Path, rows: DataFrame, folders: Sequence[Path]) -> DataFrame:
    """Write the index, and beside it the heads that are known (from labels or drawings) in the pictures that are kept."""
    import polars as pl

    from foxgan.dataset.index import KEPT, TRUTH, read_index, write_index

    frame = write_index(out, rows)
    kept = frame.filter(pl.col("status") == KEPT)["id"]
    known = [read_index(folder, name=TRUTH) for folder in folders if (folder / TRUTH).is_file()]
    if known:
        heads = pl.concat(known).unique("id", keep="first", maintain_order=True)
        write_index(out, heads.filter(pl.col("parent").is_in(kept.implode())), name=TRUTH)
    return frame


def refuse_none(stage: str, statuses: Iterable[str], advice: str) -> None:
    """Raise StageError where nothing is kept, with the reasons and what to do about them."""
    from foxgan.dataset.index import KEPT

    tally = Counter(statuses)
    if not tally[KEPT]:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in tally.most_common())
        raise StageError(f"{stage}: none of {tally.total()} pictures is kept ({reasons}); {advice}")


def decoded(path: str) -> Pixels | str:
    """Pixels as the file means them, or the reason why there are none."""
    from foxgan import images

    try:
        return images.decode(Path(path), mode="any")
    except images.ImageError as error:
        return error.reason
    except OSError:
        return "missing"


def write_sheet(path: Path, shown: Shown) -> None:
    """A contact sheet of files, each with its label, as a JPEG; what cannot be read is left out, and nothing is written for none."""
    from foxgan import images

    tiles = [(picture, label) for place, label in shown if not isinstance(picture := decoded(place), str)]
    if tiles:
        path.parent.mkdir(exist_ok=True)
        pictures, labels = zip(*tiles, strict=True)
        images.write(path, images.contact_sheet(pictures, labels, tile=TILE, columns=COLUMNS), quality=85)
