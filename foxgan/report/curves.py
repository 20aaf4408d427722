"""Line charts of a training run, drawn by hand as SVG paths: they follow the page's colours, and no plot library is loaded."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foxgan.report.words import shown, title_of

WIDTH, HEIGHT = 300, 180  # of a chart's plane, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 22  # room for labels around the lines
MAX_POINTS = 240
NOT_PLOTTED = {"nimg", "tick", "seconds", "seconds_left", "kimg"}
GROUPS = (  # title, names (a pattern); a name that fits none gets a chart of its own
    ("Losses", r".*loss.*"),
    ("Sliced Wasserstein distance x 1000", r"swd.*"),
    ("Diversity of the fakes, share of the reals'", r"diversity"),
    ("Share of images that D tells rightly", r"d_accuracy"),
    ("Mean sign of D", r".*sign.*"),
    ("Augment probability p", r"p"),
    ("Path length", r"pl(_.*)?"),
    ("R1 penalty", r"r1"),
    ("Seconds per kimg", r"sec_per_kimg"),
    ("Memory, GiB", r"(gpu_)?memory_gb"),
)


@dataclass(frozen=True)
class Series:
    """One line: SVG path data and the last value."""

    name: str
    path: str
    last: str


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in SVG units."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A group of series over thousands of images shown."""

    title: str
    series: list[Series]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def read_stats(path: Path) -> list[dict[str, Any]]:
    """The rows of a `stats.jsonl` that have a clock; lines that are torn or not rows are passed over."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and _number(row.get("nimg")):
                rows.append(row)
    return rows


def charts(rows: list[dict[str, Any]]) -> list[Chart]:
    """Charts of all numeric series in `rows`, those that belong together in one; none for fewer than two rows."""
    if len(rows) < 2:
        return []
    rows = _thinned(rows)
    names = sorted({k for row in rows for k, v in row.items() if k not in NOT_PLOTTED and _number(v)})
    groups = [(title, [n for n in names if re.fullmatch(pattern, n)]) for title, pattern in GROUPS]
    rest = set(names).difference(*(found for _, found in groups))
    groups += [(title_of(name), [name]) for name in names if name in rest]
    return [chart for title, found in groups if found and (chart := _chart(title, found, rows))]


def _thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    step = math.ceil(len(rows) / MAX_POINTS)
    return rows if step == 1 else [*rows[:-1:step], rows[-1]]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _chart(title: str, names: list[str], rows: list[dict[str, Any]]) -> Chart | None:
    points = {n: [(float(row["nimg"]) / 1000, float(row[n])) for row in rows if _number(row.get(n))] for n in names}
    xs = [x for line in points.values() for x, _ in line]
    ys = [y for line in points.values() for _, y in line]
    if len(xs) < 2:
        return None
    x_marks, y_marks = nice_ticks(min(xs), max(xs), 6), nice_ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)
    y_low, y_high = min(*ys, y_marks[0]), max(*ys, y_marks[-1])

    def at_x(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    series = [
        Series(title_of(name), "M" + "L".join(f"{at_x(x)} {at_y(y)}" for x, y in line), shown(line[-1][1]))
        for name, line in points.items()
        if line
    ]
    x_ticks = [Tick(at_x(x), shown(x)) for x in x_marks if x_low <= x <= x_high]
    return Chart(title, series, x_ticks, [Tick(at_y(y), shown(y)) for y in y_marks])


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most `low` to at least `high`."""
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]
