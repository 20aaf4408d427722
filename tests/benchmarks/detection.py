"""Photos per second, from files to boxes: foxgan's detector and `yolo predict save=False` with the same .pt, in turns on the CPU.

`python -m tests.benchmarks.detection [--model PT --imgsz 640 --photos FOLDER] [--runs 3] [--backend torch]`. Each is a process of its own
that has loaded the network and looked at a photo of every size before; what foxgan prepares for OpenVINO is not counted. Without a model:
the shipped detector (whose boxes are compared), and an untrained YOLO11n at 640 px, on drawn photos of 0.3, 2 and 12 megapixels.
`agreement`: of the boxes that score 0.35 or more in either, the share with a partner of IoU 0.95 or more among the other's, which go down
to 0.25; both with the same `iou`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

IOU, CONF, COUNTED, SAME = 0.5, 0.25, 0.35, 0.95
SIDES = {640: 48, 1800: 24, 4400: 10}  # of drawn photos: about 0.3, 2 and 12 megapixels; how many

COMMON = """
import json, os, sys, tempfile, time
from pathlib import Path
weights, imgsz, iou, conf = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
def serve(look):
    for line in sys.stdin:
        paths = json.loads(line)
        start, cpu = time.perf_counter(), time.process_time()
        boxes = look(paths)
        print(json.dumps([time.perf_counter() - start, time.process_time() - cpu, boxes]), flush=True)
"""
FOXGAN = """
from foxgan.vision.detector import Detector
detector = Detector(weights, imgsz, "cpu", conf, iou, max_heads=300, backend=sys.argv[5])
serve(lambda paths: [[[*h.box, h.score] for h in f.heads] for f in detector.detect_files([Path(p) for p in paths])])
"""
PLAIN = """
os.environ.update(YOLO_CONFIG_DIR=tempfile.mkdtemp(), YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")
from ultralytics import YOLO
model = YOLO(weights)
def look(paths):
    with open("photos.txt", "w") as file:
        file.write("\\n".join(paths))
    options = {"imgsz": imgsz, "iou": iou, "conf": conf, "device": "cpu", "save": False, "verbose": False, "stream": True}
    found = {r.path: r.boxes.data[:, :5].tolist() for r in model.predict("photos.txt", **options)}
    return [found[path] for path in paths]
serve(look)
"""
Boxes = list[list[list[float]]]


class Looker:
    """A process that looks at photos when it is asked to."""

    def __init__(self, code: str, folder: Path, *arguments: Any) -> None:
        words = [sys.executable, "-c", COMMON + code, *map(str, arguments)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        )

    def __call__(self, photos: Sequence[Path]) -> tuple[float, float, Boxes]:
        """Seconds by the clock and of CPU, and the boxes of each photo."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        print(json.dumps([str(photo) for photo in photos]), file=self.process.stdin, flush=True)
        while line := self.process.stdout.readline():
            if line.startswith("["):
                seconds, cpu, boxes = json.loads(line)
                return seconds, cpu, boxes
        raise SystemExit(self.process.stderr.read()[-2000:])


def write_models(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """Name, .pt as ultralytics writes it, and the side in pixels."""
    import torch

    from foxgan.vision.known import find_detector
    from foxgan.vision.yolo import Net, build, describe, load_net

    torch.manual_seed(0)
    for name, net in {
        "fox-heads": load_net(find_detector("fox-heads")),
        "yolo11n, untrained": Net(build(describe("yolo11n", 1)), ("head",), 640),
    }.items():
        model = deepcopy(net.model)
        model.names, model.args, model.task = {0: "head"}, {"task": "detect", "imgsz": net.imgsz}, "detect"
        path = folder / f"{name.partition(',')[0]}.pt"
        torch.save({"model": model.half(), "train_args": model.args}, path)
        yield name, path, net.imgsz


def draw(folder: Path) -> dict[str, list[Path]]:
    from foxgan import images
    from foxgan.vision.synthetic import draw_photo

    found: dict[str, list[Path]] = {}
    for side, count in SIDES.items():
        paths = [folder / f"{side}-{number}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            images.write(path, draw_photo(9, number, ("fox", "wolf")[number % 2], side).image, 90)
        found[f"{side} px"] = paths
    return found


def overlaps(a: Any, b: Any) -> Any:
    """The IoU of each box of `a` with each of `b` (xyxy)."""
    shared = (
        (np.minimum(a[:, None, 2:4], b[None, :, 2:4]) - np.maximum(a[:, None, :2], b[None, :, :2])).clip(0).prod(-1)
    )
    areas = [(boxes[:, 2:4] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def agreement(ours: Boxes, theirs: Boxes) -> tuple[int, int]:
    """How many boxes count, and how many of them have a partner."""
    counted = partners = 0
    for pair in zip(ours, theirs, strict=True):
        a, b = (np.array(boxes, np.float64).reshape(-1, 5) for boxes in pair)
        found = overlaps(a, b)
        for boxes, best in ((a, found.max(1, initial=0)), (b, found.max(0, initial=0))):
            counted += int((boxes[:, 4] >= COUNTED).sum())
            partners += int(((boxes[:, 4] >= COUNTED) & (best >= SAME)).sum())
    return counted, partners


def compare(
    folder: Path, name: str, weights: Path, imgsz: int, sets: dict[str, list[Path]], runs: int, backend: str
) -> Iterator[dict[str, Any]]:
    lookers = {
        "foxgan": Looker(FOXGAN, Path.cwd(), weights, imgsz, IOU, CONF, backend),
        "yolo predict": Looker(PLAIN, folder, weights, imgsz, IOU, CONF),
    }
    for photos in sets.values():
        for look in lookers.values():
            look(photos[:4])
    for size, photos in sets.items():
        seconds: dict[str, list[tuple[float, float]]] = {who: [] for who in lookers}
        boxes: dict[str, Boxes] = {}
        for _ in range(runs):
            for who, look in lookers.items():
                clock, cpu, boxes[who] = look(photos)
                seconds[who].append((clock, cpu))
        best = {who: min(taken) for who, taken in seconds.items()}
        counted, partners = agreement(*boxes.values())
        record = {"model": name, "imgsz": imgsz, "photos": f"{len(photos)} of {size}"}
        for who, (clock, cpu) in best.items():
            record[who] = {"photos_per_s": round(len(photos) / clock, 2), "cpu_ms": round(1000 * cpu / len(photos), 1)}
        record["ratio"] = round(best["yolo predict"][0] / best["foxgan"][0], 2)
        yield record | {"boxes": counted, "agreement": round(partners / counted, 4) if counted else None}
    for look in lookers.values():
        look.process.kill()


def measure(
    model: Path | None = None, imgsz: int = 640, photos: Path | None = None, runs: int = 3, backend: str = "auto"
) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = {photos.name: sorted(photos.resolve().glob("*.jpg"))} if photos else draw(folder)
        models = [(model.name, model.resolve(), imgsz)] if model else list(write_models(folder))
        for name, weights, side in models:
            yield from compare(folder, name, weights, side, sets, runs, backend)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a .pt of ultralytics")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--photos", type=Path, help="a folder of .jpg files")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    for record in measure(**vars(parser.parse_args())):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
