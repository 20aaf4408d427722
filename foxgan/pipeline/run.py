"""Runs what a pipeline's plan says, one step after another, and leaves the folders, links and the report of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foxgan.errors import FoxganError, StageError, TooManyDropped, UsageError
from foxgan.pipeline.plan import Planned, input_counts, input_digests, located_inputs, plan, with_inputs
from foxgan.pipeline.progress import duration
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.base import Context, Progress, Silent


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
        wanted = pipeline.upstream(self.until) if self.until else set(pipeline.steps)
        outside = self.forced(pipeline) - wanted
        if self.until and self.from_step in outside | set(self.force):
            raise UsageError(f"--until {self.until} does not need {', '.join(sorted(outside))}, so it cannot be forced")
        return wanted

    def forced(self, pipeline: Pipeline) -> set[str]:
        """Steps that run although their output exists."""
        forced = {pipeline.step(name).name for name in self.force}
        return forced | (pipeline.downstream(self.from_step) if self.from_step else set())


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
    work, TooManyDropped when all is done but a step dropped more than its `max_dropped`.
    """
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
        self.pipeline, self.store, self.progress, self.wait, self.out, self.alone = (
            pipeline,
            store,
            progress,
            wait,
            out,
            alone,
        )
        self.wanted = selection.wanted(pipeline)
        self.forced = selection.forced(pipeline) & self.wanted
        self.only = selection.only is not None
        self.made: list[str] = []

    def plan(self) -> dict[str, Planned]:
        """The state of all steps now."""
        return plan(self.pipeline, self.store, self.wanted, self.forced, self.out)

    def run(self) -> RunReport:
        """Make what is missing. After each step the plan is drawn anew: an equal output stops the change there."""
        start = time.perf_counter()
        while (entry := self._next(planned := self.plan())) is not None:
            self._make(entry, planned)
            self.made.append(entry.step.name)
            self.forced.discard(entry.step.name)
        report = RunReport(self.pipeline, planned, self.made, time.perf_counter() - start)
        if not self.alone:
            self._link(planned)
            report.report = self._report(planned, report.seconds)
        self._check_dropped(planned)
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

    def _make(self, entry: Planned, planned: dict[str, Planned]) -> None:
        step, key, folder = entry.step, entry.key, entry.folder
        assert key is not None and folder is not None
        stage = with_inputs(step, planned)
        counts = input_counts(step, planned)
        self._announce(entry, stage.units(counts), stage.disk_bytes(counts))
        with self._explained(step.name, folder), self.store.lock(folder, self.wait, self._info):
            if not entry.forced and self.store.finished(folder, key) is not None:
                self._info(f"{step.name}: finished by another run")
                return
            beside = folder.with_name(f"{folder.name}.new") if entry.forced and folder.exists() else folder
            shorter = self.store.begin(stage, key, beside)
            if shorter:
                self._info(f"{step.name}: goes on from {shorter}")
            ctx = Context(progress=self.progress)
            with ctx.phase("total"):
                stage.run(beside, ctx)
            digests, paths = input_digests(step, planned, self.store) or {}, located_inputs(step, planned)
            inputs = {f: [{"path": p, "digest": d} for p, d in zip(paths[f], digests[f], strict=True)] for f in paths}
            manifest = self.store.finish(stage, key, beside, inputs, ctx, step.name, stage.units(counts))
            if beside != folder:
                swap(folder, beside)
        self._info(f"{step.name}: done in {duration(manifest['seconds']['total'])}{_told(manifest)}")

    def estimate(self, entry: Planned, units: float | None = None) -> str:
        """How long a step that must run will take, from earlier runs; empty where nothing is known."""
        if entry.key is None or entry.state != "run":
            return ""
        units = entry.step.stage.units(input_counts(entry.step, self.plan())) if units is None else units
        per_unit = self.store.ledger.seconds_per_unit(entry.step.stage.name, entry.key.lineage)
        return f"about {duration(per_unit * units)}" if per_unit and units else ""

    def _announce(self, entry: Planned, units: float, disk: int) -> None:
        assert entry.folder is not None
        facts = [self.estimate(entry, units), f"about {disk / 1e9:.1f} GB of disk" if disk > 50_000_000 else ""]
        self._info(
            ", ".join([f"{entry.step.name}: {entry.step.stage.name} -> {_short(entry.folder)}", *filter(None, facts)])
        )
        free = shutil.disk_usage(self.store.root).free
        if disk > free:
            raise StageError(
                f"step {entry.step.name}: needs about {disk / 1e9:.1f} GB, {self.store.root} has {free / 1e9:.1f} GB free; "
                "free some or choose another --workspace"
            )

    @contextlib.contextmanager
    def _explained(self, step: str, folder: Path) -> Iterator[None]:
        """Turns what a stage raises into words; what is finished is untouched by any of it."""
        try:
            yield
        except FoxganError as error:
            raise type(error)(f"step {step}: {error}") from error
        except OSError as error:
            raise StageError(f"step {step}: {_explain(error, folder)}") from error
        except MemoryError as error:
            raise StageError(
                f"step {step}: out of memory; use smaller batches or fewer workers, then run again"
            ) from error
        except Exception as error:
            log = folder.with_name(f"{folder.name}.error.log")
            with contextlib.suppress(OSError):
                log.write_text(traceback.format_exc(), encoding="utf-8")
            raise StageError(
                f"step {step}: unexpected {type(error).__name__}: {error}. This is a defect of foxgan; please report it with {log}"
            ) from error
        finally:
            self.progress.finish()

    def _info(self, text: str) -> None:
        self.progress.message("info", text)

    def _link(self, planned: dict[str, Planned]) -> None:
        """`data/<pipeline>/<step>`: links to the current artifacts, for people."""
        links = self.store.root / "data" / self.pipeline.name
        links.mkdir(parents=True, exist_ok=True)
        for name, entry in planned.items():
            if entry.state == "kept" and entry.folder is not None:
                point(links / name, entry.folder)

    def _report(self, planned: dict[str, Planned], seconds: float) -> Path | None:
        from foxgan.pipeline.reporting import write_pipeline_report

        path = self.store.root / "data" / self.pipeline.name / "report.html"
        if self.made or not path.exists():
            return write_pipeline_report(path, self.pipeline, planned, self.made, seconds)
        return path

    def _check_dropped(self, planned: dict[str, Planned]) -> None:
        for name, entry in planned.items():
            counts = (entry.manifest or {}).get("counts")
            if counts and counts["in"] and (share := 1 - counts["kept"] / counts["in"]) > entry.step.max_dropped:
                reasons = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
                raise TooManyDropped(
                    f"step {name}: done, but {share:.0%} of {counts['in']} items were dropped ({reasons}); "
                    f"max_dropped is {entry.step.max_dropped:.0%}"
                )


def point(link: Path, target: Path) -> None:
    """Make `link` lead to `target`; where links are not allowed, a text file `<link>.txt` says the path."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == relative:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(relative, target_is_directory=True)
        os.replace(temporary, link)
    except (OSError, NotImplementedError):
        temporary.unlink(missing_ok=True)
        link.with_name(f"{link.name}.txt").write_text(f"{target}\n", encoding="utf-8")


def swap(folder: Path, beside: Path) -> None:
    """Put the finished `beside` in the place of `folder`."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(folder, old)
    os.replace(beside, folder)
    shutil.rmtree(old, ignore_errors=True)


def _explain(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {folder} is full; free some space and run the same command again, it goes on from here"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = f"no right to read or write it ({error.strerror})"
        return f"{error.filename or folder}: {what}; check its owner, or choose another --workspace"
    return f"{error.filename or folder}: {error.strerror or error}"


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _told(manifest: dict[str, Any]) -> str:
    counts = manifest["counts"]
    if not counts:
        return ""
    dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
    return f", {counts['kept']} of {counts['in']} kept" + (f" ({dropped})" if dropped else "")
