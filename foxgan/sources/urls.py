"""Photos from a list of web addresses: a text file with one per line, or CSV or JSONL with a column `url` and what is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foxgan.errors import DataError
from foxgan.sources.candidate import Candidate, Hashes, Row, no_hashes
from foxgan.sources.fetch import Fetched

COLUMNS = ("license", "license_url", "creator", "attribution", "landing_url", "group")


@dataclass(frozen=True)
class Urls(Fetched):
    """Lists of addresses; their bodies are in `folder` (see `fetch.download`)."""

    lists: tuple[Path, ...]
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
            if label := row.get("label"):
                meta.update({"class": label, "label": numbers.get(label, int(label) if _is_number(label) else None)})
            yield Candidate(url, (url,), meta=meta)


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < 10  # the index keeps 32 bits


def read_list(path: Path) -> list[dict[str, str]]:
    """The rows of a list, each with a `url`, all values text. Raises DataError naming the line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{path}: not readable ({error.strerror}); expected a .txt, .csv or .jsonl file of addresses"
        ) from error
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    rows = readers.get(path.suffix.lower(), _read_text)(path, lines)
    return [{k: str(v).strip() for k, v in row.items() if v is not None} for row in rows]


def _read_text(path: Path, lines: list[str]) -> list[Row]:
    return [{"url": line.strip()} for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _read_csv(path: Path, lines: list[str]) -> list[Row]:
    reader = csv.DictReader(lines)
    if "url" not in (reader.fieldnames or ()):
        raise DataError(f"{path}: no column `url`; found {', '.join(reader.fieldnames or ['nothing'])}")
    return [_with_url(path, reader.line_num, {k: v for k, v in row.items() if k}) for row in reader]


def _read_jsonl(path: Path, lines: list[str]) -> list[Row]:
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_with_url(path, number, json.loads(line)))
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON ({error}); expected one object per line") from error
    return rows


def _with_url(path: Path, number: int, row: Any) -> Row:
    if not isinstance(row, dict) or not row.get("url"):
        raise DataError(f'{path}:{number}: no `url` in this line; expected at least {{"url": "https://..."}}')
    return row
