import re
from pathlib import Path

from foxgan.report.report import PipelineReport, RunRecord, Span, StepReport, render
from foxgan.report.runs import timeline

HOSTILE = "<script>alert(1)</script>\"'"


def page(*runs: RunRecord) -> str:
    steps = [StepReport("crops", "crop", state="run")]
    html = render(PipelineReport("tiny", "2026-01-02T03:04:05+00:00", 7.0, "0.1.0", {"cores": 2}, steps, runs=runs))
    return html.split('id="runs"')[1].split("</section>")[0] if 'id="runs"' in html else ""


def run(started: str = "2026-01-02T03:04:05+00:00", outcome: str = "ok", **facts: object) -> RunRecord:
    return RunRecord(started, 75.0, outcome, **facts)  # type: ignore[arg-type]


def test_a_page_without_events_has_no_section_of_runs() -> None:
    assert page() == ""


def test_every_run_says_when_how_long_and_what() -> None:
    spans = [Span("crops", "crop", 0, 70)]
    html = page(
        run(spans=spans, kept=["photos", "heads"], dropped={"too_small": 1204}), run("2026-01-01T00:00:00+00:00")
    )
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    assert len(rows) == 3
    for text in ("2026-01-02 03:04", "1 min 15 s", "done", "crops", 'title="photos, heads">2<', "1,204 too small"):
        assert text in rows[1]
    assert "2026-01-01 00:00" in rows[2] and "–" in rows[2]


def test_a_failed_an_interrupted_and_a_killed_run_are_told_apart() -> None:
    failed = run(outcome="failed", failed={"crops": f"no heads {HOSTILE}"})
    html = page(failed, run(outcome="interrupted"), run(outcome=""), run(outcome="failed", error="too many dropped"))
    for text in ("failed", "interrupted", "did not end", "too many dropped", "no heads &lt;script&gt;"):
        assert text in html
    assert "<script>" not in html


def test_the_timeline_is_that_of_the_newest_run_that_worked() -> None:
    spans = [
        Span("photos", "scrape", 0, 25),
        Span("crops", "crop", 25, 75, "failed"),
        Span("model", "train", 30, 75, "open"),
    ]
    bars = timeline([run(), run(spans=spans), run(spans=spans[:1])])
    assert [bar.name for bar in bars] == ["photos", "crops", "model"]
    shares = [[round(part.share, 1) for part in bar.parts] for bar in bars]
    assert shares == [[0.0, 33.3], [33.3, 66.7], [40.0, 60.0]]
    assert [bar.value for bar in bars] == ["25 s", "50 s, failed", "45 s, not ended"]
    assert timeline([run()]) == []


def test_a_clock_that_went_back_does_not_break_the_timeline() -> None:
    (bar,) = timeline([RunRecord("2026-01-02T03:04:05+00:00", 0.0, "ok", spans=[Span("a", "b", 0.0, -3.0)])])
    assert bar.parts[1].share == 0


def test_the_styles_of_the_section_travel_with_the_package() -> None:
    folder = Path(__file__).parents[2] / "foxgan" / "report"
    used = set(re.findall(r'class="([\w -]+)"', (folder / "runs.html.j2").read_text()))
    styles = (folder / "runs.css").read_text() + (folder / "report.css").read_text()
    assert all(f".{name}" in styles for names in used for name in names.split())
