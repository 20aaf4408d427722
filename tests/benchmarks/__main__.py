"""All benchmarks, several times each, in processes of their own: `python -m tests.benchmarks [--runs 3] [NAME ...]`.

Records go to stderr as JSON lines while it runs; at the end one JSON document with the median of every figure goes to stdout.
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
OPTIONS = {"train_step": "--plain", "incremental": "--items 10000"}  # where no names are given

Records = list[dict[str, Any]]


def names() -> list[str]:
    """Modules here that measure, the machine's peak first."""
    found = [path.stem for path in FOLDER.glob("*.py") if "\ndef measure(" in path.read_text(encoding="utf-8")]
    return sorted(found, key=lambda name: (name != "peak", name))


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    import torch

    cpus = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.*)$", cpus.read_text() if cpus.exists() else "", re.MULTILINE)
    return {
        "cpu": found[1] if found else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": load(),
    }


def load() -> float | None:
    """Processes that wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def records(command: str) -> Iterator[dict[str, Any]]:
    """What `command`, a module with its options, prints. Raises CalledProcessError if it fails."""
    name, *options = shlex.split(command)
    words = [sys.executable, "-m", f"tests.benchmarks.{name}", *options]
    with subprocess.Popen(words, cwd=FOLDER.parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)


def median(values: list[Any]) -> Any:
    """Of numbers (the lower middle one), in dicts too; anything else stays as it is, or becomes a list where runs differ."""
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: median([value[key] for value in values if key in value]) for key in keys}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return statistics.median_low(values)
    return values[0] if all(value == values[0] for value in values) else values


def measured(commands: list[str], runs: int) -> dict[str, Any]:
    """Medians of each command's records, and which of them failed; all run in turn, so that a slow hour meets all alike."""
    found: dict[str, list[Records]] = {command: [] for command in commands}
    failed = []
    for run in range(1, runs + 1):
        for command in commands:
            rows: Records = []
            try:
                for row in records(command):
                    rows.append(row)
                    facts = {"benchmark": command, "run": run, "load": load()}
                    print(json.dumps(facts | row), file=sys.stderr, flush=True)
                found[command].append(rows)
            except (subprocess.CalledProcessError, json.JSONDecodeError) as error:
                failed.append(f"{command}, run {run}: {error}")
    medians = {c: [median(list(rows)) for rows in zip(*of_runs, strict=True)] for c, of_runs in found.items()}
    return {"failed": failed, "medians": medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(names())}; with options in quotes: 'train_step tiny'"
    )
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    commands = args.names or [f"{name} {OPTIONS.get(name, '')}".strip() for name in names()]
    for command in commands:
        if command.partition(" ")[0] not in names():
            parser.error(f"benchmark {command!r} does not exist; there are {', '.join(names())}")
    facts = {"machine": machine(), "runs": args.runs}
    found = measured(commands, args.runs)
    print(json.dumps(facts | found, indent=1))
    sys.exit(bool(found["failed"]))


if __name__ == "__main__":
    main()
