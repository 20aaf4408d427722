"""The page on which a person throws out bad pictures: all items of an artifact, small, with what is known of them.

Small pictures are inside the page. The one in full is the artifact's own file, which the browser opens from the disk; where the page
has gone elsewhere without it, the small one stands in. More items than `PER_PAGE` go to further pages beside the first.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from foxgan.dataset.decisions import FINAL, FORMAT
from foxgan.dataset.index import KEPT
from foxgan.errors import UsageError, did_you_mean
from foxgan.pages.thumbnails import Thumbnail, thumbnails
from foxgan.report.artifacts import Artifacts, Row, StepReport
from foxgan.report.credits import web_address
from foxgan.report.pages import render_page, write_page
from foxgan.report.words import title_of
from foxgan.stages.context import Progress, Silent

FOLDER = Path(__file__).parent
STYLES = ("report.css", "review.css")
SCRIPTS = ("decisions.js", "review.js")
PER_PAGE = 5000
SCORE = "score of "  # begins the names of columns that hold what one can sort by
MAX_TEXT = 300  # characters of what strangers wrote
MAX_TRAITS = 12  # numbers among the traits that one can sort by
SHOWN_BY_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif"})
NEVER_BACK = frozenset({"detect"})  # stages whose dropped items nobody reads again
FACTS = ("class", "label", "split", "license", "creator", "attribution", "duplicate_of")


@dataclass(frozen=True)
class Review:
    """The artifact to look at, and those that it was made from, where pictures are of which it has none itself."""

    step: StepReport
    earlier: Sequence[StepReport]
    title: str
    foxgan_version: str
    written: str  # ISO time
    command: str = ""


def write_review(
    out_html: Path, review: Review, sort: str | None = None, limit: int | None = None, progress: Progress | None = None
) -> list[Path]:
    """Write the page, and the further ones that many items need; returns all of them.

    `sort`: a score to begin with (`-score`: its highest first), or `index`; default: the first score that the index has, as its
    lowest are the doubtful ones. `limit`: only so many items. Raises UsageError for a score that is not there.
    """
    artifacts = Artifacts([review.step, *review.earlier])
    table = artifacts.table(review.step.folder)
    scores = scores_of(table)
    name, upwards = order_of(sort, table, scores)
    numbered = table.with_columns(pl.Series("n", range(len(table)), pl.Int64))
    found = numbered.with_columns(column.alias(SCORE + column.name) for column in scores)
    found = found.sort(
        "n" if name is None else SCORE + name, "n", descending=[not upwards, False], nulls_last=True
    ).head(len(table) if limit is None else limit)
    parts = list(found.iter_slices(PER_PAGE)) or [found]
    paths = [
        out_html.with_name(f"{out_html.stem}-{i}{out_html.suffix}") if i > 1 else out_html
        for i in range(1, len(parts) + 1)
    ]
    facts = {
        "format": FORMAT,
        "stage": review.step.stage,
        "digest": str(review.step.manifest.get("digest", "")),
        "scores": scores.columns,
        "sort": -1 if name is None else scores.columns.index(name),
        "upwards": upwards,
    }
    shown = progress or Silent()
    shown.start("pictures", len(found))
    for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
        items = list(_items(part.to_dicts(), review, artifacts, path.parent, shown))
        names = [p.name for p in paths]
        data = facts | {"items": items}
        html = render_page(
            "review.html.j2", STYLES, SCRIPTS, FOLDER, page=review, names=names, number=number, data=data
        )
        write_page(path, html)
    shown.finish()
    return paths


def scores_of(table: pl.DataFrame) -> pl.DataFrame:
    """All numbers that tell items apart: columns of floats, numbers among the traits, and the size in pixels; what is no number is null."""
    columns = [table[name].cast(pl.Float64) for name, kind in table.schema.items() if kind.is_float()]
    known = {column.name for column in columns}
    columns += [column for column in _traits(table["traits"]) if column.name not in known]
    columns.append((table["width"].cast(pl.Float64) * table["height"]).alias("pixels"))
    finite = [column.set(~column.is_finite().fill_null(True), None) for column in columns]
    return pl.DataFrame([column for column in finite if column.n_unique() > 1])


def _traits(traits: pl.Series) -> Iterator[pl.Series]:
    rows = [_numbers(text) for text in traits.to_list()]
    names = dict.fromkeys(name for row in rows for name in row)
    for name in list(names)[:MAX_TRAITS]:
        yield pl.Series(name, [row.get(name) for row in rows], pl.Float64)


def _numbers(text: str | None) -> dict[str, float]:
    try:
        traits = json.loads(text or "{}")
    except ValueError:
        return {}
    found = traits.items() if isinstance(traits, dict) else ()
    return {k: float(v) for k, v in found if isinstance(v, int | float) and not isinstance(v, bool)}


def order_of(sort: str | None, table: pl.DataFrame, scores: pl.DataFrame) -> tuple[str | None, bool]:
    """The score to sort by (None: as in the index), and whether the lowest come first."""
    if sort is None:
        return next((name for name in scores.columns if name in table.columns), None), True
    name, upwards = sort.removeprefix("-"), not sort.startswith("-")
    if name == "index":
        return None, upwards
    if name not in scores.columns:
        valid = ["index", *scores.columns]
        raise UsageError(f"--sort {sort}: no such score{did_you_mean(name, valid)}; there are {', '.join(valid)}")
    return name, upwards


def _items(
    rows: list[Row], review: Review, artifacts: Artifacts, beside: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    """What the page knows of each of `rows`."""
    origins = artifacts.with_pictures(review.step, rows)
    wanted = [(origin["path"], _box(origin["box"])) for origin in origins]
    for row, (path, box), thumbnail in zip(rows, wanted, thumbnails(wanted), strict=True):
        item = _facts(row)
        if thumbnail is not None:
            item |= _picture(thumbnail, box, _address(Path(path), beside))
            back = row["path"] and row["status"] not in {KEPT, *FINAL} and review.step.stage not in NEVER_BACK
            item |= {"rescue": True} if back else {}
        progress.advance()
        yield item


def _facts(row: Row) -> dict[str, Any]:
    name = row["source_id"] or row["id"][:12]
    facts = [(title_of(key), str(row[key])) for key in FACTS if row.get(key) not in (None, "")]
    facts.append(("from", f"{row['source']}: {name}" if row["source"] else row["id"][:12]))
    if row["width"] and row["height"]:
        facts.append(("size", f"{row['width']} × {row['height']}"))
    return {
        "n": row["n"],
        "id": row["id"],
        "name": name[:MAX_TEXT],
        "status": row["status"],
        "reason": title_of(row["status"]),
        "url": web_address(row["landing_url"]),
        "facts": [(key, text[:MAX_TEXT]) for key, text in facts],
        "scores": [value for key, value in row.items() if key.startswith(SCORE)],
    }


def _picture(thumbnail: Thumbnail, box: Sequence[float] | None, address: str) -> dict[str, Any]:
    found = {"thumb": thumbnail.picture.uri, "width": thumbnail.width, "height": thumbnail.height, "file": address}
    if box:
        return found | {"box": [round(v, 1) for v in box]}
    return found | ({"pixelated": True} if thumbnail.picture.pixelated else {})


def _box(box: Sequence[float] | None) -> list[float] | None:
    return [float(v) for v in box] if box and len(box) == 4 and all(map(math.isfinite, box)) else None


def _address(path: Path, folder: Path) -> str:
    """How a page in `folder` names a file on the same disk; nothing where browsers do not show such files."""
    if path.suffix.lower() not in SHOWN_BY_BROWSERS:
        return ""
    try:
        return quote(Path(os.path.relpath(path, folder.resolve())).as_posix())
    except ValueError:  # another drive on Windows
        return path.as_uri()
