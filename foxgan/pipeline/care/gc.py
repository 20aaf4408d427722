"""Deletes what nothing stands for any more. What is in doubt stays, and the ledger remembers all that goes.

A folder that goes gets a hidden name first, so that a kill leaves no half of an artifact behind; the next call deletes the rest.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from foxgan.errors import LockedError
from foxgan.pipeline.care.inventory import DOOMED, ROOMS, Disk, Found, inventory, last_change
from foxgan.pipeline.care.needs import World, links
from foxgan.pipeline.folder import MANIFEST, beside, read_json, remove
from foxgan.pipeline.store import Store

UNFINISHED = 7 * 86400.0  # seconds after which nobody is expected to go on with killed work


@dataclass(frozen=True)
class Rules:
    """What stays although nothing stands for it. `older_than`: seconds; unfinished work has a week where it is not given."""

    keep_last: int = 1
    older_than: float | None = None
    budget: int | None = None  # bytes of `data/` and `models/`; nothing goes that need not


@dataclass(frozen=True)
class Entry:
    """One thing, its bytes, and why it goes or stays."""

    found: Found
    size: int
    why: str


@dataclass
class Survey:
    """What goes, in the order of deletion, and what stays. `total`: bytes now; `left`: after it."""

    goes: list[Entry] = field(default_factory=list)
    stays: list[Entry] = field(default_factory=list)
    total: int = 0
    left: int = 0
    budget: int | None = None

    @property
    def fits(self) -> bool:
        return self.budget is None or self.left <= self.budget


def survey(store: Store, rules: Rules) -> Survey:
    """What `collect` would delete, and why; nothing is changed."""
    now = time.time()
    found, disk = inventory(store.root), Disk(store.root)
    world = World(store, found)
    kept = _with_lenders(world, _by_rules(found, rules, now) | world.needed())
    result = Survey(total=disk.total, budget=rules.budget)
    sizes = {item.path: disk.size(item.path) for item in found}
    for item in world.in_order(f for f in found if f.path not in kept):
        optional = item.kind in ("artifact", "unfinished")
        if optional and rules.budget is not None and disk.total <= rules.budget:
            kept[item.path] = "within the budget"
            continue
        disk.remove(item.path)
        result.goes.append(Entry(item, sizes[item.path], _why_gone(item)))
    result.stays = [Entry(item, sizes[item.path], kept[item.path]) for item in found if item.path in kept]
    result.left = disk.total
    return result


def _why_gone(item: Found) -> str:
    return {
        "artifact": "no pipeline stands on it",
        "unfinished": "unfinished, and nobody goes on with it",
        "aside": "left by a killed --force",
        "log": "error of long ago",
        "doomed": "left by a killed deletion",
    }[item.kind]


def _by_rules(found: list[Found], rules: Rules, now: float) -> dict[Path, str]:
    """What stays because of what it is, how young it is, or because it is the newest of its kind."""
    kept: dict[Path, str] = {}
    paths = {item.path for item in found}
    for item in found:
        limit = rules.older_than if item.kind == "artifact" or rules.older_than is not None else UNFINISHED
        if item.kind == "damaged":
            kept[item.path] = "its manifest cannot be read; see `foxgan verify`"
        elif item.kind == "foreign":
            kept[item.path] = "not made by foxgan"
        elif item.kind == "swap":
            kept[item.path] = f"finished by --force; takes the place of {item.home.name} next time"
        elif item.path.suffix == ".old" and item.home not in paths:
            kept[item.path] = f"there is no {item.home.name} in its place"
        elif item.kind != "doomed" and limit is not None and now - item.changed < limit:
            kept[item.path] = "young" if item.kind == "artifact" else "young: the same command goes on with it"
    groups: defaultdict[tuple[str, str], list[Found]] = defaultdict(list)
    for item in found:
        if item.kind == "artifact":
            groups[item.stage, item.step].append(item)
    for (_, step), items in groups.items():
        for item in sorted(items, key=lambda i: (i.changed, i.path))[::-1][: rules.keep_last]:
            kept[item.path] = (
                f"among the last {rules.keep_last} of {step}" if rules.keep_last > 1 else f"last of {step}"
            )
    return kept


def _with_lenders(world: World, kept: dict[Path, str]) -> dict[Path, str]:
    """Also the inputs of kept artifacts which hold no files of their own, such as heads in photos."""
    todo = list(kept)
    while todo:
        borrower = todo.pop()
        for lender in world.lenders.get(borrower, ()):
            if lender not in kept:
                kept[lender] = f"{borrower.name} names its files"
                todo.append(lender)
    return kept


@dataclass
class Collected:
    """What was deleted, what somebody has begun to use meanwhile, and what could not be deleted."""

    gone: list[Entry] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(store: Store, plan: Survey) -> Collected:
    """Delete what `plan` says, unless somebody has begun to use it meanwhile; links to it and stale locks, too."""
    result = Collected()
    for entry in plan.stays:
        if entry.found.kind == "swap":
            with contextlib.suppress(LockedError), store.lock(entry.found.home, wait=False):
                store.recover(entry.found.home)
    stayed: set[Path] = set()
    world = World(store, [entry.found for entry in plan.goes])
    for entry in plan.goes:
        path = entry.found.path
        borrowers = [b.name for b in stayed if path in world.lenders.get(b, ())]
        try:
            reason = f"{borrowers[0]} names its files" if borrowers else _delete(store, entry.found)
        except OSError as error:
            result.problems.append(str(error))
            stayed.add(path)
            continue
        if reason:
            result.spared.append(f"{path} stays: {reason}")
            stayed.add(path)
        else:
            result.gone.append(entry)
    for pipeline, step, target in links(store.root):
        if not target.exists():
            for name in (step, f"{step}.txt"):
                (store.root / "data" / pipeline / name).unlink(missing_ok=True)
    _drop_locks(store.root)
    return result


def _delete(store: Store, item: Found) -> str:
    """Why it is not deleted after all; nothing where it is. Raises OSError where the system does not let go of it."""
    try:
        with store.lock(item.home, wait=False):
            if _taken_up(store, item):
                return "in use since a moment ago"
            if item.kind == "artifact" and store.ledger.manifest(item.key) is None:
                store.ledger.add(item.manifest, units=0)
            if item.kind == "log":
                item.path.unlink(missing_ok=True)
            elif item.path.exists():
                _remove(item)
            return ""
    except LockedError:
        return "at work now"


def _taken_up(store: Store, item: Found) -> bool:
    """Whether something has become of it since it was looked at."""
    if item.kind == "artifact":
        return read_json(item.path / MANIFEST) not in (None, item.manifest) or item.key in store.ledger.named()
    return last_change(item.path) > item.changed


def _remove(item: Found) -> None:
    doomed = item.path
    if item.kind != "doomed":
        doomed = item.path.with_name(f"{DOOMED}{item.path.name}.{os.getpid()}")
        os.replace(item.path, doomed)
    remove(doomed)
    if doomed.exists():
        raise OSError(f"{doomed}: cannot be deleted as a whole; see who owns its files, then delete it")


def _drop_locks(root: Path) -> None:
    """Lock files of folders that are gone."""
    from filelock import FileLock, Timeout

    for room in ROOMS:
        for path in (root / room / ".locks").glob("*.lock"):
            home = root / room / path.stem
            if any(p.exists() for p in (home, beside(home))):
                continue
            held = FileLock(path)
            with contextlib.suppress(Timeout, OSError):  # on Windows, an open file cannot be deleted
                held.acquire(timeout=0)
                try:
                    path.with_suffix(".json").unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
                finally:
                    held.release()
