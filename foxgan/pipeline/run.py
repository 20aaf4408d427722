"""Runs what a pipeline's plan says, one step after another, and leaves the folders, links and the report of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from foxgan.errors import FoxganError, LockedError, StageError, TooManyDropped, UsageError
from foxgan.pipeline.crew import Crew, OneByOne, SideBySide
from foxgan.pipeline.failures import explained
from foxgan.pipeline.folder import point, sweep
from foxgan.pipeline.making import Maker
from foxgan.pipeline.plan import Again, Planned, has_inputs, plan
from foxgan.pipeline.shared.lookup import Cache, cache_url
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Store
from foxgan.pipeline.telling.events import Events, recorded, run_folder
from foxgan.stages.context import Progress, Silent


@dataclass
class Selection:
    """Which steps to run, as asked on the command line."""

    only: str | None = None
    until: str | None = None
    from_step: str | None = None
    force: tuple[str, ...] = ()
    refresh: tuple[str, ...] = ()

    def wanted(self, pipeline: Pipeline) -> set[str]:
        """Steps whose output is wanted. A name without a variant stands for all variants."""
        if self.only and (self.until or self.from_step):
            raise UsageError("--only runs one step alone; leave out --until and --from")
        if self.only:
            return set(pipeline.select(self.only))
        if self.until:
            return set().union(*map(pipeline.upstream, pipeline.select(self.until)))
        return set(pipeline.steps)

    def again(self, pipeline: Pipeline) -> dict[str, Again]:
        """Steps that run although their output exists, and how."""
        wanted = self.wanted(pipeline)
        found: dict[str, Again] = {}
        for name in filter(None, (*self.force, *self.refresh, self.from_step)):
            if not wanted.issuperset(pipeline.select(name)):
                limit = f"--only {self.only}" if self.only else f"--until {self.until}"
                raise UsageError(f"{limit} does not run {name}, so {name} cannot be run again; leave one of them out")
        for name in (step for given in self.refresh for step in pipeline.select(given)):
            stage = pipeline.steps[name].stage
            if not stage.asks_web:
                raise UsageError(
                    f"--refresh {name}: this {stage.name} asks no web source; --force {name} runs it again"
                )
            found[name] = "refresh"
        following = set().union(*map(pipeline.downstream, pipeline.select(self.from_step))) if self.from_step else set()
        forced = following.union(step for given in self.force for step in pipeline.select(given))
        return found | dict.fromkeys(forced & wanted, "force")

    def typed(self) -> list[str]:
        """The options that ask for it."""
        asked = [("--only", self.only), ("--until", self.until), ("--from", self.from_step)]
        asked += [("--force", step) for step in self.force] + [("--refresh", step) for step in self.refresh]
        return [word for option, step in asked if step for word in (option, step)]


@dataclass
class RunReport:
    """What a run did: the state of every step, and those that were made just now."""

    pipeline: Pipeline
    steps: dict[str, Planned]
    made: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)  # from the shared cache
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
    jobs: int = 1,
    keep_going: bool = False,
    cache: str | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Run a pipeline file (or a shipped pipeline by name) and return what was made and kept.

    `jobs`: independent steps that may run side by side, each in a process of its own if there are several. `keep_going`: after a
    step that failed, make those that do not need it. `cache`: address of a shared cache to look into first (default: FOXGAN_CACHE).

    Raises PipelineError for a bad file, StageError where a stage fails, LockedError with `wait=False` where another run is at work,
    TooManyDropped when all is done but a step dropped more than its `max_dropped`. In a script, call it below
    `if __name__ == "__main__":`, as worker processes import the script.
    """
    if parent_process() is not None:
        raise UsageError('foxgan.run was called by a worker process; call it below `if __name__ == "__main__":`')
    checked = load_pipeline(pipeline, overrides)
    store = Store(workspace(workspace_folder))
    try:
        progress, address = progress or Silent(), cache_url(cache)
        shared = Cache(address, store, progress, wait) if address else None
        return Runner(checked, store, selection or Selection(), progress, wait, jobs, keep_going, shared).run()
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
        jobs: int = 1,
        keep_going: bool = False,
        cache: Cache | None = None,
        out: Path | None = None,
        alone: bool = False,
    ) -> None:
        self.pipeline, self.store, self.progress = pipeline, store, progress
        self.out, self.alone, self.keep_going, self.cache = out, alone, keep_going, cache
        self.wanted, self.again = selection.wanted(pipeline), selection.again(pipeline)
        self.only = selection.only is not None
        self.command = shlex.join(["foxgan", "run", *pipeline.typed, *selection.typed()])
        self.events = Events(store.root, None if alone else run_folder(store.root, pipeline.name))
        self.maker = Maker(store, progress, wait, self.events)
        self.crew: Crew = (
            SideBySide(pipeline, store, progress, wait, jobs, self.events) if jobs > 1 else OneByOne(self.maker)
        )
        self.made: list[str] = []
        self.fetched: list[str] = []
        self.failed: dict[str, FoxganError] = {}

    def plan(self) -> dict[str, Planned]:
        """The state of all steps now."""
        return plan(self.pipeline, self.store, self.wanted, self.again, self.out, self.cache)

    def run(self) -> RunReport:
        """Make what is missing, and write down what happens (events.py)."""
        steps = [name for name in self.pipeline.steps if name in self.wanted]
        with recorded(self.events, self.pipeline.name, self.command, steps, self.made):
            return self._run()

    def _run(self) -> RunReport:
        start = time.perf_counter()
        with contextlib.closing(self.crew):
            planned = self._work()
        report = RunReport(self.pipeline, planned, self.made, self.fetched, time.perf_counter() - start)
        if self.failed:
            self._fail(report)
        report.report = self._publish(planned, report.seconds)
        self._check_dropped(report)
        return report

    def _work(self) -> dict[str, Planned]:
        """After each step the plan is drawn anew: an equal output stops the change there."""
        while True:
            planned = self.plan()
            if self._mend(planned):
                continue
            self.events.kept(planned, self.wanted, {*self.made, *self.crew.busy})
            begin = [] if self.failed and not self.keep_going else self._ready(planned)
            if begin:
                self._remember(planned)
            if self._ask_cache(begin, planned):
                continue
            for entry in begin[: self.crew.free]:
                self.crew.start(entry, planned)
            if not self.crew.busy:
                return planned
            done = self.crew.next()
            self.again.pop(done.step, None)
            if isinstance(done.error, LockedError):
                raise done.error
            if done.error:
                self.failed[done.step] = done.error
                self.events.step_failed(done.step, done.error)
            elif done.made:
                self.made.append(done.step)

    def _mend(self, planned: dict[str, Planned]) -> bool:
        """Clean up after runs that were killed; whether a finished step has other content by it."""
        finished = [e.folder for e in planned.values() if e.state in ("kept", "gone") and e.folder is not None]
        return any([self.store.mend(folder) for folder in finished])

    def _ready(self, planned: dict[str, Planned]) -> list[Planned]:
        """Steps that can begin now."""
        missing = [
            e
            for name, e in planned.items()
            if e.state == "run" and name in self.wanted and name not in self.crew.busy and name not in self.failed
        ]
        stuck = [name for name in self.wanted if planned[name].state == "unknown"]
        if self.only and not missing and not self.crew.busy and not self.failed and stuck:
            raise StageError(
                f"step {stuck[0]}: its inputs are not finished; run it without --only, or with --until {stuck[0]}"
            )
        return [e for e in missing if self.only or self._in_cache(e, planned) or has_inputs(e.step, planned)]

    def _in_cache(self, entry: Planned, planned: dict[str, Planned]) -> bool:
        return self.cache is not None and self.cache.has(entry, planned)

    def _ask_cache(self, begin: list[Planned], planned: dict[str, Planned]) -> bool:
        """Whether a step was asked of the shared cache, and so the plan has changed: it is here now, or must be made."""
        entry = next((e for e in begin if self._in_cache(e, planned)), None)
        if entry is None or self.cache is None:
            return False
        if self.cache.fetch(entry, planned):
            self.fetched.append(entry.step.name)
            self.events.step_fetched(entry)
        return True

    def _fail(self, report: RunReport) -> None:
        """Raise what has failed, with the page that shows it."""
        page: Path | None = None
        with contextlib.suppress(FoxganError):  # what the page cannot show, the message tells
            page = self._publish(report.steps, report.seconds)
        first, *others = self.failed.values()
        more = f"; and {len(others)} more: {'; '.join(map(str, others))}" if others else ""
        first.args = (f"{first}{more}" + (f" (report: {page})" if page else ""),)
        raise first

    def _publish(self, planned: dict[str, Planned], seconds: float) -> Path | None:
        """`data/<pipeline>/<step>`: links to the current artifacts, for people; and the report, where they have changed.

        A single stage has neither.
        """
        if self.alone:
            return None
        folder = self.store.root / "data" / self.pipeline.name
        report, stopped = folder / "report.html", folder / ".stopped"  # while there, the page tells of a failure
        with explained("report", folder):
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            current = {name: e.folder for name, e in planned.items() if e.state == "kept" and e.folder is not None}
            changed = [name for name, target in current.items() if point(folder / name, target)]
            self._remember(planned)
            if self.failed:
                stopped.touch()
            if self.made or self.fetched or changed or stopped.exists() or not report.exists():
                from foxgan.pipeline.telling.reporting import write_pipeline_report

                failed = {name: str(error) for name, error in self.failed.items()}
                name, run = self.pipeline.name, self.events.folder
                write_pipeline_report(report, name, self.command, planned, self.made, failed, seconds, run)
            if not self.failed:
                stopped.unlink(missing_ok=True)
        return report

    def _remember(self, planned: dict[str, Planned]) -> None:
        """Which artifacts the steps stand for now: others clean up by it, and `why` compares with it."""
        for name, entry in planned.items():
            if entry.digest is not None and entry.key is not None and not self.alone:
                self.store.ledger.use(self.pipeline.name, name, entry.key.full)

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
