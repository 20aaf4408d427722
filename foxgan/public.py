"""Files that others have published, by their names: downloaded once into the models folder, and checked each time.

A hash that nobody told us is written down when the file is first seen, in `hashes.json` beside the files, so that the same name
never quietly stands for another file. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.errors import DataError, DownloadError
from foxgan.shipped import models_folder

if TYPE_CHECKING:
    from foxgan.download import OnProgress

HASHES = "hashes.json"
FRESH_NS = 2_000_000_000  # a file that changed so recently may change again without a new time stamp


@dataclass(frozen=True)
class PublicFile:
    """A file at `url` that is kept as `file` in the models folder. `again` says how to have it anew."""

    name: str
    url: str
    file: str
    sha256: str | None = None
    size: int | None = None
    again: str = "name it again, and it is downloaded"

    @property
    def path(self) -> Path:
        """Where it lies once it was pulled."""
        return models_folder() / self.file


def pull(public: PublicFile, on_progress: OnProgress | None = None) -> Path:
    """Where the file is; downloaded if it is not there yet.

    Raises DownloadError where it cannot be had, DataError where it is not the file that is known or that was there before.
    """
    path = public.path
    if not path.is_file():
        with _lock(path):  # another process may be pulling the same
            if not path.is_file():
                _note(path, _downloaded(public, path, on_progress))
                return path
    _check(public, path)
    return path


def _downloaded(public: PublicFile, path: Path, on_progress: OnProgress | None) -> str:
    from foxgan.download import download

    expected, source = _expected(public, path)
    try:
        return download(public.url, path, sha256=expected, size=public.size, on_progress=on_progress)
    except DataError as error:
        raise DataError(f"{public.name}: {error} ({source})") from error
    except DownloadError as error:
        raise DownloadError(
            f"{public.name}: {error}; try again later, or get the file from that address in another way and put it at {path} "
            "(FOXGAN_MODELS names the folder)"
        ) from error


def _check(public: PublicFile, path: Path) -> None:
    """DataError unless the file has the expected hash; what nobody knew is noted."""
    expected, source = _expected(public, path)
    noted = _noted(path.parent).get(path.name, {})
    if noted.get("stat") == _stat(path) and noted.get("sha256") == expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in (None, found):
        raise DataError(
            f"{path}: its sha256 is {found}, expected {expected} ({source}); delete the file and {public.again}"
        )
    with contextlib.suppress(PermissionError):  # a folder that others keep: hash it again the next time
        _note(path, found)


def _expected(public: PublicFile, path: Path) -> tuple[str | None, str]:
    """The sha256 that we know, else the one that was noted when the file was first seen; and which of them it is."""
    if public.sha256:
        return public.sha256, "that hash is in the catalog"
    noted = _noted(path.parent).get(path.name, {}).get("sha256")
    return (
        noted,
        f"that hash is from the first time; if the authors have replaced the file, delete {path.name} in {path.parent / HASHES}",
    )


def _stat(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _noted(folder: Path) -> dict[str, Any]:
    """What is known of the files of `folder`: by name, `sha256` and the `stat` they had then."""
    path = folder / HASHES
    try:
        noted = json.loads(path.read_bytes())
        if isinstance(noted, dict) and all(isinstance(entry, dict) for entry in noted.values()):
            return noted
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    raise DataError(
        f"{path}: not the list of hashes that foxgan wrote; restore it, or delete it to trust the files as they are"
    )


def _note(path: Path, sha256: str) -> None:
    stat = _stat(path)
    is_settled = time.time_ns() - stat[1] > FRESH_NS
    with _lock(path.with_name(HASHES)):
        noted = _noted(path.parent) | {path.name: {"sha256": sha256, "stat": stat if is_settled else None}}
        temporary = path.with_name(f"{HASHES}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(noted, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path.with_name(HASHES))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process at a time does something to `path`. The folder is made if need be."""
    from filelock import FileLock

    locks = path.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{path.name}.lock"):
        yield
