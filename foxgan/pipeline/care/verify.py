"""Compares what lies on disk with what manifests, indexes and the ledger say of it. Nothing is changed, and all problems are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from foxgan.errors import FoxganError, StageError
from foxgan.pipeline.care.adopt import STAGE as ADOPTED
from foxgan.pipeline.care.adopt import content_of
from foxgan.pipeline.care.inventory import NAME, ROOMS, is_own
from foxgan.pipeline.care.threads import map_in_threads
from foxgan.pipeline.digest import file_sha256, output_digest
from foxgan.pipeline.folder import MANIFEST, read_json, read_manifest
from foxgan.pipeline.plan import Planned
from foxgan.pipeline.store import Store
from foxgan.stages import MODULES, stage_class
from foxgan.stages.context import Progress

T = TypeVar("T")
SHOWN = 5  # names in a message; the rest is counted
RECORDED = ("stage", "version", "key", "lineage", "digest", "counts")  # what the ledger must say, too
DATASET = "data.mdb"


@dataclass
class Checked:
    """One artifact, what is wrong with it, and what to do then."""

    folder: Path
    step: str = ""
    problems: list[str] = field(default_factory=list)
    advice: str = ""


def finished_folders(root: Path) -> list[Path]:
    """All folders of a workspace that have a manifest: artifacts, and adopted folders in `data/`."""
    found = (path.parent for room in ROOMS for path in (root / room).glob(f"*/{MANIFEST}"))
    return sorted(f for f in found if not f.is_symlink() and (not NAME.match(f.name) or is_own(f)))


def folders_of(planned: dict[str, Planned]) -> list[Path]:
    """The current artifacts of a pipeline's steps, and the adopted folders or artifacts that they read by path."""
    steps = [entry.folder for entry in planned.values() if entry.state == "kept" and entry.folder is not None]
    sources = (s.path for entry in planned.values() for given in entry.step.sources.values() for s in given)
    outside = [path for path in sources if path is not None and (path / MANIFEST).is_file()]
    return list(dict.fromkeys(path.resolve() for path in (*steps, *outside)))


def verify(store: Store, folders: Sequence[Path], progress: Progress) -> Iterator[Checked]:
    """Check one artifact after the other; the files of each side by side."""
    progress.start("artifacts", len(folders))
    try:
        for folder in folders:
            yield _check(store, folder)
            progress.advance(note=folder.name)
    finally:
        progress.finish()


def _check(store: Store, folder: Path) -> Checked:
    result = Checked(folder)
    try:
        manifest = read_manifest(folder)
    except StageError as error:
        result.problems.append(str(error))
        return result
    if manifest is None:  # deleted since it was listed
        return result
    result.step = str(manifest.get("step") or manifest["stage"])
    found: list[str] = []
    for check in (_manifest, _digest, _index, _dataset):
        try:
            for text in check(folder, manifest):
                found.append(text)
        except Exception as error:  # a damaged file makes libraries raise all sorts of things
            found.append(" ".join(str(error).split()) or type(error).__name__)
    if found and (folder / DATASET).exists():
        found += _broken_pictures(folder)
    found += _recorded(store, folder, manifest)
    if found and _again(folder) == manifest:  # else somebody has put another one there meanwhile
        result.problems = list(dict.fromkeys(found))
        result.advice = _advice(store, folder, manifest, result.step)
    return result


def _again(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / MANIFEST)
    except StageError:
        return None


def _advice(store: Store, folder: Path, manifest: dict[str, Any], step: str) -> str:
    if manifest["stage"] == ADOPTED:
        return f"run `foxgan adopt {folder}` again"
    uses = store.ledger.named().get(manifest["key"], [])
    if uses:
        pipeline, name = uses[0]
        return f"delete {folder} and run {pipeline} again, or run it with --force {name}"
    return f"delete {folder} and run {step} again"


def _manifest(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    if is_own(folder) and folder.name != f"{manifest['stage']}-{str(manifest['key'])[:12]}":
        yield f"{folder / MANIFEST}: says {manifest['stage']}-{str(manifest['key'])[:12]}, which is not the folder's name"
    if manifest["stage"] not in MODULES and manifest["stage"] != ADOPTED:
        yield f"{folder}: stage {manifest['stage']} is not known to this foxgan, so only its index can be checked"


def _digest(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    stage = manifest["stage"]
    if stage in MODULES or stage == ADOPTED:
        found = output_digest(folder, stage_class(stage).results if stage in MODULES else ())
        if found != manifest["digest"]:
            yield f"{folder}: its content is not what was written (digest {found[:12]}, the manifest says {manifest['digest'][:12]})"


def _dataset(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Structure of an LMDB, and its ids against the index; its values are in the digest."""
    from foxgan.dataset.index import INDEX, read_index
    from foxgan.dataset.store import problems

    path = folder / DATASET
    if not path.exists():
        return
    if damage := problems(path):
        yield from _told(f"{path}: a damaged LMDB", damage)
        return
    from foxgan.dataset.lmdb import open_dataset

    if (folder / INDEX).exists() and set(read_index(folder)["id"]) != set(open_dataset(folder).ids):
        yield f"{path}: holds other pictures than {INDEX} lists"


def _broken_pictures(folder: Path) -> list[str]:
    """All values of an LMDB that are damaged, where the digest has stopped at the first one."""
    from foxgan.dataset.lmdb import open_dataset

    try:
        dataset = open_dataset(folder)
    except FoxganError as error:
        return [str(error)]
    broken = _bad(range(len(dataset)), lambda position: _unreadable(dataset, position))
    return list(_told(f"{folder / DATASET}: damaged pictures", [dataset.ids[position] for position in broken]))


def _unreadable(dataset: Any, position: int) -> bool:
    try:
        dataset.images([position])
    except FoxganError:
        return True
    return False


def _index(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Rows against files, and files against rows."""
    from foxgan.dataset.index import INDEX, KEPT, counts, read_index

    if not (folder / INDEX).is_file():
        if manifest.get("counts"):
            yield f"{folder / INDEX}: missing"
        return
    if counts(folder) != manifest.get("counts"):
        yield f"{folder / INDEX}: its counts are not those of the manifest"
    stage, base = manifest["stage"], f"{os.path.abspath(folder)}{os.sep}"
    rows = read_index(folder, kept=False).filter(_has_path()).select("id", "path", "status").rows()
    own = [(i, p, s) for i, p, s in rows if p.startswith(base)]
    lent = [(i, p, s) for i, p, s in rows if not p.startswith(base)] if _borrows(stage) else []
    kept = [(i, p) for i, p, s in (*own, *lent) if s == KEPT]
    missing = set(_bad(sorted({p for _, p in kept}), lambda path: not os.path.isfile(path)))
    yield from _told(f"{folder}: files that the index names are missing", sorted(missing))
    means = MEANING.get(stage)
    if means is not None:
        there = [(i, p) for i, p in kept if p not in missing and p.startswith(base)]
        wrong = _bad(there, lambda row: not means(row[0], Path(row[1])))
        yield from _told(f"{folder}: files that hold something else than their id says", [p for _, p in wrong])
    if stage == ADOPTED:  # what else lies there is the user's
        return
    named = {p for _, p, _ in own}
    files = (os.path.join(place, name) for place, _, names in os.walk(folder / "images") for name in names)
    yield from _told(f"{folder}: files that the index does not name", sorted(set(map(os.path.abspath, files)) - named))


def _has_path() -> Any:
    import polars as pl

    return pl.col("path").is_not_null()


def _borrows(stage: str) -> bool:
    return stage in MODULES and stage_class(stage).borrows


def _bytes_match(item: str, path: Path) -> bool:
    return file_sha256(path) == item


def _pixels_match(item: str, path: Path) -> bool:
    from foxgan import images

    try:
        return images.pixel_digest(images.decode(path, mode="any")) == item
    except images.ImageError:
        return False


def _either_matches(item: str, path: Path) -> bool:
    return _bytes_match(item, path) or _pixels_match(item, path)


# stage -> whether a file is what its id says. Other stages' ids say something else, or their digest covers the pictures.
MEANING: dict[str, Callable[[str, Path], bool]] = {
    "scrape": _bytes_match,
    "crop": _pixels_match,
    ADOPTED: _either_matches,
}


def _recorded(store: Store, folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """The ledger may have been deleted, but it must not say something else."""
    if manifest["stage"] == ADOPTED and content_of(store.ledger.file_digests(folder)) != manifest.get("content"):
        yield f"{folder}: its files were changed after it was adopted"
    row = store.ledger.manifest(manifest["key"])
    differing = [name for name in RECORDED if row is not None and row.get(name) != manifest.get(name)]
    if differing:
        yield f"{store.ledger.path}: tells other {', '.join(differing)} than the manifest"


def _bad(items: Sequence[T], is_bad: Callable[[T], bool]) -> list[T]:
    """Those of `items` that are bad."""
    return [item for item, bad in zip(items, map_in_threads(is_bad, items), strict=True) if bad]


def _told(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield f"{what}: {', '.join(names[:SHOWN])}{more}"
