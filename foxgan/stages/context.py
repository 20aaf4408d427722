"""All that a running stage may ask of the world around it: workers, progress, earlier items, a place for facts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from foxgan.engine import Engine, Failure, LocalEngine
from foxgan.stages.journal import Journal, Keys, Row, journalled, look_up

if TYPE_CHECKING:
    from polars import DataFrame, Series

T = TypeVar("T")
FEW = 0.02  # share of the items that are not looked for any further


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


def _unknown(path: Path) -> Mapping[str, str]:
    return {}


@dataclass
class Context:
    """What a running stage may use.

    `earlier`: folders of the same stage and params whose items may be taken over, the newest first; `again`: what they have dropped
    is asked for again. `akin`: finished ones with other params, whose files may be those that would be fetched. `hashes` gives the
    sha256 of the files below an outside folder by their names ("" for a file itself), as far as known. `withdrawn`: ids of photos that
    nobody may use any more.
    """

    engine: Engine = field(default_factory=LocalEngine)
    progress: Progress = field(default_factory=Silent)
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    earlier: Sequence[Path] = ()
    again: bool = False
    akin: Sequence[Path] = ()
    hashes: Callable[[Path], Mapping[str, str]] = _unknown
    withdrawn: frozenset[str] = frozenset()
    found: tuple[DataFrame, dict[Path, DataFrame]] | None = field(default=None, init=False)  # by the last look

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

    def known(self, out: Path, keys: Keys) -> Series:
        """Those of the items `keys` that need no work: an interrupted run has done them, or an earlier artifact has them."""
        import polars as pl

        asked = _numbered(keys)
        done = asked.join(journalled(out), on="key", how="semi")
        missing = asked.join(done, on="key", how="anti", maintain_order="left")
        found = self._look_up(missing, len(asked))
        return pl.concat([done["key"], *(lines["key"] for lines in found.values())])

    def each(
        self,
        out: Path,
        items: Sequence[Row] | DataFrame,
        function: Callable[[list[Row]], list[list[Row]]] | type,
        args: tuple[Any, ...] = (),
        *,
        keys: Keys,
        description: str,
        workers: int | None = 0,
        batch: int = 16,
    ) -> DataFrame:
        """Work item by item: the result rows of all, in their order, with `item`, a row's position among `items`.

        `function` takes a batch of items and returns one list of rows for each; a class is built once per worker with `args`
        and then called. What was done before is not done again. Rows hold index columns as JSON values (beside them `heads`,
        `bad_labels` and, for a decision over the set, `features`), and the item's key where they have no id. They are journalled in
        `out/items.jsonl` under the item's key as they come, so files that belong to a row (its `path`, relative to `out`) must be
        complete (renamed into place) before the function returns. An item that kills its worker again when it is alone yields one
        row with status `worker_died`. This is the one place where item results are taken from elsewhere: from what an interrupted
        run left, and from earlier artifacts.
        """
        journal = Journal(out)
        try:
            self.progress.start(description, len(items))
            asked = _numbered(keys)
            todo = asked.join(journal.done, on="key", how="anti", maintain_order="left")
            found = self._look_up(todo, len(asked))
            for lines in found.values():
                todo = todo.join(lines, on="key", how="anti", maintain_order="left")
            batches = Batches(items, todo["item"].to_list(), batch)
            fresh = self.engine.map(function, batches, workers=workers, args=args)
            # workers are starting; meanwhile files are linked
            lost = self._take_over(journal, found, out)
            batches.todo.extend(asked.filter(asked["key"].is_in(lost))["item"])
            self.progress.advance(len(items) - len(batches.todo))
            for number, results in enumerate(fresh):
                part = [keys[position] for position in batches.positions(number)]
                if isinstance(results, Failure):
                    results = self._one_by_one(batches[number], function, args)
                journal.write(dict(zip(part, results, strict=True)))
                self.progress.advance(len(part))
            return journal.table(keys)
        finally:
            self.progress.finish()
            journal.close()

    def _look_up(self, missing: DataFrame, count: int) -> dict[Path, DataFrame]:
        """What earlier artifacts have of the `missing` ones of `count` items, in each; remembered until it is taken over."""
        if self.found is None or not self.found[0].equals(missing):
            found: dict[Path, DataFrame] = {}
            left = missing
            for folder in self.earlier:
                if not worth_a_look(len(left), count):
                    break
                found[folder] = look_up(folder, left, kept_only=self.again)
                left = left.join(found[folder], on="key", how="anti", maintain_order="left")
            self.found = missing, found
        return self.found[1]

    def _take_over(self, journal: Journal, found: dict[Path, DataFrame], out: Path) -> list[str]:
        """Bring to `out` what was found in earlier artifacts; returns what must be made again, as files of it are lost."""
        self.found = None
        all_lost: list[str] = []
        for folder, lines in found.items():
            lost = journal.take_over(lines, folder, out)
            all_lost += sorted(lost)
            if taken := len(lines) - len(lost):
                self.record(reused=self.facts.get("reused", 0) + taken)
                self.debug(f"{taken} items from {folder.name}")
        return all_lost

    def _one_by_one(
        self, items: list[Row], function: Callable[..., Any] | type, args: tuple[Any, ...]
    ) -> list[list[Row]]:
        """Results of a batch that killed its worker: only the guilty item goes without."""
        if len(items) == 1:
            return [[{"status": "worker_died"}]]
        alone = self.engine.map(function, [[item] for item in items], workers=1, args=args)
        return [[{"status": "worker_died"}] if isinstance(r, Failure) else r[0] for r in alone]


def _numbered(keys: Keys) -> DataFrame:
    """The different ones among `keys`, each with the position where it comes first (`item`)."""
    import polars as pl

    asked = pl.DataFrame({"key": keys}, schema={"key": pl.String}).with_row_index("item")
    return asked.unique("key", keep="first", maintain_order=True)


def worth_a_look(missing: int, items: int) -> bool:
    """Whether to look through one more earlier artifact: for a few items that takes longer than to make them."""
    return missing > FEW * items


class Batches(Sequence[list[Row]]):
    """Items in portions, made when they are asked for: a table of 100,000 takes a tenth of the memory of as many rows."""

    def __init__(self, items: Sequence[Row] | DataFrame, todo: list[int], size: int) -> None:
        self.items, self.todo, self.size = items, todo, size

    def __len__(self) -> int:
        return -(-len(self.todo) // self.size)

    def positions(self, number: int) -> Sequence[int]:
        """Of the items in one portion, among all."""
        return self.todo[number * self.size : (number + 1) * self.size]

    @overload
    def __getitem__(self, number: int) -> list[Row]: ...
    @overload
    def __getitem__(self, number: slice) -> list[list[Row]]: ...
    def __getitem__(self, number: int | slice) -> list[Row] | list[list[Row]]:
        if isinstance(number, slice):
            return [self[n] for n in range(len(self))[number]]
        if not 0 <= number < len(self):
            raise IndexError(number)
        positions = self.positions(number)
        if isinstance(self.items, Sequence):
            return [self.items[position] for position in positions]
        return self.items[positions].to_dicts()
