"""The table of all items of an artifact (`index.parquet`), dropped ones included with their reason.

One fixed list of columns serves all stages: a reader can rely on names and types, and a row keeps its license and origin from
the photo to the model card. Volatile columns (times, paths, retrieval addresses) tell nothing about meaning and stay out of digests.
"""

import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.dataset.groups import united
from foxgan.errors import DataError

INDEX = "index.parquet"
TRUTH = "truth.parquet"  # beside the index of photos: heads known from labels or drawings
KEPT = "kept"
PART = 20_000  # rows that are held as Python objects at a time
_FOLDER = rf"(?s)\A(.*[{re.escape(os.sep + (os.altsep or ''))}])"
_ESCAPED = r'[\x00-\x1f"\\]'  # what JSON cannot hold as it is

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "path": pl.String,
    "parent": pl.String,
    "photo": pl.String,
    "group": pl.String,
    "split": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "channels": pl.Int8,
    "complete": pl.Float32,  # share of the rows of a photo that broke off
    "status": pl.String,
    "source": pl.String,
    "source_id": pl.String,
    "also": pl.List(pl.String()),
    "merged": pl.Int32,
    "image_url": pl.String,
    "landing_url": pl.String,
    "license": pl.String,
    "license_url": pl.String,
    "creator": pl.String,
    "attribution": pl.String,
    "retrieved_at": pl.String,
    "validator": pl.String,  # what the server calls this state of the file: an ETag or a date
    "box": pl.List(pl.Float32()),
    "score": pl.Float32,
    "keypoints": pl.List(pl.Float32()),
    "roll": pl.Float32,
    "mirrored": pl.Boolean,
    "class": pl.String,
    "phash": pl.String,
    "sharpness": pl.Float32,
    "brightness": pl.Float32,
    "clipped": pl.Float32,
    "colour": pl.Float32,
    "border": pl.Float32,
    "overlay": pl.Float32,
    "duplicate_of": pl.String,
    "similarity": pl.Float32,
    "label": pl.Int32,
    "traits": pl.String,
}
# `photo`, the first of an item's parents, follows from `parent`
VOLATILE = frozenset({"path", "photo", "merged", "image_url", "retrieved_at", "validator"})
PROVENANCE = (
    "photo",
    "source",
    "source_id",
    "also",
    "image_url",
    "landing_url",
    "license",
    "license_url",
    "creator",
    "attribution",
    "retrieved_at",
)


# made once, as that takes longer than most values
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def item_id(*parts: Any) -> str:
    """The sha256 (hex) of what an item means: bytes as they are, everything else as canonical JSON."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else canonical_json(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return _ENCODER.encode(value)


def write_index(
    folder: Path,
    rows: Iterable[dict[str, Any]] | pl.DataFrame,
    name: str = INDEX,
    parents: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Write `rows` to `folder/index.parquet` (temporary name, then rename); absolute paths become relative to `folder`.

    Rows with the same id become one: the first stays, the others' origins go into its `also` ("source:source_id"), their number
    into `merged`. Only columns that some row fills are stored. What a row does not say itself it has from its `parent`, a row of
    `parents`. Raises DataError for an unknown column.
    """
    frame = table(rows, folder / name)
    if parents is not None:
        frame = inherited(frame, parents.rename({"id": "parent"}), on="parent")
        frame = frame.with_columns(photo=pl.coalesce("photo", "parent"))
    frame = _merge_equal(frame)
    frame = frame.with_columns(pl.col("status").fill_null(KEPT), _moved(frame["path"], lambda f: _relative(f, folder)))
    frame = frame.select([c for c in COLUMNS if c in ("id", "status") or (c in frame.columns and frame[c].count())])
    temporary = folder / f"{name}.tmp"
    data = io.BytesIO()  # polars does not tell a full disk from its own mistakes
    frame.write_parquet(data)
    temporary.write_bytes(data.getbuffer())
    os.replace(temporary, folder / name)
    return frame


def table(rows: Iterable[dict[str, Any]] | pl.DataFrame, place: Path) -> pl.DataFrame:
    """`rows` as typed columns, `id`, `status` and `path` always among them. Raises DataError, naming `place`, for an unknown column."""
    if isinstance(rows, pl.DataFrame):
        frame = rows
    else:
        waiting, parts = iter(rows), []
        while part := list(islice(waiting, PART)):
            columns = {key for row in part for key in row}
            schema = {c: COLUMNS.get(c, pl.Null) for c in columns}
            parts.append(pl.DataFrame({c: [row.get(c) for row in part] for c in columns}, schema=schema, strict=False))
        frame = pl.concat(parts, how="diagonal") if parts else pl.DataFrame()
    if unknown := set(frame.columns) - COLUMNS.keys():
        raise DataError(f"{place}: unknown columns {sorted(unknown)}; known are {', '.join(COLUMNS)}")
    missing = [c for c in ("id", "status", "path") if c not in frame.columns]
    return frame.with_columns(pl.Series(c, [None] * len(frame), COLUMNS[c]) for c in missing)


def inherited(frame: pl.DataFrame, parents: pl.DataFrame, on: str) -> pl.DataFrame:
    """`frame` with the columns of `parents`, as far as a row has no value of its own; `on` tells the parent of a row."""
    joined = frame.join(parents, on=on, how="left", maintain_order="left")
    both = [c for c in joined.columns if f"{c}_right" in joined.columns]
    return joined.with_columns(pl.coalesce(c, f"{c}_right").alias(c) for c in both).drop(f"{c}_right" for c in both)


def _merge_equal(frame: pl.DataFrame) -> pl.DataFrame:
    """Of rows with the same id the first, in its place, with the origins of all, whose groups are one from then on."""
    if frame["id"].n_unique() == len(frame):
        return frame
    numbered = united(frame).with_row_index("row")
    several = pl.col("id").is_duplicated()
    merged: dict[str, dict[str, Any]] = {}
    for row in numbered.filter(several).iter_rows(named=True):
        first = merged.setdefault(row["id"], row)
        if first is not row:
            first["also"] = joined_origins(first, row)
            first["merged"] = (first.get("merged") or 0) + 1
    schema = {"row": numbered["row"].dtype} | {
        c: d for c, d in COLUMNS.items() if c in frame.columns or c in ("also", "merged")
    }
    firsts = pl.DataFrame(list(merged.values()), schema=schema, orient="row")
    return pl.concat([numbered.filter(~several), firsts], how="diagonal").sort("row").drop("row")


def _moved(paths: pl.Series, move: Callable[[str], str]) -> pl.Series:
    """Every path with its folder replaced by what `move` makes of it; many files share a folder."""
    folders = paths.str.extract(_FOLDER).fill_null("")
    moved = {folder: move(folder) for folder in folders.unique()}
    names = pl.DataFrame({"path": paths, "folder": folders}).select(pl.col("path").str.strip_prefix(pl.col("folder")))
    return folders.replace_strict(moved, return_dtype=pl.String).alias("path") + names["path"]


def joined_origins(first: dict[str, Any], row: dict[str, Any]) -> list[str] | None:
    """All origins of `first` beside its own ("source:source_id"), with those of `row`, a copy of it."""
    own, more = (f"{r.get('source')}:{r.get('source_id')}" for r in (first, row))
    found = dict.fromkeys([*(first.get("also") or []), more, *(row.get("also") or [])])
    return [origin for origin in found if origin != own] or None


def _relative(place: str, folder: Path) -> str:
    """A folder as it is called from `folder`, with a slash at its end; what was relative stays."""
    if not os.path.isabs(place):
        return Path(place).as_posix() + "/" if place else ""
    try:
        return Path(os.path.relpath(place, folder.resolve())).as_posix() + "/"
    except ValueError:  # another drive on Windows
        return f"{place}/"


def read_index(folders: Path | Sequence[Path], kept: bool = True, name: str = INDEX) -> pl.DataFrame:
    """The united rows of one or more artifacts; `path` comes back absolute; of equal ids the first stays, with all origins.

    What several call by their own names is one `group`. All columns of `COLUMNS` are present. `kept` leaves out dropped items. Raises
    DataError where a folder has no (readable) index.
    """
    parts = [_read_one(Path(f), name) for f in ([folders] if isinstance(folders, Path) else folders)]
    frame = pl.concat(parts) if len(parts) == 1 else united(pl.concat(parts))
    if kept:
        frame = frame.filter(pl.col("status") == KEPT)
    return _merge_equal(frame)


def _read_one(folder: Path, name: str) -> pl.DataFrame:
    path = folder / name
    if not path.is_file():
        raise DataError(
            f"{folder}: no {name} in it, so it is not the output of a stage; `foxgan scrape --source folder` makes one"
        )
    try:
        frame = pl.read_parquet(path)
        missing = [pl.lit(None, dtype).alias(c) for c, dtype in COLUMNS.items() if c not in frame.columns]
        frame = frame.with_columns(missing).select(list(COLUMNS)).cast(pl.Schema(COLUMNS))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({error}); delete the folder and run the step again"
        ) from error
    base = os.path.abspath(folder)
    return frame.with_columns(_moved(frame["path"], lambda place: os.path.normpath(os.path.join(base, place)) + os.sep))


def read_heads(folders: Sequence[Path]) -> pl.DataFrame:
    """The heads in one or more artifacts: those that `detect` found, or those known from labels and drawings beside photos."""
    heads = pl.concat([_known_heads(f) if (f / TRUTH).is_file() else read_index(f) for f in folders])
    return united(heads).unique("id", keep="first", maintain_order=True)


def _known_heads(folder: Path) -> pl.DataFrame:
    """Rows of the truth with what they do not say themselves (file, size, license ...) taken from their photo."""
    photos = read_index(folder)
    heads = read_index(folder, name=TRUTH)
    own = [c for c in COLUMNS if c not in ("path", "width", "height", "channels", *PROVENANCE)]
    photo = photos.select(pl.col("id").alias("parent"), *[c for c in COLUMNS if c not in own])
    found = heads.select(own).join(photo, on="parent", how="inner", maintain_order="left")
    return found.with_columns(photo=pl.coalesce("photo", "parent")).select(list(COLUMNS))


def index_digest(folder: Path, name: str = INDEX) -> str:
    """The sha256 of what an index means: rows sorted by id, canonical JSON of the columns that are not volatile."""
    frame = pl.read_parquet(folder / name).sort("id")
    columns = sorted(c for c in frame.columns if c not in VOLATILE and frame[c].count())
    plain = {c for c in columns if frame[c].dtype == pl.String and not frame[c].str.contains(_ESCAPED).any()}
    members = [f'"{c}":' + (pl.lit('"') + pl.col(c) + '"' if c in plain else pl.col(c)) for c in columns]
    line = pl.lit("{") + pl.concat_str(members, separator=",", ignore_nulls=True) + "}\n"
    digest = hashlib.sha256()
    for part in frame.select(columns).iter_slices(PART):
        texts = part.with_columns(_json(part[c]).alias(c) for c in columns if c not in plain)
        digest.update("".join(texts.select(line).to_series()).encode())
    return digest.hexdigest()


def _json(column: pl.Series) -> pl.Series:
    """The canonical JSON of every value, null where there is none: that of each by itself, but made for many at once."""
    if column.dtype.is_integer():
        return column.cast(pl.String)
    given = column.is_not_null()
    values = column.filter(given).to_list()
    if column.dtype == pl.Float32 and values:
        texts = canonical_json(values)[1:-1].split(",")
    elif column.dtype == pl.List(pl.Float32) and values:
        texts = [f"[{numbers}]" for numbers in canonical_json(values)[2:-2].split("],[")]
    else:
        texts = [canonical_json(value) for value in values]
    return pl.Series([None] * len(column), dtype=pl.String).scatter(given.arg_true(), texts)


def counts(folder: Path) -> dict[str, Any]:
    """`in`, `kept` and `dropped` (reason -> number) of an artifact; items merged as equal count as dropped `duplicate`."""
    frame = pl.read_parquet(folder / INDEX)
    tally = Counter(frame["status"].to_list())
    kept = tally.pop(KEPT, 0)
    if "merged" in frame.columns and (duplicates := int(frame["merged"].sum())):
        tally["duplicate"] += duplicates
    return {"in": kept + sum(tally.values()), "kept": kept, "dropped": dict(sorted(tally.items()))}
