"""What a run asks of the shared cache before it makes a step. A cache that does not answer costs it seconds, once.

Neither fsspec nor the network is touched before something is missing that the cache might have.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.errors import DataError, DownloadError, FoxganError, LockedError, StageError
from foxgan.pipeline.care.inventory import NAME
from foxgan.pipeline.failures import explained
from foxgan.pipeline.folder import WORK, read_json
from foxgan.pipeline.keys import Key
from foxgan.pipeline.plan import Planned
from foxgan.pipeline.shared.bucket import within
from foxgan.pipeline.spec import Step
from foxgan.pipeline.store import Store
from foxgan.report.words import size_text
from foxgan.stages import MODULES, stage_class
from foxgan.stages.base import fields_of_kind
from foxgan.stages.context import Progress

if TYPE_CHECKING:
    from foxgan.pipeline.shared.remote import Moved, Remote

Manifest = dict[str, Any]

PATIENCE = 10.0  # seconds that a run may lose to a cache that does not answer
QUICK = 1.0  # seconds of an answer that nobody calls slow


def cache_url(given: str | None = None) -> str | None:
    """Where the shared cache is: as given, else FOXGAN_CACHE; None where there is none."""
    return given or os.environ.get("FOXGAN_CACHE") or None


class Cache:
    """The shared cache at `address` as one run sees it: each key is asked for once, and after a failure nothing is."""

    def __init__(self, address: str, store: Store, progress: Progress, wait: bool) -> None:
        self.address, self.store, self.progress, self.wait = address, store, progress, wait
        self.patience = PATIENCE
        self.remote: Remote | None = None
        self.known: dict[str, Manifest | None] = {}

    def find(self, step: Step, key: Key, planned: dict[str, Planned]) -> Manifest | None:
        """For the planner, of a key that neither a folder nor the ledger knows: its manifest, which is in the ledger from now on."""
        manifest = self._look(step, key, planned)
        if manifest is not None:
            self.store.ledger.add(manifest, units=0)
        return manifest

    def has(self, entry: Planned, planned: dict[str, Planned]) -> bool:
        """Whether a step whose folder is missing can be fetched; then nothing need be there of what it was made from.

        Except for a stage that borrows files: it is of no use without its inputs.
        """
        if entry.state not in ("gone", "run") or entry.again or entry.key is None:
            return False
        return self._look(entry.step, entry.key, planned) is not None

    def fetch(self, entry: Planned, planned: dict[str, Planned]) -> bool:
        """Make the folder of a step that `has` told of; False where that failed, with a warning: then it must be made here."""
        step, key, folder = entry.step, entry.key, entry.folder
        assert key is not None and folder is not None
        found, self.known[key.full] = self.known.get(key.full), None  # whatever happens, there is no second try
        if found is None or self.remote is None or self.patience <= 0:
            return False
        try:
            with self.store.lock(folder, self.wait, self._info):
                manifest = announced(self.remote, step, key, planned)
                if manifest is None:
                    return False
                moved = bring(self.remote, self.store, entry, manifest, self.progress)
        except LockedError:
            raise
        except FoxganError as error:
            self._warn(error, isinstance(error, DownloadError))
            return False
        if moved is not None:
            self._info(f"{step.name}: fetched from the shared cache, {size_text(moved.moved_bytes)}")
        return True

    def _look(self, step: Step, key: Key, planned: dict[str, Planned]) -> Manifest | None:
        if key.full not in self.known:
            self.known[key.full] = self._asked(step, key, planned) if self.patience > 0 else None
        return self.known[key.full]

    def _asked(self, step: Step, key: Key, planned: dict[str, Planned]) -> Manifest | None:
        """The manifest without its files, placed in this workspace."""
        start = time.monotonic()
        try:
            manifest = within(self.patience, lambda: announced(self._remote(), step, key, planned))
        except (DownloadError, DataError) as error:
            self._warn(error, isinstance(error, DownloadError))
            return None
        self.patience -= max(0.0, time.monotonic() - start - QUICK)
        if self.patience <= 0:
            self._warn(DownloadError(f"cache: slower than {QUICK:.0f} s an answer"), True)
        if manifest is None:
            return None
        return at_home({name: value for name, value in manifest.items() if name != "files"}, self.store.root)

    def _remote(self) -> Remote:
        if self.remote is None:
            from foxgan.pipeline.shared.remote import Remote

            self.remote = Remote(self.address)
        return self.remote

    def _warn(self, error: FoxganError, for_good: bool) -> None:
        """Say why it is made here; `for_good`: and leave the cache alone from now on."""
        if for_good:
            self.patience = 0.0
        self.progress.message(
            "warning", f"{error}. {'This run goes on without the shared cache' if for_good else 'It is made here'}"
        )

    def _info(self, text: str) -> None:
        self.progress.message("info", text)


def announced(remote: Remote, step: Step, key: Key, planned: dict[str, Planned]) -> Manifest | None:
    """The manifest of `step`, with its files, if the cache has one that is of use here. Raises DataError for one of something else."""
    manifest = remote.manifest(key.full)
    if manifest is None:
        return None
    expected = {"stage": step.stage.name, "version": step.stage.version, "lineage": key.lineage, "items": key.items}
    expected |= {"horizon": json.loads(json.dumps(key.horizon))}
    for name, value in expected.items():
        if manifest[name] != value:
            raise DataError(
                f"cache, manifest of {key.full}: its {name} is {str(manifest[name])[:80]}, expected {value}; delete it there, and push "
                "again from a workspace that has it"
            )
    return manifest if is_beside(manifest, step, planned) else None


def is_beside(manifest: Manifest, step: Step, planned: dict[str, Planned]) -> bool:
    """Whether an artifact that borrows files finds them here: they lie beside it, in the folders of the inputs that it was made from."""
    if not step.stage.borrows:
        return True
    for field in fields_of_kind(type(step.stage), "artifact"):
        lent = [Path(place["path"]).name for place in manifest["inputs"].get(field, [])]
        lent = [name for name in lent if NAME.fullmatch(name)]  # a file of decisions lends nothing
        here = [planned[s.step].folder for s in step.sources.get(field, ()) if s.step]
        if lent != [folder and folder.name for folder in here]:
            return False
    return True


def at_home(manifest: Manifest, root: Path) -> Manifest:
    """A shared manifest whose inputs are where they lie, or would lie, in this workspace."""
    inputs = {
        field: [{**place, "path": _placed(place["path"], root)} for place in places]
        for field, places in manifest["inputs"].items()
    }
    return {**manifest, "inputs": inputs}


def _placed(name: str, root: Path) -> str:
    match = NAME.fullmatch(name)
    return str(root / stage_class(match["stage"]).room / name) if match and match["stage"] in MODULES else name


def bring(remote: Remote, store: Store, entry: Planned, manifest: Manifest, progress: Progress) -> Moved | None:
    """Fetch an announced artifact into its folder, whose lock the caller holds; None if another run has just finished it."""
    folder, key = entry.folder, entry.key
    assert folder is not None and key is not None
    with explained(f"step {entry.step.name}", folder):
        store.recover(folder)
        if store.finished(folder, key) is not None:
            return None
        work = read_json(folder / WORK)
        if folder.exists() and (work or {}).get("key") != key.full and any(folder.iterdir()):
            raise StageError(f"{folder}: holds files of something else; choose an empty folder, or delete it")
        moved = remote.fetch(at_home(manifest, store.root), folder, progress)
        store.ledger.add(read_json(folder / "foxgan.json") or {}, units=0)
    return moved
