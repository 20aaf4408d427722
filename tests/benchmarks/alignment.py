"""How well heads are aligned: drawn foxes, whose eyes and tilt are known, through the stages `align` and `crop`.

`python -m tests.benchmarks.alignment [photos] [folder]` prints JSON lines and writes mean images and contact sheets to the folder, if there
is one. `eyes` is the mean distance of the eyes from where they lie on average, in percent of the crop's side; part of it no alignment can
take away, as the eyes of a turned head lie closer together and aside. `roll` is the mean error of the rotation against the tilt that was
drawn, in degrees. Both are told for all heads, and for frontal ones (turned by less than 15 degrees).

The cases: `box` is what boxes give. `points` are eyes with noise as of a pose net (sigma 1.5 % of the head's longer side, each way) without
`align`, and `points, aligned` with it. `box, aligned` begins from the boxes alone.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from foxgan import images
from foxgan.dataset.index import read_heads, read_index, write_index
from foxgan.stages.align import Align
from foxgan.stages.base import Context, Stage
from foxgan.stages.crop import Crop, Cropper, Cut
from foxgan.stages.scrape import Scrape
from foxgan.vision.crop import into_crop

SIGMA = 0.015
SIZE = 128
FRONTAL = 15.0
CROP = {"size": SIZE, "max_outside": 1, "max_enlarge": 99, "max_roll": 180}


def run(stage: Stage, out: Path) -> Path:
    out.mkdir()
    stage.run(out, Context())
    return out


def with_noise(heads: pl.DataFrame) -> pl.DataFrame:
    """The heads with points as a pose net finds them."""
    rng = np.random.default_rng(0)
    boxes, points = (np.array(heads[name].to_list()) for name in ("box", "keypoints"))
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    noisy = points + rng.normal(0, SIGMA, points.shape) * sides
    return heads.with_columns(pl.Series("keypoints", noisy.tolist(), heads["keypoints"].dtype))


def measured(case: str, heads: pl.DataFrame, truth: dict[Any, Any], params: Crop) -> Iterator[dict[str, Any]]:
    """Where the true eyes come to lie in the crops of `heads`, and how the crops are turned."""
    cropper = Cropper(params, "")
    eyes, errors, turns = [], [], []
    for row in heads.iter_rows(named=True):
        cut = cropper.head_cut(row, row["box"])
        assert isinstance(cut, Cut)
        points = np.reshape(truth[row["parent"], row["traits"]], (3, 2))[:2].tolist()
        eyes.append(into_crop(cut.window, params.size, [tuple(point) for point in points]))
        known = json.loads(row["traits"])
        errors.append(abs(cut.window.roll - known["tilt"]))
        turns.append(abs(known["turn"]))
    places, frontal = np.array(eyes) / SIZE, np.array(turns) < FRONTAL
    for of, chosen in (("all", frontal | True), ("frontal", frontal)):
        aside = places[chosen] - places[chosen].mean(axis=0)
        yield {
            "case": case,
            "of": of,
            "heads": int(chosen.sum()),
            "eyes_percent": round(100 * float(np.hypot(*aside.transpose(2, 0, 1)).mean()), 2),
            "roll_degrees": round(float(np.array(errors)[chosen].mean()), 2),
        }


def show(name: str, crops: Path, folder: Path) -> None:
    """The mean image of crops, and some of them, as PNGs."""
    paths = read_index(crops).sort("id")["path"].to_list()
    pictures = [images.decode(Path(path)) for path in paths]
    mean = np.mean(pictures, axis=0, dtype=np.float64).round().astype(np.uint8)
    images.write(folder / f"{name}-mean.png", mean)
    images.write(folder / f"{name}-crops.png", images.grid(pictures[:96], 12))


def measure(count: int = 300, folder: str = "") -> Iterator[dict[str, Any]]:
    """Two records for each case."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        photos = run(Scrape(source="synthetic", limit=count, seed=7), home / "photos")
        true = read_heads([photos])
        truth = {(row["parent"], row["traits"]): row["keypoints"] for row in true.iter_rows(named=True)}
        (home / "noisy").mkdir()
        noisy = with_noise(true)
        write_index(home / "noisy", noisy)
        start = time.perf_counter()
        run(Align(heads=photos, start="box"), home / "from-box")
        seconds = round(time.perf_counter() - start, 1)
        run(Align(heads=home / "noisy"), home / "from-points")
        cases = {
            "box": (home / "noisy", "box"),
            "points": (home / "noisy", "eyes"),
            "points, aligned": (home / "from-points", "level"),
            "box, aligned": (home / "from-box", "level"),
        }
        for case, (heads, how) in cases.items():
            params = Crop(heads=heads, align=how, **CROP)
            yield from ({**record, "align_s": seconds} for record in measured(case, read_heads([heads]), truth, params))
            if folder:
                Path(folder).mkdir(parents=True, exist_ok=True)
                name = case.replace(", ", "-")
                show(name, run(params, home / f"crops-{name}"), Path(folder))


if __name__ == "__main__":
    for record in measure(*map(int, sys.argv[1:2]), *sys.argv[2:]):
        print(json.dumps(record), flush=True)
