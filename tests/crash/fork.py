"""Starts runs of `foxgan` as forks of the zygote, and tells how they end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NO_COLOR")}
QUIET_ALLOCATOR = {"_RJEM_MALLOC_CONF": "background_thread:false"}  # polars' own, which would have threads of its own
HARMLESS = {"polars-ooc-clea"}  # polars' second thread sleeps until tables are spilled to disk, which never happens
PATIENCE = 120.0  # seconds for any run of this size
ORPHANS = 20.0  # seconds that a worker may need to notice that its run was killed


class Zygote:
    """The process that forks; see zygote.py."""

    def __init__(self) -> None:
        environment = {**os.environ, **ONE_THREAD, **QUIET_ALLOCATOR}
        command = [sys.executable, "-m", "tests.crash.zygote"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
        self.heard = b""
        self.ended: dict[int, int] = {}
        threads = self._answer(PATIENCE)["threads"]
        others = {name for name in threads if not name.startswith("python")}  # its own, called after the program
        if not HARMLESS.issuperset(others):
            self.close()
            raise AssertionError(f"a fork would lose threads: {others}")

    def start(self, args: list[str], log: Path) -> Child:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"args": args, "log": str(log)}).encode() + b"\n")
        while "begun" not in (answer := self._answer(PATIENCE)):
            self.ended[answer["ended"]] = answer["code"]
        self.ended.pop(answer["begun"], None)  # the system gives numbers again
        return Child(self, answer["begun"], log)

    def ended_by(self, pid: int, deadline: float) -> int | None:
        """How the child ended, if it does until `deadline`."""
        while pid not in self.ended:
            answer = self._answer(deadline - time.monotonic())
            if not answer:
                return None
            self.ended[answer["ended"]] = answer["code"]
        return self.ended[pid]

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line of the zygote; empty where it says nothing for so long."""
        assert self.process.stdout
        until = time.monotonic() + seconds
        while b"\n" not in self.heard:
            ready, _, _ = select.select([self.process.stdout], [], [], max(until - time.monotonic(), 0))
            if not ready:
                return {}
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, "the zygote has died"
            self.heard += more
        line, _, self.heard = self.heard.partition(b"\n")
        return dict(json.loads(line))

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(PATIENCE)


@dataclass
class Child:
    """A run of `foxgan`."""

    zygote: Zygote
    pid: int
    log: Path

    def owns(self, pid: int) -> bool:
        """Whether `pid` is its own or that of a process that it has started; all of them are one group."""
        try:
            return pid > 0 and os.getpgid(pid) == self.pid
        except ProcessLookupError:
            return False

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Its exit code, or the negative number of a signal; None while it runs."""
        return self.zygote.ended_by(self.pid, time.monotonic() + seconds)

    def finish(self) -> int:
        code = self.wait()
        if code is None:
            self.signal(signal.SIGKILL)
        assert code is not None, f"still at work after {PATIENCE:g} s: {self.said}"
        return code

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""  # killed before it could open it

    def buried(self) -> None:
        """Wait for the end of all processes that it has started: none outlives it for long."""
        deadline = time.monotonic() + ORPHANS
        while left := self.workers():
            assert time.monotonic() < deadline, f"processes of a killed run still run after {ORPHANS:g} s: {left}"
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Processes that it has started and that still run; dead ones that nobody has buried don't count."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = entry.read_text().rpartition(") ")[2].split()[:3]
                if int(group) == self.pid and state != "Z" and int(entry.parent.name) != self.pid:
                    found.append(int(entry.parent.name))
        return found
