"""Runs what a pipeline's plan says, one step after another, and leaves the folders, links and the report of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from foxgan.errors import FoxganError, LockedError, StageError, TooManyDropped, UsageError
from foxgan.pipeline.failures import explained
from foxgan.pipeline.folder import beside, point
from foxgan.pipeline.plan import Planned, input_counts, input_digests, located_inputs, plan, with_inputs
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Key, Store
from foxgan.report.words import duration
from foxgan.stages.base import Context, Progress, Silent, Stage


@dataclass
class Selection:
    """Which steps to run, as asked on the command line."""

    only: str | None = None
    until: str | None = None
    from_step: str | None = None
    force: tuple[str, ...] = ()

    def wanted(self, pipeline: Pipeline) -> set[str]:
        """Steps whose output is wanted."""
        if self.only and (self.until or self.from_step):
            raise UsageError("--only runs one step alone; leave out --until and --from")
        if self.only:
            return {pipeline.step(self.only).name}
        return pipeline.upstream(self.until) if self.until else set(pipeline.steps)

    def forced(self, pipeline: Pipeline) -> set[str]:
        """Steps that run although their output exists."""
        wanted = self.wanted(pipeline)
        for name in filter(None, (*self.force, self.from_step)):
            if pipeline.step(name).name not in wanted:
                limit = f"--only {self.only}" if self.only else f"--until {self.until}"
                raise UsageError(f"{limit} does not run {name}, so {name} cannot be forced; leave one of them out")
        following = pipeline.downstream(self.from_step) if self.from_step else set()
        return following.union(self.force) & wanted

    def typed(self) -> list[str]:
        """The options that ask for it."""
        asked = [("--only", self.only), ("--until", self.until), ("--from", self.from_step)]
        asked += [("--force", step) for step in self.force]
        return [word for option, step in asked if step for word in (option, step)]


@dataclass
class RunReport:
    """What a run did: the state of every step, and those that were made just now."""

    pipeline: Pipeline
    steps: dict[str, Planned]
    made: list[str] = field(default_factory=list)
    seconds: float = 0.0
    report: Path | None = None

    def folder(self, step: str) -> Path:
        """The finished folder of a step. Raises StageError where there is none."""
        entry = self.steps[self.pipeline.step(step).name]
        if entry.folder is None or entry.state != "kept":
            raise StageError(f"step {step} has no finished output")
        return entry.folder


def workspace(given: str | Path | None = None) -> Path:
    """The folder that holds `data/` and `models/`: as given, else FOXGAN_HOME, else the current one."""
    return Path(given or os.environ.get("FOXGAN_HOME") or Path.cwd()).expanduser()


def run(
    pipeline: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    selection: Selection | None = None,
    workspace_folder: str | Path | None = None,
    wait: bool = True,
    progress: Progress | None = None,
) -> RunReport:
    """Run a pipeline file (or a shipped pipeline by name) and return what was made and kept.

    Raises PipelineError for a bad file, StageError where a stage fails, LockedError with `wait=False` where another run is at
    work, TooManyDropped when all is done but a step dropped more than its `max_dropped`. In a script, call it below
    `if __name__ == "__main__":`, as worker processes import the script.
    """
    if parent_process() is not None:
        raise UsageError('foxgan.run was called by a worker process; call it below `if __name__ == "__main__":`')
    checked = load_pipeline(pipeline, overrides)
    store = Store(workspace(workspace_folder))
    try:
        return Runner(checked, store, selection or Selection(), progress or Silent(), wait).run()
    finally:
        store.close()


class Runner:
    """One run of one checked pipeline. `alone`: a single stage, without links and report; `out` puts its output there."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        selection: Selection,
        progress: Progress,
        wait: bool,
        out: Path | None = None,
        alone: bool = False,
    ) -> None:
        self.pipeline, self.store, self.progress = pipeline, store, progress
        self.wait, self.out, self.alone = wait, out, alone
        self.wanted, self.forced = selection.wanted(pipeline), selection.forced(pipeline)
        self.only = selection.only is not None
        self.command = shlex.join(["foxgan", "run", *pipeline.typed, *selection.typed()])
        self.made: list[str] = []

    def plan(self) -> dict[str, Planned]:
        """The state of all steps now."""
        return plan(self.pipeline, self.store, self.wanted, self.forced, self.out)

    def run(self) -> RunReport:
        """Make what is missing. After each step the plan is drawn anew: an equal output stops the change there."""
        start = time.perf_counter()
        while (entry := self._next(planned := self.plan())) is not None:
            try:
                if self._make(entry, planned):
                    self.made.append(entry.step.name)
            except LockedError:
                raise
            except FoxganError as error:
                with contextlib.suppress(FoxganError):  # what the page cannot show, the message tells
                    page = self._publish(planned, time.perf_counter() - start, {entry.step.name: str(error)})
                    if page:
                        error.args = (f"{error} (report: {page})",)
                raise
            self.forced.discard(entry.step.name)
        report = RunReport(self.pipeline, planned, self.made, time.perf_counter() - start)
        report.report = self._publish(planned, report.seconds, {})
        self._check_dropped(report)
        return report

    def _next(self, planned: dict[str, Planned]) -> Planned | None:
        for name, entry in planned.items():
            if entry.state == "run" and name in self.wanted:
                return entry
        if self.only and (stuck := [n for n in self.wanted if planned[n].state == "unknown"]):
            raise StageError(
                f"step {stuck[0]}: its inputs are not finished; run it without --only, or with --until {stuck[0]}"
            )
        return None

    def _make(self, entry: Planned, planned: dict[str, Planned]) -> bool:
        """Make one step; False where another run has made it meanwhile."""
        step, key, folder = entry.step, entry.key, entry.folder
        assert key is not None and folder is not None
        with explained(f"step {step.name}", folder), self.store.lock(folder, self.wait, self._info):
            self.store.recover(folder)
            if not entry.forced and self.store.finished(folder, key) is not None:
                self._info(f"{step.name}: finished by another run")
                return False
            stage, counts = with_inputs(step, planned), input_counts(step, planned)
            self._announce(entry, planned, stage.disk_bytes(counts))
            target = beside(folder) if entry.forced and folder.exists() else folder
            shorter = self.store.begin(stage, key, target, afresh=entry.forced)
            if shorter:
                self._info(f"{step.name}: goes on from {shorter}")
            ctx = Context(progress=self.progress)
            _tell(ctx, step.name, stage, key)
            with contextlib.closing(ctx), self.store.session(target, ctx):
                stage.run(target, ctx)
            digests, paths = input_digests(step, planned, self.store) or {}, located_inputs(step, planned)
            inputs = {f: [{"path": p, "digest": d} for p, d in zip(paths[f], digests[f], strict=True)] for f in paths}
            manifest = self.store.finish(stage, key, target, inputs, ctx, step.name, stage.units(counts))
            if target != folder:
                self.store.swap(folder)
        ctx.debug(f"{step.name}: seconds {manifest['seconds']}")
        self._info(f"{step.name}: done in {duration(manifest['seconds']['total'])}{_told(manifest)}")
        return True

    def estimate(self, entry: Planned, planned: dict[str, Planned]) -> str:
        """How long a step that must run will take, from earlier runs; empty where nothing is known."""
        if entry.key is None or entry.state != "run":
            return ""
        units = entry.step.stage.units(input_counts(entry.step, planned))
        per_unit = self.store.ledger.seconds_per_unit(entry.step.stage.name, entry.key.lineage)
        return f"about {duration(per_unit * units)}" if per_unit and units else ""

    def _announce(self, entry: Planned, planned: dict[str, Planned], disk: int) -> None:
        assert entry.folder is not None
        facts = [self.estimate(entry, planned), f"about {disk / 1e9:.1f} GB of disk" if disk > 50_000_000 else ""]
        self._info(
            ", ".join([f"{entry.step.name}: {entry.step.stage.name} -> {_short(entry.folder)}", *filter(None, facts)])
        )
        disk_of = next(p for p in (entry.folder, *entry.folder.parents) if p.exists())
        free = shutil.disk_usage(disk_of).free
        if disk > free and not entry.folder.exists():  # where it does, part of the need is filled already
            raise StageError(
                f"step {entry.step.name}: needs about {disk / 1e9:.1f} GB, {disk_of} has {free / 1e9:.1f} GB free; "
                "free some, or choose another place with --workspace or --out"
            )

    def _info(self, text: str) -> None:
        self.progress.message("info", text)

    def _publish(self, planned: dict[str, Planned], seconds: float, failed: Mapping[str, str]) -> Path | None:
        """`data/<pipeline>/<step>`: links to the current artifacts, for people; and the report, where they have changed.

        `failed` tells why a step could not be made. A single stage has neither.
        """
        if self.alone:
            return None
        folder = self.store.root / "data" / self.pipeline.name
        report, stopped = folder / "report.html", folder / ".stopped"  # while there, the page tells of a failure
        with explained("report", folder):
            folder.mkdir(parents=True, exist_ok=True)
            current = {name: e.folder for name, e in planned.items() if e.state == "kept" and e.folder is not None}
            changed = [name for name, target in current.items() if point(folder / name, target)]
            for name, entry in planned.items():
                if entry.digest is not None and entry.key is not None:
                    self.store.ledger.use(self.pipeline.name, name, entry.key.full)
            if failed:
                stopped.touch()
            if self.made or changed or stopped.exists() or not report.exists():
                from foxgan.pipeline.reporting import write_pipeline_report

                write_pipeline_report(report, self.pipeline.name, self.command, planned, self.made, failed, seconds)
            if not failed:
                stopped.unlink(missing_ok=True)
        return report

    def _check_dropped(self, report: RunReport) -> None:
        for name, entry in report.steps.items():
            counts, allowed = (entry.manifest or {}).get("counts"), entry.step.max_dropped
            if name in self.wanted and counts and (dropped := counts["in"] - counts["kept"]) > allowed * counts["in"]:
                reasons = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
                error = TooManyDropped(
                    f"step {name}: done, but {dropped} of {counts['in']} items were dropped ({reasons}); max_dropped is "
                    f"{allowed:.0%}" + (f". See {report.report}" if report.report else "")
                )
                error.report = report
                raise error


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
    dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
    return f", {counts['kept']} of {counts['in']} kept" + (f" ({dropped})" if dropped else "")
