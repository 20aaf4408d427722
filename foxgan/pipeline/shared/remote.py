"""A shared cache: artifacts in a place that several machines can reach.

    objects/ab/<sha256>     the bytes of a file, whichever artifacts it belongs to
    artifacts/<key>.json    a manifest and the list of its files, written last: without it there is no artifact

Nothing in it is ever changed, so machines may push and fetch at once. What is fetched is not believed until it has been checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foxgan.errors import DataError, StageError
from foxgan.pipeline.digest import file_sha256, output_digest
from foxgan.pipeline.folder import MANIFEST, protect, remove, settle, write_json
from foxgan.pipeline.shared.bucket import CHUNK, Bucket, Transfer, within
from foxgan.pipeline.shared.remote_manifest import MAX_BYTES, check_index, files_of, parse, portable, walk
from foxgan.report.words import size_text
from foxgan.stages import MODULES, stage_class
from foxgan.stages.context import Progress

BLOCK = 4096  # bytes that a disk gives to a file at least
STALLED = 60.0  # seconds without an answer, or a byte, after which the cache is given up; its libraries would try for many minutes

Manifest = dict[str, Any]
File = dict[str, Any]  # path, size, sha256


@dataclass(frozen=True)
class Moved:
    """What an artifact has, and what of it had to be moved."""

    files: int
    bytes: int
    moved_files: int
    moved_bytes: int


class Remote:
    """The cache at `url`. Methods raise DownloadError where it cannot be reached."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket(url)

    def manifest(self, key: str) -> Manifest | None:
        """The checked manifest of the artifact `key` with its `files`, or None. Raises DataError for one that cannot be right."""
        try:
            data = within(STALLED, lambda: self.bucket.read(_artifact(key), 0, MAX_BYTES + 1))
        except FileNotFoundError:
            return None
        return parse(data, key, self.bucket.address(_artifact(key)))

    def push(self, folder: Path, manifest: Manifest, progress: Progress) -> Moved:
        """Bring the finished artifact in `folder` into the cache; files that it has already are not sent again."""
        try:
            check_index(folder)
        except ValueError as error:
            raise StageError(f"{folder}: cannot be shared: {error}") from error
        files = _hashed(folder, progress)
        wanted = {_object(file): file for file in files}
        there = self.bucket.sizes(list(wanted))
        missing = [file for path, file in wanted.items() if there.get(path) != file["size"]]
        with Transfer(progress, f"{folder.name}: sending", _sum(missing)) as transfer:

            def send(file: File) -> None:
                self.bucket.send(folder / file["path"], _object(file))
                transfer.count(file["size"])

            for _ in transfer.each(send, missing):
                pass
        self.bucket.write(json.dumps({**portable(manifest), "files": files}).encode(), _artifact(manifest["key"]))
        return Moved(len(files), _sum(files), len(missing), _sum(missing))

    def fetch(self, manifest: Manifest, folder: Path, progress: Progress) -> Moved:
        """Make `folder` the artifact that `manifest`, with its `files`, tells of; a killed fetch goes on where it was.

        What lies in `folder` gives way. Only for who holds its lock. Raises DataError for wrong bytes, of which nothing is kept.
        """
        files, build = manifest["files"], pulled(folder)
        there = _left_of(build)
        if not there.keys() <= {file["path"] for file in files}:
            remove(build)  # what was fetched under another manifest
        _check_space(build, files, there)
        try:
            moved = self._bring_all(files, build, f"{folder.name}: fetching", progress)
            self._check_meaning(build, manifest)
        except DataError:
            remove(build)
            raise
        write_json(build / MANIFEST, {name: value for name, value in manifest.items() if name != "files"})
        protect(build / MANIFEST)
        remove(folder)
        os.replace(build, folder)
        return moved

    def _bring_all(self, files: Sequence[File], build: Path, description: str, progress: Progress) -> Moved:
        for parent in {(build / file["path"]).parent for file in files} | {build}:
            parent.mkdir(parents=True, exist_ok=True)
        with Transfer(progress, description, _sum(files), STALLED) as transfer:

            def bring(file: File) -> bool:
                target = build / file["path"]
                if target.is_file() and target.stat().st_size == file["size"] and file_sha256(target) == file["sha256"]:
                    transfer.count(file["size"])
                    return False
                self._bring(file, target, transfer)
                return True

            moved = [file for file, new in zip(files, transfer.each(bring, files), strict=True) if new]
        return Moved(len(files), _sum(files), len(moved), _sum(moved))

    def _bring(self, file: File, target: Path, transfer: Transfer) -> None:
        """One file, checked on its way to a temporary name; never more bytes than announced."""
        digest, size = hashlib.sha256(), file["size"]
        temporary = target.with_name(f"{target.name}.tmp")
        try:
            with temporary.open("wb") as out:
                for start in range(0, size, CHUNK):
                    chunk = self._piece(file, start, min(start + CHUNK, size))
                    digest.update(chunk)
                    out.write(chunk)
                    transfer.count(len(chunk))
            if digest.hexdigest() != file["sha256"]:
                raise self._wrong(file, f"its sha256 is {digest.hexdigest()}, expected {file['sha256']}")
            protect(temporary)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _piece(self, file: File, start: int, end: int) -> bytes:
        try:
            chunk = self.bucket.read(_object(file), start, end)
        except FileNotFoundError as error:
            raise self._wrong(file, "it is missing") from error
        if len(chunk) != end - start:
            raise self._wrong(file, f"it has {start + len(chunk)} bytes, expected {file['size']}")
        return chunk

    def _wrong(self, file: File, what: str) -> DataError:
        return DataError(
            f"{self.bucket.address(_object(file))} ({file['path']}): {what}. Nothing of the artifact was kept; delete this object and "
            "the artifact's manifest in the cache, then push again from a workspace that has it"
        )

    def _check_meaning(self, build: Path, manifest: Manifest) -> None:
        """Files that are as announced may still be something else than the manifest says."""
        where = self.bucket.address(_artifact(manifest["key"]))
        advice = "Nothing of it was kept; delete this manifest in the cache, then push again from a workspace that has the artifact"
        if manifest["stage"] not in MODULES:
            raise DataError(f"{where}: made by stage {manifest['stage'][:60]!r}, which this foxgan does not know")
        try:
            check_index(build)
            found = output_digest(build, stage_class(manifest["stage"]).results)
        except Exception as error:  # damaged tables, pictures and LMDBs have all sorts of errors
            raise DataError(f"{where}: its files cannot be used: {error}. {advice}") from error
        if found != manifest["digest"]:
            raise DataError(
                f"{where}: the output digest of its files is {found}, expected {manifest['digest']}. {advice}"
            )


def pulled(folder: Path) -> Path:
    """Where files gather that will be `folder`."""
    return folder.with_name(f"{folder.name}.pull")


def _hashed(folder: Path, progress: Progress) -> list[File]:
    """The files of an artifact as its shared manifest lists them."""
    found = files_of(folder)
    with Transfer(progress, f"{folder.name}: reading", sum(size for _, size in found)) as transfer:

        def read(entry: tuple[str, int]) -> File:
            path, size = entry
            transfer.count(size)
            return {"path": path, "size": size, "sha256": file_sha256(folder / path)}

        return list(transfer.each(read, found))


def _left_of(build: Path) -> dict[str, int]:
    """Sizes of the files that a killed fetch has brought, by their paths."""
    if not build.exists():
        return {}
    settle(build)
    return dict(walk(build))


def _check_space(build: Path, files: Sequence[File], there: Mapping[str, int]) -> None:
    """Raise StageError where the disk cannot take what is still missing."""
    missing = [file["size"] for file in files if there.get(file["path"]) != file["size"]]
    needed = sum(-(-size // BLOCK) * BLOCK for size in missing)
    disk = next(parent for parent in build.parents if parent.exists())
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise StageError(
            f"{build.stem}: {size_text(needed)} are to be fetched, {disk} has {size_text(free)} free; free some, or choose another "
            "place with --workspace"
        )


def _sum(files: Sequence[File]) -> int:
    return sum(file["size"] for file in files)


def _artifact(key: str) -> str:
    return f"artifacts/{key}.json"


def _object(file: File) -> str:
    return f"objects/{file['sha256'][:2]}/{file['sha256']}"
