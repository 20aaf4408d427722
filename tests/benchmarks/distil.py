"""Teacher and student of pipelines/distil.yaml: photos per second of an open-vocabulary network and of a small plain one, on the CPU.

Both have random weights of the real sizes and look at the same 2-megapixel photos in turns; the best of the rounds counts.
`ratio` is the teacher's time by the student's. `python -m tests.benchmarks.distil [ROUNDS]`
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from foxgan.images import Pixels
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector import Detector
from foxgan.vision.prompts import Prompts, parse
from foxgan.vision.synthetic import draw_photo
from foxgan.vision.yolo import Net, build, describe, save_detector

PHOTOS, HEIGHT, WIDTH = 4, 1200, 1600
TEACHERS = ("l", "s")  # scales of yoloe-11-seg
STUDENTS = (("yolo11n", 640), ("yolo11n", 320), ("yolo11p", 320))


def teacher(folder: Path, scale: str) -> Detector:
    """A YOLOE network as ultralytics saves it, with one prompt."""
    description = yaml.safe_load((Path(ultralytics("utils").ROOT) / "cfg/models/11/yoloe-11-seg.yaml").read_text())
    description["scale"] = scale
    model = ultralytics("nn.tasks").YOLOESegModel(description, ch=3, verbose=False)
    path = folder / f"yoloe-11{scale}-seg.pt"
    torch.save({"ema": model.half(), "train_args": {"imgsz": 640}}, path)
    vector = np.random.default_rng(0).normal(size=512).astype(np.float32)
    return Detector(path, 640, "cpu", prompts=Prompts(parse(["fox head"]), {"fox head": vector}))


def student(folder: Path, network: str, side: int) -> Detector:
    net = Net(build(describe(network, 1)).eval(), ("fox head",), side)
    save_detector(folder / f"{network}.safetensors", net)
    return Detector(folder / f"{network}.safetensors", side, "cpu")


def photos() -> list[Pixels]:
    drawn = [draw_photo(0, number, "fox", 512).image for number in range(PHOTOS)]
    return [np.ascontiguousarray(np.resize(picture, (HEIGHT, WIDTH, 3))) for picture in drawn]


def measure(rounds: int = 5) -> Iterator[dict[str, Any]]:
    """A record for each student beside each teacher."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        detectors = {f"yoloe-11{scale}-seg at 640": teacher(folder, scale) for scale in TEACHERS}
        detectors |= {f"{network} at {side}": student(folder, network, side) for network, side in STUDENTS}
        pictures, best = photos(), dict.fromkeys(detectors, float("inf"))
        for _ in range(rounds + 1):  # the first warms up
            for case, detector in detectors.items():
                start = time.perf_counter()
                detector.detect(pictures)
                best[case] = min(best[case], (time.perf_counter() - start) / PHOTOS)
    teachers = list(detectors)[: len(TEACHERS)]
    for case in list(detectors)[len(TEACHERS) :]:
        for other in teachers:
            yield {
                "case": f"{other} teaches {case}",
                "teacher_ms": round(1000 * best[other], 1),
                "student_ms": round(1000 * best[case], 1),
                "ratio": round(best[other] / best[case], 2),
            }


if __name__ == "__main__":
    for record in measure(*map(int, sys.argv[1:])):
        print(json.dumps(record), flush=True)
