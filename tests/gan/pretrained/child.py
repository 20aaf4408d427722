"""Loads weight files one after the other with little memory to spare, and tells in JSON what became of each.

A process of its own: a file may kill it, and what watches its deeds cannot be switched off again.
`child.py GOOD FOLDER` loads all files of a folder, `child.py GOOD COUNT` so many broken copies of GOOD.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutations
import torch

import foxgan
from foxgan.errors import FoxganError
from foxgan.gan.model import Model

SPARE_BYTES = 1 << 30  # of address space, above what the process has after its first load
DEEDS = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "urllib.", "webbrowser.", "pickle.find_class")
LAZY = ("torch.utils.serialization", "encodings.cp437", "encodings.raw_unicode_escape", "encodings.unicode_escape")
WATCHED: list[str] = []


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Record what a weight file has no business to cause."""
    if event == "open":  # by mode, or by flags where os.open is called
        noted = set("wax+") & set(args[1]) if args[1] else args[2] & 3
    elif event == "import":
        noted = not args[0].startswith(LAZY)
    else:
        noted = event.startswith(DEEDS) and event != "os.listdir"
    if noted:
        WATCHED.append(f"{event} {args!r}"[:300])


def outcome(path: Path) -> dict[str, Any]:
    """What loading makes of a file, in how many seconds, and by how many bytes the process's peak rose."""
    WATCHED.clear()
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        found: dict[str, Any] = {"outcome": "loaded", "nets": described(foxgan.load_model(path))}
    except FoxganError as error:
        found = {"outcome": "refused", "message": str(error)}
    except BaseException as error:
        found = {"outcome": "broken", "message": f"{type(error).__name__}: {error}"[:300]}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * (1 if sys.platform == "darwin" else 1024)
    return found | {"seconds": time.perf_counter() - start, "grown": grown, "watched": list(WATCHED)}


def described(model: Model) -> dict[str, Any]:
    """Names and shapes of each network; a shape is None where a value is not finite."""
    nets = {"G": model.G, "D": model.D, "G_ema": model.G_ema}
    return {
        name: {key: list(v.shape) if v.isfinite().all() else None for key, v in net.state_dict().items()}
        for name, net in nets.items()
        if net is not None
    }


def files(good: Path, which: str, spare: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths to load; broken copies take turns at `spare`."""
    if not which.isdigit():
        yield from ((path.name, path) for path in sorted(Path(which).iterdir()))
        return
    data = good.read_bytes()
    for number in range(int(which)):
        name, broken = mutations.variant(data, number)
        spare.write_bytes(broken)
        yield f"{number}, {name}", spare


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(good: Path, which: str) -> None:
    torch.set_num_threads(1)
    print(json.dumps({"name": "good"} | outcome(good)))
    if sys.platform == "linux":
        limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        spare = Path(folder) / f"broken{good.suffix}"
        sys.addaudithook(watch)
        for name, path in files(good, which, spare):
            print(json.dumps({"begin": name}), flush=True)
            print(json.dumps({"name": name, "path": str(path)} | outcome(path)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
