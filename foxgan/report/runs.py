"""Runs of a pipeline: when, how long, what came of them, and when each step of the last one was at work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from foxgan.report.story import Bar, Part
from foxgan.report.words import duration

OUTCOMES = {
    "ok": "done",
    "failed": "failed",
    "interrupted": "interrupted",
    "": "did not end",  # as far as was written: it was killed, or is at work
}
ENDINGS = {"made": "", "failed": ", failed", "open": ", not ended"}


@dataclass(frozen=True)
class Span:
    """When a step was at work, in seconds from the start of its run; `outcome` is made, failed or open (neither was told)."""

    step: str
    stage: str
    begin: float
    end: float
    outcome: str = "made"


@dataclass(frozen=True)
class RunRecord:
    """One run: `started` is an ISO time; `outcome` ok, failed, interrupted, or "" where no end was told.

    `failed` tells by step why it could not be made, `dropped` the items left out in this run by reason; `error` is why the run ended,
    where no step is to blame.
    """

    started: str
    seconds: float
    outcome: str
    command: str = ""
    kept: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    spans: Sequence[Span] = ()
    error: str = ""

    @property
    def made(self) -> list[str]:
        return [span.step for span in self.spans if span.outcome == "made"]

    @property
    def words(self) -> str:
        """The outcome for people."""
        return OUTCOMES.get(self.outcome, self.outcome)


def timeline(runs: Sequence[RunRecord]) -> list[Bar]:
    """A bar per step of the newest run that worked, each from its begin to its end."""
    run = next((run for run in runs if run.spans), None)
    if run is None:
        return []
    longest = max(run.seconds, *(span.end for span in run.spans)) or 1.0
    bars = []
    for span in run.spans:
        took = max(span.end - span.begin, 0.0)
        words = (
            duration(took)
            if span.outcome == "made"
            else f"{duration(took)}, {span.outcome.replace('open', 'not ended')}"
        )
        begun = Part("begins after", duration(span.begin), 100 * span.begin / longest, "gap")
        work = Part(span.step, words, 100 * took / longest, f"span-{span.outcome}")
        bars.append(Bar(span.step, span.stage, words, [begun, work]))
    return bars
