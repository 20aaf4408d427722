"""Artifacts on disk: keys, folders, manifests and locks. The manifest is written last, so a folder that has one is finished."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from foxgan import __version__
from foxgan.errors import FoxganError, LockedError, StageError
from foxgan.pipeline.care.inventory import is_own
from foxgan.pipeline.digest import output_digest
from foxgan.pipeline.folder import (
    MANIFEST,
    WORK,
    beside,
    carry_over,
    empty,
    read_json,
    read_manifest,
    remove,
    replaced,
    seal,
    settle,
    write_json,
)
from foxgan.pipeline.keys import Key
from foxgan.pipeline.ledger import Ledger
from foxgan.pipeline.locks import lock, note
from foxgan.pipeline.withdrawn import Withdrawals
from foxgan.stages.base import Context, Stage

LIBRARIES = (
    *("torch", "ultralytics", "opencv-python", "pillow", "numpy", "polars", "lmdb", "safetensors", "av"),
    *("onnx", "onnxruntime", "openvino"),
)


class Store:
    """The workspace: folders of artifacts under `data/` and `models/`, the ledger, and the locks."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        try:
            self.ledger = Ledger(self.root / "data" / ".ledger")
        except OSError as error:
            raise StageError(
                f"{self.root}: foxgan cannot write here ({error.strerror}); choose another place with --workspace or FOXGAN_HOME"
            ) from error

        self.withdrawn = Withdrawals(self.root / "data" / "withdrawn.jsonl")

    def folder(self, stage: Stage, key: Key) -> Path:
        """Where the artifact with this key lies, or will lie."""
        return self.root / stage.room / f"{stage.name}-{key.full[:12]}"

    def finished(self, folder: Path, key: Key) -> dict[str, Any] | None:
        """The manifest of `folder` if it is finished and has this key. Raises StageError where it holds something else."""
        manifest = read_manifest(folder)
        if manifest is not None and manifest.get("key") != key.full:
            raise StageError(
                f"{folder}: holds the finished output of other params (key {str(manifest.get('key'))[:12]}, wanted {key.full[:12]}); "
                "choose another --out or delete the folder"
            )
        if (
            manifest is not None and self.ledger.manifest(key.full) is None
        ):  # the ledger was deleted, or a kill came first
            self.ledger.add(manifest, units=0)
        return manifest

    def manifests(self) -> list[dict[str, Any]]:
        """Of all artifacts: those that the ledger knows, there or gone, and those that lie here without its knowledge."""
        known = self.ledger.manifests()
        keys = {manifest["key"] for manifest in known}
        for path in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            with contextlib.suppress(StageError):  # damaged: `verify` tells
                manifest = read_manifest(path.parent)
                if manifest and manifest["key"] not in keys:
                    known.append(manifest)
        return known

    def lock(
        self, folder: Path, wait: bool, message: Callable[[str], None] = lambda text: None
    ) -> AbstractContextManager[None]:
        """Hold the only right to work on `folder`; see `locks.lock`."""
        return lock(folder, wait, message)

    def begin(
        self, stage: Stage, key: Key, folder: Path, afresh: bool = False, inputs: dict[str, list[str]] | None = None
    ) -> str | None:
        """Make `folder` ready for work; returns the name of the shorter run from which it goes on, if there is one.

        `afresh`: from nothing, even if a shorter run exists. `inputs`: paths that the work reads, which `gc` must leave alone; where
        they are not known, it leaves all alone.
        """
        if folder.exists() and not folder.is_dir():
            raise StageError(f"{folder}: a file is in the way; delete it or choose another --out")
        known = read_json(folder / WORK)
        if known is not None and known.get("key") != key.full:
            if any(path.name != WORK for path in folder.iterdir()):
                raise StageError(
                    f"{folder}: holds unfinished work with other params; delete it or choose another --out"
                )
            known = None  # that work was refused before it began
        if known is None and folder.is_dir() and any(not p.name.startswith(WORK) for p in folder.iterdir()):
            raise StageError(f"{folder}: holds files that foxgan did not make; choose an empty folder for --out")
        folder.mkdir(parents=True, exist_ok=True)
        if known and known.get("ready"):
            return None
        empty(folder)  # of what a killed run had brought so far
        facts = {"key": key.full, "lineage": key.lineage, "items": key.items, "horizon": key.horizon}
        work = {**facts, "seconds": {}} | ({} if inputs is None else {"inputs": inputs})
        write_json(folder / WORK, {**work, "ready": False})
        source = None
        for shorter in [] if afresh else self.shorter(stage, key):
            with (
                contextlib.suppress(LockedError),
                self.lock(shorter, wait=False),
            ):  # one that is at work right now is left alone
                carry_over(stage, shorter, folder)
                source = shorter.name
                break
        write_json(folder / WORK, {**work, "ready": True, "timed": source is None})
        return source

    @contextlib.contextmanager
    def session(self, folder: Path, ctx: Context) -> Iterator[None]:
        """Count the time of this session in `ctx`, on top of what earlier ones took on the same folder.

        `.work.json` keeps the sum; `timed` says that it is all of the work, which a killed session leaves false.
        """
        work = read_json(folder / WORK) or {}
        ctx.seconds |= work.get("seconds", {})
        write_json(folder / WORK, {**work, "timed": False})
        try:
            with ctx.phase("total"):
                yield
        finally:
            with contextlib.suppress(OSError):  # a full disk
                write_json(folder / WORK, {**work, "seconds": ctx.seconds})

    def shorter(self, stage: Stage, key: Key) -> list[Path]:
        """Runs of the same lineage that do not go beyond this one's horizon: finished ones first, then by how far they go."""
        if not key.horizon or key.items:  # items are taken over one by one
            return []
        found: list[tuple[bool, list[float], Path]] = []
        for folder, facts, finished in self._siblings(stage):
            if facts.get("lineage") == key.lineage and facts.get("key") != key.full:
                reached = [_number(facts.get("horizon", {}).get(name)) for name in key.horizon]
                wanted = [_number(value) for value in key.horizon.values()]
                if all(r <= w for r, w in zip(reached, wanted, strict=True)):
                    found.append((finished, reached, folder))
        return [folder for _, _, folder in sorted(found, reverse=True)]

    def earlier(self, stage: Stage, key: Key, folder: Path) -> list[Path]:
        """Folders beside `folder` whose items it may take over: finished ones first, then the newest."""
        if key.items is None:
            return []
        found = [
            (finished, str(facts.get("finished")), other)
            for other, facts, finished in self._siblings(stage)
            if facts.get("items") == key.items and other != folder
        ]
        return [other for _, _, other in sorted(found, reverse=True)]

    def akin(self, stage: Stage, key: Key) -> list[Path]:
        """Finished folders of a stage that were made with other params, the newest first."""
        found = [
            (str(facts.get("finished")), other)
            for other, facts, finished in self._siblings(stage)
            if finished and facts.get("items") != key.items
        ]
        return [other for _, other in sorted(found, reverse=True)]

    def _siblings(self, stage: Stage) -> Iterator[tuple[Path, dict[str, Any], bool]]:
        """All folders of a stage with what their manifest says, or their note of unfinished work (then False)."""
        for folder in (self.root / stage.room).glob(f"{stage.name}-*"):
            if folder.suffix:  # beside an artifact, by --force
                continue
            with contextlib.suppress(StageError):  # a damaged folder helps nobody, and harms nobody here
                finished = read_json(folder / MANIFEST)
                facts = finished or read_json(folder / WORK)
                if facts:
                    yield folder, facts, finished is not None

    def finish(
        self, stage: Stage, key: Key, folder: Path, inputs: dict[str, Any], ctx: Context, step: str, units: float
    ) -> dict[str, Any]:
        """Digest the outputs, write the manifest, which makes the folder an artifact, and make all of it read-only."""
        settle(folder)
        timed = (read_json(folder / WORK) or {}).get("timed")
        with ctx.phase("digest"):
            digest = output_digest(folder, stage.results)
        manifest = {
            "stage": stage.name,
            "version": stage.version,
            "step": step,
            "key": key.full,
            "lineage": key.lineage,
            "items": key.items,
            "horizon": key.horizon,
            "params": stage.model_dump(mode="json"),
            "inputs": inputs,
            "digest": digest,
            "counts": _counts(folder),
            "seconds": {name: round(seconds, 3) for name, seconds in ctx.seconds.items()},
            "facts": ctx.facts,
            "libraries": versions(),
            "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
            "foxgan": __version__,
            "finished": _now(),
        }
        write_json(folder / MANIFEST, manifest)
        seal(folder)
        self.ledger.add(manifest, units if timed else 0)
        return manifest

    def swap(self, folder: Path) -> None:
        """Let what was built beside take the place of `folder`."""
        old = replaced(folder)
        remove(old)
        if folder.exists():
            os.replace(folder, old)
        os.replace(beside(folder), folder)
        remove(old)

    def mend(self, folder: Path) -> bool:
        """`recover` a finished folder, if anything is to be ended and nobody is at work on it."""
        traces = (note(folder), folder / WORK, beside(folder) / MANIFEST, replaced(folder))
        if any(map(os.path.exists, traces)):
            with contextlib.suppress(FoxganError, OSError), self.lock(folder, wait=False):
                return self.recover(folder)
        return False

    def recover(self, folder: Path) -> bool:
        """End what a kill cut short after a manifest was written. Only for who holds the lock.

        True: what --force had made takes its place only now. Beside a folder that was given by --out may lie others of the user.
        """
        own = is_own(folder)
        made = read_manifest(beside(folder)) if own else None
        if made is not None:
            if self.ledger.manifest(made["key"]) != made:
                self.ledger.add(made, units=0)
            self.swap(folder)
        if (folder / MANIFEST).exists():
            if (folder / WORK).exists():
                seal(folder)
            if own:
                remove(replaced(folder))
        return made is not None

    def close(self) -> None:
        self.ledger.close()


def _number(value: Any) -> float:
    return float("inf") if value is None else float(value)


def _counts(folder: Path) -> dict[str, Any] | None:
    from foxgan.dataset.index import INDEX, counts

    return counts(folder) if (folder / INDEX).exists() else None


def versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
