"""Crops per second and core: stage `crop` beside a plain loop of Pillow, in turns over the same photos in one process.

`python -m tests.benchmarks.cropping [photos] [size]` prints JSON lines: photos are drawn JPEGs of 2 megapixels (quality 88) with one head
of at least a third of the longer side each; crops are PNGs. Upright ones are cut around the box, turned ones by the eyes. Seconds are of
CPU time in one thread. The goals are 80 crops of 256 px per second, and 1.5 times the plain loop (`ratio`).
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foxgan import images
from foxgan.dataset.index import item_id
from foxgan.stages.crop import Crop, Cropper
from foxgan.vision.synthetic import draw_photo

PIXELS = 2_000_000
MARGIN = 0.3
PART = 10  # photos between two turns, so that a slow moment meets both


def heads(folder: Path, count: int) -> list[dict[str, Any]]:
    """Items of stage `crop`, one in each of `count` photos."""
    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < count:
        photo = draw_photo(11, number, size=1900, max_animals=1)
        number += 1
        height, width = photo.image.shape[:2]
        scale = math.sqrt(PIXELS / (height * width))
        for animal in photo.animals:
            x0, y0, x1, y1 = animal.box
            if max(x1 - x0, y1 - y0) < max(height, width) / 3:
                continue
            path = folder / f"{number}.jpg"
            images.write(path, images.resize(photo.image, round(height * scale), round(width * scale)), 88)
            photo_id = item_id(path.read_bytes())
            points = (*animal.left_eye, *animal.right_eye, *animal.nose)
            box = [v * scale for v in animal.box]
            found.append({"id": item_id(photo_id, box), "parent": photo_id, "path": str(path), "box": box, "roll": None,
                          "keypoints": [v * scale for v in points]})  # fmt: skip
    return found


def plain(items: list[dict[str, Any]], out: Path, size: int, turned: bool) -> None:
    """What one would write without foxgan: open, turn, cut, shrink, save."""
    for item in items:
        x0, y0, x1, y1 = item["box"]
        x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) * (1 + MARGIN) / 2
        with Image.open(item["path"]) as opened:
            picture = opened.convert("RGB")
        if turned:
            ex0, ey0, ex1, ey1 = item["keypoints"][:4]
            angle = math.degrees(math.atan2(ey1 - ey0, ex1 - ex0))
            reach = half * 1.5  # only what the turned square may need
            left, top = round(x - reach), round(y - reach)
            picture = picture.crop((left, top, round(x + reach), round(y + reach)))
            picture = picture.rotate(angle, Image.Resampling.BICUBIC, center=(x - left, y - top))
            x, y = x - left, y - top
        square = tuple(round(v) for v in (x - half, y - half, x + half, y + half))
        picture.crop(square).resize((size, size), Image.Resampling.LANCZOS).save(out / f"{item['id']}.png")


def measure(count: int = 60, size: int = 256) -> Iterator[dict[str, Any]]:
    """A record for upright crops and one for turned ones."""
    images.cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        items = heads(Path(folder), count)
        side = np.mean([max(i["box"][2] - i["box"][0], i["box"][3] - i["box"][1]) for i in items])
        for case, align in (("upright", "box"), ("turned", "level")):
            params = Crop(heads=folder, size=size, margin=MARGIN, align=align, max_outside=1, max_enlarge=9)
            cropper = Cropper(params, folder)

            def ours(part: list[dict[str, Any]], cropper: Cropper = cropper) -> None:
                assert all(row["status"] == "kept" if "status" in row else True for [row] in cropper(part))

            def theirs(part: list[dict[str, Any]], turned: bool = case == "turned") -> None:
                plain(part, Path(folder), size, turned)

            fast, slow = compared(items, ours, theirs)
            yield {
                "case": case,
                "crops": count,
                "side": size,
                "head_px": round(float(side)),
                "crops_per_s": round(count / fast, 1),
                "plain_per_s": round(count / slow, 1),
                "ratio": round(slow / fast, 2),
            }


def compared(items: list[dict[str, Any]], *ways: Callable[[list[dict[str, Any]]], None]) -> list[float]:
    """Seconds of CPU that each of `ways` takes for all items, in turns."""
    spent = [0.0] * len(ways)
    for way in ways:
        way(items[:2])
    for start in range(0, len(items), PART):
        for number, way in enumerate(ways):
            before = time.process_time()
            way(items[start : start + PART])
            spent[number] += time.process_time() - before
    return spent


if __name__ == "__main__":
    for record in measure(*map(int, sys.argv[1:])):
        print(json.dumps(record), flush=True)
