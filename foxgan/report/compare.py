"""All variants of a step side by side on one offline page: what differs, what came of it in numbers, and pictures of the same item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from foxgan.report.artifacts import Artifacts, Row, StepReport
from foxgan.report.pages import render_page, write_page
from foxgan.report.pictures import load, spread
from foxgan.report.sheets import sheets_of
from foxgan.report.shots import Sheet, Shot
from foxgan.report.words import duration, plural, shown, title_of

SEEN = 24  # variants with pictures; the table has all
ROWS = 10  # pictures of each, one below the other
SHOTS = 8  # of a sheet, where the variants have no items in common
TILE = 288  # longest side, in pixels
MAX_FILMS = 24 << 20  # bytes of all films inside the page
KEY = ("source", "source_id", "nth")  # what makes items of two variants the same one
STYLES = ("report.css", "compare.css")


@dataclass(frozen=True)
class Candidate:
    """One variant: its step, what tells it from the others, and facts of steps that follow it alone, by step."""

    step: StepReport
    varied: Mapping[str, Any]
    following: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The part of its name that the others do not have."""
        return self.step.name.partition("@")[2]


@dataclass(frozen=True)
class Comparison:
    """The variants of `step`; `steps` are all of the pipeline, `written` is an ISO time, `command` what was typed."""

    pipeline: str
    step: str
    candidates: Sequence[Candidate]
    steps: Sequence[StepReport]
    foxgan_version: str
    written: str
    command: str = ""


@dataclass(frozen=True)
class Cell:
    """A value in the table; `share` in percent of the column's largest, None where a bar says nothing."""

    text: str
    share: float | None = None


@dataclass(frozen=True)
class Line:
    """One variant in the table."""

    name: str
    label: str
    state: str
    done: bool
    cells: list[Cell]


@dataclass(frozen=True)
class Shelf:
    """Pictures of the same item, one per variant that is shown, None where that one has it not."""

    title: str
    shots: list[Shot | None]


def write_comparison(out_html: Path, comparison: Comparison) -> None:
    """Write the page; it appears complete or not at all."""
    write_page(out_html, render(comparison))


def render(comparison: Comparison) -> str:
    """The page as text."""
    artifacts = Artifacts(comparison.steps)
    columns, same = numbers(comparison.candidates)
    done = [candidate for candidate in comparison.candidates if candidate.step.done]
    seen = [c for c in done if c.step.state != "gone"][:SEEN]
    shelves = shelves_of(seen, artifacts)
    return render_page(
        "compare.html.j2",
        STYLES,
        page=comparison,
        verdict=_verdict(comparison, len(done)),
        unfinished=[c.step.name for c in comparison.candidates if not c.step.done],
        columns=columns,
        lines=_lines(comparison.candidates, columns),
        same=[(name, shown(value)) for name, value in same.items()],
        seen=seen,
        hidden=len(done) - len(seen),
        shelves=shelves,
        sheets=[] if shelves else list(zip(seen, _different(seen, artifacts), strict=True)),
    )


def _verdict(comparison: Comparison, done: int) -> str:
    axes = " and ".join(dict.fromkeys(title_of(name) for c in comparison.candidates for name in c.varied))
    total = plural(len(comparison.candidates), "variant")
    stage = comparison.candidates[0].step.stage
    finished = "all finished" if done == len(comparison.candidates) else f"{done} finished"
    return f"{total} of a step of stage {stage}, by {axes}; {finished}."


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """All that there is to compare of one variant, by the title of its column: what was varied first, then what came of it."""
    step = candidate.step
    found: dict[str, Any] = dict(candidate.varied)
    if not step.done:
        return found
    for prefix, facts in {"": step.facts, **candidate.following}.items():
        start = f"{prefix}: " if prefix else ""
        found |= {f"{start}{title_of(name)}": value for name, value in facts.items() if _number(value)}
    if step.counts:
        found |= {"kept": step.counts["kept"], "left out": sum((step.counts.get("dropped") or {}).values())}
        found |= {f"left out: {title_of(k)}": n for k, n in (step.counts.get("dropped") or {}).items()}
    return found | ({"took, seconds": step.seconds} if step.manifest.get("seconds") else {})


def numbers(candidates: Sequence[Candidate]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Columns of values, one per variant (None: not known), and apart from them what is the same in all that are finished."""
    rows = [facts_of(candidate) for candidate in candidates]
    done = [row for row, candidate in zip(rows, candidates, strict=True) if candidate.step.done]
    varied = {name for candidate in candidates for name in candidate.varied}
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    same = {
        name: done[0][name]
        for name in columns
        if len(done) > 1 and name not in varied and all(name in row and row[name] == done[0].get(name) for row in done)
    }
    return {name: values for name, values in columns.items() if name not in same}, same


def _lines(candidates: Sequence[Candidate], columns: Mapping[str, list[Any]]) -> list[Line]:
    largest = {name: max((v for v in values if _number(v)), default=0) for name, values in columns.items()}
    bars = {
        name
        for name, values in columns.items()
        if name not in candidates[0].varied and largest[name] > 0 and all(v is None or v >= 0 for v in values)
    }
    lines = []
    for i, candidate in enumerate(candidates):
        cells = [
            Cell(
                _text(name, values[i]), 100 * values[i] / largest[name] if name in bars and _number(values[i]) else None
            )
            for name, values in columns.items()
        ]
        state = {"gone": "files deleted"}.get(candidate.step.state, "" if candidate.step.done else "not finished")
        lines.append(Line(candidate.step.name, candidate.label, state, candidate.step.done, cells))
    return lines


def _text(name: str, value: Any) -> str:
    return duration(value) if name == "took, seconds" and value is not None else shown(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shelves_of(seen: Sequence[Candidate], artifacts: Artifacts) -> list[Shelf]:
    """Pictures of items that the variants have in common (by where they come from); none where they have none in common."""
    tables = [_pictures(candidate.step, artifacts) for candidate in seen]
    if len(tables) < 2:
        return []
    common = [key for key in tables[0] if all(key in table for table in tables[1:])]
    shelves = []
    for key in spread(common, ROWS):
        rows = [table[key] for table in tables]
        shots = [
            Shot(picture, f"{candidate.label}, {_title(row)}") if (picture := load(row["path"], TILE, 88)) else None
            for candidate, row in zip(seen, rows, strict=True)
        ]
        if any(shots):
            shelves.append(Shelf(_title(rows[0]), shots))
    return shelves


def _pictures(step: StepReport, artifacts: Artifacts) -> dict[tuple[Any, ...], Row]:
    """Kept items that have a picture, by what they have in common with those of other variants; several may come from one photo."""
    table = artifacts.kept(step).filter(pl.col("path").is_not_null() & pl.col("source_id").is_not_null())
    numbered = table.with_columns(pl.int_range(pl.len()).over("source", "source_id").alias("nth"))
    return {tuple(row[k] for k in KEY): row for row in numbered.iter_rows(named=True)}


def _title(row: Row) -> str:
    return f"seed {row['source_id']}" if row["source"] == "sample" else str(row["source_id"])


def _different(seen: Sequence[Candidate], artifacts: Artifacts) -> list[list[Sheet]]:
    """The sheets of each variant, without those that are the same in all, such as what several trainings learn from."""
    sheets = [[_few(sheet, len(seen)) for sheet in sheets_of(c.step, artifacts)] for c in seen]
    same = [sheet for sheet in sheets[0] if all(sheet in others for others in sheets[1:])] if len(sheets) > 1 else []
    return [[sheet for sheet in found if sheet not in same] for found in sheets]


def _few(sheet: Sheet, variants: int) -> Sheet:
    """What is shown of a sheet where there are several variants."""
    if sheet.film and len(sheet.film) * variants > MAX_FILMS:
        sheet = replace(sheet, film=None, note="Too large for this page; open film.mp4 in the folder.")
    return replace(sheet, shots=spread(sheet.shots, SHOTS))
