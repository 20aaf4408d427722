"""What a stage is, and all that it may ask of the world around it (`Context`).

A stage is a frozen pydantic model: its fields are at once the YAML keys, the command-line options and the cache key. It never
looks for its inputs: before `run`, whoever executes it has replaced every step name by the folder of that step's artifact.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from foxgan.engine import Engine, Failure, LocalEngine
from foxgan.shipped import find_shipped

__all__ = ["Context", "Field", "Input", "Progress", "Row", "Size", "Stage", "Weights", "fields_of_kind"]

Row = dict[str, Any]
# Reasons that may have passed: a later run asks for these items again.
PASSING = re.compile(r"worker_died|connection|timeout|http_(408|425|429|5\d\d)")
T = TypeVar("T")


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


class Progress(Protocol):
    """Where a stage tells how far it is: a bar on a terminal, a line every few seconds elsewhere, an event in a file."""

    def start(self, description: str, total: float) -> None: ...

    def advance(self, amount: float = 1, note: str = "") -> None: ...

    def finish(self) -> None: ...

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None: ...


class Silent:
    """Progress for nobody: the default in Python and in tests."""

    def start(self, description: str, total: float) -> None:
        """Nothing to show."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Nothing to show."""

    def finish(self) -> None:
        """Nothing to show."""

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None:
        """Nothing to show."""


@dataclass
class Context:
    """What a running stage may use: the engine, progress, and a place to note facts for the manifest."""

    engine: Engine = field(default_factory=LocalEngine)
    progress: Progress = field(default_factory=Silent)
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the wall time of a block under `name` in the manifest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def record(self, **facts: Any) -> None:
        """Note measured facts (JSON values) for the manifest, such as `map50`."""
        self.facts.update(facts)

    def info(self, text: str) -> None:
        self.progress.message("info", text)

    def warn(self, text: str) -> None:
        self.progress.message("warning", text)

    def debug(self, text: str) -> None:
        self.progress.message("debug", text)

    def close(self) -> None:
        """End what a stage that was stopped left running: a worker must not write into a folder that is free again."""
        self.progress.finish()
        self.engine.close()

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        """Yield `items` and show how many of `total` are done."""
        self.progress.start(description, total)
        try:
            for item in items:
                yield item
                self.progress.advance()
        finally:
            self.progress.finish()

    def each(
        self,
        out: Path,
        items: Sequence[Row],
        function: Callable[[list[Row]], list[list[Row]]] | type,
        args: tuple[Any, ...] = (),
        *,
        key: Callable[[Row], str],
        description: str,
        workers: int | None = 0,
        batch: int = 16,
    ) -> Iterator[tuple[Row, list[Row]]]:
        """Work item by item: yields (item, its result rows) in order; what an interrupted run has done is not done again.

        `function` takes a batch of items and returns one list of rows for each; a class is built once per worker with `args`
        and then called. Results must be JSON values; they are journalled in `out/items.jsonl` under `key(item)` as they come,
        so files that belong to a row must be complete (renamed into place) before the function returns. An item that kills its
        worker again when it is alone yields one row with status `worker_died`. This is the one place where item results may be
        taken from elsewhere.
        """
        journal = Journal(out / "items.jsonl")
        try:
            todo = [item for item in items if key(item) not in journal.done]
            batches = [todo[i : i + batch] for i in range(0, len(todo), batch)]
            fresh = self.engine.map(function, batches, workers=workers, args=args)
            keys = [key(item) for item in items]
            self.progress.start(description, len(items))
            self.progress.advance(len(items) - len(todo))
            waiting = iter(zip(batches, fresh, strict=True))
            for item, item_key in zip(items, keys, strict=True):
                while item_key not in journal.done:
                    part, results = next(waiting)
                    if isinstance(results, Failure):
                        results = self._one_by_one(part, function, args)
                    journal.write({key(i): rows for i, rows in zip(part, results, strict=True)})
                    self.progress.advance(len(part))
                yield item, journal.done[item_key]
        finally:
            self.progress.finish()
            journal.close()

    def _one_by_one(
        self, items: list[Row], function: Callable[..., Any] | type, args: tuple[Any, ...]
    ) -> list[list[Row]]:
        """Results of a batch that killed its worker: only the guilty item goes without."""
        if len(items) == 1:
            return [[{"status": "worker_died"}]]
        alone = self.engine.map(function, [[item] for item in items], workers=1, args=args)
        return [[{"status": "worker_died"}] if isinstance(r, Failure) else r[0] for r in alone]


class Journal:
    """Rows of finished items, one JSON line each, so that a killed run goes on.

    A torn last line is forgotten, and so are failures that may have passed.
    """

    def __init__(self, path: Path) -> None:
        self.done: dict[str, list[Row]] = {}
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    try:
                        entry = json.loads(line)
                        if not any(PASSING.fullmatch(row.get("status", "")) for row in entry["rows"]):
                            self.done[entry["key"]] = entry["rows"]
                    except (ValueError, TypeError, KeyError):
                        break
                    whole += len(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("r+b" if path.exists() else "w+b")
        self.file.truncate(whole)
        self.file.seek(whole)

    def write(self, entries: dict[str, list[Row]]) -> None:
        for key, rows in entries.items():
            self.file.write(json.dumps({"key": key, "rows": rows}).encode() + b"\n")
            self.done[key] = rows
        self.file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self.file.fileno())
        self.file.close()
