"""Photos drawn per second on one process: `python tests/benchmarks/synthetic.py [photos] [size]`. The goal is 200 of 512 px in 20 s."""

import sys
import time

from foxgan.vision.synthetic import SPECIES, draw_photo


def main(count: int = 200, size: int = 512) -> None:
    draw_photo(0, 0, size=size)
    for species in SPECIES:
        start, start_cpu = time.perf_counter(), time.process_time()
        for index in range(count):
            draw_photo(0, index, species, size)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        speed = f"{count / seconds:.1f} photos/s, {1000 * cpu / count:.0f} ms of CPU each"
        print(f"{species}: {count} photos of {size} px in {seconds:.1f} s, {speed}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
