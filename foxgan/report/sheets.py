"""Contact sheets: a few pictures of every step, with what the step found in them or why it left them out."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from foxgan import images
from foxgan.errors import DataError
from foxgan.report.artifacts import Artifacts, Row, StepReport
from foxgan.report.pictures import MAX_FILM, Picture, data_uri, load, spread
from foxgan.report.words import duration, plural, title_of

PER_SHEET = 24
GALLERY = 60  # generated pictures are what it was all for
PHOTO, TILE, STRIP = 400, 144, 960  # longest sides, in pixels
STRIP_PIXELS = 30_000_000  # decoded for all grids of a training together


@dataclass(frozen=True)
class Box:
    """An outline in the pixels of its photo; `kind` is "found" or "truth"."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str = ""


@dataclass(frozen=True)
class Shot:
    """One picture of a sheet; without `picture` there is only the text."""

    picture: Picture | None
    caption: str = ""
    badge: str = ""
    boxes: Sequence[Box] = ()


@dataclass(frozen=True)
class Sheet:
    """Pictures that belong together. `kind`: photos (of any shape), tiles (all alike), dropped, strip (one by one) or wide."""

    title: str
    kind: str
    shots: Sequence[Shot] = ()
    note: str = ""


@dataclass(frozen=True)
class Film:
    """A film inside the page, or only its poster where it is too large for that."""

    uri: str | None
    poster: Picture | None
    note: str = ""
    shots: Sequence[Shot] = field(default_factory=tuple)
    kind: str = "film"
    title: str = "Film"


def sheets_of(step: StepReport, artifacts: Artifacts) -> list[Sheet | Film]:
    """All that there is to see of a step, whatever stage it is; what is not there is left out."""
    if step.folder is None or not step.folder.is_dir():
        return []
    sheets: list[Sheet | Film | None] = [_items(step, artifacts), _dropped(step, artifacts)]
    sheets += [_fakes(step.folder), _reals(step.folder), _film(step), _loose(step.folder)]
    return [sheet for sheet in sheets if sheet is not None]


def _items(step: StepReport, artifacts: Artifacts) -> Sheet | None:
    kept = artifacts.kept(step)
    if kept.is_empty():
        return None
    if step.stage == "detect":
        return _heads(step, kept, artifacts)
    rows = _sample(kept, GALLERY if step.stage == "sample" else PER_SHEET)
    if rows[0]["source"] == "sample":
        return _gallery(rows, kept.height)
    truth = artifacts.truth(step, [row["id"] for row in rows])
    small = max(max(r["width"] or 0, r["height"] or 0) for r in rows) <= 320 or _one_size(rows)
    shots = [
        Shot(
            load(row["path"], TILE if small else PHOTO),
            _credit(row),
            "" if row["label"] is None else f"{row['label']}",
            [_box(head, "truth", head["class"] or "") for head in truth.get(row["id"], [])],
        )
        for row in rows
    ]
    shots = [s for s in shots if s.picture] or _stored(step.folder)
    note = _shown(len(shots), kept.height) + (" Dashed: where the heads are known to be." if truth else "")
    return Sheet("Pictures", "tiles" if small else "photos", shots, note) if shots else None


def _gallery(rows: list[Row], total: int) -> Sheet:
    shots = []
    for row in rows:
        traits = _traits(row)
        badge = "" if traits.get("class") is None else f"{traits['class']}"
        shots.append(Shot(load(row["path"], TILE * 2), f"seed {traits.get('seed', row['source_id'])}", badge))
    psi = _traits(rows[0]).get("psi")
    note = _shown(len(shots), total) + ("" if psi is None else f" Truncation psi {psi:g}.")
    return Sheet("Gallery", "tiles", [s for s in shots if s.picture], note)


def _heads(step: StepReport, kept: pl.DataFrame, artifacts: Artifacts) -> Sheet | None:
    photos = kept["parent"].unique(maintain_order=True).drop_nulls().to_list()
    chosen = spread(photos, PER_SHEET)
    heads = kept.filter(pl.col("parent").is_in(chosen)).to_dicts()
    origins = artifacts.parents(step, chosen)
    truth: dict[str, list[Row]] = {}
    for earlier in artifacts.upstream(step):
        truth |= artifacts.truth(earlier, chosen)
    shots = []
    for photo in chosen:
        found = [head for head in heads if head["parent"] == photo and head["box"]]
        path = origins.get(photo, {}).get("path") or (found[0]["path"] if found else None)
        boxes = [_box(head, "truth") for head in truth.get(photo, [])]
        boxes += [_box(h, "found", "" if h["score"] is None else f"{h['score']:.2f}") for h in found]
        shots.append(Shot(load(path, PHOTO), plural(len(found), "head"), boxes=boxes))
    shots = [s for s in shots if s.picture]
    note = f"{kept.height:,} heads in {plural(len(photos), 'photo')}; {len(shots)} of them here. Solid: found, with its score."
    note += " Dashed: where the heads are known to be." if truth else ""
    return Sheet("Heads", "photos", shots, note) if shots else None


def _dropped(step: StepReport, artifacts: Artifacts) -> Sheet | None:
    dropped = artifacts.dropped(step)
    if dropped.is_empty():
        return None
    reasons = dropped["status"].unique(maintain_order=True).to_list()
    each = max(2, PER_SHEET // 2 // len(reasons))
    rows = [row for reason in reasons for row in _sample(dropped.filter(pl.col("status") == reason), each)]
    origins = artifacts.parents(step, [row["parent"] for row in rows])
    shots = []
    for row in rows:
        origin = row if row["path"] or not row["parent"] else {**row, **origins.get(row["parent"], {})}
        boxes = [_box(origin, "found")] if origin["box"] else []
        shots.append(
            Shot(load(origin["path"], PHOTO // 2), row["source_id"] or row["id"][:12], title_of(row["status"]), boxes)
        )
    return Sheet("Left out", "dropped", shots, _shown(len(shots), dropped.height))


def _fakes(folder: Path) -> Sheet | None:
    """Grids of the same latents over the course of a training: the first, the last, and as many between as stay cheap."""
    grids = []
    for path in sorted((folder / "grids").glob("fakes-*.png")):
        if match := re.fullmatch(r"fakes-(\d{1,15})\.png", path.name):
            grids.append((int(match[1]), path))
    if not grids:
        return None
    try:
        width, height, _ = images.probe(grids[0][1])
    except (OSError, DataError):
        return None
    chosen = spread(sorted(grids), max(2, min(12, STRIP_PIXELS // (width * height))))
    shots = [Shot(load(path, STRIP, 80), f"{nimg / 1000:,.1f} kimg") for nimg, path in chosen]
    note = "The same latents, from the first images to the last. Drag the slider."
    return Sheet("Fakes over time", "strip", [s for s in shots if s.picture], note)


def _reals(folder: Path) -> Sheet | None:
    picture = load(folder / "grids" / "reals.png", STRIP, 80)
    return (
        Sheet("Reals, for comparison", "wide", [Shot(picture, "What the generator learns from")]) if picture else None
    )


def _film(step: StepReport) -> Film | None:
    assert step.folder is not None
    path = step.folder / "film.mp4"
    if not path.is_file():
        return None
    size = path.stat().st_size
    seconds = step.facts.get("film_seconds")
    note = f"{duration(seconds)}, looped" if isinstance(seconds, int | float) else ""
    poster = load(step.folder / "poster.png", STRIP // 2)
    if size > MAX_FILM:
        return Film(
            None, poster, f"{size / 2**20:.0f} MiB, too large for this page: film.mp4 lies in {step.folder.name}"
        )
    return Film(data_uri(path.read_bytes(), "video/mp4"), poster, note)


def _loose(folder: Path) -> Sheet | None:
    """Pictures that a stage left at the top of its folder, such as plots."""
    known = {"grid.png", "poster.png"}
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in (".png", ".jpg") and p.name not in known]
    shots = [Shot(load(path, STRIP), title_of(path.stem)) for path in paths[:4]]
    shots = [shot for shot in shots if shot.picture]
    return Sheet("Plots", "wide", shots) if shots else None


def _stored(folder: Path | None) -> list[Shot]:
    """Pictures out of a packed dataset, for tables that name no files."""
    if folder is None or not (folder / "data.mdb").is_file():
        return []
    return []


def _sample(table: pl.DataFrame, count: int) -> list[Row]:
    return table[spread(range(table.height), count)].to_dicts()


def _one_size(rows: list[Row]) -> bool:
    return len({(row["width"], row["height"]) for row in rows}) == 1 and (rows[0]["width"] or 0) <= 1024


def _shown(shown: int, total: int) -> str:
    return "All of them." if shown == total else f"{shown} of {total:,}."


def _credit(row: Row) -> str:
    parts = [row["creator"], row["license"]]
    return " · ".join(p for p in parts if p) or (row["source_id"] or "")


def _traits(row: Row) -> Row:
    try:
        traits = json.loads(row["traits"] or "{}")
    except ValueError:
        return {}
    return traits if isinstance(traits, dict) else {}


def _box(row: Row, kind: str, label: str = "") -> Box:
    x0, y0, x1, y1 = (round(float(v), 1) for v in row["box"])
    return Box(x0, y0, round(max(x1 - x0, 0), 1), round(max(y1 - y0, 0), 1), kind, label)
