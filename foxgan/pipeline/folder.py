"""The folder of an artifact: its manifest, what stands beside it, and how files get from one folder into another.

A folder that has a manifest is finished; until then `.work.json` says what it is going to be.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from foxgan.errors import StageError
from foxgan.pipeline.digest import PICTURES
from foxgan.stages.base import Stage

MANIFEST = "foxgan.json"
WORK = ".work.json"
NEEDED = frozenset({"key", "lineage", "digest", "stage", "seconds"})  # of a manifest
ABANDONED = 60.0  # seconds after which nobody is expected to give a link or page its name
_LINKED = PICTURES | {".safetensors", ".heic", ".gif", ".bmp", ".tif", ".tiff", ".avif"}  # never changed in place
# A link (see `point`) and a page on their way to their names.
_LINK, _PAGE = re.compile(r"\..+\.\d+"), re.compile(r"report\.html\.\d+\.tmp")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished artifact, or None. Raises StageError where it is damaged."""
    manifest = read_json(folder / MANIFEST)
    if manifest is not None and not NEEDED.issubset(manifest):
        missing = ", ".join(sorted(NEEDED.difference(manifest)))
        raise StageError(f"{folder / MANIFEST}: has no {missing}; delete the folder {folder} and run the step again")
    return manifest


def beside(folder: Path) -> Path:
    """Where --force builds what will take the place of `folder`."""
    return folder.with_name(f"{folder.name}.new")


def replaced(folder: Path) -> Path:
    """Where --force puts `folder` before it deletes it."""
    return folder.with_name(f"{folder.name}.old")


def error_log(folder: Path) -> Path:
    """Where the traceback of an unexpected error goes: not into the folder, which may be taken up again."""
    return folder.with_name(f"{folder.name}.error.log")


def remove(folder: Path) -> None:
    """Delete a folder of read-only files; what cannot be deleted stays."""
    if sys.platform == "win32":  # where a read-only file cannot be deleted
        for path in folder.rglob("*"):
            path.chmod(0o666)
    shutil.rmtree(folder, ignore_errors=True)


def settle(folder: Path) -> None:
    """Delete what killed processes left half-written, and make all other files read-only: nobody changes them from now on."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}{os.sep}{name}"
            if name.endswith(".tmp"):
                os.unlink(path)
            elif name != WORK and os.stat(path).st_mode & 0o222:
                os.chmod(path, 0o444)


def protect(path: Path) -> None:
    """Make one file read-only."""
    path.chmod(0o444)


def seal(folder: Path) -> None:
    """What follows once the manifest is written. The note of unfinished work goes last: as long as it is there, this was cut short."""
    protect(folder / MANIFEST)
    error_log(folder).unlink(missing_ok=True)
    (folder / WORK).unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Delete all but the note of what `folder` is going to be."""
    for path in folder.iterdir():
        if path.is_dir():
            remove(path)
        elif path.name != WORK:
            path.unlink()


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StageError(
            f"{path}: cannot be read ({error}); delete the folder {path.parent} and run the step again"
        ) from error
    if not isinstance(value, dict):
        raise StageError(f"{path}: not a JSON object; delete the folder {path.parent} and run the step again")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
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


def carry_over(stage: Stage, source: Path, target: Path) -> None:
    """Bring what a longer run goes on from; files that are never changed in place are linked where the disk can."""
    for path in sorted({p for pattern in stage.carries for p in source.glob(pattern) if p.is_file()}):
        if path.name in (MANIFEST, WORK) or path.suffix == ".tmp":
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform != "win32" and path.suffix.lower() in _LINKED:  # there, a read-only link cannot be deleted
            with contextlib.suppress(OSError):
                os.link(path, copy)
                continue
        shutil.copyfile(path, copy)


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


def sweep(folder: Path) -> None:
    """Delete what killed runs left of links and pages in the folder of a pipeline; young ones may be of a run that is at work now."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if (_LINK if entry.is_symlink() else _PAGE).fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):  # another run was quicker
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                        os.unlink(entry)
