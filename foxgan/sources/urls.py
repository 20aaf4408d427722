"""Photos from a list of web addresses: a text file with one per line, or CSV, JSONL or Parquet with a column `url` and what is known.

Names of columns count in any case, as other tools write `URL` and `LICENSE`; an index of foxgan's own is a list, too (`image_url`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foxgan.errors import DataError
from foxgan.licenses import Policy, license_url, tidy
from foxgan.sources.candidate import Candidate, Hashes, Row, licensed, no_hashes
from foxgan.sources.fetch import Fetched
from foxgan.sources.tree import clean

COLUMNS = ("license", "license_url", "creator", "attribution", "landing_url", "group")
KNOWN = ("url", "image_url", "label", *COLUMNS)
FORMS = ".txt, .csv, .jsonl or .parquet"
PART = 100_000  # rows of a table that are held at a time


@dataclass(frozen=True)
class Urls(Fetched):
    """Lists of addresses; their bodies are in `folder` (see `fetch.download`).

    `license`: of photos of which the list does not tell it. `policy`: which licenses are taken; None: all.
    """

    lists: tuple[Path, ...]
    license: str | None = None
    policy: Policy | None = None
    name: str = "urls"

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        rows: dict[str, Row] = {}
        for path in self.lists:
            for row in read_list(path):
                rows.setdefault(row["url"], row)
        classes = sorted({row["label"] for row in rows.values() if row.get("label") and not _is_number(row["label"])})
        numbers = {name: number for number, name in enumerate(classes)}
        for url, row in rows.items():
            meta: Row = {"image_url": url, **{column: row[column] for column in COLUMNS if row.get(column)}}
            if license := meta.get("license") or self.license:
                meta["license"] = tidy(license)
                page = meta.get("license_url") or license_url(meta["license"])
                meta |= {"license_url": page} if page else {}
            if label := row.get("label"):
                meta.update({"class": label, "label": numbers.get(label, int(label) if _is_number(label) else None)})
            yield licensed(Candidate(url, (url,), meta=meta), self.policy)


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < 10  # the index keeps 32 bits


def read_list(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a list, each with a `url` and what else is known of it, all values text. Raises DataError naming the line."""
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    for number, row in readers.get(path.suffix.lower(), _read_text)(path):
        told = {k: clean(str(v)).strip() for k, v in row.items() if v is not None}
        also = told.pop("image_url", "")
        told["url"] = told.get("url") or also
        if not told["url"]:
            raise DataError(
                f'{path}:{number}: no `url` in this line; expected at least {{"url": "https://..."}}, or a column `url`'
            )
        yield told


Numbered = Iterator[tuple[int, Row]]  # the line, or else the row, where each stands


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: not readable ({error.strerror}); expected a {FORMS} file of addresses") from error


def _read_text(path: Path) -> Numbered:
    for number, line in enumerate(_lines(path), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"url": line}


def _read_csv(path: Path) -> Numbered:
    reader = csv.DictReader(_lines(path))
    known = _known(path, reader.fieldnames or ())
    for row in reader:
        yield reader.line_num, {ours: row[theirs] for ours, theirs in known.items()}


def _read_jsonl(path: Path) -> Numbered:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON ({error}); expected one object per line") from error
        found = _named(row) if isinstance(row, dict) else {}
        yield number, {ours: row[theirs] for ours, theirs in found.items()}


def _read_parquet(path: Path) -> Numbered:
    """Of the columns only those that we know, some rows at a time: lists of other tools hold long texts, too."""
    import polars as pl

    try:
        table = pl.scan_parquet(path, glob=False)
        known = _known(path, table.collect_schema().names())
        texts = [pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in known.items()]
        done, part = 0, None
        while part is None or len(part) == PART:
            part = table.select(texts).slice(done, PART).collect()
            yield from enumerate(part.iter_rows(named=True), done + 1)
            done += len(part)
    except (pl.exceptions.PolarsError, OSError) as error:
        told = str(error).strip().splitlines()[0]
        raise DataError(
            f"{path}: not a readable Parquet file of addresses ({told}); its columns must hold text"
        ) from error


def _known(path: Path, names: Sequence[str]) -> dict[str, str]:
    known = _named(names)
    if "url" not in known and "image_url" not in known:
        raise DataError(f"{path}: no column `url` or `image_url`; found {', '.join(names) or 'nothing'}")
    return known


def _named(names: Iterable[str]) -> dict[str, str]:
    """What those columns of a list that we know are called there."""
    found = {name.lower(): name for name in names} | {name: name for name in names}
    return {name: found[name] for name in KNOWN if name in found}
