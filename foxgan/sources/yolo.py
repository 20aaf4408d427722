"""Ground truth in YOLO format: for images/X.jpg a file labels/X.txt with lines `class cx cy w h`, all relative to the photo."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from foxgan.dataset.store import MAX_CLASSES
from foxgan.errors import DataError

Row = dict[str, Any]
MAX_LABEL_BYTES = 1_000_000
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
        # The base loader leaves scalars as text and unfolds no aliases: `no` is a name, and a bomb stays small.
        content = yaml.load(text, yaml.BaseLoader)
        names = {} if content is None else content.get("names", {})
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


def read_heads(text: bytes, width: int, height: int, names: Mapping[int, str]) -> tuple[list[Row], int]:
    """The boxes (xyxy, pixels) with their class, and how many lines were malformed."""
    heads, malformed = [], 0
    for line in text.decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        head = _read_head(line, width, height, names)
        if head is None:
            malformed += 1
        else:
            heads.append(head)
    return heads, malformed


def _read_head(line: str, width: int, height: int, names: Mapping[int, str]) -> Row | None:
    try:
        number, (cx, cy, w, h) = int(line.split()[0]), map(float, line.split()[1:])
    except ValueError:
        return None
    known = number in names if names else number >= 0
    inside = all(math.isfinite(v) and 0 <= v <= 1 for v in (cx, cy, w, h)) and w > 0 and h > 0
    if not known or not inside:
        return None
    x0, x1 = max(cx - w / 2, 0) * width, min(cx + w / 2, 1) * width
    y0, y1 = max(cy - h / 2, 0) * height, min(cy + h / 2, 1) * height
    return {"box": [round(v, 3) for v in (x0, y0, x1, y1)], "class": names.get(number, str(number))}
