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
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from foxgan.errors import FoxganError, StageError, TooManyDropped, UsageError
from foxgan.pipeline.folder import beside, error_log
from foxgan.pipeline.plan import Planned, input_counts, input_digests, located_inputs, plan, with_inputs
from foxgan.pipeline.progress import duration
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.base import Context, Progress, Silent

FULL = "the disk of {} is full; free some space and run the same command again, it goes on from here"


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
            except StageError as error:
                with contextlib.suppress(FoxganError):  # what the page cannot show, the message tells
                    self._publish(planned, time.perf_counter() - start, {entry.step.name: str(error)})
                raise
            self.forced.discard(entry.step.name)
        report = RunReport(self.pipeline, planned, self.made, time.perf_counter() - start)
        report.report = self._publish(planned, report.seconds, {})
        self._check_dropped(planned, report.report)
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
        with self._explained(f"step {step.name}", folder), self.store.lock(folder, self.wait, self._info):
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
            with ctx.phase("total"):
                stage.run(target, ctx)
            digests, paths = input_digests(step, planned, self.store) or {}, located_inputs(step, planned)
            inputs = {f: [{"path": p, "digest": d} for p, d in zip(paths[f], digests[f], strict=True)] for f in paths}
            manifest = self.store.finish(stage, key, target, inputs, ctx, step.name, stage.units(counts))
            if target != folder:
                self.store.swap(folder)
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
        free = shutil.disk_usage(self.store.root).free
        if disk > free and not entry.folder.exists():  # where it does, part of the need is filled already
            raise StageError(
                f"step {entry.step.name}: needs about {disk / 1e9:.1f} GB, {self.store.root} has {free / 1e9:.1f} GB free; "
                "free some or choose another --workspace"
            )

    @contextlib.contextmanager
    def _explained(self, what: str, folder: Path) -> Iterator[None]:
        """Turns what a stage raises into words; what is finished is untouched by any of it."""
        try:
            yield
        except FoxganError as error:
            message = str(error)
            raise type(error)(message if message.startswith(what) else f"{what}: {message}") from error
        except OSError as error:
            raise StageError(f"{what}: {explain(error, folder)}") from error
        except MemoryError as error:
            raise StageError(f"{what}: out of memory; use smaller batches or fewer workers, then run again") from error
        except Exception as error:
            if os.strerror(errno.ENOSPC) in str(error):  # libraries have their own errors for it
                raise StageError(f"{what}: {FULL.format(folder)}") from error
            log = error_log(folder)
            with contextlib.suppress(OSError):
                log.write_text(traceback.format_exc(), encoding="utf-8")
            raise StageError(
                f"{what}: unexpected {type(error).__name__}: {error}. This is a defect of foxgan; please report it with {log}"
            ) from error
        finally:
            self.progress.finish()

    def _info(self, text: str) -> None:
        self.progress.message("info", text)

    def _publish(self, planned: dict[str, Planned], seconds: float, failed: Mapping[str, str]) -> Path | None:
        """`data/<pipeline>/<step>`: links to the current artifacts, for people; and the report, where they have changed.

        `failed` tells why a step could not be made. A single stage has neither.
        """
        if self.alone:
            return None
        folder = self.store.root / "data" / self.pipeline.name
        report = folder / "report.html"
        with self._explained("report", folder):
            folder.mkdir(parents=True, exist_ok=True)
            current = {name: e.folder for name, e in planned.items() if e.state == "kept" and e.folder is not None}
            changed = [name for name, target in current.items() if point(folder / name, target)]
            if self.made or failed or changed or not report.exists():
                from foxgan.pipeline.reporting import write_pipeline_report

                write_pipeline_report(report, self.pipeline, planned, self.made, failed, seconds)
        return report

    def _check_dropped(self, planned: dict[str, Planned], report: Path | None) -> None:
        for name in self.pipeline.steps:
            counts, allowed = (planned[name].manifest or {}).get("counts"), planned[name].step.max_dropped
            if name in self.wanted and counts and (dropped := counts["in"] - counts["kept"]) > allowed * counts["in"]:
                reasons = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
                raise TooManyDropped(
                    f"step {name}: done, but {dropped} of {counts['in']} items were dropped ({reasons}); max_dropped is "
                    f"{allowed:.0%}" + (f". See {report}" if report else "")
                )


def point(link: Path, target: Path) -> bool:
    """Make `link` lead to `target`; where links are not allowed, a text file `<link>.txt` says the path. False: it did already."""
    relative = os.path.relpath(target, link.parent)
    text = link.with_name(f"{link.name}.txt")
    if link.is_symlink() and os.readlink(link) == relative:
        return False
    if text.exists() and text.read_text(encoding="utf-8") == f"{target}\n":
        return False
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(relative, target_is_directory=True)
        os.replace(temporary, link)
    except (OSError, NotImplementedError):
        temporary.unlink(missing_ok=True)
        text.write_text(f"{target}\n", encoding="utf-8")
    return True


def explain(error: OSError, folder: Path) -> str:
    """What an error of the operating system means for the user who works in `folder`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
        return FULL.format(folder)
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
