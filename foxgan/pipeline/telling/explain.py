"""Why a step would run, or not: what differs between what it would make now and what it made last.

Only what makes the key is named as a cause. Equal keys end the search, so that no explanation can contradict what a run does.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from foxgan import __version__
from foxgan.errors import StageError
from foxgan.pipeline.folder import WORK, read_json, read_manifest
from foxgan.pipeline.keys import items_key, ordinary_params
from foxgan.pipeline.plan import Planned, input_digests, plan
from foxgan.pipeline.spec import Pipeline, Source, Step
from foxgan.pipeline.store import Store, versions
from foxgan.stages.base import Stage, fields_of_kind

Kind = Literal[
    "stage", "version", "param", "input", "weights", "order", "withdrawn", "key", "machine", "library", "foxgan"
]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One side of an input that changed: where it comes from, the digest of its content, and how many items it holds."""

    source: str
    digest: str
    items: int | None = None


@dataclass(frozen=True)
class Change:
    """One difference. `old` and `new` are JSON values; for an input each is a Side, or None where there is none.

    `default`: the new value is the default. `horizon`: more or less of the same, so a longer run goes on from a shorter one.
    """

    kind: Kind
    name: str
    old: Any = None
    new: Any = None
    default: bool = False
    horizon: bool = False


@dataclass(frozen=True)
class Explanation:
    """All that can be said about one step.

    `last` is the manifest it is compared with. `beside`: what differs as well, but is never a cause. `waits_for`: inputs that are not
    known yet; `causes` then explains the steps before it that run, or differ. `needed_by`: who reads a deleted folder that is made
    again. `goes_on_from`: the shorter run whose state is taken up; `takes_from`: the earlier artifact whose items are taken over.
    """

    step: str
    stage: str
    state: str
    key: str | None = None
    folder: str | None = None
    last: Manifest | None = None
    changes: list[Change] = field(default_factory=list)
    beside: list[Change] = field(default_factory=list)
    waits_for: list[str] = field(default_factory=list)
    needed_by: list[str] = field(default_factory=list)
    deleted: bool = False
    unfinished: bool = False
    goes_on_from: str | None = None
    takes_from: str | None = None
    causes: list[Explanation] = field(default_factory=list)


def explain(pipeline: Pipeline, store: Store, name: str) -> Explanation:
    """Why the step `name` would run now, or would not. Raises UsageError for an unknown step."""
    explainer = _Explainer(pipeline, store, plan(pipeline, store, pipeline.steps))
    return explainer.with_causes(pipeline.step(name))


class _Explainer:
    """Explains the steps of one plan."""

    def __init__(self, pipeline: Pipeline, store: Store, planned: dict[str, Planned]) -> None:
        self.pipeline, self.store, self.planned = pipeline, store, planned
        used = {step: store.ledger.used(pipeline.name, step) for step in pipeline.steps}
        self.used = used
        self.makers = {key[:12]: (step, key) for step, keys in reversed(used.items()) for key in reversed(keys)}

    def with_causes(self, step: Step) -> Explanation:
        """The step, and where it waits for others, those of them that run or differ themselves."""
        found = self.one(step)
        before = self.pipeline.upstream(step.name) - {step.name} if found.waits_for else set()
        causes = [self.one(self.pipeline.steps[n]) for n in self.planned if n in before]
        found.causes.extend(
            c for c in causes if c.state == "run" or (c.state == "unknown" and (c.changes or not c.last))
        )
        return found

    def one(self, step: Step) -> Explanation:
        entry = self.planned[step.name]
        last = self._last(entry)
        running = entry.state == "run"
        folder, key = entry.folder, entry.key
        shorter = self.store.shorter(step.stage, key) if running and key else []
        earlier = self.store.earlier(step.stage, key, folder) if running and key and folder else []
        return Explanation(
            step=step.name,
            stage=step.stage.name,
            state=entry.state,
            key=key.full if key else None,
            folder=self._near(folder) if folder else None,
            last=last,
            changes=list(self._changes(entry, last)) if last else [],
            beside=list(_beside(step.stage, last)) if last else [],
            waits_for=[name for name in step.after if self.planned[name].manifest is None],
            needed_by=self._needed_by(step) if running else [],
            deleted=running and entry.manifest is not None,
            unfinished=running and folder is not None and _unfinished(folder),
            goes_on_from=self._near(shorter[0]) if shorter else None,
            takes_from=self._near(earlier[0]) if earlier else None,
        )

    def _last(self, entry: Planned) -> Manifest | None:
        """What the step stood for last; where this pipeline has not run, what it finds, or the newest by this stage and name."""
        step = entry.step
        for key in self.used[step.name]:
            if manifest := self.store.ledger.manifest(key):
                return manifest
        if entry.manifest:
            return entry.manifest
        made = reversed(self.store.ledger.manifests())
        return next((m for m in made if m["stage"] == step.stage.name and m.get("step") == step.name), None)

    def _changes(self, entry: Planned, last: Manifest) -> Iterator[Change]:
        """What makes another key than that of `last`; nothing if it is the same."""
        stage = entry.step.stage
        if entry.key and entry.key.full == last["key"]:
            return
        if last["stage"] != stage.name:
            yield Change("stage", "stage", last["stage"], stage.name)
            return
        found = [*_version(stage, last), *_params(stage, last), *self._inputs(entry.step, last)]
        found += self._withdrawn(entry, last)
        if entry.key and not found:  # other programs, or params that this foxgan does not know any more
            found = [Change("key", "key", last["key"], entry.key.full)]
        yield from found

    def _inputs(self, step: Step, last: Manifest) -> Iterator[Change]:
        weights = fields_of_kind(type(step.stage), "weights")
        before: dict[str, list[Any]] = last.get("inputs", {})
        for name in dict.fromkeys([*step.sources, *before]):
            kind: Kind = "weights" if name in weights else "input"
            old = [self._side_before(entry["path"], entry["digest"], step, name) for entry in before.get(name, [])]
            new = [self._side_now(source, step, name) for source in step.sources.get(name, ())]
            if None not in new:
                yield from _compared(kind, name, old, [side for side in new if side])

    def _side_now(self, source: Source, step: Step, name: str) -> Side | None:
        """None while a step that makes it has to run."""
        if source.step:
            made = self.planned[source.step].manifest
            return Side(source.step, made["digest"], _kept(made)) if made else None
        outside = input_digests(Step(step.name, step.stage, {name: (source,)}), {}, self.store)
        assert outside is not None
        shown = self._near(source.path) if source.path else str(source.known)
        return Side(shown, outside[name][0], _kept(_manifest_of(source.path)))

    def _side_before(self, path: str, digest: str, step: Step, name: str) -> Side:
        """An input as the last run saw it, told as the step whose output it was if that is known."""
        maker, key = self.makers.get(Path(path).name.rpartition("-")[2], ("", ""))
        manifest = self.store.ledger.manifest(key) if key else _manifest_of(Path(path))
        for source in step.sources.get(name, ()):  # two steps may have made the very same
            if source.step and key in self.used[source.step]:
                maker = source.step
        same = manifest is not None and manifest["digest"] == digest
        known = digest.startswith("name:")
        return Side(maker or (path if known else self._near(Path(path))), digest, _kept(manifest) if same else None)

    def _withdrawn(self, entry: Planned, last: Manifest) -> list[Change]:
        """Photos that were withdrawn after it was made."""
        stage, inputs = entry.step.stage, input_digests(entry.step, self.planned, self.store)
        if not stage.takes_in or inputs is None:
            return []
        now = set(self.store.withdrawn.had_by(items_key(stage, inputs)))
        late = {e.id for e in self.store.withdrawn.entries if e.time >= str(last.get("finished"))}
        return [Change("withdrawn", photo, new=photo) for photo in sorted(now & late)]

    def _needed_by(self, step: Step) -> list[str]:
        readers = [e for e in self.planned.values() if step.name in e.step.after]
        return [e.step.name for e in readers if e.state in ("run", "unknown") or e.step.stage.borrows]

    def _near(self, path: Path) -> str:
        """Relative to the workspace, if it lies in it."""
        return path.relative_to(self.store.root).as_posix() if path.is_relative_to(self.store.root) else str(path)


def _version(stage: Stage, last: Manifest) -> Iterator[Change]:
    if last.get("version") != stage.version:
        yield Change("version", stage.name, last.get("version"), stage.version)


def _params(stage: Stage, last: Manifest) -> Iterator[Change]:
    """Ordinary params whose part in the key differs."""
    cls = type(stage)
    skipped = cls.machine_params.union(*(fields_of_kind(cls, kind) for kind in ("artifact", "weights")))
    defaults, new = _defaults(cls), ordinary_params(stage)
    before = {k: v for k, v in last.get("params", {}).items() if k in cls.model_fields and k not in skipped}
    old = {k: v for k, v in before.items() if k not in defaults or v != defaults[k]}
    for name in cls.model_fields:
        if _text(old, name) != _text(new, name):
            was, now = (params.get(name, defaults.get(name)) for params in (old, new))
            yield Change("param", name, was, now, default=name not in new, horizon=name in cls.horizon_params)


def _text(params: dict[str, Any], name: str) -> str:
    """As the key sees it, where 1 is neither 1.0 nor true."""
    return json.dumps(params[name], sort_keys=True) if name in params else ""


def _defaults(cls: type[Stage]) -> dict[str, Any]:
    """Defaults as JSON values, of the fields that have one."""
    values = {n: i.get_default(call_default_factory=True) for n, i in cls.model_fields.items() if not i.is_required()}
    return cls.model_construct(**values).model_dump(mode="json", include=set(values), warnings=False)


def _compared(kind: Kind, name: str, old: list[Side], new: list[Side]) -> Iterator[Change]:
    """Entries that were replaced, added and left out; or their order, where that is all."""
    before, now = [side.digest for side in old], [side.digest for side in new]
    if before != now and Counter(before) == Counter(now):
        yield Change("order", name, [side.source for side in old], [side.source for side in new])
        return
    for tag, i, i_end, j, j_end in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag != "equal":
            lost, added = old[i:i_end], new[j:j_end]
            for one, other in zip_longest(lost, added):
                yield Change(kind, name, one, other)


def _beside(stage: Stage, last: Manifest) -> Iterator[Change]:
    """What is not part of the key."""
    now, before = stage.model_dump(mode="json", include=set(stage.machine_params)), last.get("params", {})
    pairs: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
        ("param", {k: before[k] for k in now if k in before}, {k: v for k, v in now.items() if k in before}),
        ("foxgan", {"foxgan": last.get("foxgan")}, {"foxgan": __version__}),
        ("library", last.get("libraries", {}), versions()),
        ("machine", last.get("machine", {}), machine()),
    ]
    for kind, old, new in pairs:
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield Change(kind, name, old.get(name), new.get(name))


def machine() -> dict[str, Any]:
    """This machine, as manifests describe theirs."""
    return {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}


def _manifest_of(path: Path | None) -> Manifest | None:
    with contextlib.suppress(StageError):
        return read_manifest(path) if path is not None and path.is_dir() else None
    return None


def _unfinished(folder: Path) -> bool:
    with contextlib.suppress(StageError):
        return bool((read_json(folder / WORK) or {}).get("ready"))
    return False


def _kept(manifest: Manifest | None) -> int | None:
    counts = (manifest or {}).get("counts")
    return int(counts["kept"]) if counts else None
