"""Which photos there are to label: those of an artifact, or of any folder, and what is known of them already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from foxgan.dataset.index import INDEX, KEPT, TRUTH, read_index
from foxgan.errors import UsageError
from foxgan.sources.candidate import Candidate
from foxgan.sources.folder import Folder
from foxgan.stages.train_detector import draw_of

MAX_BYTES = 500_000_000
VAL_SHARE = 0.15  # of the groups of an artifact
SHOWN = (KEPT, "no_head", "too_small")  # what `detect` says of photos that are as good as any


@dataclass(frozen=True)
class Hint:
    """A head that somebody proposes: class name, xyxy in pixels, score, and x, y of its points, None twice for an absent one."""

    name: str
    box: tuple[float, float, float, float]
    score: float
    points: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Photo:
    """A photo to label. `name` is its path below images/ without its ending; photos of one `group` show much the same."""

    name: str
    path: Path
    group: str = ""
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True)
class Photos:
    """All photos, and the classes of the heads known among them; `in_place`: their folder is one in YOLO format itself."""

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    in_place: bool = False


def photos_of(place: Path) -> Photos:
    """The photos of an artifact (photos, or heads found in them) or of a folder. Raises UsageError where there are none."""
    if not place.is_dir():
        raise UsageError(
            f"{place}: {'not a folder' if place.exists() else 'no such folder'}; give photos, or an artifact"
        )
    # resolved, as an index names files of other artifacts from where its folder really is
    found = _of_artifact(place.resolve()) if (place / INDEX).is_file() else _of_folder(place)
    if not found.photos:
        raise UsageError(f"{place}: no photos in it that could be labelled")
    return found


def _of_artifact(folder: Path) -> Photos:
    table = read_index(folder, kept=False).sort("id")
    known: dict[str, list[Hint]] = {}
    if (folder / TRUTH).is_file():
        for row in read_index(folder, name=TRUTH).iter_rows(named=True):
            _note(known, row["parent"], row)
    photos: dict[str, dict[str, Any]] = {}
    inside = f"{folder}{os.sep}"
    for row in table.iter_rows(named=True):
        if row["status"] not in SHOWN or not row["path"]:
            continue
        if row["path"].startswith(inside):
            photos[row["id"]] = row
        else:  # a head in the photo of another artifact
            photos.setdefault(row["parent"] or row["id"], row)
            _note(known, row["parent"], row)
    sides = any(row["group"] or row["split"] for row in photos.values())
    found = [
        Photo(f"{_side(i, r)}/{i}" if sides else i, Path(r["path"]), r["group"] or "", tuple(known.get(i, ())))
        for i, r in photos.items()
    ]
    classes = sorted({hint.name for hints in known.values() for hint in hints})
    return Photos(tuple(photo for photo in found if photo.path.is_file()), tuple(classes))


def _note(known: dict[str, list[Hint]], photo: str, row: dict[str, Any]) -> None:
    if row["box"] is not None and row["status"] == KEPT:
        x0, y0, x1, y1 = row["box"]
        score = 1.0 if row["score"] is None else row["score"]
        hint = Hint(row["class"] or "head", (x0, y0, x1, y1), score, tuple(row["keypoints"] or ()))
        known.setdefault(photo, []).append(hint)


def _side(photo: str, row: dict[str, Any]) -> str:
    """The folder that keeps a photo on its side of the split, together with others of its group."""
    return str(row["split"] or ("val" if draw_of({"group": row["group"], "id": photo}) <= VAL_SHARE else "train"))


def _of_folder(folder: Path) -> Photos:
    candidates = [c for c in Folder((folder,), MAX_BYTES).candidates() if not c.refusal]
    below = [c for c in candidates if c.source_id.startswith("images/")]
    in_place = bool(below) and ((folder / "data.yaml").is_file() or (folder / "labels").is_dir())
    if in_place:  # photos that differ in their ending only share a label file
        return Photos(tuple({p.name: p for p in _photos(folder, below, "images/")}.values()), (), True)
    twice = Counter(str(PurePosixPath(c.source_id).with_suffix("")) for c in candidates)
    clear = [c for c in candidates if twice[str(PurePosixPath(c.source_id).with_suffix(""))] == 1]
    rest = [c for c in candidates if c not in clear] if len(clear) < len(candidates) else []
    alike = [Photo(c.source_id.replace(".", "-"), folder / str(c.where[1])) for c in rest]
    return Photos((*_photos(folder, clear), *alike), ())


def _photos(folder: Path, candidates: Sequence[Candidate], prefix: str = "") -> list[Photo]:
    """Photos that are called as their files, without the ending."""
    names = [str(PurePosixPath(c.source_id.removeprefix(prefix)).with_suffix("")) for c in candidates]
    return [Photo(name, folder / str(c.where[1])) for name, c in zip(names, candidates, strict=True)]
