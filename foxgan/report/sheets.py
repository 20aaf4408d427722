"""Contact sheets: a few pictures of every step, with what the step found in them or why it left them out."""

import json
from pathlib import Path
from typing import Literal

import polars as pl

from foxgan.errors import DataError
from foxgan.report import works
from foxgan.report.artifacts import GENERATED, Artifacts, Row, StepReport
from foxgan.report.pictures import embed, load, spread
from foxgan.report.shots import Box, Sheet, Shot, sheet_of
from foxgan.report.words import plural, title_of

PER_SHEET = 24
GALLERY = 60  # generated pictures are what it was all for
PHOTO, TILE = 400, 144  # longest sides, in pixels
TINY = 96  # items up to this size are shown as tiles, whatever their shape
TRUTH_NOTE = " Dashed: where the heads are known to be."


def sheets_of(step: StepReport, artifacts: Artifacts) -> list[Sheet]:
    """All that there is to see of a step, whatever stage it is; what is not there is left out."""
    folder = step.folder
    if folder is None or not folder.is_dir():
        return []
    found = [_kept(step, artifacts), _dropped(step, artifacts)]
    found += [works.fakes(folder), works.reals(folder), works.film(step, folder), works.plots(folder)]
    found.append(works.near(folder))
    return [sheet for sheet in found if sheet is not None]


def _kept(step: StepReport, artifacts: Artifacts) -> Sheet | None:
    kept = artifacts.kept(step)
    if kept.is_empty():
        return None
    if step.stage in ("detect", "align"):
        return _heads(step, kept, artifacts)
    if step.stage in GENERATED:
        return _gallery(step, kept, artifacts)
    return _items(step, kept, artifacts)


def _items(step: StepReport, kept: pl.DataFrame, artifacts: Artifacts) -> Sheet | None:
    rows = _some(kept, PER_SHEET)
    sizes = {(row["width"], row["height"]) for row in rows}
    truth = artifacts.truth(step, [row["id"] for row in rows])
    alike = not truth and (len(sizes) == 1 or max(max(w or 0, h or 0) for w, h in sizes) <= TINY)
    classes = kept["class"].n_unique() > 1
    shots = [
        Shot(
            load(row["path"], TILE if alike else PHOTO),
            _credit(row),
            str(row["class"] if classes and row["class"] else "" if row["label"] is None else row["label"]),
            [_box(head, "truth") for head in truth.get(row["id"], [])],
        )
        for row in rows
    ]
    if not any(shot.picture for shot in shots) and step.folder:
        shots = _packed(step.folder)
    note = _of(sum(shot.picture is not None for shot in shots), kept.height) + (TRUTH_NOTE if truth else "")
    return sheet_of("Pictures", "tiles" if alike else "photos", shots, note)


def _packed(folder: Path) -> list[Shot]:
    """Pictures out of a packed dataset, for rows that name no picture file."""
    from foxgan.dataset.store import FILE, decoded, open_store, values

    path = folder / FILE
    try:
        store = open_store(path)
        meta = store.meta()
        chosen = spread(range(meta.count), PER_SHEET)
        pixels = [decoded(path, v, meta, i, str(i)) for i in chosen for v in values(store.env, i, i + 1)]
    except DataError:
        return []
    return [Shot(embed(picture, TILE)) for picture in pixels]


def _gallery(step: StepReport, kept: pl.DataFrame, artifacts: Artifacts) -> Sheet | None:
    names = artifacts.class_names(step)
    shots = []
    for row in _some(kept, GALLERY):
        badge = "" if row["label"] is None else names.get(row["label"], str(row["label"]))
        shots.append(Shot(load(row["path"], 2 * TILE, 88), f"seed {row['source_id']}", badge))
    psi = _traits(kept.row(0, named=True)).get("psi")
    note = _of(len(shots), kept.height) + ("" if psi is None else f" Truncation psi {psi}.")
    return sheet_of("Gallery", "tiles", shots, note)


def _heads(step: StepReport, kept: pl.DataFrame, artifacts: Artifacts) -> Sheet | None:
    photos = kept["parent"].drop_nulls().unique(maintain_order=True).to_list()
    chosen = spread(photos, PER_SHEET)
    origins = artifacts.parents(step, chosen)
    truth: dict[str, list[Row]] = {}
    for earlier in artifacts.upstream(step):
        truth |= artifacts.truth(earlier, chosen)
    shots = []
    for photo in chosen:
        found = kept.filter((pl.col("parent") == photo) & pl.col("box").is_not_null()).to_dicts()
        path = origins.get(photo, {}).get("path") or (found[0]["path"] if found else None)
        boxes = [_box(head, "truth") for head in truth.get(photo, [])]
        boxes += [_box(h, "found", "" if h["score"] is None else f"{h['score']:.2f}") for h in found]
        shots.append(Shot(load(path, PHOTO), plural(len(found), "head"), boxes=boxes))
    note = f"{plural(kept.height, 'head')} in {plural(len(photos), 'photo')}; {len(shots)} of these here."
    return sheet_of("Heads", "photos", shots, f"{note} Solid: found, with its score.{TRUTH_NOTE if truth else ''}")


def _dropped(step: StepReport, artifacts: Artifacts) -> Sheet | None:
    dropped = artifacts.dropped(step)
    if dropped.is_empty():
        return None
    reasons = dropped["status"].unique(maintain_order=True).sort().to_list()
    each = max(2, PER_SHEET // 2 // len(reasons))
    rows = [row for reason in reasons for row in _some(dropped.filter(pl.col("status") == reason), each)]
    shots = []
    for row, origin in zip(rows, artifacts.with_pictures(step, rows), strict=True):
        boxes = [_box(origin, "found")] if origin["box"] else []
        shots.append(Shot(load(origin["path"], PHOTO // 2), _name(row), title_of(row["status"]), boxes))
    return Sheet("Left out", "dropped", shots, _of(len(shots), dropped.height))


def _some(table: pl.DataFrame, count: int) -> list[Row]:
    return table[list(spread(range(table.height), count))].to_dicts()


def _of(shown: int, total: int) -> str:
    return f"All {total}." if shown == total else f"{shown} of {total:,}."


def _name(row: Row) -> str:
    return str(row["source_id"] or row["id"][:12])


def _credit(row: Row) -> str:
    return " · ".join(part for part in (row["creator"], row["license"]) if part) or _name(row)


def _traits(row: Row) -> Row:
    try:
        traits = json.loads(row["traits"] or "{}")
    except ValueError:
        return {}
    return traits if isinstance(traits, dict) else {}


def _box(row: Row, kind: Literal["found", "truth"], label: str = "") -> Box:
    x0, y0, x1, y1 = (round(float(v), 1) for v in row["box"])
    return Box(x0, y0, round(max(x1 - x0, 0), 1), round(max(y1 - y0, 0), 1), kind, label)
