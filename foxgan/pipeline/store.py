"""Artifacts on disk: keys, folders, manifests and locks. The manifest is written last, so a folder that has one is finished."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from foxgan import __version__
from foxgan.errors import LockedError, StageError
from foxgan.pipeline.digest import PICTURES, output_digest
from foxgan.pipeline.ledger import Ledger
from foxgan.stages.base import Context, Stage, fields_of_kind

MANIFEST = "foxgan.json"
WORK = ".work.json"  # in an unfinished folder: what it is going to be
LIBRARIES = (
    "torch",
    "ultralytics",
    "opencv-python",
    "pillow",
    "numpy",
    "polars",
    "lmdb",
    "safetensors",
    "av",
    "onnxruntime",
)
_LINKED = PICTURES | {".safetensors", ".heic", ".gif", ".bmp", ".tif", ".tiff", ".avif"}  # never changed in place


@dataclass(frozen=True)
class Key:
    """What names an artifact: `full`; and `lineage`, the same without horizon params, shared by shorter and longer runs."""

    full: str
    lineage: str
    horizon: dict[str, Any] = field(default_factory=dict)


def make_key(stage: Stage, inputs: dict[str, list[str]]) -> Key:
    """The key of `stage` over the digests of its inputs. Params at their default and machine params are left out."""
    cls = type(stage)
    references = {f for kind in ("artifact", "weights") for f in fields_of_kind(cls, kind)}
    params = stage.model_dump(mode="json", exclude=references | cls.machine_params, exclude_defaults=True)
    facts = {"stage": cls.name, "version": cls.version, "inputs": inputs}
    horizon = {name: getattr(stage, name) for name in sorted(cls.horizon_params)}
    lineage = {k: v for k, v in params.items() if k not in cls.horizon_params}
    return Key(_sha256({**facts, "params": params}), _sha256({**facts, "params": lineage}), horizon)


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


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
        return manifest

    @contextlib.contextmanager
    def lock(self, folder: Path, wait: bool, message: Any) -> Iterator[None]:
        """Hold the only right to work on `folder`; the operating system frees it when the process dies."""
        from filelock import FileLock, Timeout

        locks = self.root / "data" / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        name = f"{folder.name}-{_sha256(str(folder))[:8]}"
        owner = locks / f"{name}.json"
        lock = FileLock(locks / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as timeout:
            who = _owner(owner)
            if not wait:
                raise LockedError(
                    f"{folder}: {who} is working on it; run again later, or leave out --no-wait to wait"
                ) from timeout
            message(f"{folder.name}: waiting, {who} is working on it")
            lock.acquire()
        try:
            facts = {"pid": os.getpid(), "host": socket.gethostname(), "started": _now()}
            owner.write_text(json.dumps(facts), encoding="utf-8")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def begin(self, stage: Stage, key: Key, folder: Path) -> str | None:
        """Make `folder` ready for work; returns the name of the shorter run from which it goes on, if there is one."""
        if folder.exists() and not folder.is_dir():
            raise StageError(f"{folder}: a file is in the way; delete it or choose another --out")
        known = _read_json(folder / WORK)
        if known is not None and known.get("key") != key.full:
            raise StageError(f"{folder}: holds unfinished work with other params; delete it or choose another --out")
        if known is None and folder.is_dir() and any(not p.name.startswith(WORK) for p in folder.iterdir()):
            raise StageError(f"{folder}: holds files that foxgan did not make; choose an empty folder for --out")
        folder.mkdir(parents=True, exist_ok=True)
        if known and known["ready"]:
            return None
        work = {"key": key.full, "lineage": key.lineage, "horizon": key.horizon}
        _write_json(folder / WORK, {**work, "ready": False})
        shorter = self._shorter(stage, key)
        if shorter is not None:
            _carry_over(stage, shorter, folder)
        _write_json(folder / WORK, {**work, "ready": True})
        return shorter.name if shorter else None

    def _shorter(self, stage: Stage, key: Key) -> Path | None:
        """The artifact of the same lineage that went farthest, but not beyond this one's horizon."""
        if not key.horizon:
            return None
        found: list[tuple[list[float], bool, Path]] = []
        for folder in (self.root / stage.room).glob(f"{stage.name}-*"):
            facts = _read_json(folder / MANIFEST) or _read_json(folder / WORK)
            if facts and facts.get("lineage") == key.lineage and facts.get("key") != key.full:
                reached = [_number(facts.get("horizon", {}).get(name)) for name in key.horizon]
                wanted = [_number(value) for value in key.horizon.values()]
                if all(r <= w for r, w in zip(reached, wanted, strict=True)):
                    found.append((reached, (folder / MANIFEST).exists(), folder))
        return max(found, key=lambda f: (f[1], f[0]))[2] if found else None

    def finish(
        self, stage: Stage, key: Key, folder: Path, inputs: dict[str, Any], ctx: Context, step: str, units: float
    ) -> dict[str, Any]:
        """Digest the outputs, make them read-only and write the manifest: from here on the folder is an artifact."""
        with ctx.phase("digest"):
            digest = output_digest(folder, stage.results)
        manifest = {
            "stage": stage.name,
            "version": stage.version,
            "step": step,
            "key": key.full,
            "lineage": key.lineage,
            "horizon": key.horizon,
            "params": stage.model_dump(mode="json"),
            "inputs": inputs,
            "digest": digest,
            "counts": _counts(folder),
            "seconds": {name: round(seconds, 3) for name, seconds in ctx.seconds.items()},
            "facts": ctx.facts,
            "libraries": _versions(),
            "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
            "foxgan": __version__,
            "finished": _now(),
        }
        _write_json(folder / MANIFEST, manifest)
        (folder / WORK).unlink(missing_ok=True)
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        self.ledger.add(manifest, units)
        return manifest

    def close(self) -> None:
        self.ledger.close()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished artifact, or None."""
    return _read_json(folder / MANIFEST)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StageError(
            f"{path}: cannot be read ({error}); delete the folder {path.parent} and run the step again"
        ) from error
    return value if isinstance(value, dict) else None


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if sys.platform != "win32":
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        facts = json.loads(path.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} (since {facts['started']})"
    return "another run"


def _number(value: Any) -> float:
    return float("inf") if value is None else float(value)


def _carry_over(stage: Stage, source: Path, target: Path) -> None:
    """Bring what a longer run goes on from; files that are never changed in place are linked where the disk can."""
    for path in sorted({p for pattern in stage.carries for p in source.glob(pattern) if p.is_file()}):
        if path.name in (MANIFEST, WORK):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in _LINKED:
            with contextlib.suppress(OSError):
                os.link(path, copy)
                continue
        shutil.copyfile(path, copy)


def _counts(folder: Path) -> dict[str, Any] | None:
    from foxgan.dataset.index import INDEX, counts

    return counts(folder) if (folder / INDEX).exists() else None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
