"""One run at a time per artifact: a lock beside its folder, which the operating system frees when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from foxgan.errors import LockedError


def note(folder: Path) -> Path:
    """Names who holds the lock of `folder`. It lies beside it, so that workspaces which share an --out see each other."""
    return folder.parent / ".locks" / f"{folder.name}.json"


@contextlib.contextmanager
def lock(folder: Path, wait: bool, message: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the only right to work on `folder`. Raises LockedError where another run has it and `wait` is False.

    A note beside the lock names the holder. Who finds the lock free but the note still there knows that the last holder was killed.
    """
    from filelock import FileLock, Timeout

    owner = note(folder)
    owner.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(owner.with_suffix(".lock"))
    try:
        held.acquire(timeout=0)
    except Timeout as timeout:
        who = _owner(owner)
        if not wait:
            raise LockedError(
                f"{folder}: {who} is working on it; run again later, or leave out --no-wait to wait"
            ) from timeout
        message(f"{folder.name}: waiting, {who} is working on it")
        held.acquire()
    try:
        if owner.exists():
            message(f"{folder.name}: taken over from {_owner(owner)}, which ended without a word")
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "started": _now()}
        owner.write_text(json.dumps(facts), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        held.release()


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(path.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} (since {facts['started']})"
    return "another run"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
