"""A small pipeline that is made step by step, and what a run that was killed, stopped or out of disk has left of a step.

`Site` keeps the workspace as it was before each step, so that a trial begins from a copy (artifacts by hard links). `Case` is one step
on such a copy. What lies on the disk tells in which phase of its life the step was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.fork import Child, Zygote

SEED = int(os.environ.get("FOXGAN_KILL_SEED", "1"))

# The life of a step: it lists its items, makes its folder, works, writes its index, digests, and lets go once the manifest, the swap (of
# --force) and the ledger are written.
AT_WORK = ("listing", "beginning", "begun", "working", "index", "digest", "manifest", "swap")
BESIDE = ("before", "after", "ended")  # before it has its lock, while the report is written, when all is done


@dataclass(frozen=True)
class Case:
    """One step, on a workspace in which all that it needs is finished. `folder`: its artifact, relative to the workspace."""

    site: Site
    name: str
    step: str
    prepared: Path
    args: tuple[str, ...]
    folder: Path
    manifest: dict[str, Any]
    begins: float  # seconds from the fork until it holds its lock
    works: float  # seconds from then on until it lets go of it
    forced: bool

    def note(self, workspace: Path) -> Path:
        """Names the holder of the lock."""
        folder = workspace / self.folder
        return folder.parent / ".locks" / f"{folder.name}.json"

    def made(self, workspace: Path) -> bool:
        """Whether it was finished since the trial began."""
        stamps = [_stamp(place / self.folder / "foxgan.json") for place in (workspace, self.prepared)]
        return stamps[0] not in (None, stamps[1])


@dataclass
class Site:
    """Makes steps in `workspace` one after the other; `folder` holds pictures, YAML files and copies of the workspace."""

    folder: Path
    zygote: Zygote
    cases: dict[str, Case] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def make(self, pipeline: Path, step: str, *options: str) -> Case:
        """Run one step undisturbed, after having kept a copy of the workspace for trials."""
        if step in self.cases:
            return self.cases[step]
        prepared, log = self.folder / "prepared" / step, self.folder / f"{step}.log"
        self.workspace.mkdir(parents=True, exist_ok=True)
        copy(self.workspace, prepared)
        args = (str(pipeline), "--until", step, *options)
        start = time.monotonic()
        folder, begun, ended = watch(self.start(args, self.workspace, log), self.workspace)
        manifest = read(self.workspace / folder / "foxgan.json")
        assert manifest["step"] == step
        name, forced = f"{self.folder.name} {step}", "--force" in options
        begins, works = begun - start, ended - begun
        self.cases[step] = Case(self, name, step, prepared, args, folder, manifest, begins, works, forced)
        return self.cases[step]

    def start(self, args: tuple[str, ...], workspace: Path, log: Path) -> Child:
        return self.zygote.start(["run", *args, "--workspace", str(workspace), "-q"], log)


def watch(child: Child, workspace: Path) -> tuple[Path, float, float]:
    """The folder of the one step that a run makes, when it took its lock and when it let it go; waits for the run's end.

    It may also have held the lock of a shorter run for a moment, from which it goes on.
    """
    seen: dict[Path, list[float]] = {}
    while child.wait(0.0005) is None:
        for note in workspace.glob("*/.locks/*.json"):
            seen.setdefault(note, []).append(time.monotonic())
    assert child.finish() == 0, child.said
    note, times = max(seen.items(), key=lambda item: item[1][-1])
    return (note.parent.parent / note.stem).relative_to(workspace), times[0], times[-1]


def copy(source: Path, target: Path, links: bool = True) -> None:
    """A workspace as it is; files of artifacts by hard links, as nobody may change them in place."""
    artifacts = {str(path.parent) + os.sep for path in source.glob("*/*/foxgan.json")} if links else set()

    def put(a: str, b: str) -> None:
        os.link(a, b) if any(map(a.startswith, artifacts)) else shutil.copy2(a, b)

    shutil.copytree(source, target, symlinks=True, copy_function=put, dirs_exist_ok=True)


def finished(workspace: Path, but: Path | None = None) -> dict[str, tuple[int, str]]:
    """Time and content of each file of each finished artifact, leaving out the artifact `but`."""
    found = {}
    for manifest in workspace.glob("*/*-*/foxgan.json"):
        if manifest.parent == but or manifest.parent.suffix:  # .new and .old are nobody's yet or any more
            continue
        for path in manifest.parent.rglob("*"):
            if path.is_file() and path.name != ".work.json":  # deleted right after the manifest is written
                stamp = path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(workspace))] = stamp
    return found


def phase(case: Case, workspace: Path, holder: int | None) -> str:
    """How far a run by the process `holder` was when it was killed, from what lies there now.

    None for a run that was stopped gently: it has let go of its lock.
    """
    home = workspace / case.folder
    new, old = (home.with_name(home.name + suffix) for suffix in (".new", ".old"))
    folder = new if case.forced else home
    if holder is not None and holder_of(case.note(workspace)) != holder:
        return "after" if case.made(workspace) else "before"
    if case.made(workspace):
        return "swap" if old.exists() else "manifest"
    if case.forced and (old.exists() or not home.exists()):
        return "swap"
    if (folder / "foxgan.json").exists():
        return "manifest"
    if not read(folder / ".work.json").get("ready"):
        return "beginning" if folder.exists() else "listing"
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ".work.json"]
    if not files:
        return "begun"
    if not any(p.stat().st_mode & 0o222 for p in files):
        return "digest"
    return "index" if (folder / "index.parquet").exists() else "working"


def holder_of(note: Path) -> int:
    return int(read(note).get("pid", 0))


def read(path: Path) -> dict[str, Any]:
    """A JSON file; nothing while it is missing or half-written."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(path.read_bytes()))
    return {}


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def leftovers(workspace: Path) -> list[str]:
    """What no killed run may leave behind once a later one was through."""
    patterns = ("*.tmp", ".work.json", "*.error.log", ".locks/*.json", ".stopped", ".gone-*")
    found = {path for pattern in patterns for path in workspace.rglob(pattern)}
    found |= {path for pattern in ("*/*-*.new", "*/*-*.old") for path in workspace.glob(pattern)}
    found |= {path for path in workspace.glob("data/*/.*") if path.is_symlink()}  # on their way to be a link of a step
    return sorted(str(path.relative_to(workspace)) for path in found)


def grow_old(workspace: Path) -> None:
    """As if what killed runs have left there were of long ago: young links and pages may be of a run that is at work."""
    for path in leftovers(workspace):
        os.utime(workspace / path, (0, 0), follow_symlinks=False)


def ledger_digest(workspace: Path, key: str) -> str:
    with contextlib.closing(sqlite3.connect(workspace / "data" / ".ledger")) as db:
        row = db.execute("SELECT digest FROM artifacts WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else ""


@dataclass
class Tally:
    """Kills (or other trouble) of a case by phase."""

    name: str
    phases: Counter[str] = field(default_factory=Counter)
    trials: int = 0  # runs that came to their end at last

    @property
    def hits(self) -> int:
        """Those that met a running process."""
        return self.phases.total() - self.phases["ended"]

    @property
    def at_work(self) -> float:
        """Share of all that met the step between taking its lock and letting it go."""
        return sum(self.phases[name] for name in AT_WORK) / max(self.phases.total(), 1)

    def add(self, other: Tally) -> None:
        self.phases.update(other.phases)

    def __str__(self) -> str:
        told = ", ".join(f"{self.phases[p]} {p}" for p in (*AT_WORK, *BESIDE) if self.phases[p])
        return f"{self.name}: {self.hits} hits, {self.at_work:.0%} at work ({told})"


def chance(name: str) -> random.Random:
    """The same in every session, unless FOXGAN_KILL_SEED says otherwise."""
    return random.Random(f"{SEED} {name}")
