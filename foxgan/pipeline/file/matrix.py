"""`matrix:` on a step: one step per combination of its values, and the same for all that read such a step.

A variant knows its coordinates: a value on each axis, its own or those of what it reads. Readers join on the axes that their inputs
have in common, and multiply the others. All of it is bounded before it is unfolded.
"""

from __future__ import annotations

import graphlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from foxgan.errors import did_you_mean
from foxgan.pipeline.file.labels import joined, labels
from foxgan.pipeline.file.yamlfile import MAX_VALUES, Located, Place, mapping, shown, too_large
from foxgan.stages import stage_class
from foxgan.stages.base import fields_of_kind

MATRIX = "matrix"
MAX_STEPS = 1000
MAX_AXES = 16  # of one step, its own and those of what it reads
Axis = tuple[str, str]  # the step whose matrix it is, and the param


@dataclass(frozen=True)
class Coordinate:
    """A value on an axis, the `index`-th of it."""

    index: int
    label: str
    value: Any


Coordinates = dict[Axis, Coordinate]
Row = tuple[dict[str, Located], Coordinates]  # the params of one variant, and where it stands


@dataclass(frozen=True)
class Use:
    """A step as written: a stage's name and its params; `axes` are the params that its matrix varies."""

    name: str
    stage: str
    params: dict[str, Located]
    axes: dict[str, list[Located]]
    place: Place
    max_dropped: float = 1.0

    def references(self) -> Iterator[tuple[str, Located]]:
        """The params that may name steps, and what is written there, in all variants."""
        cls = stage_class(self.stage)
        kinds = {name for kind in ("artifact", "weights") for name in fields_of_kind(cls, kind)}
        for name, located in self.params.items():
            if name in kinds:
                yield name, located
        for name, values in self.axes.items():
            if name in kinds:
                yield from ((name, value) for value in values)


@dataclass(frozen=True)
class Variant:
    """One step of those that a written one stands for. `varied`: what tells it from the others, as in its name."""

    name: str
    use: Use
    params: dict[str, Located]
    coordinates: Coordinates = field(default_factory=dict)
    varied: dict[str, Any] = field(default_factory=dict)


def layered(lower: dict[str, Located], upper: dict[str, Located]) -> dict[str, Located]:
    """The params of `lower` with those of `upper` over them. What one varies and the other sets, `upper` decides."""
    found = {**lower, **upper}
    own, matrix = upper.get(MATRIX), lower.get(MATRIX)
    if own is not None and isinstance(own.value, dict):
        return {key: value for key, value in found.items() if key in upper or key not in own.value}
    if (
        own is None
        and matrix is not None
        and isinstance(matrix.value, dict)
        and not matrix.value.keys().isdisjoint(upper)
    ):
        found[MATRIX] = replace(matrix, value={k: v for k, v in matrix.value.items() if k not in upper})
        if not found[MATRIX].value:
            del found[MATRIX]
    return found


def axes_of(name: str, stage: str, matrix: Located | None, params: dict[str, Located]) -> dict[str, list[Located]]:
    """The checked axes of a step's matrix."""
    if matrix is None:
        return {}
    axes = mapping(matrix, f"step {name}: matrix")
    if not axes:
        raise matrix.place.error(f"step {name}: matrix is empty; write `param: [value, value]`, or leave it out")
    fields = stage_class(stage).model_fields
    for axis, values in axes.items():
        if axis not in fields:
            raise values.key_place.error(
                f"step {name}: matrix: stage {stage} has no field {shown(axis)}{did_you_mean(axis, fields)}; "
                f"it has: {', '.join(fields)}"
            )
        if axis in params:
            raise values.key_place.error(
                f"step {name}: {axis} is set and varied by the matrix, too; leave one of them out"
            )
        if not isinstance(values.value, list) or not values.value:
            raise values.place.error(
                f"step {name}: matrix: {axis} is {shown(values.plain())}; it must be a list of at least one value"
            )
    found = {axis: values.value for axis, values in axes.items()}
    if (count := math.prod(map(len, found.values()))) > MAX_STEPS:
        sizes = " x ".join(str(len(values)) for values in found.values())
        raise matrix.place.error(
            f"step {name}: matrix has {sizes} = {count} combinations; all steps may be {MAX_STEPS}"
        )
    for axis, values in found.items():
        _refuse_twice(name, axis, values)
    return found


def _refuse_twice(name: str, axis: str, values: list[Located]) -> None:
    known: set[str] = set()
    for value in values:
        plain = value.plain()
        text = repr(int(plain) if isinstance(plain, float) and plain.is_integer() else plain)  # 1.0 is 1
        if text in known:
            raise value.place.error(f"step {name}: matrix: {axis} has {shown(plain)} twice; remove one of them")
        known.add(text)


def unfold(uses: dict[str, Use], place: Place) -> dict[str, list[Variant]]:
    """The variants of every step, each step behind what it reads; a step that varies nothing has one with its own name."""
    if len(uses) > MAX_STEPS:
        raise place.error(f"{len(uses)} steps; a pipeline has at most {MAX_STEPS}")
    unfolder = _Unfolder(uses)
    for name in _in_order(uses):
        unfolder.add(uses[name])
    return unfolder.variants


def _in_order(uses: dict[str, Use]) -> list[str]:
    sorter = graphlib.TopologicalSorter({name: sorted(_reads(use, uses)) for name, use in uses.items()})
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        raise uses[cycle[0]].place.error(
            f"steps read each other in a circle: {' -> '.join(reversed(cycle))}; one of them must read something else"
        ) from error


def _reads(use: Use, uses: dict[str, Use]) -> set[str]:
    """Names, as written, of the steps that are read, be it in one variant."""
    entries = [str(e) for _, located in use.references() for e in _flat(located)]
    return {base for e in entries if (base := e if e in uses else e.partition("@")[0]) in uses}


def _flat(located: Located) -> Iterable[Any]:
    return [part.value for part in located.value] if isinstance(located.value, list) else [located.value]


class _Unfolder:
    """Unfolds one step after another; those that it reads come first."""

    def __init__(self, uses: dict[str, Use]) -> None:
        self.variants: dict[str, list[Variant]] = {}
        self.left = MAX_STEPS  # that there may still be
        self.entries = 0  # in the lists of all variants

    def add(self, use: Use) -> None:
        rows: list[Row] = []
        for params, own in self._own(use):
            rows += self._with_inputs(use, params, own)
            self._check_count(use, len(rows))
        if not rows:
            raise use.place.error(
                f"step {use.name}: no variants of its inputs fit together; they have no values in common"
            )
        self.variants[use.name] = _named(use, rows)
        self.left -= len(rows)

    def _check_count(self, use: Use, count: int) -> None:
        if count > self.left:
            raise use.place.error(
                f"step {use.name}: more than {MAX_STEPS} steps with its variants; vary fewer values, here or in what it reads"
            )

    def _own(self, use: Use) -> Iterator[Row]:
        """The combinations of the step's own matrix."""
        axes = []
        for param, values in use.axes.items():
            named = zip(values, labels([value.plain() for value in values]), strict=True)
            axes.append([(param, v, Coordinate(i, label, v.plain())) for i, (v, label) in enumerate(named)])
        for chosen in itertools.product(*axes):
            params = use.params | {param: located for param, located, _ in chosen}
            yield params, {(use.name, param): coordinate for param, _, coordinate in chosen}

    def _with_inputs(self, use: Use, params: dict[str, Located], own: Coordinates) -> list[Row]:
        """Those of one combination: inputs that name a step of several variants are replaced by one of them each."""
        rows: list[Row] = [(params, {})]
        for name in dict.fromkeys(name for name, _ in use.references()):
            located = params[name]
            if isinstance(located.value, list):
                united = replace(located, value=[entry for part in located.value for entry in self._all(part)])
                self.entries += len(united.value) * len(rows)
                if self.entries > MAX_VALUES:
                    raise too_large(located.place)
                rows = [({**row, name: united}, inherited) for row, inherited in rows]
            elif str(located.value) in self.variants:
                rows = self._joined(use, rows, name, self.variants[str(located.value)])
        return [(row, inherited | own) for row, inherited in rows]

    def _all(self, located: Located) -> list[Located]:
        """All variants of the step that an entry of a list names."""
        variants = self.variants.get(str(located.value))
        return [replace(located, value=v.name) for v in variants] if variants else [located]

    def _joined(self, use: Use, rows: list[Row], name: str, variants: list[Variant]) -> list[Row]:
        found = []
        for params, known in rows:
            for variant in variants:
                new = variant.coordinates
                if all(known.get(axis, coordinate) == coordinate for axis, coordinate in new.items()):
                    found.append(({**params, name: replace(params[name], value=variant.name)}, known | new))
                    self._check_count(use, len(found))
        return found


def _named(use: Use, rows: list[Row]) -> list[Variant]:
    """The variants in the order of their values, the first axis slowest."""
    axes = list(dict.fromkeys(axis for _, coordinates in rows for axis in coordinates))
    if len(axes) > MAX_AXES:
        raise use.place.error(
            f"step {use.name}: varied in {len(axes)} ways, with what it reads; {MAX_AXES} are the most"
        )
    params = [param for _, param in axes]
    words = {axis: axis[1] if params.count(axis[1]) == 1 else ".".join(axis) for axis in axes}
    rows.sort(key=lambda row: [row[1][axis].index if axis in row[1] else -1 for axis in axes])
    found: dict[str, Variant] = {}
    for row, coordinates in rows:
        parts = [f"{words[axis]}={coordinates[axis].label}" for axis in axes if axis in coordinates]
        name = f"{use.name}@{joined(parts)}" if parts else use.name
        if name in found:
            raise use.place.error(f"step {use.name}: {name} would be two steps; its inputs vary in different ways")
        varied = {words[axis]: coordinates[axis].value for axis in axes if axis in coordinates}
        found[name] = Variant(name, use, row, coordinates, varied)
    return list(found.values())
