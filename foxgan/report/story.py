"""What a run comes down to: a sentence, a few large numbers, the funnel and where the time went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foxgan.report.artifacts import GENERATED, Artifacts, StepReport
from foxgan.report.curves import read_stats
from foxgan.report.words import duration, plural, shown, title_of


@dataclass(frozen=True)
class Tile:
    """One large number."""

    value: str
    label: str


@dataclass(frozen=True)
class Part:
    """A piece of a bar: `share` in percent of the longest bar."""

    label: str
    value: str
    share: float
    kind: str


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart."""

    name: str
    stage: str
    value: str
    parts: list[Part]


def verdict(steps: Sequence[StepReport], artifacts: Artifacts) -> str:
    """One sentence on what became of the photos."""
    failed = [step for step in steps if step.state == "failed"]
    if failed:
        return f"Stopped at “{failed[0].name}”. What was finished before is kept, and the next run goes on from there."
    if unfinished := [step.name for step in steps if not step.done]:
        return f"{len(steps) - len(unfinished)} of {plural(len(steps), 'step')} done; still to do: {', '.join(unfinished)}."
    total = duration(sum(step.seconds for step in steps))
    photos, pictures = _kept(steps, "scrape"), _kept(steps, "pack") or _kept(steps, "crop")
    if photos and _first(steps, "train"):
        return f"{plural(photos, 'photo')} became a generator{_size(steps, artifacts)} in {total} of work."
    if photos and pictures:
        return f"{plural(photos, 'photo')} became a dataset of {plural(pictures, 'picture')} in {total} of work."
    return f"All {plural(len(steps), 'step')} done in {total} of work." if len(steps) > 1 else f"Done in {total}."


def tiles(steps: Sequence[StepReport], artifacts: Artifacts) -> list[Tile]:
    """The numbers that people ask for first; those that are not known are left out."""
    heads = _first(steps, "detect")
    detector = _first(steps, "train-detector")
    train = _first(steps, "train")
    rows = read_stats(train.folder / "stats.jsonl") if train and train.folder else []
    found: list[tuple[Any, str]] = [
        (_kept(steps, "scrape"), "photos"),
        (_kept(steps, "detect"), "heads found"),
        ((heads.facts if heads else {}).get("heads_per_photo"), "heads per photo"),
        ((detector.facts if detector else {}).get("map50"), "detector mAP50"),
        (_kept(steps, "pack"), "pictures to learn from"),
        (round(rows[-1]["nimg"] / 1000, 1) if rows else None, "kimg of training"),
        (_pace(train, rows), "seconds per kimg"),
    ]
    return [Tile(f"{v:,}" if isinstance(v, int) else shown(v), label) for v, label in found if v is not None]


def funnel(steps: Sequence[StepReport]) -> list[Bar]:
    """What every step took in, kept, and left out by reason; for steps that handle items on their way to the dataset."""
    counted = [(s, s.counts) for s in steps if s.counts and s.counts.get("in") and s.stage not in GENERATED]
    longest = max((c["in"] for _, c in counted if c), default=1)
    bars = []
    for step, counts in counted:
        assert counts is not None
        parts = [Part("kept", f"{counts['kept']:,}", 100 * counts["kept"] / longest, "kept")]
        reasons = sorted((counts.get("dropped") or {}).items(), key=lambda item: (-item[1], item[0]))
        parts += [Part(title_of(reason), f"{n:,}", 100 * n / longest, "dropped") for reason, n in reasons]
        bars.append(Bar(step.name, step.stage, f"{counts['kept']:,} of {counts['in']:,}", parts))
    return bars


def times(steps: Sequence[StepReport]) -> list[Bar]:
    """How long every step took when it was made, by phase."""
    longest = max((step.seconds for step in steps), default=0) or 1
    bars = []
    for step in steps:
        phases = {k: float(v) for k, v in (step.manifest.get("seconds") or {}).items() if k != "total"}
        rest = step.seconds - sum(phases.values())
        if rest > 0.05 * step.seconds:
            phases["work"] = rest
        parts = [
            Part(title_of(k), duration(v), 100 * v / longest, f"phase{i % 4}")
            for i, (k, v) in enumerate(phases.items())
        ]
        if parts:
            bars.append(Bar(step.name, step.stage, duration(step.seconds), parts))
    return bars


def _first(steps: Sequence[StepReport], stage: str) -> StepReport | None:
    return next((step for step in steps if step.stage == stage), None)


def _kept(steps: Sequence[StepReport], stage: str) -> int | None:
    counts = [step.counts["kept"] for step in steps if step.stage == stage and step.counts]
    return sum(counts) if counts else None


def _pace(train: StepReport | None, rows: list[dict[str, Any]]) -> float | None:
    """Over the whole training, or else what the stage says."""
    if rows and isinstance(rows[-1].get("seconds"), int | float) and rows[-1]["nimg"]:
        return round(float(rows[-1]["seconds"]) / float(rows[-1]["nimg"]) * 1000, 2)
    fact = train.facts.get("sec_per_kimg") if train else None
    return None if fact is None else float(fact)


def _size(steps: Sequence[StepReport], artifacts: Artifacts) -> str:
    for stage in ("sample", "crop", "pack"):
        step = _first(steps, stage)
        rows = artifacts.kept(step).head(1).to_dicts() if step else []
        if rows and rows[0]["width"]:
            return f" of {rows[0]['width']}×{rows[0]['height']} pictures"
    return ""
