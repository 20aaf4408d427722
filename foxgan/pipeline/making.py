"""Makes one step: takes its lock, gives its stage what it may use, and finishes the folder."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foxgan.errors import StageError
from foxgan.pipeline.failures import explained
from foxgan.pipeline.folder import beside
from foxgan.pipeline.keys import Key
from foxgan.pipeline.plan import Planned, has_inputs, input_counts, input_digests, located_inputs, with_inputs
from foxgan.pipeline.store import Store
from foxgan.pipeline.telling.events import Events, Recorder
from foxgan.report.words import duration, size_text
from foxgan.stages.base import Context, Stage
from foxgan.stages.context import Progress


@dataclass(frozen=True)
class Work:
    """How much there is to do: `todo` of `items` (None where a stage does not work item by item), seconds as far as known."""

    items: int | None = None
    todo: int | None = None
    units: float = 0.0
    seconds: float | None = None

    @property
    def timed_units(self) -> float:
        """The units from which a rate may be learned: with few new items among many, it is not they that take the time."""
        return self.units if self.items is None or self.todo is None or 2 * self.todo > self.items else 0

    def __str__(self) -> str:
        facts = [f"{self.todo} of {self.items} items" if self.items is not None else ""]
        facts += [f"about {duration(self.seconds)}" if self.seconds else ""]
        return ", ".join(filter(None, facts))


class Maker:
    """Makes steps of one plan after the other in `store`; `wait` for other runs that are at work on the same ones."""

    def __init__(self, store: Store, progress: Progress, wait: bool, events: Events | None = None) -> None:
        self.store, self.shown, self.wait = store, progress, wait
        self.progress, self.events = progress, events or Events(store.root)

    def make(self, entry: Planned, planned: dict[str, Planned]) -> bool:
        """Make one step; False where another run has made it meanwhile."""
        step, key, folder = entry.step, entry.key, entry.folder
        assert key is not None and folder is not None
        self.progress = Recorder(self.shown, self.events, step.name)
        with explained(f"step {step.name}", folder), self.store.lock(folder, self.wait, self._info):
            self.store.recover(folder)
            if not entry.again and self.store.finished(folder, key) is not None:
                self._info(f"{step.name}: finished by another run")
                return False
            stage = with_inputs(step, planned)
            target = beside(folder) if entry.again and folder.exists() else folder
            with contextlib.closing(self._context(entry, stage, target)) as ctx:
                work = self._work_on(entry, planned, stage, target, ctx)
                self.events.step_started(entry, work.items, work.todo, work.seconds)
                self._announce(entry, stage, work, input_counts(step, planned))
                paths = located_inputs(step, planned)
                shorter = self.store.begin(stage, key, target, entry.again == "force", paths)
                if shorter:
                    self._info(f"{step.name}: goes on from {shorter}")
                _tell(ctx, step.name, stage, key)
                with self.store.session(target, ctx):
                    stage.run(target, ctx)
                inputs = self._inputs(entry, planned)
                manifest = self.store.finish(stage, key, target, inputs, ctx, step.name, work.timed_units)
            if target != folder:
                self.store.swap(folder)
        self.events.step_finished(step.name, manifest)
        self.progress.message("debug", f"{step.name}: seconds {manifest['seconds']}")
        self._info(f"{step.name}: done in {duration(manifest['seconds']['total'])}{_told(manifest)}")
        return True

    def work(self, entry: Planned, planned: dict[str, Planned]) -> Work:
        """How much there is to do for a step that must run, as far as that is known before its inputs are there."""
        if entry.key is None or entry.folder is None or entry.state != "run":
            return Work()
        if not has_inputs(entry.step, planned):
            return self._work(entry, entry.step.stage.units(input_counts(entry.step, planned)))
        stage = with_inputs(entry.step, planned)
        return self._work_on(entry, planned, stage, entry.folder, self._context(entry, stage, entry.folder))

    def _work_on(self, entry: Planned, planned: dict[str, Planned], stage: Stage, target: Path, ctx: Context) -> Work:
        units = stage.units(input_counts(entry.step, planned))
        keys = stage.item_keys(target, ctx)
        if not len(keys):
            return self._work(entry, units)
        todo = len(keys) - len(ctx.known(target, keys))
        return self._work(entry, float(todo), len(keys), todo)

    def _work(self, entry: Planned, units: float, items: int | None = None, todo: int | None = None) -> Work:
        assert entry.key is not None
        per_unit = self.store.ledger.seconds_per_unit(entry.step.stage.name, entry.key.lineage)
        return Work(items, todo, units, per_unit * units if per_unit and units else None)

    def _context(self, entry: Planned, stage: Stage, target: Path) -> Context:
        assert entry.key is not None
        anew = entry.again == "force"
        return Context(
            progress=self.progress,
            earlier=[] if anew else self.store.earlier(stage, entry.key, target),
            akin=[] if anew or not stage.asks_web else self.store.akin(stage, entry.key),
            again=entry.again == "refresh",
            hashes=self.store.ledger.file_digests,
            withdrawn=self.store.withdrawn.ids if stage.takes_in else frozenset(),
        )

    def _inputs(self, entry: Planned, planned: dict[str, Planned]) -> dict[str, list[dict[str, str]]]:
        digests = input_digests(entry.step, planned, self.store) or {}
        paths = located_inputs(entry.step, planned)
        return {f: [{"path": p, "digest": d} for p, d in zip(paths[f], digests[f], strict=True)] for f in paths}

    def _announce(self, entry: Planned, stage: Stage, work: Work, counts: list[int]) -> None:
        """Say what begins; refuse it where the disk is too small."""
        assert entry.folder is not None
        share = work.todo / work.items if work.items and work.todo is not None else 1
        disk = round(stage.disk_bytes(counts) * share)
        facts = [str(work), f"about {size_text(disk)} of disk" if disk > 50_000_000 else ""]
        self._info(", ".join([f"{entry.step.name}: {stage.name} -> {_short(entry.folder)}", *filter(None, facts)]))
        disk_of = next(p for p in (entry.folder, *entry.folder.parents) if p.exists())
        free = shutil.disk_usage(disk_of).free
        if disk > free and not entry.folder.exists():  # where it does, part of the need is filled already
            raise StageError(
                f"step {entry.step.name}: needs about {size_text(disk)}, {disk_of} has {size_text(free)} free; free some, "
                "or choose another place with --workspace or --out"
            )

    def _info(self, text: str) -> None:
        self.progress.message("info", text)


def _tell(ctx: Context, name: str, stage: Stage, key: Key) -> None:
    """What -v shows of a step before it works; `stage` has its inputs resolved."""
    ctx.debug(f"{name}: key {key.full}, lineage {key.lineage}")
    chosen = stage.model_dump(mode="json", exclude_defaults=True)
    ctx.debug(f"{name}: " + (", ".join(f"{k}={v}" for k, v in chosen.items()) or "all params at their default"))


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _told(manifest: dict[str, Any]) -> str:
    counts = manifest["counts"]
    if not counts:
        return ""
    reused = manifest["facts"].get("reused")
    dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
    kept = f", {counts['kept']} of {counts['in']} kept" + (f" ({dropped})" if dropped else "")
    return kept + (f", {reused} known from earlier" if reused else "")
