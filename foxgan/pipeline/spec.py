"""From a pipeline file to checked steps. Everything that can be wrong in the file is found here, before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foxgan.errors import PipelineError, UsageError, did_you_mean
from foxgan.pipeline.file.include import read_files
from foxgan.pipeline.file.matrix import MATRIX, Use, Variant, axes_of, layered, unfold
from foxgan.pipeline.file.overrides import split_overrides, typed
from foxgan.pipeline.file.steps import Source, Step, listed, make_step
from foxgan.pipeline.file.variables import Variables
from foxgan.pipeline.file.yamlfile import Located, Place, locate, mapping, shown
from foxgan.shipped import find_shipped, shipped_names
from foxgan.stages import MODULES

__all__ = ["Pipeline", "Source", "Step", "find_pipeline", "load_pipeline", "make_step"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


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
            raise self._unknown(name)
        return self.steps[name]

    def select(self, name: str) -> list[str]:
        """The steps that `name` stands for: that one, or all variants of it. Raises UsageError that lists what there is."""
        found = [step.name for step in self.steps.values() if name in (step.name, step.base)]
        if not found:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> UsageError:
        base = name.partition("@")[0]
        if variants := [step.name for step in self.steps.values() if step.base == base != step.name]:
            close = did_you_mean(name, variants) if base != name else ""
            return UsageError(f"{self.path}: no step {name!r}{close}; {base} has the variants {listed(variants)}")
        bases = dict.fromkeys(step.base for step in self.steps.values())
        return UsageError(f"{self.path}: no step {name!r}{did_you_mean(name, bases)}; steps: {listed(bases)}")

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
    """The checked pipeline; `overrides` maps "step.param", "vars.name" or "step" (then a mapping: all of it) to values.

    Raises PipelineError (exit code 3).
    """
    path = find_pipeline(pipeline)
    written = read_files(path)
    name = _name(written.top["name"]) if "name" in written.top else _default_name(path, written.root)
    if not written.steps:
        raise written.root.place.error("no steps; a pipeline file has `steps:` with a mapping of name to stage")
    replaced = split_overrides(overrides or {}, written.variables, written.steps)
    variables = Variables(written.variables)
    variables.fill_all()
    uses = {step: _use(step, variables.fill(body), replaced.get(step, {})) for step, body in written.steps.items()}
    variants = [v for found in unfold(uses, written.root.place).values() for v in found]
    names = dict.fromkeys(v.name for v in variants)
    steps = {v.name: _step(v, names, path.parent) for v in variants}
    return Pipeline(name, path, steps, typed(pipeline, overrides or {}))


def _default_name(path: Path, root: Located) -> str:
    if not NAME.fullmatch(path.stem):
        raise root.place.error(
            f"the file's name {path.stem!r} cannot name the pipeline; add `name:` with letters, digits, - and _"
        )
    return path.stem


def _name(located: Located) -> str:
    if not isinstance(located.value, str) or not NAME.fullmatch(located.value):
        raise located.place.error(f"name is {shown(located.plain())}; use letters, digits, - and _, at most 64")
    return located.value


def _use(name: str, body: Located, overrides: dict[str, Any]) -> Use:
    """A step as written, and changed on the command line."""
    if not NAME.fullmatch(name):
        raise body.key_place.error(f"{shown(name)} cannot name a step; use letters, digits, - and _, at most 64")
    params = mapping(body, f"step {name}")
    params = layered(params, {key: locate(value, Place(f"--set {name}.{key}")) for key, value in overrides.items()})
    use = params.pop("use", None)
    stage = use.plain() if use else name
    place = use.place if use else body.key_place
    if not isinstance(stage, str) or stage not in MODULES:
        hint = "" if use else " (a step whose name is not a stage's needs `use:`)"
        close = did_you_mean(str(stage), MODULES)
        raise place.error(f"step {name}: unknown stage {shown(stage)}{close}{hint}; stages: {', '.join(MODULES)}")
    share = _share(params.pop("max_dropped", None), name)
    axes = axes_of(name, stage, params.pop(MATRIX, None), params)
    return Use(name, stage, params, axes, body.key_place, share)


def _share(located: Located | None, name: str) -> float:
    if located is None:
        return 1.0
    value = located.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise located.place.error(f"step {name}: max_dropped is {shown(located.plain())}; it is a share from 0 to 1")
    return float(value)


def _step(variant: Variant, names: Collection[str], folder: Path) -> Step:
    use = variant.use
    return make_step(
        variant.name, use.stage, variant.params, names, folder, use.place, use.max_dropped, use.name, variant.varied
    )
