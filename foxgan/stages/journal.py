"""What became of each item, one JSON line each: how a killed run goes on, and how a later artifact takes items over.

There may be hundreds of thousands of lines, so they are looked at as columns of a table, many at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from foxgan.errors import DataError

if TYPE_CHECKING:
    from polars import DataFrame, DataType, Expr, Series

Row = dict[str, Any]
Keys: TypeAlias = "Sequence[str] | Series"
JOURNAL = "items.jsonl"
PART = 1 << 22  # characters that are looked at together
# The form of a line. Keys are plain text, and JSON escapes quotes within texts, so that what follows is found in values only.
_WHOLE = r'\A\{"key": "[^"\\]*", "rows": \[[ -~]*\]\}\n\z'
_KEY = r'\A\{"key": "([^"\\]*)"'
_STATUS, _KEPT = '"status": "', '"status": "kept"'
_PATH = r'"path": "((?:[^"\\]|\\.)*)"'
# Reasons that may have passed, or that the user can help: a later run asks for these items again.
_PASSING = (
    r'"status": "(worker_died|connection|timeout|certificate|contact|robots_unreachable|http_(408|425|429|5\d\d))"'
)


class Journal:
    """The lines of a folder that is being filled; a torn last line is forgotten, and so are failures that may have passed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        lines = _facts(self.path)
        self.done = lines.filter("final").select("key")  # finished items when the journal was opened
        self.found: int = lines["end"][-1] if len(lines) else 0  # bytes of what earlier sessions wrote
        self.file = self.path.open("r+b" if self.path.exists() else "w+b")
        self.file.truncate(self.found)
        self.file.seek(self.found)

    def write(self, entries: dict[str, list[Row]]) -> None:
        """Add finished items; files that belong to them must be complete."""
        self._append(map(_line, entries.keys(), entries.values()))

    def _append(self, lines: Iterable[str]) -> None:
        self.file.write("".join(lines).encode())
        self.file.flush()

    def take_over(self, found: DataFrame, earlier: Path, out: Path) -> set[str]:
        """Make what `look_up` has found in `earlier` part of `out`, with a link to every file; keys of items whose files are lost."""
        import polars as pl

        link = Linker(earlier, out)
        lost = {key for key, path in _files(found) if not link(path)}
        self._append(found.filter(~pl.col("key").is_in(list(lost)))["line"])
        return lost

    def table(self, keys: Keys) -> DataFrame:
        """The result rows of the items `keys`, all of them done, in their order; `item` is the position of a row's item in `keys`.

        A column for each field that some row has, typed as in an index; a row without an id has its item's key. Raises DataError
        where a line is not what was written.
        """
        import polars as pl

        try:
            parts = [_rows(part.filter((pl.col("end") > self.found) | pl.col("final"))) for part in _parts(self.path)]
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path}: damaged ({error}); delete the folder and run the step again") from error
        asked = pl.DataFrame({"key": keys}, schema={"key": pl.String}).with_row_index("item")
        done = pl.concat(parts, how="diagonal") if parts else pl.DataFrame(schema={"key": pl.String})
        found = asked.join(done, on="key", maintain_order="left_right")
        named = pl.coalesce("id", "key") if "id" in found.columns else pl.col("key")
        return found.with_columns(id=named).drop("key")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self.file.fileno())
        self.file.close()


def look_up(folder: Path, wanted: DataFrame, kept_only: bool) -> DataFrame:
    """The lines that the artifact `folder` has of the `wanted` items (column `key`), with their `key`.

    `kept_only` leaves out what was dropped there, so that it is asked for again.
    """
    import polars as pl

    found = [pl.DataFrame(schema={"line": pl.String, "key": pl.String})]
    for part in _parts(folder / JOURNAL, kept_only):
        found.append(
            part.filter("final").select("line", "key").join(wanted, on="key", how="semi", maintain_order="left")
        )
    return pl.concat(found).unique("key", keep="last", maintain_order=True)


def journalled(folder: Path) -> DataFrame:
    """The column `key` of the items that need not be asked for again."""
    return _facts(folder / JOURNAL).filter("final").select("key")


def _facts(path: Path) -> DataFrame:
    import polars as pl

    none = pl.DataFrame(schema={"key": pl.String, "end": pl.Int64, "final": pl.Boolean})
    return pl.concat([none, *(part.drop("line") for part in _parts(path))], rechunk=True)


def _parts(path: Path, kept_only: bool = False) -> Iterator[DataFrame]:
    """Whole lines up to a damaged one, some at a time: with their `key`, the byte where they `end`, and whether they are `final`."""
    import polars as pl

    end = 0

    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        path.open(encoding="ascii", errors="replace", newline="\n") as file,
    ):
        while lines := file.readlines(PART):
            part = pl.DataFrame({"line": lines})
            damaged = (~part["line"].str.contains(_WHOLE)).arg_true()
            whole = part.head(damaged[0]) if len(damaged) else part
            line = pl.col("line")
            ends = end + line.str.len_bytes().cast(pl.Int64).cum_sum()
            if len(whole):
                facts = {"key": line.str.extract(_KEY), "end": ends, "final": _final(kept_only)}
                yield (known := whole.with_columns(**facts))
                end = known["end"][-1]
            if len(damaged):
                return


def _final(kept_only: bool) -> Expr:
    """Whether an item need not be asked for again."""
    import polars as pl

    line = pl.col("line")
    final = ~line.str.contains(_PASSING)
    if kept_only:
        final &= line.str.count_matches(_STATUS, literal=True) == line.str.count_matches(_KEPT, literal=True)
    return final


def _files(part: DataFrame) -> Iterator[tuple[str, str]]:
    """The key of an item and the path of a file of it, for all files."""
    import polars as pl

    paths = pl.col("line").str.extract_all(_PATH).alias("path")
    for key, path in part.select("key", paths).explode("path").drop_nulls().iter_rows():
        yield key, json.loads(f"{{{path}}}")["path"] if "\\" in path else path[len('"path": "') : -1]


def _rows(part: DataFrame) -> DataFrame:
    """What the lines say: their rows one below the other, with the `key` of each."""
    import polars as pl

    said = pl.List(pl.Struct(_fields(part)))
    rows = part["line"].str.json_decode(pl.Struct({"rows": said})).struct.field("rows")
    return part.select("key", rows).filter(pl.col("rows").list.len() > 0).explode("rows").unnest("rows")


def _fields(part: DataFrame) -> dict[str, DataType | type[DataType]]:
    """The fields in these lines; what no line has would take most of the time."""
    import polars as pl

    from foxgan.dataset.index import COLUMNS

    numbers, word = pl.List(pl.Float64), pl.String  # as exact as they were written, as a head's id is made of them
    head = pl.Struct({"box": numbers, "keypoints": numbers, "class": word, "label": pl.Int32, "traits": word})
    known = COLUMNS | {"heads": pl.List(head), "bad_labels": pl.Int32, "features": word}
    return {c: dtype for c, dtype in known.items() if part["line"].str.contains(f'"{c}": ', literal=True).any()}


def _line(key: str, rows: Iterable[Row]) -> str:
    return f'{{"key": "{key}", "rows": {json.dumps(rows)}}}\n'


class Linker:
    """Brings finished files, which nobody changes any more, from one artifact into another."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = str(source), str(target)
        self.folders: set[str] = set()

    def __call__(self, relative: str) -> bool:
        """Whether the file is in the target now: as a link where the disk can, else as a copy; False if the source has lost it.

        A name that leads elsewhere is refused: the source may have come from another machine.
        """
        if relative.startswith(("/", "\\")) or ".." in relative or ":" in relative:
            return False
        source, target = f"{self.source}/{relative}", f"{self.target}/{relative}"
        folder = target.rpartition("/")[0]
        if folder not in self.folders:
            os.makedirs(folder, exist_ok=True)
            self.folders.add(folder)
        try:
            os.link(source, target)
        except FileExistsError:
            return True
        except FileNotFoundError:
            return False
        except OSError:  # another disk, or one without links, or too many of them
            _copy(source, target)
        return True


def _copy(source: str, target: str) -> None:
    temporary = f"{target}.tmp"
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)
