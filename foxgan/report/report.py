"""The HTML report of a pipeline: one file that needs nothing from outside, with what went in, what came out, and how.

Every text is escaped by the template; titles of photos and names of their authors come from strangers. The page's own policy
forbids requests and any script but ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foxgan.report import curves
from foxgan.report.artifacts import Artifacts, StepReport
from foxgan.report.credits import Credits, credits_of
from foxgan.report.pages import render_page, write_page
from foxgan.report.runs import RunRecord, Span, timeline
from foxgan.report.sheets import sheets_of
from foxgan.report.shots import Sheet, Shot
from foxgan.report.story import Bar, Tile, funnel, tiles, times, verdict
from foxgan.report.words import Setting, duration, settings, shown, title_of

__all__ = ["PipelineReport", "RunRecord", "Span", "StepReport", "write_report"]

HERO = 24  # pictures
STYLES = ("report.css", "runs.css")


@dataclass(frozen=True)
class PipelineReport:
    """A run of a pipeline. `started` is an ISO time, `seconds` the wall time of this run, `command` what was typed.

    `runs`: this one and those before it, the newest first, as far as they are known.
    """

    name: str
    started: str
    seconds: float
    foxgan_version: str
    machine: Mapping[str, Any]
    steps: Sequence[StepReport]
    command: str = ""
    runs: Sequence[RunRecord] = ()


@dataclass(frozen=True)
class Section:
    """All that the page shows of one step."""

    step: StepReport
    took: str
    facts: list[tuple[str, str]]
    warnings: list[str]
    sheets: Sequence[Sheet]
    charts: list[curves.Chart]
    settings: list[Setting]


@dataclass(frozen=True)
class Page:
    """What the template fills in."""

    report: PipelineReport
    verdict: str
    hero: Sequence[Shot]
    tiles: list[Tile]
    funnel: list[Bar]
    sections: list[Section]
    credits: Credits | None
    timeline: list[Bar]
    times: list[Bar]
    took: str
    libraries: list[tuple[str, str]] = field(default_factory=list)


def write_report(out_html: Path, report: PipelineReport) -> None:
    """Write the page; it appears complete or not at all. Steps that failed or have no artifact show their state."""
    write_page(out_html, render(report))


def render(report: PipelineReport) -> str:
    """The page as text."""
    return render_page("report.html.j2", STYLES, page=page_of(report), plane=curves)


def page_of(report: PipelineReport) -> Page:
    """Everything on the page, read from the artifacts."""
    artifacts = Artifacts(report.steps)
    sections = [_section(step, artifacts) for step in report.steps]
    return Page(
        report=report,
        verdict=verdict(report.steps, artifacts),
        hero=_hero(sections),
        tiles=tiles(report.steps, artifacts),
        funnel=funnel(report.steps),
        sections=sections,
        credits=credits_of(report.steps, artifacts),
        timeline=timeline(report.runs),
        times=times(report.steps),
        took=duration(report.seconds),
        libraries=_libraries(report.steps),
    )


def _section(step: StepReport, artifacts: Artifacts) -> Section:
    rows = _rows(step, "stats.jsonl")
    manifest, plotted = step.manifest, set().union(*rows)
    facts = {k: v for k, v in step.facts.items() if k not in plotted and not isinstance(v, dict)}
    return Section(
        step=step,
        took=duration(step.seconds) if manifest.get("seconds") else "",
        facts=[(title_of(k), shown(v)) for k, v in facts.items()],
        warnings=[str(row.get("text", "")) for row in _rows(step, "warnings.jsonl")],
        sheets=sheets_of(step, artifacts),
        charts=curves.charts(rows),
        settings=settings(step.stage, manifest.get("params") or {}, manifest.get("inputs") or {}),
    )


def _rows(step: StepReport, name: str) -> list[dict[str, Any]]:
    return curves.read_stats(step.folder / name) if step.folder else []


def _hero(sections: list[Section]) -> Sequence[Shot]:
    """The best pictures there are: the last step's that shows alike ones."""
    for section in reversed(sections):
        for sheet in section.sheets:
            if sheet.kind == "tiles":
                return sheet.shots[:HERO]
    return ()


def _libraries(steps: Sequence[StepReport]) -> list[tuple[str, str]]:
    found = {name: version for step in steps for name, version in (step.manifest.get("libraries") or {}).items()}
    return sorted((name, str(version)) for name, version in found.items())
