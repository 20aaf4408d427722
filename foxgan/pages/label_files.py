"""A folder of labelled photos in YOLO format, that is written while a person works: `images/`, `labels/` and data.yaml.

Every change is one label file, replaced in one go. A photo comes after its label file, and goes before it, so that a photo without
labels, which would pass for one without heads, is never among the labelled ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from foxgan.errors import DataError, LockedError, UsageError
from foxgan.sources.yolo import MAX_LABEL_BYTES, read_class_names, read_heads, read_point_shape

DATA = "data.yaml"
MAX_MARKS = 1000  # heads of one photo
MAX_NAMES = 200
PLACES = ("path", "train", "val", "test")  # what other tools read in data.yaml
FACE = ["left_eye", "right_eye", "nose"]
ABSENT, HIDDEN, SEEN = 0, 1, 2  # what YOLO's third number of a point means
Point = tuple[float, float, int]


@dataclass(frozen=True)
class Mark:
    """A labelled head: number of its class, xyxy in pixels of the upright photo, and x, y and visibility of its points."""

    number: int
    box: tuple[float, float, float, float]
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Names:
    """What numbers mean in label files: classes, and the points of a head in their order."""

    classes: tuple[str, ...]
    points: tuple[str, ...] = ()

    def line(self, mark: Mark, width: int, height: int) -> str:
        """A line of a label file."""
        x0, y0, x1, y1 = mark.box
        numbers = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
        line = " ".join([str(mark.number), *(f"{v:.6f}" for v in numbers)])
        points = mark.points or ((0.0, 0.0, ABSENT),) * len(self.points)
        for x, y, seen in points:
            line += f" {x / width:.6f} {y / height:.6f} {seen}" if seen else " 0 0 0"
        return line + "\n"


class LabelFolder:
    """The folder and what its numbers mean; `open_labels` makes one."""

    def __init__(self, folder: Path, names: Names) -> None:
        self.folder, self.names = folder, names

    def file(self, name: str) -> Path:
        """The label file of the photo `name`, which is its path below images/ without its ending."""
        return self.folder / "labels" / f"{name}.txt"

    def labelled(self) -> set[str]:
        """Names of all photos that have a label file, empty ones included."""
        top = self.folder / "labels"
        return {path.relative_to(top).with_suffix("").as_posix() for path in top.rglob("*.txt")}

    def read(self, name: str, width: int, height: int) -> tuple[list[Mark], int] | None:
        """The heads of a photo, and how many lines of its label file are malformed; None where it has no label file."""
        try:
            with self.file(name).open("rb") as file:
                text = file.read(MAX_LABEL_BYTES)
        except FileNotFoundError:
            return None
        marks, malformed = [], 0
        numbers = {i: str(i) for i in range(len(self.names.classes))}
        shape = (len(self.names.points), 3) if self.names.points else None
        for line in text.splitlines():
            heads, bad = read_heads(line, width, height, numbers, shape)
            malformed += bad
            marks += [self._mark(head, line) for head in heads]
        return marks, malformed

    def _mark(self, head: dict[str, Any], line: bytes) -> Mark:
        x0, y0, x1, y1 = head["box"]
        known = head.get("keypoints") or [None] * (2 * len(self.names.points))
        seen = line.split()[7::3]
        points = []
        for i in range(len(self.names.points)):
            x, y = known[2 * i : 2 * i + 2]
            points.append((0.0, 0.0, ABSENT) if x is None else (x, y, HIDDEN if float(seen[i]) == HIDDEN else SEEN))
        return Mark(int(head["class"]), (x0, y0, x1, y1), tuple(points))

    def write(self, name: str, photo: Path, marks: Sequence[Mark], width: int, height: int) -> None:
        """Make `marks` the heads of a photo (none: it has no head), and the photo one of the labelled ones."""
        text = "".join(self.names.line(mark, width, height) for mark in marks)
        _replace(self.file(name), text)
        self.keep_photo(name, photo)

    def keep_photo(self, name: str, photo: Path) -> None:
        """Bring a photo into the folder, as a link where the disk can, else as a copy; nothing where it is there already."""
        target = self.folder / "images" / f"{name}{photo.suffix}"
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(photo.resolve(), target)
        except OSError:  # another disk, or one without links
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(photo, temporary)
            os.replace(temporary, target)

    def forget(self, name: str, photo: Path) -> None:
        """Make a photo one that is not labelled; a photo that this folder did not bring in stays."""
        target = self.folder / "images" / f"{name}{photo.suffix}"
        if target.resolve() != photo.resolve():
            target.unlink(missing_ok=True)
        self.file(name).unlink(missing_ok=True)


def hold(folder: Path) -> FileLock:
    """The only right to change a label folder, until it is released. Raises LockedError where another page has it."""
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / ".foxgan-label.lock")
    try:
        held.acquire(timeout=0)
    except Timeout as timeout:
        raise LockedError(
            f"{folder}: another `foxgan label` is at work there; end it, or give other --labels"
        ) from timeout
    return held


def open_labels(
    folder: Path, classes: Sequence[str] | None, points: Sequence[str] | None, otherwise: Sequence[str]
) -> LabelFolder:
    """The label folder, made where it is not there. What its data.yaml says stays; new classes come after those that it has.

    Without `classes` and data.yaml there are those of `otherwise`. Raises UsageError for names that cannot be, and where labels
    and names do not go together.
    """
    known, data = _known(folder / DATA)
    used = next((folder / "labels").rglob("*.txt"), None)
    if known is None and used is not None and not classes:
        raise UsageError(f"{folder}: has labels, but no {DATA}; say what its numbers mean: --classes NAME,NAME ...")
    old = known or Names(())
    names = tuple(dict.fromkeys([*old.classes, *(classes or ([] if old.classes else otherwise))]))
    _check("--classes", classes or names)
    wanted = tuple(points) if points is not None else old.points
    if points is not None:
        _check("--points", wanted, least=0)
    if old.points and len(wanted) != len(old.points):
        raise UsageError(
            f"{folder}: its heads have the points {', '.join(old.points)}; not {', '.join(wanted) or 'none'}"
        )
    found = LabelFolder(folder, Names(names, wanted))
    if found.names != old:
        _pad(folder, len(wanted))
        _replace(folder / DATA, yaml.safe_dump(data | _facts(folder, found.names), sort_keys=False, allow_unicode=True))
    return found


def _known(path: Path) -> tuple[Names | None, dict[str, Any]]:
    """The names in a data.yaml, and what else of it stays."""
    try:
        text = path.read_bytes()[:MAX_LABEL_BYTES]
    except FileNotFoundError:
        return None, {}
    numbered = read_class_names(text, str(path))
    shape = read_point_shape(text, str(path))
    data = yaml.load(text, yaml.BaseLoader) or {}  # read_class_names has refused what is no mapping
    if sorted(numbered) != list(range(len(numbered))):
        raise DataError(f"{path}: `names` are numbered {', '.join(map(str, sorted(numbered)))}; expected 0, 1, 2 ...")
    if shape is not None and shape[1] != 3:
        raise DataError(
            f"{path}: kpt_shape is {list(shape)}; expected [{shape[0]}, 3], with a number that says what is seen"
        )
    points: Sequence[str] = []
    if shape is not None:
        points = _point_names(data.get("kpt_names"), shape[0])
    kept = {key: data[key] for key in PLACES if isinstance(data.get(key), str)}
    return Names(tuple(numbered[i] for i in sorted(numbered)), tuple(points)), kept


def _point_names(found: Any, count: int) -> list[str]:
    names = next(iter(found.values()), []) if isinstance(found, dict) and found else found
    if isinstance(names, list) and len(names) == count and all(isinstance(n, str) for n in names):
        return names
    return FACE if count == len(FACE) else [f"point {i + 1}" for i in range(count)]


def _facts(folder: Path, names: Names) -> dict[str, Any]:
    """What data.yaml has to say."""
    facts: dict[str, Any] = {"names": dict(enumerate(names.classes))}
    if names.points:
        facts["kpt_shape"] = [len(names.points), 3]
        facts["kpt_names"] = {i: list(names.points) for i in range(len(names.classes))}
        mirrored = [_other_side(name) for name in names.points]
        facts["flip_idx"] = [names.points.index(m) if m in names.points else i for i, m in enumerate(mirrored)]
    return facts


def _other_side(name: str) -> str:
    """`right_eye` for `left_eye`."""
    return name.replace("left", "\0").replace("right", "left").replace("\0", "right")


def _check(option: str, names: Sequence[str], least: int = 1) -> None:
    bad = [n for n in names if not n.strip() or n != n.strip() or len(n) > MAX_NAMES or not n.isprintable()]
    if bad or len(set(names)) != len(names) or not least <= len(names) <= MAX_NAMES:
        what = f"{bad[0]!r} is not a name" if bad else "a name stands there twice, or there are none, or too many"
        raise UsageError(f"{option} {','.join(names)[:80]}: {what}; write names with commas between them: fox,wolf")


def _pad(folder: Path, points: int) -> None:
    """Points that heads in label files lack are not there, and say so: other readers want as many numbers in every line."""
    for path in (folder / "labels").rglob("*.txt") if points else ():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        padded = [line + " 0 0 0" * points if len(line.split()) == 5 else line for line in lines]
        if padded != lines:
            _replace(path, "".join(f"{line}\n" for line in padded))


def _replace(path: Path, text: str) -> None:
    """Write a file; after a crash there is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
