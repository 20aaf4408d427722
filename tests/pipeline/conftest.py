"""Tiny stages for tests of the pipeline: real `Stage`s over text files, so that a run costs milliseconds and can be counted."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from foxgan import stages
from foxgan.pipeline.run import RunReport, Selection, run
from foxgan.stages.base import Context, Field, Input, Stage

RAN: list[str] = []  # one entry for each call of a toy's `run`
TROUBLE: dict[str, Callable[[Path], None]] = {}  # stage name -> what happens in the middle of its `run`


class Toy(Stage):
    """What the toys have in common."""

    results: ClassVar[tuple[str, ...]] = ("value.txt",)

    def run(self, out: Path, ctx: Context) -> None:
        RAN.append(self.name)
        if self.name in TROUBLE:
            TROUBLE[self.name](out)
        (out / "value.txt").write_text(self.value())

    def value(self) -> str:
        raise NotImplementedError


class Write(Toy):
    """Write a text."""

    name = "write"
    machine_params = frozenset({"workers"})

    text: str = Field("fox", description="What to write")
    workers: int = Field(1, gt=0, description="Counts for nothing")

    def value(self) -> str:
        return self.text


class Join(Toy):
    """Join the texts of its inputs."""

    name = "join"

    texts: Input = Field(description="Outputs of `write`, or text files")
    upper: bool = Field(False, description="Whether to shout")

    def value(self) -> str:
        texts = [(p / "value.txt" if p.is_dir() else p).read_text() for p in self.texts]
        return "+".join(t.upper() if self.upper else t for t in texts)


class Initial(Toy):
    """Keep the first letter."""

    name = "initial"

    texts: Input = Field(description="Output of another toy")

    def value(self) -> str:
        return (self.texts[0] / "value.txt").read_text()[0]


class Grow(Stage):
    """Write a line for each number up to `limit`; a longer run needs only the missing ones."""

    name = "grow"
    horizon_params = frozenset({"limit"})
    results = ("lines.txt",)

    limit: int | None = Field(3, gt=0, description="How many lines; none: ten")
    word: str = Field("line", description="What is on each line")

    def units(self, counts: Sequence[int]) -> float:
        return float(self.limit or 10)

    def run(self, out: Path, ctx: Context) -> None:
        path = out / "lines.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        while len(lines) < (self.limit or 10):
            RAN.append(f"grow {len(lines)}")
            lines.append(f"{self.word} {len(lines)}")
            path.write_text("\n".join(lines))
            if "grow" in TROUBLE:
                TROUBLE["grow"](out)


class Sort(Stage):
    """An index with kept and dropped items."""

    name = "sort"

    kept: int = Field(3, ge=0, description="Good items")
    dropped: int = Field(0, ge=0, description="Bad items")

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import write_index

        RAN.append(self.name)
        states = ["kept"] * self.kept + ["blurry"] * self.dropped
        write_index(out, [{"id": str(i), "status": status} for i, status in enumerate(states)])


class Toys:
    """A workspace, a folder for pipeline files, and what ran in it."""

    ran, trouble = RAN, TROUBLE

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace = folder, folder / "home"

    def file(self, text: str, name: str = "toys.yaml") -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, text: str, overrides: dict[str, Any] | None = None, **options: Any) -> RunReport:
        """Run a pipeline; `ran` tells what ran in this one."""
        self.ran.clear()
        names = {"only", "until", "from_step", "force"}
        selection = Selection(**{k: v for k, v in options.items() if k in names})
        rest = {k: v for k, v in options.items() if k not in names}
        return run(self.file(text), overrides, selection=selection, workspace_folder=self.workspace, **rest)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of every file of every finished artifact."""
        finished = [p.parent for p in self.workspace.rglob("foxgan.json")]
        paths = [p for folder in finished for p in folder.rglob("*") if p.is_file()]
        return {str(p.relative_to(self.workspace)): (p.read_bytes(), os.stat(p).st_mtime_ns) for p in paths}


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    """The toy stages are registered for one test."""
    for toy in (Write, Join, Initial, Grow, Sort):
        monkeypatch.setitem(stages.MODULES, toy.name, (toy.__module__, toy.__name__))
    RAN.clear()
    TROUBLE.clear()
    stages.stage_class.cache_clear()
    yield Toys(tmp_path)
    stages.stage_class.cache_clear()
