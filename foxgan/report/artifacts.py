"""What the report reads from the folders of a pipeline's steps. A table that is missing or broken is an empty one here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.dataset.index import COLUMNS, INDEX, KEPT, read_index
from foxgan.errors import FoxganError

Row = dict[str, Any]
GENERATED = ("sample",)  # stages whose items are made by a model, not photos on their way into a dataset


@dataclass(frozen=True)
class StepReport:
    """One step of a run. `state`: made (just now), kept (from earlier), gone (kept, but its folder was deleted), failed, or
    anything else where it is unfinished.

    `folder` and `manifest` are those of its artifact, as far as there is one; `message` says why a step failed.
    """

    name: str
    stage: str
    folder: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    state: str = "kept"
    after: Sequence[str] = ()
    message: str = ""

    @property
    def done(self) -> bool:
        return self.state in ("made", "kept", "gone")

    @property
    def counts(self) -> dict[str, Any] | None:
        """`in`, `kept` and `dropped`, for steps that handle items."""
        return self.manifest.get("counts") or None

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest.get("facts") or {}

    @property
    def seconds(self) -> float:
        """Wall time of the step when it was made."""
        phases = self.manifest.get("seconds") or {}
        return float(phases.get("total", sum(phases.values())))


class Artifacts:
    """The index tables of the steps, each read once."""

    def __init__(self, steps: Sequence[StepReport]) -> None:
        self.steps = {step.name: step for step in steps}
        self.tables: dict[tuple[Path, str], pl.DataFrame] = {}

    def table(self, folder: Path | None, name: str = INDEX) -> pl.DataFrame:
        """All rows, dropped ones too, with absolute paths; empty where there is no table."""
        if folder is None:
            return pl.DataFrame(schema=COLUMNS)
        if (folder, name) not in self.tables:
            try:
                self.tables[folder, name] = read_index(folder, kept=False, name=name)
            except FoxganError:
                self.tables[folder, name] = pl.DataFrame(schema=COLUMNS)
        return self.tables[folder, name]

    def kept(self, step: StepReport) -> pl.DataFrame:
        return self.table(step.folder).filter(pl.col("status") == KEPT)

    def dropped(self, step: StepReport) -> pl.DataFrame:
        return self.table(step.folder).filter(pl.col("status") != KEPT)

    def truth(self, step: StepReport, photos: Iterable[str]) -> dict[str, list[Row]]:
        """Ground truth that lies beside the index in a table of its own: photo id -> rows with a box."""
        found: dict[str, list[Row]] = {}
        for path in sorted(step.folder.glob("*.parquet")) if step.folder else []:
            if path.name != INDEX:
                table = self.table(step.folder, path.name)
                rows = table.filter(pl.col("parent").is_in(list(photos)) & pl.col("box").is_not_null())
                for row in rows.iter_rows(named=True):
                    found.setdefault(row["parent"], []).append(row)
        return found

    def upstream(self, step: StepReport) -> list[StepReport]:
        """The steps that `step` was made from, the nearest first."""
        found: dict[str, StepReport] = {}
        waiting = list(step.after)
        while waiting:
            name = waiting.pop(0)
            if name in self.steps and name not in found:
                found[name] = self.steps[name]
                waiting += self.steps[name].after
        return list(found.values())

    def parents(self, step: StepReport, ids: Iterable[str | None]) -> dict[str, Row]:
        """The rows called `ids` in the tables that `step` was made from."""
        wanted = [i for i in ids if i]
        folders = [Path(entry["path"]) for paths in (step.manifest.get("inputs") or {}).values() for entry in paths]
        folders += [s.folder for s in self.upstream(step) if s.folder]
        found: dict[str, Row] = {}
        for folder in dict.fromkeys(folders):
            for row in self.table(folder).filter(pl.col("id").is_in(wanted)).iter_rows(named=True):
                found.setdefault(row["id"], row)
        return found

    def with_pictures(self, step: StepReport, rows: Sequence[Row]) -> list[Row]:
        """For every row the path of its picture, or of the picture it comes from, and its box in that picture."""
        found = [{"path": row["path"], "box": row["box"], "next": row["parent"]} for row in rows]
        for _ in range(3):  # crop -> head -> photo
            open_ends = [row for row in found if not row["path"] and row["next"]]
            parents = self.parents(step, [row["next"] for row in open_ends])
            for row in open_ends:
                parent = parents.get(row["next"], {})
                row |= {
                    "path": parent.get("path"),
                    "box": row["box"] or parent.get("box"),
                    "next": parent.get("parent"),
                }
        return found

    def class_names(self, step: StepReport) -> dict[int, str]:
        """Names of the classes that a model was trained on, by number."""
        names: dict[int, str] = {}
        for earlier in self.upstream(step):
            known = self.kept(earlier).select("label", "class").drop_nulls().unique()
            names = dict(known.iter_rows()) | names
        return names
