"""`foxgan push` and `foxgan pull`: the artifacts of a pipeline's current plan, between this workspace and the shared cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foxgan.errors import StageError, UsageError
from foxgan.pipeline.failures import explained
from foxgan.pipeline.plan import Planned, plan
from foxgan.pipeline.run import workspace
from foxgan.pipeline.shared.lookup import announced, at_home, bring, cache_url, is_beside
from foxgan.pipeline.spec import Pipeline, load_pipeline
from foxgan.pipeline.store import Store
from foxgan.report.words import size_text
from foxgan.stages.context import Progress, Silent

if TYPE_CHECKING:
    from foxgan.pipeline.shared.remote import Moved, Remote

# sent, fetched: just now. there: the cache has it. different: it has another output of this key, which stays. unfinished: not made here.
# unfit: of no use elsewhere, with a warning that says why. here: the workspace has it. missing: the cache has it not. unknown: what it
# is made from is neither here nor in the cache.
State = Literal["sent", "there", "different", "unfinished", "unfit", "fetched", "here", "missing", "unknown"]


@dataclass(frozen=True)
class Shared:
    """What became of a step's artifact."""

    step: str
    stage: str
    state: State
    folder: Path | None = None
    moved: Moved | None = None


def push(
    pipeline: str | Path,
    steps: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    cache: str | None = None,
    workspace_folder: str | Path | None = None,
    wait: bool = True,
    progress: Progress | None = None,
) -> list[Shared]:
    """Bring the finished artifacts of a pipeline, or of some of its steps, into the shared cache.

    Raises UsageError where no cache is given, DownloadError where it cannot be reached, LockedError with `wait=False`.
    """
    with _Session.opened(pipeline, overrides, cache, workspace_folder, wait, progress) as session:
        wanted = session.select(steps)
        planned = plan(session.pipeline, session.store, session.pipeline.steps)
        return [session.push(planned[name], planned) for name in wanted]


def pull(
    pipeline: str | Path,
    steps: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    cache: str | None = None,
    workspace_folder: str | Path | None = None,
    wait: bool = True,
    progress: Progress | None = None,
) -> list[Shared]:
    """Bring what the shared cache has of a pipeline, or of some of its steps, into the workspace.

    Raises like `push`, and DataError for an artifact that is damaged there, of which nothing is kept.
    """
    with _Session.opened(pipeline, overrides, cache, workspace_folder, wait, progress) as session:
        wanted = session.select(steps)
        found: dict[str, Shared] = {}
        while True:  # with every artifact, the keys of those that read it become known
            planned = plan(session.pipeline, session.store, session.pipeline.steps)
            entry = next((e for name, e in planned.items() if name not in found and e.key is not None), None)
            if entry is None:
                break
            found[entry.step.name] = session.pull(entry, planned, entry.step.name in wanted)
        return [found.get(n) or Shared(n, session.pipeline.steps[n].stage.name, "unknown") for n in wanted]


@dataclass(frozen=True)
class _Session:
    """A checked pipeline, a workspace and a cache."""

    pipeline: Pipeline
    store: Store
    remote: Remote
    wait: bool
    progress: Progress

    @classmethod
    @contextmanager
    def opened(
        cls,
        pipeline: str | Path,
        overrides: Mapping[str, Any] | None,
        cache: str | None,
        workspace_folder: str | Path | None,
        wait: bool,
        progress: Progress | None,
    ) -> Iterator[_Session]:
        from foxgan.pipeline.shared.remote import Remote

        address = cache_url(cache)
        if address is None:
            raise UsageError("no shared cache is given; say where it is with --cache URL or FOXGAN_CACHE")
        checked, remote = load_pipeline(pipeline, overrides), Remote(address)
        store = Store(workspace(workspace_folder))
        try:
            yield cls(checked, store, remote, wait, progress or Silent())
        finally:
            store.close()

    def select(self, steps: Sequence[str]) -> list[str]:
        """The named steps, or all, in the order of the pipeline."""
        named = {step for name in steps for step in self.pipeline.select(name)}
        return [step for step in self.pipeline.steps if step in named or not steps]

    def push(self, entry: Planned, planned: dict[str, Planned]) -> Shared:
        """Send what is finished and not there yet."""
        step, folder, key, manifest = entry.step, entry.folder, entry.key, entry.manifest
        if entry.state != "kept" or folder is None or key is None or manifest is None:
            return Shared(step.name, step.stage.name, "unfinished")
        with explained(f"step {step.name}", folder), self.store.lock(folder, self.wait, self._info):
            there = self.remote.manifest(key.full)
            if there is not None:
                same = there["digest"] == manifest["digest"]
                return Shared(step.name, step.stage.name, "there" if same else "different", folder)
            try:
                if not is_beside(manifest, step, planned):
                    raise StageError(
                        f"{folder}: cannot be shared: names files of other folders than those of its inputs now"
                    )
                moved = self.remote.push(folder, manifest, self.progress)
            except StageError as error:
                self.progress.message("warning", f"{step.name}: {error}")
                return Shared(step.name, step.stage.name, "unfit", folder)
        self._info(f"{step.name}: sent {moved.moved_files} of {moved.files} files, {size_text(moved.moved_bytes)}")
        return Shared(step.name, step.stage.name, "sent", folder, moved)

    def pull(self, entry: Planned, planned: dict[str, Planned], wanted: bool) -> Shared:
        """Fetch what is wanted and not here; of other steps only what is needed to know the keys of those that read them."""
        step, folder, key = entry.step, entry.folder, entry.key
        assert folder is not None and key is not None
        if entry.state == "kept" or (entry.manifest is not None and not wanted):
            return self._here(Shared(step.name, step.stage.name, "here", folder), key.full)
        manifest = announced(self.remote, step, key, planned)
        if manifest is None:
            return Shared(step.name, step.stage.name, "missing")
        if not wanted:
            small = {name: value for name, value in manifest.items() if name != "files"}
            self.store.ledger.add(at_home(small, self.store.root), units=0)
            return Shared(step.name, step.stage.name, "missing")
        with self.store.lock(folder, self.wait, self._info):
            moved = bring(self.remote, self.store, entry, manifest, self.progress)
        if moved is not None:
            self._info(f"{step.name}: fetched {moved.files} files, {size_text(moved.moved_bytes)}")
        return self._here(Shared(step.name, step.stage.name, "fetched" if moved else "here", folder, moved), key.full)

    def _here(self, shared: Shared, key: str) -> Shared:
        """`foxgan gc` keeps what a step stands for."""
        self.store.ledger.use(self.pipeline.name, shared.step, key)
        return shared

    def _info(self, text: str) -> None:
        self.progress.message("info", text)
