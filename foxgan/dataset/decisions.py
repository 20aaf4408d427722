"""What a person decided over the items of an artifact: a JSON file that `foxgan review`'s page saves, and that stages read.

    {"foxgan_decisions": 1,
     "artifact": {"stage": "crop", "digest": "9f2c..."},
     "decisions": {"<id of an item>": {"decision": "drop", "note": "two foxes", "time": "2026-01-02T03:04:05.678Z"}}}

A decision is `drop` or `keep`; note, time and the artifact that was looked at are for people. The reader is strict: a file with a
mistake in it would leave out other photos than the person meant.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.dataset.index import COLUMNS, KEPT
from foxgan.errors import DataError

FORMAT = 1
VERSION_KEY = "foxgan_decisions"
DROP, KEEP = "drop", "keep"
THROWN_OUT = "thrown_out"  # the status of what a person dropped
# Nobody brings these back: a file that is no picture, and one that may not be used any more.
FINAL = frozenset({"withdrawn", "broken", "not_an_image", "too_large", "missing", "unreadable", "worker_died"})
MAX_BYTES = 256 << 20
MAX_TEXT = 2000  # characters of an id, a note, a time
TOP = (VERSION_KEY, "artifact", "decisions")
LEVELS = ("id", "parent", "photo")  # columns that name what one may have decided over, the nearest first
PARTS = ("decision", "note", "time")


def read_decisions(path: Path) -> dict[str, str]:
    """`drop` or `keep` by the id of the item. Raises DataError that names the place in the file."""
    top = _loaded(path)
    if VERSION_KEY not in top:
        raise DataError(f"{path}: has no {VERSION_KEY!r}, so it is not a file of decisions; `foxgan review` makes one")
    if top[VERSION_KEY] != FORMAT or isinstance(top[VERSION_KEY], bool):
        raise DataError(
            f"{path}: {VERSION_KEY} is {_shown(top[VERSION_KEY])}; this foxgan reads {FORMAT}: update it, or save the file "
            "with the page of this one"
        )
    _refuse_others(path, "the file", top, TOP)
    _artifact(path, top.get("artifact"))
    decisions = top.get("decisions")
    if not isinstance(decisions, dict):
        raise DataError(f"{path}: decisions is {_shown(decisions)}; it is an object: id -> decision")
    return {item: _decision(path, item, value) for item, value in decisions.items()}


def read_all(paths: Iterable[Path]) -> dict[str, str]:
    """The decisions of several files; where two speak of the same item, the later file wins."""
    return {item: decision for path in paths for item, decision in read_decisions(path).items()}


def apply(
    frame: pl.DataFrame, decisions: dict[str, str], warn: Callable[[str], None] = lambda text: None
) -> pl.DataFrame:
    """The rows of an index (with `id`, `parent`, `photo`, `status`, `path`) with the status that the decisions give them.

    `drop` makes a kept row `thrown_out`; a row is also dropped with its parent (a crop with its head) and with the photo that it is
    from: the nearest decision counts. `keep` brings back what a stage dropped, if there is a picture of it (`path`) that can be read
    and was not withdrawn. Ids that are not here, and what cannot be brought back, are counted and told to `warn`.
    """
    if not decisions:
        return frame
    given = pl.DataFrame({"id": list(decisions), "own": list(decisions.values())})
    found = frame
    for level in LEVELS:
        found = found.join(
            given.rename({"id": level, "own": f"of {level}"}), on=level, how="left", maintain_order="left"
        )
    kept, own = pl.col("status") == KEPT, pl.col("of id")
    dropped = kept & (pl.coalesce(f"of {level}" for level in LEVELS) == DROP)
    asked = ~kept & (own == KEEP)
    possible = asked & pl.col("path").is_not_null() & ~pl.col("status").is_in(FINAL)
    _tell(found, given, asked & ~possible, warn)
    status = pl.when(dropped).then(pl.lit(THROWN_OUT)).when(possible).then(pl.lit(KEPT)).otherwise("status")
    return found.with_columns(status.alias("status")).select(frame.columns)


def decided(rows: Iterable[dict[str, Any]], paths: Sequence[Path], warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """Those of the `rows` (with `id`, `status`, `path`, maybe `parent`, `photo`) that are kept or thrown out by the files at `paths`."""
    found = list(rows)
    schema = {name: COLUMNS[name] for name in (*LEVELS, "status", "path")}
    table = pl.DataFrame({name: [row.get(name) for row in found] for name in schema}, schema=schema)
    for row, status in zip(found, apply(table, read_all(paths), warn)["status"], strict=True):
        row["status"] = status
    return [row for row in found if row["status"] in (KEPT, THROWN_OUT)]


def _tell(found: pl.DataFrame, given: pl.DataFrame, impossible: pl.Expr, warn: Callable[[str], None]) -> None:
    """Warn of decisions that change nothing here."""
    here = pl.concat([found[level] for level in LEVELS]).drop_nulls()
    unknown = given["id"].filter(~given["id"].is_in(here.implode()))
    if len(unknown):
        warn(
            f"decisions: {len(unknown)} of {len(given)} are over items that are not here (made again since, or of another step), "
            f"such as {_some(unknown)}"
        )
    lost = found.filter(impossible)
    if len(lost):
        reasons = ", ".join(sorted(set(lost["status"])))
        warn(
            f"decisions: {len(lost)} items stay dropped ({reasons}), as there is no picture of them or they were withdrawn, "
            f"such as {_some(lost['id'])}"
        )


def _some(ids: pl.Series) -> str:
    return ", ".join(str(item)[:16] for item in ids.head(3))


def _loaded(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise DataError(f"{path}: a folder; `decisions` takes the file that the page of `foxgan review` saves")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes; a file of decisions has at most {MAX_BYTES:,}")
        top = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); `foxgan review` makes such a file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not the JSON of decisions ({error}); save it again with the page") from error
    if not isinstance(top, dict):
        raise DataError(f"{path}: {_shown(top)} at its top; expected an object with {', '.join(TOP)}")
    return top


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two decisions over one item nobody knows which was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{name!r} is there twice")
    return found


def _artifact(path: Path, artifact: Any) -> None:
    if artifact is not None and not (
        isinstance(artifact, dict) and all(isinstance(v, str) and len(v) <= MAX_TEXT for v in artifact.values())
    ):
        raise DataError(f"{path}: artifact is {_shown(artifact)}; it is an object of texts, such as stage and digest")


def _decision(path: Path, item: str, value: Any) -> str:
    where = f"decision over {_shown(item)}"
    if not item or len(item) > MAX_TEXT:
        raise DataError(f"{path}: {where}: an id has 1 to {MAX_TEXT} characters")
    if not isinstance(value, dict):
        raise DataError(f'{path}: {where} is {_shown(value)}; write {{"decision": "{DROP}"}} or "{KEEP}"')
    _refuse_others(path, where, value, PARTS)
    if value.get("decision") not in (DROP, KEEP):
        raise DataError(f"{path}: {where} is {_shown(value.get('decision'))}; it is {DROP!r} or {KEEP!r}")
    for name in ("note", "time"):
        text = value.get(name, "")
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise DataError(f"{path}: {where}: {name} is {_shown(text)}; it is a text of at most {MAX_TEXT} characters")
    return str(value["decision"])


def _refuse_others(path: Path, where: str, value: dict[str, Any], valid: tuple[str, ...]) -> None:
    if unknown := sorted(value.keys() - set(valid)):
        raise DataError(f"{path}: {where} has {_shown(unknown[0])}; known are {', '.join(valid)}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
