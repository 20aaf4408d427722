"""`foxgan withdraw`: which photo is meant, and what has been made from it, by the ids and parents in all indexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.errors import UsageError
from foxgan.pipeline.store import Store
from foxgan.pipeline.withdrawn import Withdrawal
from foxgan.stages import MODULES, stage_class

if TYPE_CHECKING:
    import polars as pl

SHORTEST = 8  # characters of an id that may stand for it
HEX = frozenset("0123456789abcdef")


def withdraw(store: Store, item: str, reason: str) -> tuple[Withdrawal, list[Made]]:
    """Let no run from now on use the photo that `item` means; returns what is noted, and the models trained with it.

    `item` is the id of a photo, or of a head or crop of it, or the first characters of one; or `source:source_id`. Raises UsageError
    where it is not known here, or means several photos.
    """
    if not reason.strip():
        raise UsageError("--reason is empty; say why, for those who will ask")
    artifacts = [Made(store.root, manifest) for manifest in store.manifests() if manifest["stage"] in MODULES]
    photo = _photo(item, artifacts)
    touched = _touched(photo, artifacts)
    models = [made for made in touched if made.room == "models"]
    entry = Withdrawal(
        photo,
        reason,
        datetime.now(UTC).isoformat(timespec="seconds"),
        sorted({str(made.manifest["items"]) for made in touched if made.takes_in and made.manifest.get("items")}),
        sorted(made.manifest["key"] for made in models),
    )
    with store.lock(store.withdrawn.path, wait=True):
        store.withdrawn.add(entry)
    return entry, models


@dataclass(frozen=True)
class Made:
    """An artifact that is there, or was."""

    root: Path
    manifest: dict[str, Any]

    @property
    def room(self) -> str:
        return stage_class(self.manifest["stage"]).room

    @property
    def takes_in(self) -> bool:
        return stage_class(self.manifest["stage"]).takes_in

    @property
    def folder(self) -> Path:
        return self.root / self.room / f"{self.manifest['stage']}-{self.manifest['key'][:12]}"

    @property
    def inputs(self) -> set[str]:
        """Digests of what it was made from."""
        return {entry["digest"] for entries in self.manifest.get("inputs", {}).values() for entry in entries}

    @cached_property
    def rows(self) -> pl.DataFrame | None:
        """Kept items, and heads known from the beginning: id, parent, source, source_id; None where there is no index (any more)."""
        import polars as pl

        from foxgan.dataset.index import INDEX, TRUTH, read_index

        tables = [name for name in (INDEX, TRUTH) if (self.folder / name).is_file()]
        frames = [read_index(self.folder, name=name).select("id", "parent", "source", "source_id") for name in tables]
        return pl.concat(frames) if frames else None


def _photo(item: str, artifacts: list[Made]) -> str:
    """The id of the photo that is meant."""
    import polars as pl

    frames = [made.rows for made in artifacts if made.rows is not None]
    rows = (
        pl.concat(frames).unique()
        if frames
        else pl.DataFrame(schema=dict.fromkeys(("id", "parent", "source", "source_id"), pl.String))
    )
    source, colon, source_id = item.partition(":")
    if colon:
        meant = rows.filter((pl.col("source") == source) & (pl.col("source_id") == source_id))
    else:
        meant = rows.filter(pl.col("id").str.starts_with(item.lower()))
    parents = dict(rows.filter(pl.col("parent") != pl.col("id")).select("id", "parent").iter_rows())
    photos = {_origin(found, parents) for found in meant["id"]}
    if len(photos) > 1:
        shown = ", ".join(f"{photo[:16]}..." for photo in sorted(photos)[:3])
        raise UsageError(f"{item}: means {len(photos)} photos ({shown}); name one of them")
    if photos and (colon or len(item) >= SHORTEST):
        return photos.pop()
    if len(item) == 64 and HEX.issuperset(item.lower()):
        return item.lower()  # not here, and so it stays
    raise UsageError(
        f"{item}: no item here is called so; give an `id` of an index (at least {SHORTEST} characters of it), source:source_id, or all 64 "
        "characters of the sha256 of a photo that shall never come in"
    )


def _origin(item: str, parents: dict[str, str]) -> str:
    """The photo that a head or crop comes from."""
    seen = {item}
    while (parent := parents.get(item)) is not None and parent not in seen:
        seen.add(parent)
        item = parent
    return item


def _touched(photo: str, artifacts: list[Made]) -> list[Made]:
    """Artifacts that hold the photo, or something made from it; where an index is gone, its inputs and outputs tell."""
    family, touched = _Family(photo), dict[str, Made]()
    while True:
        before = len(family.ids), len(touched)
        for made in artifacts:
            holds = family.take_in(made.rows) if made.rows is not None else made.inputs & _digests(touched.values())
            if holds:
                touched[made.manifest["key"]] = made
        if (len(family.ids), len(touched)) == before:
            break
    above = {digest for made in touched.values() for digest in made.inputs}
    gone = [made for made in artifacts if made.rows is None and made.takes_in and made.manifest["digest"] in above]
    return list({made.manifest["key"]: made for made in [*touched.values(), *gone]}.values())


class _Family:
    """A photo and what was cut from it: found by parents, and by the origin that all of them carry."""

    def __init__(self, photo: str) -> None:
        self.ids, self.origins = {photo}, set[str]()

    def take_in(self, rows: pl.DataFrame) -> bool:
        """Whether some rows belong to it; they are remembered."""
        import polars as pl

        origin = pl.concat_str("source", pl.lit(":"), "source_id")
        ids, origins = list(self.ids), list(self.origins)
        found = rows.filter(pl.col("id").is_in(ids) | pl.col("parent").is_in(ids) | origin.is_in(origins))
        self.ids.update(found["id"])
        self.origins.update(found.select(origin.alias("origin"))["origin"].drop_nulls())
        return not found.is_empty()


def _digests(artifacts: Iterable[Made]) -> set[str]:
    return {made.manifest["digest"] for made in artifacts}
