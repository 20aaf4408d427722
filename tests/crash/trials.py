"""What may befall a step: SIGKILL, Ctrl-C, a full disk, another run. After each, the next run must end as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

from tests.crash.fork import PATIENCE, Child
from tests.crash.harness import (
    Case,
    Tally,
    chance,
    copy,
    finished,
    grow_old,
    holder_of,
    ledger_digest,
    leftovers,
    phase,
    read,
)

LATE = 1.1  # moments reach so far beyond the undisturbed time
VERIFY_EVERY = 10  # trials


class Trial:
    """A case on a workspace of its own."""

    def __init__(self, case: Case, workspace: Path, links: bool = True) -> None:
        self.case, self.workspace = case, workspace
        shutil.rmtree(workspace, ignore_errors=True)  # of a trial that has failed
        copy(case.prepared, workspace, links)
        self.log = case.site.folder / "trial.log"
        self.children: list[Child] = []
        self.whole = self._finished()

    def _finished(self) -> dict[str, tuple[int, str]]:
        """What nobody may touch; --force replaces its own artifact by an equal one."""
        return finished(self.workspace, but=self.workspace / self.case.folder if self.case.forced else None)

    def start(self, name: str = "") -> Child:
        log = self.log.with_name(f"trial{name}.log")
        log.unlink(missing_ok=True)
        self.children.append(self.case.site.start(self.case.args, self.workspace, log))
        return self.children[-1]

    def until_begun(self, child: Child) -> bool:
        """Wait until the run holds the lock; False if it has ended first, as there was nothing to do."""
        note, deadline = self.case.note(self.workspace), time.monotonic() + PATIENCE
        while not child.owns(holder := holder_of(note)):
            assert time.monotonic() < deadline, child.said
            if child.wait(0.0005) is not None:
                return False
        self.holder = holder
        return True

    def strike(self, child: Child, number: signal.Signals, luck: random.Random) -> str:
        """Send a signal at a random moment; the phase in which it hit the run. A run that goes on has less to do than the one before."""
        works = self.case.works * LATE * 0.6 ** (len(self.children) - 1)
        self.holder = child.pid
        if luck.random() < 0.05:  # before it has the lock
            time.sleep(luck.random() * self.case.begins)
        elif self.until_begun(child):
            child.wait(luck.random() * works)
        if child.wait(0) is not None:
            return "ended"
        child.signal(number)
        code = child.finish()
        if number == signal.SIGINT:
            assert code in (0, 130) and "Traceback" not in child.said, f"{code}: {child.said}"
        else:
            assert code in (0, -number), child.said
        if self.holder != child.pid:  # a process of its own makes the step, and ends a little later
            child.buried()
        holder = None if number == signal.SIGINT else self.holder
        return phase(self.case, self.workspace, holder) if code else "ended"

    def look(self) -> None:
        """What was finished at the last look is still there, byte by byte."""
        now = self._finished()
        changed = sorted(path for path, stamp in self.whole.items() if now.get(path) != stamp)
        assert not changed, f"finished files have changed: {changed}"
        home = self.workspace / self.case.folder
        old = home.with_name(f"{home.name}.old")  # for the moment of the swap
        assert not self.case.forced or any((f / "foxgan.json").exists() for f in (home, old)), f"{home} is lost"
        self.whole = now

    def conclude(self, verified: bool = False) -> None:
        """Run to the end: the output must be that of an undisturbed run, and nothing may lie about."""
        self.look()
        grow_old(self.workspace)
        child = self.start()
        assert child.finish() == 0, child.said
        self.look()
        folder, expected = self.workspace / self.case.folder, self.case.manifest
        manifest = read(folder / "foxgan.json")
        for name in ("digest", "counts"):
            assert manifest[name] == expected[name], f"{name} is {manifest[name]}, undisturbed {expected[name]}"
        assert ledger_digest(self.workspace, manifest["key"]) == expected["digest"], "the ledger says something else"
        assert not (left := leftovers(self.workspace)), f"left behind: {left}"
        if verified:
            assert not (found := problems(self.workspace, folder)), found
        self.end()

    def end(self) -> None:
        """The workspace makes room for the next trial."""
        for child in self.children:
            child.buried()
        shutil.rmtree(self.workspace)


def problems(workspace: Path, folder: Path) -> list[str]:
    """What `foxgan verify` says of an artifact."""
    from foxgan.pipeline.care.verify import verify
    from foxgan.pipeline.store import Store
    from foxgan.stages.context import Silent

    store = Store(workspace)
    try:
        return [text for checked in verify(store, [folder], Silent()) for text in checked.problems]
    finally:
        store.close()


def kill_often(case: Case, kills: int) -> Tally:
    """So many kills, up to three in a row before a run may end."""
    tally, luck = Tally(case.name), chance(case.name)
    while tally.hits < kills:
        trial = Trial(case, case.site.folder / "trial")
        for _ in range(min(luck.choice((1, 1, 2, 3)), kills - tally.hits)):
            child = trial.start()
            tally.phases[trial.strike(child, signal.SIGKILL, luck)] += 1
            trial.look()
            if trial.case.made(trial.workspace):
                break
        trial.conclude(verified=tally.trials % VERIFY_EVERY == 0)
        tally.trials += 1
        assert tally.phases["ended"] <= 2 * kills + 10, f"most kills come too late: {tally}"
    return tally


def interrupt_often(case: Case, times: int) -> Tally:
    """So many Ctrl-C."""
    tally, luck = Tally(f"{case.name}, interrupted"), chance(f"{case.name} interrupted")
    while tally.hits < times:
        trial = Trial(case, case.site.folder / "trial")
        child = trial.start()
        found = trial.strike(child, signal.SIGINT, luck)
        tally.phases[found] += 1
        said = "interrupted; the same command goes on from here" in child.said
        assert said or found in ("ended", "listing") or case.made(trial.workspace), child.said
        trial.conclude()
        assert tally.phases["ended"] <= 2 * times + 10, f"most interruptions come too late: {tally}"
    return tally


def kill_one_of_two(case: Case, victim: int, luck: random.Random) -> None:
    """Two runs of the same step at once: the second waits. `victim` 0 is killed at work, and 1 while it waits."""
    trial = Trial(case, case.site.folder / "trial")
    first = trial.start("1")
    assert trial.until_begun(first)
    second = trial.start("2")
    runs = [first, second]
    time.sleep(luck.random() * case.works)
    runs[victim].signal(signal.SIGKILL)
    runs[victim].finish()
    trial.look()
    assert runs[1 - victim].finish() == 0, runs[1 - victim].said
    assert trial.case.made(trial.workspace), runs[1 - victim].said
    trial.conclude()


def fill_disk(case: Case, disk: Path, share: float, begun: bool) -> str:
    """A disk with room for a `share` of what the step writes; the refusal that this leads to.

    `begun`: a run was killed early before, so that the next one takes its folder up and does not look first whether there is room.
    """
    trial = Trial(case, disk / "trial", links=False)
    if begun:
        child = trial.start()
        while not (trial.workspace / case.folder).exists() and child.wait(0.0005) is None:
            pass
        child.signal(signal.SIGKILL)
        child.finish()
    filler = disk / "filler"
    room = int(share * need(case.site.workspace / case.folder))
    with filler.open("wb", buffering=0) as file:
        file.write(bytes(max(free(disk) - room, 0)))
    child = trial.start()
    code, said = child.finish(), child.said
    assert code == 1 and "Traceback" not in said, f"{code}: {said}"
    trial.look()
    filler.unlink()
    trial.conclude()
    return said


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def need(folder: Path) -> int:
    """Bytes of disk that an artifact fills, without those that it shares with other artifacts of its stage."""
    others = {path.stat().st_ino for path in folder.parent.glob("*/**/*") if folder not in path.parents}
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(stat.st_blocks * 512 for stat in files if stat.st_ino not in others)
