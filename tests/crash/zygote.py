"""A process that has imported all that stages need, and forks a child for every run of `foxgan` that it is asked for.

A child begins to work within milliseconds, so a random moment hits the work and not the imports. The zygote itself never computes and
has no thread that works, so nothing is lost in a fork. Asks come as JSON lines on stdin, answers go out as JSON lines on stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

LATE = (
    "jinja2",
    "psutil",
    "filelock",
    "safetensors.torch",
    "thop",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torch.onnx",
)
LATE += ("torch.utils.tensorboard", "polars._utils.parquet")
YOLO = ("nn.tasks", "utils.nms", "models.yolo.detect", "data.build")
PER_PAGE = 3  # observations of iNaturalist, so that a crawl of few photos has many pages
FLUSH_BYTES = 1 << 11  # a data set of 60 small pictures takes many transactions, as a large one does


def preload() -> None:
    """Import foxgan and what its stages import while they work."""
    import foxgan

    warnings.simplefilter("ignore")
    for module in pkgutil.walk_packages(foxgan.__path__, "foxgan."):
        with contextlib.suppress(ImportError):  # extras
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    import torch
    from PIL import Image

    Image.preinit()
    from foxgan.dataset import writer
    from foxgan.sources import inaturalist
    from foxgan.sources.inaturalist import INaturalist
    from foxgan.vision.contained import ultralytics

    for name in YOLO:
        ultralytics(name)
    torch.set_num_threads(1)
    INaturalist.rate = 200.0
    inaturalist.PER_PAGE = PER_PAGE
    writer.FLUSH_BYTES = FLUSH_BYTES


def serve() -> None:
    """Fork as asked, and tell who has ended, until stdin is closed; then end all children."""
    preload()
    wake, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child listens when it is about to work
    signal.set_wakeup_fd(tell)
    answer({"threads": [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]})
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            for pid, code in ended():
                running.discard(pid)
                answer({"ended": pid, "code": code})
        if sys.stdin.fileno() in ready:
            line = sys.stdin.readline()
            if not line:
                break
            pid = os.fork()
            if pid == 0:
                work(json.loads(line))
            running.add(pid)
            answer({"begun": pid})
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def answer(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def ended() -> list[tuple[int, int]]:
    """Children that have ended, with their exit codes (of a signal: its negative number)."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (status := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            found.append((status[0], os.waitstatus_to_exitcode(status[1])))
    return found


def work(ask: dict[str, Any]) -> None:
    """What a child does: `foxgan ...`, with its output in a file. Does not return."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()  # with its worker processes, a group that can be looked for
    code = 70
    try:
        log = os.open(ask["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run_foxgan(ask["args"])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # right before or after what foxgan itself looks after
        code = 130
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def run_foxgan(args: list[str]) -> int:
    from foxgan.cli import main

    sys.argv = ["foxgan", *args]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    serve()
