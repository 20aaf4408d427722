"""Ground truth in YOLO format: for images/X.jpg a file labels/X.txt with lines `class cx cy w h`, all relative to the photo.

Where data.yaml has a `kpt_shape`, a line may go on with points: `x y` each, or `x y v` where v = 0 is a point that is not there.
"""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from foxgan.dataset.store import MAX_CLASSES
from foxgan.errors import DataError

Row = dict[str, Any]
PointShape = tuple[int, int]
"""How many points a head has, and how many numbers stand for each: 2 (x, y) or 3 (x, y, whether it is seen)."""
MAX_LABEL_BYTES = 1_000_000
MAX_POINTS = 100
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def label_folder(folder: str) -> str | None:
    """Where the label files of the photos in `folder` lie: the last part called `images` becomes `labels`. None without such a part."""
    parts = folder.split("/")
    found = [i for i, part in enumerate(parts) if part == "images"]
    return "/".join([*parts[: found[-1]], "labels", *parts[found[-1] + 1 :]]) if found else None


def split_of(folder: str) -> str | None:
    """`train`, `val` or `test`, where a part of the folder's path is called so."""
    return next((SPLITS[part] for part in folder.split("/") if part in SPLITS), None)


def read_class_names(text: bytes, where: str) -> dict[int, str]:
    """The `names` of a data.yaml, a list or a mapping; empty where it has none. Raises DataError."""
    try:
        names = _data(text).get("names", {})
        names = dict(enumerate(names)) if isinstance(names, list) else names
        if (
            not isinstance(names, dict)
            or len(names) > MAX_CLASSES
            or not all(isinstance(n, str) for n in names.values())
        ):
            raise ValueError(f"`names` is not at most {MAX_CLASSES:,} plain names")
        return {int(number): name for number, name in names.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a YOLO data file ({str(error).splitlines()[0]}); expected `names:` with a list, or number: name"
        ) from error


def read_point_shape(text: bytes, where: str) -> PointShape | None:
    """The `kpt_shape` of a data.yaml: how many points a head has, and of how many numbers each. Raises DataError."""
    try:
        shape = _data(text).get("kpt_shape")
        if shape is None:
            return None
        count, size = map(int, shape)
        if not 1 <= count <= MAX_POINTS or size not in (2, 3):
            raise ValueError(f"`kpt_shape` is {count} points of {size} numbers")
        return count, size
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a YOLO data file ({str(error).splitlines()[0]}); expected `kpt_shape: [points, 2 or 3]`, "
            f"at most {MAX_POINTS} points"
        ) from error


def _data(text: bytes) -> Any:
    # The base loader leaves scalars as text and unfolds no aliases: `no` is a name, and a bomb stays small.
    content = yaml.load(text, yaml.BaseLoader)
    return {} if content is None else content


def read_heads(
    text: bytes, width: int, height: int, names: Mapping[int, str], points: PointShape | None = None
) -> tuple[list[Row], int]:
    """The boxes (xyxy, pixels) with their class and `keypoints` (x, y of each, None for what is not there), and how many
    lines were malformed. With `points` a line may have them or not; a head without any has no `keypoints`."""
    heads, malformed = [], 0
    for line in text.decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        head = _read_head(line, width, height, names, points)
        if head is None:
            malformed += 1
        else:
            heads.append(head)
    return heads, malformed


def _read_head(line: str, width: int, height: int, names: Mapping[int, str], points: PointShape | None) -> Row | None:
    try:
        number, (cx, cy, w, h, *rest) = int(line.split()[0]), map(float, line.split()[1:])
    except ValueError:
        return None
    known = number in names if names else number >= 0
    inside = all(math.isfinite(v) and 0 <= v <= 1 for v in (cx, cy, w, h)) and w > 0 and h > 0
    keypoints = _read_points(rest, width, height, points) if rest else []
    if not known or not inside or keypoints is None:
        return None
    x0, x1 = max(cx - w / 2, 0) * width, min(cx + w / 2, 1) * width
    y0, y1 = max(cy - h / 2, 0) * height, min(cy + h / 2, 1) * height
    head: Row = {"box": [round(v, 3) for v in (x0, y0, x1, y1)], "class": names.get(number, str(number))}
    there = any(value is not None for value in keypoints)
    return head | {"keypoints": keypoints} if there else head


def _read_points(values: list[float], width: int, height: int, points: PointShape | None) -> list[float | None] | None:
    """x, y of each point in pixels, None for one that is not there; None instead of all where the line is malformed."""
    if points is None or len(values) != points[0] * points[1]:
        return None
    found: list[float | None] = []
    for i in range(0, len(values), points[1]):
        x, y, *seen = values[i : i + points[1]]
        if not all(map(math.isfinite, (x, y, *seen))):
            return None
        if not (seen[0] if seen else x or y):
            found += [None, None]
        elif 0 <= x <= 1 and 0 <= y <= 1:
            found += [round(x * width, 3), round(y * height, 3)]
        else:
            return None
    return found
