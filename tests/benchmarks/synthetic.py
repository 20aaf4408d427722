"""Photos drawn per second in one process: `python -m tests.benchmarks.synthetic [photos] [size]`. The goal is 200 of 512 px in 20 s."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from foxgan.vision.synthetic import SPECIES, draw_photo


def measure(count: int = 200, size: int = 512) -> Iterator[dict[str, Any]]:
    """A record for each species."""
    draw_photo(0, 0, size=size)
    for species in SPECIES:
        start, start_cpu = time.perf_counter(), time.process_time()
        for index in range(count):
            draw_photo(0, index, species, size)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        yield {
            "case": species,
            "photos": count,
            "side": size,
            "seconds": round(seconds, 2),
            "photos_per_s": round(count / seconds, 1),
            "cpu_ms": round(1000 * cpu / count, 1),
        }


if __name__ == "__main__":
    for record in measure(*map(int, sys.argv[1:])):
        print(json.dumps(record), flush=True)
