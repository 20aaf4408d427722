"""The table of all items of an artifact (`index.parquet`), dropped ones included with their reason.

One fixed list of columns serves all stages: a reader can rely on names and types, and a row keeps its license and origin from
the photo to the model card. Volatile columns (times, paths, retrieval addresses) tell nothing about meaning and stay out of digests.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.errors import DataError

INDEX = "index.parquet"
TRUTH = "truth.parquet"  # beside the index of photos: heads known from labels or drawings
KEPT = "kept"

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "path": pl.String,
    "parent": pl.String,
    "group": pl.String,
    "split": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "channels": pl.Int8,
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
    "box": pl.List(pl.Float32()),
    "score": pl.Float32,
    "keypoints": pl.List(pl.Float32()),
    "class": pl.String,
    "phash": pl.String,
    "sharpness": pl.Float32,
    "label": pl.Int32,
    "traits": pl.String,
}
VOLATILE = frozenset({"path", "merged", "image_url", "retrieved_at"})
PROVENANCE = (
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


def item_id(*parts: Any) -> str:
    """The sha256 (hex) of what an item means: bytes as they are, everything else as canonical JSON."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else canonical_json(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_index(folder: Path, rows: Iterable[dict[str, Any]], name: str = INDEX) -> pl.DataFrame:
    """Write `rows` to `folder/index.parquet` (temporary name, then rename); absolute paths become relative to `folder`.

    Rows with the same id become one: the first stays, the others' origins go into its `also` ("source:source_id"), their number
    into `merged`. Only columns that some row fills are stored. Raises DataError for an unknown column.
    """
    merged = _merge_equal(rows)
    unknown = {key for row in merged for key in row} - COLUMNS.keys()
    if unknown:
        raise DataError(f"{folder / name}: unknown columns {sorted(unknown)}; known are {', '.join(COLUMNS)}")
    for row in merged:
        row.setdefault("status", KEPT)
        if row.get("path"):
            row["path"] = _relative(Path(row["path"]), folder)
    filled = [c for c in COLUMNS if c in ("id", "status") or any(r.get(c) is not None for r in merged)]
    frame = pl.DataFrame(
        {c: [r.get(c) for r in merged] for c in filled}, schema={c: COLUMNS[c] for c in filled}, strict=False
    )
    temporary = folder / f"{name}.tmp"
    frame.write_parquet(temporary)
    os.replace(temporary, folder / name)
    return frame


def _merge_equal(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["id"] not in merged:
            merged[row["id"]] = dict(row)
        else:
            first = merged[row["id"]]
            first["also"] = _also(first, row)
            first["merged"] = (first.get("merged") or 0) + 1
    return list(merged.values())


def _also(first: dict[str, Any], row: dict[str, Any]) -> list[str] | None:
    """All origins of `first` beside its own, with those of the equal `row`."""
    own, more = (f"{r.get('source')}:{r.get('source_id')}" for r in (first, row))
    found = dict.fromkeys([*(first.get("also") or []), more, *(row.get("also") or [])])
    return [origin for origin in found if origin != own] or None


def _relative(path: Path, folder: Path) -> str:
    if not path.is_absolute():
        return path.as_posix()
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return str(path)


def read_index(folders: Path | Sequence[Path], kept: bool = True, name: str = INDEX) -> pl.DataFrame:
    """The united rows of one or more artifacts; `path` comes back absolute; of equal ids the first stays, with all origins.

    All columns of `COLUMNS` are present. `kept` leaves out dropped items. Raises DataError where a folder has no (readable) index.
    """
    frame = pl.concat([_read_one(Path(f), name) for f in ([folders] if isinstance(folders, Path) else folders)])
    if kept:
        frame = frame.filter(pl.col("status") == KEPT)
    if frame["id"].n_unique() < len(frame):
        frame = pl.DataFrame(_merge_equal(frame.to_dicts()), schema=frame.schema)
    return frame


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
    absolute = [None if p is None else os.path.normpath(os.path.join(base, p)) for p in frame["path"]]
    return frame.with_columns(pl.Series("path", absolute, pl.String))


def read_heads(folders: Sequence[Path]) -> pl.DataFrame:
    """The heads in one or more artifacts: those that `detect` found, or those known from labels and drawings beside photos."""
    return pl.concat([_known_heads(f) if (f / TRUTH).is_file() else read_index(f) for f in folders]).unique(
        "id", keep="first", maintain_order=True
    )


def _known_heads(folder: Path) -> pl.DataFrame:
    """Rows of the truth with what they do not say themselves (file, size, license ...) taken from their photo."""
    photos = read_index(folder)
    heads = read_index(folder, name=TRUTH)
    own = [c for c in COLUMNS if c not in ("path", "width", "height", "channels", *PROVENANCE)]
    photo = photos.select(pl.col("id").alias("parent"), *[c for c in COLUMNS if c not in own])
    return heads.select(own).join(photo, on="parent", how="inner", maintain_order="left").select(list(COLUMNS))


def index_digest(folder: Path, name: str = INDEX) -> str:
    """The sha256 of what an index means: rows sorted by id, canonical JSON of the columns that are not volatile."""
    frame = pl.read_parquet(folder / name).sort("id")
    columns = [c for c in frame.columns if c not in VOLATILE and not frame[c].is_null().all()]
    digest = hashlib.sha256()
    for row in frame.select(columns).iter_rows(named=True):
        digest.update(canonical_json({k: v for k, v in row.items() if v is not None}).encode() + b"\n")
    return digest.hexdigest()


def counts(folder: Path) -> dict[str, Any]:
    """`in`, `kept` and `dropped` (reason -> number) of an artifact; items merged as equal count as dropped `duplicate`."""
    frame = pl.read_parquet(folder / INDEX)
    tally = Counter(frame["status"].to_list())
    kept = tally.pop(KEPT, 0)
    if "merged" in frame.columns and (duplicates := int(frame["merged"].sum())):
        tally["duplicate"] += duplicates
    return {"in": kept + sum(tally.values()), "kept": kept, "dropped": dict(sorted(tally.items()))}
