"""What a stage is.

A stage is a frozen pydantic model: its fields are at once the YAML keys, the command-line options and the cache key. It never
looks for its inputs: before `run`, whoever executes it has replaced every step name by the folder of that step's artifact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from foxgan.shipped import find_shipped
from foxgan.stages.context import Context
from foxgan.stages.journal import Keys, Row

__all__ = ["Context", "Field", "Input", "Keys", "Row", "Size", "Stage", "Weights", "fields_of_kind"]


@dataclass(frozen=True)
class Reference:
    """Marks a field that may name an earlier step: `artifact` (folders) or `weights` (a file, a folder or a known name)."""

    kind: Literal["artifact", "weights"]


def _as_paths(value: Any) -> Any:
    if isinstance(value, str | Path):
        return (Path(value),)
    return tuple(value) if isinstance(value, list | tuple) else value


def _as_size(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, str):
        parts = value.lower().split("x")
        if len(parts) in (1, 2) and all(p.isdecimal() for p in parts):
            return (int(parts[0]), int(parts[-1]))
    if isinstance(value, tuple | list) and len(value) == 2:
        return tuple(value)
    raise ValueError(f"{value!r} is not a size; write a number (256) or HxW (128x64)")


def _positive(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1 or max(size) > 16384:
        raise ValueError(f"{size[0]}x{size[1]} is not a size; sides go from 1 to 16384")
    return size


Input = Annotated[tuple[Path, ...], BeforeValidator(_as_paths), Reference("artifact")]
"""One or more artifacts (or outside paths); their rows are united. In a file: an earlier step's name, a path, or a list of them."""

Weights = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, Path) else v), Reference("weights")]
"""A step that makes weights, a path, or the name of a known model. In `run` it is a path unless it is a known name."""

Size = Annotated[
    tuple[int, int],
    BeforeValidator(_as_size),
    AfterValidator(_positive),
    PlainSerializer(lambda s: f"{s[0]}x{s[1]}", return_type=str),
]
"""Height and width in pixels; written as a number or `HxW`."""


class Stage(BaseModel):
    """A kind of work: params as fields, and `run`, which fills a folder from them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raise it when `run` writes something else for the same params
    room: ClassVar[Literal["data", "models"]] = "data"  # where its artifacts lie
    machine_params: ClassVar[frozenset[str]] = frozenset()  # speed only: not part of the key
    horizon_params: ClassVar[frozenset[str]] = frozenset()  # more of the same: a longer run goes on from a shorter one
    whole_params: ClassVar[frozenset[str]] = (
        frozenset()
    )  # matter to the set or to its index, not to what an item becomes
    reads: ClassVar[tuple[str, ...]] = ()  # index columns that an item's result depends on; none: not item by item
    takes_in: ClassVar[bool] = False  # brings photos in from outside, and so must leave out the withdrawn ones
    results: ClassVar[tuple[str, ...]] = ()  # globs of files that carry meaning beside the index (weights, films)
    borrows: ClassVar[bool] = False  # its index names files of its inputs, so it is of use only beside them
    carries: ClassVar[tuple[str, ...]] = ("**/*",)  # globs of files from which a longer run goes on (horizon params)

    def run(self, out: Path, ctx: Context) -> None:
        """Fill `out`. It may hold what an interrupted or a shorter run left: go on from there."""
        raise TypeError(f"stage {self.name} does not say how it runs")

    def check(self) -> None:
        """Refuse params that cannot work together, before anything runs. Raises FoxganError."""

    def companions(self, path: Path) -> Sequence[Path]:
        """Files beside the outside `path` of an input that `run` finds by its name: they are part of the key, too."""
        return ()

    @classmethod
    def find_weights(cls, name: str) -> Path | None:
        """The file of the model called `name`; None for one that counts by its name, like a public one, whether it is here or not.

        Raises UsageError for an unknown name.
        """
        from foxgan.gan.pretrained.catalog import catalog, unknown_model

        path = find_shipped("models", name)
        if path is None and name not in catalog():
            raise unknown_model(name)
        return path

    @property
    def asks_web(self) -> bool:
        """Whether the answer may be another one although no param has changed."""
        return False

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        """What `ctx.each` will know the items of the inputs by, found without looking into any; none where it is not used."""
        return ()

    def units(self, counts: Sequence[int]) -> float:
        """How much there is to do, for time estimates: by default the items kept in all inputs."""
        return float(sum(counts))

    def disk_bytes(self, counts: Sequence[int]) -> int:
        """About how much disk `run` will fill; 0 where it is not worth a check."""
        return 0


def fields_of_kind(stage: type[Stage], kind: str) -> list[str]:
    """Names of the fields of `stage` that hold references of this kind."""
    return [
        name
        for name, info in stage.model_fields.items()
        if any(isinstance(m, Reference) and m.kind == kind for m in _all_metadata(info.annotation, info.metadata))
    ]


def _all_metadata(annotation: Any, metadata: Iterable[Any]) -> Iterator[Any]:
    yield from metadata
    yield from getattr(annotation, "__metadata__", ())
    for arg in getattr(annotation, "__args__", ()):
        yield from _all_metadata(arg, ())
