"""What a run would do: for every step its key, whether its output exists, and what must be made (again)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foxgan.errors import StageError
from foxgan.pipeline.care.adopt import refuse_changed
from foxgan.pipeline.folder import read_manifest
from foxgan.pipeline.keys import Key, items_key, make_key
from foxgan.pipeline.spec import Pipeline, Source, Step
from foxgan.pipeline.store import Store
from foxgan.stages.base import Stage, fields_of_kind

if TYPE_CHECKING:
    from foxgan.pipeline.shared.lookup import Cache

# kept: finished and there. gone: finished once, its folder deleted since. run: must be made. unknown: depends on a step that runs.
State = Literal["kept", "gone", "run", "unknown"]
# force: make it again from nothing. refresh: make it again, but ask only for what is new or was dropped.
Again = Literal["", "force", "refresh"]


@dataclass(frozen=True)
class Planned:
    """One step as a run sees it now. `key` and `folder` are unknown while an input still has to be made."""

    step: Step
    state: State
    key: Key | None = None
    folder: Path | None = None
    manifest: dict[str, Any] | None = None
    again: Again = ""  # although its output exists

    @property
    def digest(self) -> str | None:
        return self.manifest["digest"] if self.manifest and self.state in ("kept", "gone") else None


def plan(
    pipeline: Pipeline,
    store: Store,
    wanted: Iterable[str],
    again: Mapping[str, Again] | None = None,
    out: Path | None = None,
    cache: Cache | None = None,
) -> dict[str, Planned]:
    """The state of all steps. What `cache` has made already is as if it had been made here, and its folder deleted.

    A deleted folder is made again only where nothing reads it, or a step that runs does, be it through one that borrows its files.
    """
    planned: dict[str, Planned] = {}
    wanted, again = set(wanted), again or {}
    for step in pipeline.steps.values():
        planned[step.name] = _look(step, planned, store, again.get(step.name, ""), out, cache)
    read = {name for step in pipeline.steps.values() if step.name in wanted for name in step.after}
    needed = {
        n for n in wanted if planned[n].state in ("run", "unknown") or (planned[n].state == "gone" and n not in read)
    }
    files = set(needed)  # steps whose files somebody will read
    for name in reversed(planned):  # a step that runs needs the folders of its inputs
        entry = planned[name]
        if name not in files:
            continue
        if entry.state == "gone":
            entry = planned[name] = Planned(entry.step, "run", entry.key, entry.folder, entry.manifest)
        made = entry.state != "kept" and not (
            cache is not None and cache.has(entry, planned)
        )  # a fetch needs no inputs
        if made or entry.step.stage.borrows:
            files.update(entry.step.after)
    return planned


def _look(
    step: Step, planned: dict[str, Planned], store: Store, again: Again, out: Path | None, cache: Cache | None
) -> Planned:
    inputs = input_digests(step, planned, store)
    if inputs is None:
        return Planned(step, "unknown", again=again)
    key = make_key(step.stage, inputs, _withdrawn(step.stage, inputs, store))
    folder = out or store.folder(step.stage, key)
    manifest = store.finished(folder, key)
    if again:
        return Planned(step, "run", key, folder, manifest, again)
    if manifest is not None:
        return Planned(step, "kept", key, folder, manifest)
    remembered = store.ledger.manifest(key.full)
    if remembered is None and cache is not None:
        remembered = cache.find(step, key, planned)
    return Planned(step, "gone" if remembered else "run", key, folder, remembered)


def _withdrawn(stage: Stage, inputs: dict[str, list[str]], store: Store) -> list[str]:
    return store.withdrawn.had_by(items_key(stage, inputs)) if stage.takes_in else []


def input_digests(step: Step, planned: dict[str, Planned], store: Store) -> dict[str, list[str]] | None:
    """The digests of all inputs by field, or None while one of them is not known yet."""
    found: dict[str, list[str]] = {}
    weights = fields_of_kind(type(step.stage), "weights")
    for field, sources in step.sources.items():
        digests = [_digest(source, None if field in weights else step.stage, planned, store) for source in sources]
        if any(d is None for d in digests):
            return None
        found[field] = [d for d in digests if d is not None]
    return found


def _digest(source: Source, reader: Stage | None, planned: dict[str, Planned], store: Store) -> str | None:
    if source.step is not None:
        return planned[source.step].digest
    if source.path is None:
        return f"name:{source.known}"
    if manifest := _outside_manifest(source.path):
        refuse_changed(store.ledger, source.path, manifest)
        return str(manifest["digest"])
    if reader is None:  # weights are the same under every name
        return store.ledger.content_digest(source.path)
    # The name of photos or a list tells their format and split, and what they are called.
    paths = [source.path, *reader.companions(source.path)]
    contents = [[path.name, store.ledger.content_digest(path)] for path in paths]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def _outside_manifest(path: Path | None) -> dict[str, Any] | None:
    """The manifest of an artifact that is given by its path; None for other folders and files."""
    return read_manifest(path) if path is not None and path.is_dir() else None


def has_inputs(step: Step, planned: dict[str, Planned]) -> bool:
    """Whether the folders of all inputs are there, and of what those borrow."""
    entries = [planned[name] for name in step.after]
    return all(e.state == "kept" and (not e.step.stage.borrows or has_inputs(e.step, planned)) for e in entries)


def located_inputs(step: Step, planned: dict[str, Planned]) -> dict[str, list[str]]:
    """Paths (or known names) of all inputs by field, for a step whose inputs are finished."""
    return {field: [_located(source, planned, step) for source in sources] for field, sources in step.sources.items()}


def _located(source: Source, planned: dict[str, Planned], step: Step) -> str:
    if source.step is None:
        return str(source.path or source.known)
    entry = planned[source.step]
    if entry.state != "kept" or entry.folder is None:
        raise StageError(f"step {step.name}: its input {source.step} is not finished; run it first, without --only")
    return str(entry.folder)


def with_inputs(step: Step, planned: dict[str, Planned]) -> Stage:
    """The stage with its input fields replaced by where the inputs lie."""
    update: dict[str, Any] = {}
    for field, paths in located_inputs(step, planned).items():
        single = isinstance(getattr(step.stage, field), str)
        update[field] = paths[0] if single else tuple(Path(p) for p in paths)
    return step.stage.model_copy(update=update)


def input_counts(step: Step, planned: dict[str, Planned]) -> list[int]:
    """How many items each finished input holds, as far as they are artifacts."""
    counts = []
    for sources in step.sources.values():
        for source in sources:
            manifest = planned[source.step].manifest if source.step else _outside_manifest(source.path)
            if manifest and manifest.get("counts"):
                counts.append(int(manifest["counts"]["kept"]))
    return counts
