"""Peak memory of the training step at 256 x 256 pixels and batch 4: ours, ours with activation checkpointing, and the plain reference.

`python -m tests.benchmarks.memory` prints JSON lines and asserts nothing. Each runs all phases twice in a process of its own: `peak_gb`
(GiB) is what that process took at most, less what it held when torch was loaded and no network built; seconds are of the second time.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {"foxgan": {}, "checkpointing": {"checkpointing": True}, "plain": {}}
SIDE, BATCH = 256, 4


def used_bytes() -> tuple[int, int]:
    """Memory of this process now, and at most so far."""
    import psutil

    now = psutil.Process().memory_info()
    if sys.platform == "win32":
        return now.rss, now.peak_wset
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return now.rss, most * (1 if sys.platform == "darwin" else 1024)


def measured(variant: str, side: int) -> dict[str, Any]:
    """Of one variant in this process, which must be new: what is at most so far never shrinks."""
    import torch

    from tests.benchmarks.peak import exact_fp32
    from tests.benchmarks.train_step import iteration, phases_of, timed, trainer_of

    exact_fp32()
    before, _ = used_bytes()
    settings = {"batch": BATCH, "precision": "fp32", "aug": "noaug", **VARIANTS[variant]}
    trainer = trainer_of(str(side), "cpu", variant == "plain", **settings)
    times = timed({variant: phases_of(trainer)}, rounds=(1, 1))[variant]
    trainer.feed.close()
    return {
        "case": f"{side} px, batch {BATCH}",
        "implementation": "plain" if variant == "plain" else "foxgan",
        "checkpointing": variant == "checkpointing",
        "threads": torch.get_num_threads(),
        "peak_gb": round((used_bytes()[1] - before) / 2**30, 3),
        "sec_per_iteration": round(iteration(times), 3),
        "phase_sec": {phase: round(min(values), 3) for phase, values in times.items()},
    }


def measure(variants: list[str], side: int = SIDE) -> Iterator[dict[str, Any]]:
    """A record for each variant; those after the first say how they compare with it."""
    first: dict[str, Any] = {}
    for variant in variants:
        command = [sys.executable, "-m", "tests.benchmarks.memory", "--only", variant, "--side", str(side)]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        if first:
            found["peak_to_first"] = round(found["peak_gb"] / first["peak_gb"], 3)
            found["time_to_first"] = round(found["sec_per_iteration"] / first["sec_per_iteration"], 3)
        first = first or found
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--side", type=int, default=SIDE, help="pixels")
    parser.add_argument("--only", choices=VARIANTS, help="measure this one, in this process")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measured(args.only, args.side)))
        return
    for record in measure(args.variants, args.side):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
