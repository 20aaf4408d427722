"""Makes a folder of pictures that was made or edited by hand an input like any artifact, in place.

The pictures stay where they are and the user's; foxgan adds `index.parquet` and `foxgan.json`. The manifest holds the digest of all
files, so that a later change is noticed, and adopting again takes it in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from foxgan import __version__
from foxgan.errors import DataError, StageError, UnsafeFileError, UsageError
from foxgan.pipeline.care.inventory import is_own
from foxgan.pipeline.care.origins import Origins, Row
from foxgan.pipeline.care.threads import map_in_threads
from foxgan.pipeline.digest import output_digest
from foxgan.pipeline.folder import MANIFEST, read_json, write_json
from foxgan.pipeline.ledger import Ledger
from foxgan.pipeline.store import Store
from foxgan.stages.context import Progress

STAGE, VERSION = "adopt", 1
REMOVED = "removed_by_hand"
OURS = frozenset({MANIFEST, "index.parquet", "truth.parquet", "items.jsonl"})  # beside the pictures, at the top
MAX_FILES = 1_000_000
MAX_FILE_BYTES = 1 << 28


def adopt(store: Store, folder: Path, license: str | None, creator: str | None, progress: Progress) -> dict[str, Any]:
    """Write the index and the manifest of `folder`, and return the manifest; nothing is written where it is refused.

    `license`, `creator`: of pictures of which nothing is known; None: as said the last time. Raises UsageError for a folder that
    must not be adopted, UnsafeFileError for links that lead out of it, DataError where there are no pictures in it.
    """
    from foxgan.dataset.index import KEPT, write_index

    folder = _checked(folder)
    before = _before(folder)
    given = {"license": license or before.given.get("license"), "creator": creator or before.given.get("creator")}
    names = list(_candidates(folder))
    hashes = store.ledger.file_digests(folder)
    pictures = [Picture(name, hashes[name]) for name in names if name in hashes]
    _look(folder, pictures, Origins(before.rows, store.root), progress)
    rows = [picture.row(given) for picture in pictures]
    for row in rows:
        if row["status"] == KEPT and row["id"] in store.withdrawn.ids:
            row["status"] = "withdrawn"
    if not any(row["status"] == KEPT for row in rows):
        reasons = ", ".join(sorted({str(row["status"]) for row in rows})) or "no files that could be some"
        raise DataError(f"{folder}: no pictures in it ({reasons}); give the folder that holds them")
    classes = _label(rows)
    known = sum(picture.origin is not None for picture in pictures)
    (folder / MANIFEST).unlink(missing_ok=True)  # first: no manifest ever goes with another index
    write_index(folder, [*rows, *_gone(before.rows, rows)])
    manifest = _manifest(folder, content_of(hashes), given, {"classes": classes, "known": known})
    write_json(folder / MANIFEST, manifest)
    return manifest


def _manifest(folder: Path, content: str, given: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    from foxgan.dataset.index import counts

    key = hashlib.sha256(json.dumps([STAGE, VERSION, content, given]).encode()).hexdigest()
    return {
        "stage": STAGE,
        "version": VERSION,
        "step": STAGE,
        "key": key,
        "lineage": key,
        "horizon": {},
        "params": given,
        "inputs": {},
        "digest": output_digest(folder, ()),
        "content": content,
        "counts": counts(folder),
        "seconds": {"total": 0.0},
        "facts": facts,
        "foxgan": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def content_of(hashes: dict[str, str]) -> str:
    """The digest of all files of an adopted folder, as the ledger knows them, but for what foxgan has put there."""
    files = [[name, sha256] for name, sha256 in hashes.items() if name not in OURS]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def refuse_changed(ledger: Ledger, folder: Path, manifest: dict[str, Any]) -> None:
    """Raise StageError for an adopted folder whose files are not those that its index tells of."""
    if manifest["stage"] == STAGE and ledger.content_digest(folder, but=OURS) != manifest.get("content"):
        raise StageError(f"{folder}: its files were changed after it was adopted; run `foxgan adopt {folder}` again")


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; give a folder of pictures"
        )
    folder = folder.resolve()
    if is_own(folder) or any(is_own(parent) for parent in folder.parents):
        raise UsageError(
            f"{folder}: an output of foxgan, which nobody changes; copy it under another name and adopt the copy"
        )
    return folder


@dataclass(frozen=True)
class Before:
    """What an earlier adoption, or the artifact that was copied, says of the folder."""

    rows: list[Row]
    given: dict[str, Any]


def _before(folder: Path) -> Before:
    from foxgan.dataset.index import INDEX, read_index

    try:
        manifest = read_json(folder / MANIFEST) or {}
        rows = read_index(folder, kept=False).to_dicts() if (folder / INDEX).exists() else []
    except (DataError, StageError) as error:
        raise DataError(
            f"{folder}: {INDEX} or {MANIFEST} in it cannot be read; delete both, if what they say of the pictures may be "
            f"forgotten, and adopt it again ({error})"
        ) from error
    adopted = manifest.get("stage") == STAGE
    if adopted and manifest.get("facts", {}).get("classes"):  # they were names of folders, which may have changed
        for row in rows:
            row["class"] = row["label"] = None
    return Before(rows, manifest.get("params", {}) if adopted else {})


def _candidates(folder: Path) -> Iterator[str]:
    """Relative names of all files that could be pictures. Raises UnsafeFileError for a link that leads out, DataError for too many."""
    from foxgan.sources.tree import COMPANIONS, ending, hidden

    seen = 0
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(folder):
                raise UnsafeFileError(
                    f"{path}: a link that leads out of the folder; copy there what it leads to, or delete it"
                )
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in sorted(name for name in files if not hidden(name)):
            seen += 1
            if seen > MAX_FILES:
                raise DataError(f"{folder}: more than {MAX_FILES:,} files; adopt a folder with fewer")
            relative = Path(place, name).relative_to(folder).as_posix()
            if ending(name) not in COMPANIONS and relative not in OURS:
                yield relative


@dataclass
class Picture:
    """A file of the folder: `name` relative to it, the sha256 of its bytes, and what was found out about it."""

    name: str
    sha256: str
    status: str = "kept"
    size: tuple[int, int, int] | None = None  # height, width, channels
    pixels: str = ""
    origin: Row | None = None

    def row(self, given: dict[str, Any]) -> Row:
        """Of the index. What is known of the picture from elsewhere wins over what was `given`."""
        from foxgan.sources.tree import clean, folder_of
        from foxgan.sources.yolo import split_of

        name = clean(self.name)
        row = {k: v for k, v in (self.origin or {}).items() if v is not None and k not in ("merged", "status")}
        if not row:
            row = {"id": self.sha256, "source": STAGE, "source_id": name, "split": split_of(folder_of(name))}
        row["license"] = row.get("license", "unknown")
        if row["license"] == "unknown":
            row["license"] = given["license"] or "unknown"
        row["creator"] = row.get("creator") or given["creator"]
        row |= {"path": name, "status": self.status if name == self.name else "unreadable"}
        if self.size is not None:
            row |= dict(zip(("height", "width", "channels"), self.size, strict=True))
        return row


def _look(folder: Path, pictures: list[Picture], origins: Origins, progress: Progress) -> None:
    """Fill in what each file is: photos that a scrape has proved are not decoded again."""
    by_bytes = origins.find(p.sha256 for p in pictures)
    fresh = []
    for picture in pictures:
        known = by_bytes.get(picture.sha256)
        if known is not None and None not in (sizes := [known[k] for k in ("height", "width", "channels")]):
            height, width, channels = sizes
            picture.size = height, width, channels
        if known is not None and not _hand_made(known):
            picture.origin = known
        if picture.size is None:
            fresh.append(picture)
    progress.start("pictures", len(fresh))
    try:
        for _ in map_in_threads(lambda picture: _decode(folder, picture), fresh):
            progress.advance()
    finally:
        progress.finish()
    by_pixels = origins.find(p.pixels for p in fresh if p.pixels)
    for picture in fresh:
        picture.origin = picture.origin or by_pixels.get(picture.pixels)


def _hand_made(row: Row) -> bool:
    """Whether all that is known of a picture is that it lay in an adopted folder."""
    return row["source"] == STAGE and row["parent"] is None


def _decode(folder: Path, picture: Picture) -> None:
    from foxgan import images

    path = folder / picture.name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            picture.status = "too_large"
            return
        pixels = images.decode(path, mode="any")
        height, width, channels = pixels.shape
        picture.size, picture.pixels = (height, width, channels), images.pixel_digest(pixels)
    except images.ImageError as error:
        picture.status = error.reason
    except OSError:
        picture.status = "unreadable"


def _gone(before: Iterable[Row], rows: Iterable[Row]) -> Iterator[Row]:
    """Rows of the earlier index without a picture now: removed by hand, or dropped for the reason that they have.

    A hand-made picture that was replaced by another of its name, or that was never one, is forgotten.
    """
    rows = list(rows)
    ids, names = {row["id"] for row in rows}, {row["path"] for row in rows}
    for row in before:
        if row["id"] in ids:
            continue
        kept = row["status"] in ("kept", REMOVED)
        if _hand_made(row) and (not kept or row["source_id"] in names):
            continue
        facts = {k: v for k, v in row.items() if v is not None and k not in ("path", "merged")}
        yield facts | {"status": REMOVED if kept else row["status"]}


def _label(rows: list[Row]) -> list[str]:
    """Fill `class` and `label` from the names of folders, where there is more than one and no index has told classes."""
    if any(row.get("class") is not None or row.get("label") is not None for row in rows):
        return []
    named = {row["path"]: _class_of(row["path"]) for row in rows if row["status"] == "kept"}
    classes = sorted({name for name in named.values() if name})
    if len(classes) < 2:
        return []
    for row in rows:
        if name := named.get(row["path"]):
            row |= {"class": name, "label": classes.index(name)}
    return classes


def _class_of(name: str) -> str:
    """The folder that a picture lies in, unless that only spreads files (`images/ab/ab12....png`) or names a split."""
    from foxgan.sources.yolo import SPLITS

    parts = PurePosixPath(name).parts
    folders, stem = list(parts[:-1]), parts[-1]
    if len(folders) > 1 and folders[-2] == "images" and len(folders[-1]) == 2 and stem.startswith(folders[-1]):
        folders.pop()
    if folders and folders[-1] == "images":
        folders.pop()
    return folders[-1] if folders and folders[-1] not in SPLITS else ""
