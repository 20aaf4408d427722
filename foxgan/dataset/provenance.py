"""Whose pictures a dataset holds: `ATTRIBUTION.csv`, one row for each of them, and the counts that data and model cards tell.

All of it follows from the index, and so is no part of a digest.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.dataset.index import INDEX, counts, read_index
from foxgan.dataset.store import FILE, key
from foxgan.images import write_bytes
from foxgan.licenses import license_url, tidy

ATTRIBUTION = "ATTRIBUTION.csv"
LISTED = {  # its columns, and what they say
    "id": "The sha256 of what the picture means",
    "file": "The file, and the picture's key in it",
    "license": "License, by its SPDX name if it has one",
    "license_url": "Where the license can be read",
    "creator": "Who made the picture",
    "attribution": "How its author is to be named",
    "landing_url": "The page of the picture",
    "source": "Where it was taken from",
    "source_id": "What it is called there",
    "also": "Other places where the same picture was found",
}
MANIFEST = "foxgan.json"  # of a finished step
_BREAKS = r"[\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+"
_FORMULA = r"^\s*[=+\-@＝＋－＠]"  # https://owasp.org/www-community/attacks/CSV_Injection


@dataclass(frozen=True)
class Origins:
    """How many pictures there are, by what is known of them (most frequent first), and who made them."""

    count: int
    licenses: dict[str, int]
    sources: dict[str, int]
    classes: dict[str, int]
    creators: list[str]
    nameless: int  # pictures without a creator

    @property
    def pages(self) -> dict[str, str]:
        """The pages of the licenses that have one."""
        found = {name: license_url(name) for name in self.licenses}
        return {name: url for name, url in found.items() if url}


@dataclass(frozen=True)
class Passed:
    """A step before the dataset: how many items it was given and kept, and why it left others out."""

    name: str
    stage: str
    given: int
    kept: int
    dropped: dict[str, int]
    policy: str  # for licenses, where the step has one


def origins_of(dataset: Path) -> Origins:
    """Of the kept pictures in the index of `dataset`."""
    kept = read_index(dataset)
    named = kept["creator"].drop_nulls()
    return Origins(
        kept.height,
        _tally(_tidied(kept["license"])),
        _tally(kept["source"].fill_null("unknown")),
        _tally(kept["class"].drop_nulls()),
        list(_tally(named)),
        kept.height - len(named),
    )


def write_attribution(folder: Path, dataset: Path) -> None:
    """Put `ATTRIBUTION.csv` into `folder`: a row for every kept picture of `dataset`, sorted by id.

    `file` is where the picture is: its key in the LMDB, or its path, from `dataset`. A text that a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    kept = read_index(dataset).sort("id")
    packed = (dataset / FILE).exists()
    paths = (path and Path(os.path.relpath(path, dataset)).as_posix() for path in kept["path"])
    place = [f"{FILE}#{key(position).decode()}" for position in range(len(kept))] if packed else list(paths)
    license = _tidied(kept["license"]).alias("license")
    known = {name: license_url(name) for name in license.unique()}
    page = license.replace_strict(known, return_dtype=pl.String)
    page = kept.select(pl.coalesce("license_url", page))["license_url"]
    listed = kept.with_columns(license, page, pl.Series("file", place, pl.String), pl.col("also").list.join(" "))
    named = pl.concat_str("creator", "license", "landing_url", separator=", ", ignore_nulls=True)
    wording = pl.when(pl.col("creator").is_not_null()).then(named)
    rows = listed.with_columns(pl.coalesce("attribution", wording).alias("attribution")).select(list(LISTED))
    text = io.BytesIO()
    rows.with_columns(_harmless(c) for c in LISTED).write_csv(text, quote_style="always")
    write_bytes(folder / ATTRIBUTION, text.getvalue())


def steps_before(inputs: Sequence[Path]) -> list[Passed]:
    """The steps that pictures went through on their way into `inputs`, these included, as far as their folders are still there."""
    found: dict[Path, Passed | None] = {}

    def visit(folder: Path) -> None:
        if folder in found:
            return
        found[folder] = None
        manifest = _manifest(folder)
        for given in (manifest.get("inputs") or {}).values():
            for entry in given:
                visit(Path(entry["path"]).resolve())
        tally = manifest.get("counts") or (counts(folder) if (folder / INDEX).is_file() else None)
        if tally:
            name = str(manifest.get("step") or folder.name)
            params = manifest.get("params") or {}
            policy = str(params.get("licenses") or "")
            passed = Passed(
                name, str(manifest.get("stage") or ""), tally["in"], tally["kept"], tally["dropped"], policy
            )
            del found[folder]
            found[folder] = passed  # after what it was made from

    for path in inputs:
        visit(path.resolve())
    return [passed for passed in found.values() if passed]


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _tidied(licenses: pl.Series) -> pl.Series:
    told = licenses.fill_null("")
    return told.replace_strict({text: tidy(text) for text in told.unique()}, return_dtype=pl.String)


def _tally(values: pl.Series) -> dict[str, int]:
    counted = values.alias("value").value_counts(name="n").sort("n", "value", descending=[True, False])
    return dict(counted.iter_rows())


def _harmless(column: str) -> pl.Expr:
    text = pl.col(column).str.replace_all(_BREAKS, " ")
    return pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).alias(column)
