"""From a pipeline file to checked steps. Everything that can be wrong in the file is found here, before any work."""

from __future__ import annotations

import graphlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from foxgan.errors import FoxganError, PipelineError, UsageError, did_you_mean
from foxgan.pipeline.overrides import split_overrides, typed
from foxgan.pipeline.yamlfile import Located, Place, Variables, load, locate, shown
from foxgan.shipped import find_shipped, shipped_names
from foxgan.stages import MODULES, stage_class
from foxgan.stages.base import Stage, fields_of_kind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Source:
    """What an input field points to: exactly one of a step, a path outside, or a name that the stage's library knows."""

    step: str | None = None
    path: Path | None = None
    known: str | None = None  # stands for no file, such as a network to train from scratch


@dataclass(frozen=True)
class Step:
    """One checked use of a stage. `stage` still holds the inputs as written; `sources` says what they mean."""

    name: str
    stage: Stage
    sources: dict[str, tuple[Source, ...]]
    max_dropped: float = 1.0

    @property
    def after(self) -> list[str]:
        """Names of the steps that this one reads."""
        return sorted({s.step for sources in self.sources.values() for s in sources if s.step})


@dataclass(frozen=True)
class Pipeline:
    """The checked file: steps in an order in which they can run."""

    name: str
    path: Path
    steps: dict[str, Step]
    typed: tuple[str, ...] = ()  # what names the file and changes it on a command line

    def step(self, name: str) -> Step:
        """The step called `name`. Raises UsageError that lists the steps."""
        if name not in self.steps:
            raise UsageError(
                f"{self.path}: no step {name!r}{did_you_mean(name, self.steps)}; steps: {', '.join(self.steps)}"
            )
        return self.steps[name]

    def upstream(self, name: str) -> set[str]:
        """`name` and all that it needs."""
        found = {self.step(name).name}
        for step in reversed(self.steps.values()):  # against the running order, so one pass is enough
            if step.name in found:
                found.update(step.after)
        return found

    def downstream(self, name: str) -> set[str]:
        """`name` and all that follows from it."""
        self.step(name)
        found = {name}
        for step in self.steps.values():  # in running order, so one pass is enough
            if found.intersection(step.after):
                found.add(step.name)
        return found


def find_pipeline(pipeline: str | Path) -> Path:
    """The file meant by a path or by the name of a shipped pipeline. Raises PipelineError that lists those."""
    if os.path.isfile(pipeline):
        return Path(pipeline)
    shipped = find_shipped("pipelines", str(pipeline))
    if shipped is None:
        names = shipped_names("pipelines")
        raise PipelineError(
            f"{pipeline}: no such file, and no shipped pipeline of that name{did_you_mean(str(pipeline), names)}; "
            f"shipped: {', '.join(names)}"
        )
    return shipped


def load_pipeline(pipeline: str | Path, overrides: Mapping[str, Any] | None = None) -> Pipeline:
    """The checked pipeline; `overrides` maps "step.param" or "vars.name" to values. Raises PipelineError (exit code 3)."""
    path = find_pipeline(pipeline)
    root = load(path)
    top = _mapping(root, "a pipeline file", ("name", "vars", "steps"))
    if "steps" not in top or not top["steps"].value:
        raise root.place.error("no steps; a pipeline file has `steps:` with a mapping of name to stage")
    name = _name(top["name"], "name") if "name" in top else _default_name(path, root)
    written = dict(_mapping(top["vars"], "vars", None)) if "vars" in top else {}
    steps = _mapping(top["steps"], "steps", None)
    replaced = split_overrides(overrides or {}, written, steps)
    variables = Variables()
    for key, value in written.items():  # a variable may use those before it
        variables.values[key] = variables.fill(value)
    checked = {
        step: _check(step, variables.fill(body), replaced.get(step, {}), list(steps), path.parent)
        for step, body in steps.items()
    }
    return Pipeline(name, path, _in_order(checked, steps), typed(pipeline, overrides or {}))


def _default_name(path: Path, root: Located) -> str:
    if not NAME.fullmatch(path.stem):
        raise root.place.error(
            f"the file's name {path.stem!r} cannot name the pipeline; add `name:` with letters, digits, - and _"
        )
    return path.stem


def _name(located: Located, what: str) -> str:
    if not isinstance(located.value, str) or not NAME.fullmatch(located.value):
        raise located.place.error(f"{what} is {shown(located.plain())}; use letters, digits, - and _, at most 64")
    return located.value


def _mapping(located: Located, what: str, valid: tuple[str, ...] | None) -> dict[str, Located]:
    if not isinstance(located.value, dict):
        raise located.place.error(
            f"{what} must be a mapping (`key: value` lines, or {{}}), found {shown(located.plain())}"
        )
    for key, value in located.value.items():
        if valid is not None and key not in valid:
            raise value.key_place.error(
                f"unknown key {shown(key)}{did_you_mean(key, valid)}; valid here: {', '.join(valid)}"
            )
    return located.value


def _check(name: str, body: Located, overrides: dict[str, Any], steps: list[str], folder: Path) -> Step:
    if not NAME.fullmatch(name):
        raise body.key_place.error(f"{shown(name)} cannot name a step; use letters, digits, - and _, at most 64")
    params = dict(_mapping(body, f"step {name}", None))
    use = params.pop("use", None)
    stage_name = use.plain() if use else name
    place = use.place if use else body.key_place
    if not isinstance(stage_name, str) or stage_name not in MODULES:
        hint = "" if use else " (a step whose name is not a stage's needs `use:`)"
        close = did_you_mean(str(stage_name), MODULES)
        raise place.error(f"step {name}: unknown stage {shown(stage_name)}{close}{hint}; stages: {', '.join(MODULES)}")
    params |= {key: locate(value, Place(f"--set {name}.{key}")) for key, value in overrides.items()}
    share = _share(params.pop("max_dropped", None), name)
    return make_step(name, stage_name, params, steps, folder, body.key_place, share)


def _share(located: Located | None, name: str) -> float:
    if located is None:
        return 1.0
    value = located.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise located.place.error(f"step {name}: max_dropped is {shown(located.plain())}; it is a share from 0 to 1")
    return float(value)


def make_step(
    name: str,
    stage_name: str,
    params: dict[str, Located],
    steps: list[str],
    folder: Path,
    place: Place,
    max_dropped: float = 1.0,
) -> Step:
    """Check the params of one use of a stage; paths are relative to `folder`, typed ones to the current one. Raises PipelineError."""
    cls = stage_class(stage_name)
    for key, value in params.items():
        if key not in cls.model_fields:
            valid = ", ".join(cls.model_fields)
            raise value.key_place.error(
                f"step {name}: stage {stage_name} has no field {shown(key)}{did_you_mean(key, cls.model_fields)}; it has: {valid}"
            )
        _refuse_bool_as_number(name, key, value, cls)
    try:
        stage = cls(**{key: value.plain() for key, value in params.items()})
    except ValidationError as error:
        raise _from_pydantic(error, name, cls, params, place) from error
    sources: dict[str, tuple[Source, ...]] = {}
    for kind in ("artifact", "weights"):
        for field in fields_of_kind(cls, kind):
            located = params.get(field, Located(None, place, place))
            entries = _entries(stage, field)
            parts = located.value if isinstance(located.value, list) else [located] * len(entries)
            if entries:
                sources[field] = tuple(
                    _resolve(str(entry), steps, Path.cwd() if part.typed else folder, part, name, kind, cls)
                    for entry, part in zip(entries, parts, strict=True)
                )
    try:
        stage.check()
    except FoxganError as error:
        raise place.error(f"step {name}: {error}") from error
    return Step(name, stage, sources, max_dropped)


def _entries(stage: Stage, field: str) -> tuple[Any, ...]:
    value = getattr(stage, field)
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _refuse_bool_as_number(name: str, key: str, located: Located, cls: type[Stage]) -> None:
    annotation = str(cls.model_fields[key].annotation)
    is_off = located.value is False and "'off'" in annotation  # YAML reads a plain `off` as false
    if isinstance(located.value, bool) and "bool" not in annotation and not is_off:
        raise located.place.error(
            f"step {name}: {key} is {str(located.value).lower()}, which is yes or no, not a value for it"
        )


def _from_pydantic(
    error: ValidationError, name: str, cls: type[Stage], params: dict[str, Located], place: Place
) -> PipelineError:
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "missing":
        text = (cls.model_fields[field].description or "").rstrip(".")
        return place.error(f"step {name}: field {field!r} of stage {cls.name} is missing ({text})")
    message = first["msg"].removeprefix("Value error, ")
    where = params[field].place if field in params else place
    found = f"{field} is {shown(params[field].plain())}: " if field in params else ""
    return where.error(f"step {name}: {found}{message[0].lower() + message[1:]}")


def _resolve(
    entry: str, steps: list[str], base: Path, located: Located, name: str, kind: str, stage: type[Stage]
) -> Source:
    if entry in steps:
        return Source(step=entry)
    path = os.path.abspath(os.path.join(base, os.path.expanduser(entry)))
    if "\0" not in entry and os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        return Source(path=Path(path))
    others = [s for s in steps if s != name]
    if kind == "weights" and not _looks_like_a_path(entry):
        try:
            known = stage.find_weights(entry)
        except FoxganError as error:
            raise located.place.error(f"step {name}: {error}; steps: {', '.join(others) or 'no others'}") from error
        return Source(path=known) if known else Source(known=entry)
    raise located.place.error(
        f"step {name}: {shown(entry)} is neither a step{did_you_mean(entry, others)} nor an existing path ({path[:200]}); "
        f"steps: {', '.join(others) or 'no others'}"
    )


def _looks_like_a_path(entry: str) -> bool:
    return "/" in entry or "\\" in entry or entry.startswith((".", "~"))


def _in_order(steps: dict[str, Step], bodies: dict[str, Located]) -> dict[str, Step]:
    sorter = graphlib.TopologicalSorter({name: step.after for name, step in steps.items()})
    try:
        order = list(sorter.static_order())
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        place = bodies[cycle[0]].key_place
        raise place.error(
            f"steps read each other in a circle: {' -> '.join(reversed(cycle))}; one of them must read something else"
        ) from error
    return {name: steps[name] for name in order}
