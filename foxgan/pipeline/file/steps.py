"""One step of a pipeline: the params of its stage, checked, and what its inputs stand for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from foxgan.errors import FoxganError, PipelineError, did_you_mean
from foxgan.pipeline.file.yamlfile import Located, Place, shown
from foxgan.stages import stage_class
from foxgan.stages.base import Stage, fields_of_kind

SHOWN = 30  # names in a message


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
    base: str = ""  # the name as written, which all variants of a matrix have in common
    variant: dict[str, Any] = field(default_factory=dict)  # what tells this one from the others

    @property
    def after(self) -> list[str]:
        """Names of the steps that this one reads."""
        return sorted({s.step for sources in self.sources.values() for s in sources if s.step})


def make_step(
    name: str,
    stage_name: str,
    params: dict[str, Located],
    steps: Collection[str],
    folder: Path,
    place: Place,
    max_dropped: float = 1.0,
    base: str = "",
    variant: dict[str, Any] | None = None,
) -> Step:
    """Check the params of one use of a stage; paths that do not know where they start are relative to `folder`.

    Raises PipelineError.
    """
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
        for param in fields_of_kind(cls, kind):
            located = params.get(param, Located(None, place, place))
            entries = _entries(stage, param)
            parts = located.value if isinstance(located.value, list) else [located] * len(entries)
            if entries:
                sources[param] = tuple(
                    _resolve(str(entry), steps, part.base or folder, part, name, kind, cls)
                    for entry, part in zip(entries, parts, strict=True)
                )
    try:
        stage.check()
    except FoxganError as error:
        raise place.error(f"step {name}: {error}") from error
    return Step(name, stage, sources, max_dropped, base or name, variant or {})


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
    entry: str, steps: Collection[str], base: Path, located: Located, name: str, kind: str, stage: type[Stage]
) -> Source:
    if entry in steps:
        return Source(step=entry)
    path = os.path.abspath(os.path.join(base, os.path.expanduser(entry)))
    if "\0" not in entry and os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        return Source(path=Path(path))
    if kind == "weights" and not _looks_like_a_path(entry):
        try:
            known = stage.find_weights(entry)
        except FoxganError as error:
            raise located.place.error(f"step {name}: {error}; steps: {_others(entry, steps, name)}") from error
        return Source(path=known) if known else Source(known=entry)
    raise located.place.error(
        f"step {name}: {shown(entry)} is neither a step{did_you_mean(entry, steps)} nor an existing path ({path[:200]}); "
        f"steps: {_others(entry, steps, name)}"
    )


def _others(entry: str, steps: Collection[str], name: str) -> str:
    """What else could be named: the variants of a step where `entry` begins like one."""
    base = f"{entry.partition('@')[0]}@"
    found = [step for step in steps if step != name]
    return listed([step for step in found if step.startswith(base)] or found) or "no others"


def listed(names: Iterable[str]) -> str:
    """`names` with commas; of many, the first."""
    found = list(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _looks_like_a_path(entry: str) -> bool:
    return "/" in entry or "\\" in entry or entry.startswith((".", "~"))
