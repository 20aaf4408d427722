"""What the stages have in common that keep some pictures and drop others: the rows stay what they were, and so do the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foxgan.errors import StageError

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.images import Pixels

TILE, COLUMNS = 160, 8  # of a contact sheet


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


def write_sheet(path: Path, shown: Sequence[tuple[str, str]]) -> None:
    """A contact sheet of files, each with its label, as a JPEG; what cannot be read is left out, and nothing is written for none."""
    from foxgan import images

    tiles = [(picture, label) for place, label in shown if not isinstance(picture := decoded(place), str)]
    if tiles:
        path.parent.mkdir(exist_ok=True)
        pictures, labels = zip(*tiles, strict=True)
        images.write(path, images.contact_sheet(pictures, labels, tile=TILE, columns=COLUMNS), quality=85)
