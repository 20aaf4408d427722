"""What a pipeline of scrape, detect and crop costs over many photos: at first, with nothing new, and with 1 % of new photos.

`python -m tests.benchmarks.incremental [--items 100000] [--folder DIR]`: with a folder, what is there already is not made again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 160  # pixels of a photo: real ones are larger, which leaves more time for what is not looked at again
PIPELINE = """
name: many
steps:
  photos: {use: scrape, source: folder, path: files}
  heads: {use: detect, images: photos, size: 160, conf: 0.2}
  crops: {use: crop, heads: heads, size: 48, max_enlarge: 3, max_outside: 1}
"""


def draw(folder: Path, start: int, count: int) -> None:
    """`count` different photos of a few hundred drawn foxes, aged by an hour as the stat cache trusts no fresh files."""
    from foxgan.images import encode_jpeg
    from foxgan.vision.synthetic import draw_photo

    drawn = [draw_photo(0, number, "fox", SIDE).image for number in range(200)]
    then = time.time() - 3600
    for number in range(start, start + count):
        path = folder / f"{number // 1000:04}" / f"{number:07}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        image = drawn[number % len(drawn)] // 2 * 2
        image |= np.random.default_rng(number).integers(0, 2, image.shape, dtype=np.uint8)  # every crop differs, too
        path.write_bytes(encode_jpeg(image, 95))
        os.utime(path, (then, then))


def foxgan(folder: Path, *words: str) -> tuple[float, float, Any]:
    """Seconds of a whole process, its peak memory in GiB, and its JSON."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "foxgan.cli", *words, "--json"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 2**20, json.loads(out)


def measure(items: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Records of the first run, of runs and looks with nothing to do, and of a run with 1 % more."""
    (folder / "many.yaml").write_text(PIPELINE)
    draw(folder / "files", 0, items)
    seconds, memory, report = foxgan(folder, "run", "many.yaml", "-q")
    steps = {step["step"]: step["seconds"] for step in report["steps"]}
    full = sum(steps.values())  # by the manifests, if it was made before
    yield {"case": "first", "items": items, "s": round(seconds, 2), "step_s": steps, "peak_gb": round(memory, 3)}
    for words in (["run", "many.yaml", "-q"], ["run", "many.yaml", "--dry-run"], ["status", "many.yaml"]):
        foxgan(folder, *words)
        best = min(foxgan(folder, *words)[:2] for _ in range(3))
        yield {
            "case": f"nothing to do: {' '.join(words)}",
            "items": items,
            "s": round(best[0], 3),
            "peak_gb": round(best[1], 3),
        }
    new = items // 100
    draw(folder / "files", items, new)
    seconds, memory, report = foxgan(folder, "run", "many.yaml", "-q")
    steps = {step["step"]: step["seconds"] for step in report["steps"]}
    yield {
        "case": "1 % new",
        "items": items + new,
        "s": round(seconds, 2),
        "allowed_s": round(0.02 * full + 2, 2),
        "share_of_first": round(seconds / full, 4),
        "step_s": steps,
        "peak_gb": round(memory, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for record in measure(options.items, folder):
            print(json.dumps({"benchmark": "incremental", **record}), flush=True)


if __name__ == "__main__":
    main()
