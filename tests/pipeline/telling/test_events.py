import errno
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import StageError, TooManyDropped
from foxgan.pipeline.telling import events as module
from foxgan.pipeline.telling.events import (
    EVENTS,
    KEPT_RUNS,
    Events,
    Recorder,
    make_room,
    read_events,
    recorded,
    run_folder,
)
from foxgan.pipeline.telling.reporting import records
from foxgan.stages.context import Silent


def told(toys: Any, pipeline: str = "toys") -> list[list[dict[str, Any]]]:
    """The events of all runs, the oldest first."""
    folders = sorted(p for p in (toys.workspace / "data" / pipeline / "runs").iterdir() if not p.is_symlink())
    return [list(read_events(folder / EVENTS)) for folder in folders]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [f"{e['event']} {e['step']}" if "step" in e else e["event"] for e in events if e["event"] != "message"]


TWO = "steps: {write: {text: %s}, first: {use: initial, texts: write}, sort: {kept: 3, dropped: 1}}"


def test_a_run_tells_what_it_makes_and_what_it_keeps(toys: Any) -> None:
    toys.run(TWO % "fox")
    report = toys.run(TWO % "fish")  # the same first letter, so the change stops there
    first, second = told(toys)
    assert kinds(first)[0] == "run_started" and kinds(first)[-1] == "run_finished"
    assert set(kinds(first)[1:-1]) == {
        *(f"step_{what} {step}" for what in ("started", "finished") for step in ("write", "first", "sort")),
        "dropped sort",
    }
    assert kinds(second) == [
        "run_started",
        "step_kept sort",
        "step_started write",
        "step_finished write",
        "step_started first",
        "step_finished first",
        "run_finished",
    ]
    begin, end = second[0], second[-1]
    assert (begin["pipeline"], begin["steps"]) == ("toys", list(report.steps))
    assert begin["command"].startswith("foxgan run toys.yaml")
    assert (end["outcome"], end["made"]) == ("ok", ["write", "first"]) and end["seconds"] >= 0
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", e["time"]) for e in second)


def test_events_of_a_step_agree_with_its_manifest_and_name_no_machine_paths(toys: Any) -> None:
    entry = toys.run(TWO % "fox").steps["sort"]
    (events,) = told(toys)
    by_kind = {e["event"]: e for e in events if e.get("step") == "sort"}
    begin, end = by_kind["step_started"], by_kind["step_finished"]
    assert (begin["key"], begin["stage"], begin["folder"]) == (entry.key.full, "sort", f"data/{entry.folder.name}")
    assert {name: end[name] for name in ("seconds", "counts", "digest")} == {
        name: entry.manifest[name] for name in ("seconds", "counts", "digest")
    }
    assert by_kind["dropped"]["reasons"] == {"blurry": 1}
    assert str(toys.workspace) not in json.dumps(events)


def test_a_failed_step_says_why(toys: Any) -> None:
    def fail(out: Path) -> None:
        raise StageError(f"{out}: no luck")

    toys.trouble["initial"] = fail
    with pytest.raises(StageError):
        toys.run(TWO % "fox")
    (events,) = told(toys)
    (failure,) = (e for e in events if e["event"] == "step_failed")
    assert failure["step"] == "first" and re.search(r"data/initial-\w+: no luck", failure["error"])
    assert events[-1]["outcome"] == "failed" and "no luck" in events[-1]["error"]
    assert "first" not in events[-1]["made"]


def test_an_interrupted_run_says_so(toys: Any) -> None:
    def stop(out: Path) -> None:
        raise KeyboardInterrupt

    toys.trouble["initial"] = stop
    with pytest.raises(KeyboardInterrupt):
        toys.run(TWO % "fox")
    assert told(toys)[0][-1]["outcome"] == "interrupted"


def test_too_many_dropped_is_a_failure_although_all_is_made(toys: Any) -> None:
    with pytest.raises(TooManyDropped):
        toys.run("steps: {sort: {dropped: 3, max_dropped: 0.1}}")
    end = told(toys)[0][-1]
    assert (end["outcome"], end["made"]) == ("failed", ["sort"]) and "3 blurry" in end["error"]


def test_looking_and_a_stage_alone_write_no_events(toys: Any) -> None:
    from foxgan.pipeline.run import Runner, Selection
    from foxgan.pipeline.single import run_stage
    from foxgan.pipeline.spec import load_pipeline
    from foxgan.pipeline.store import Store

    store = Store(toys.workspace)
    Runner(load_pipeline(toys.file(TWO % "fox")), store, Selection(), Silent(), wait=False).plan()
    store.close()
    run_stage("write", {"text": "fox"}, workspace_folder=toys.workspace)
    assert not list(toys.workspace.rglob(EVENTS))


def test_a_link_leads_to_the_newest_run(toys: Any) -> None:
    for word in ("fox", "fish"):
        toys.run(TWO % word)
    latest = toys.workspace / "data" / "toys" / "runs" / "latest"
    assert list(read_events(latest / EVENTS)) == told(toys)[1]


def test_a_step_called_runs_keeps_its_link_and_its_artifact_clean(toys: Any) -> None:
    link = toys.workspace / "data" / "toys" / "runs"
    target = toys.run("name: other\nsteps: {runs: {use: write}}").folder("runs")
    link.parent.mkdir(parents=True)
    link.symlink_to(target, target_is_directory=True)
    before = sorted(target.iterdir())
    toys.run("steps: {runs: {use: write}}")
    assert sorted(target.iterdir()) == before


class Full:
    """A file on a disk that takes `room` more bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self.file, self.room = path.open("ab", buffering=0), room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: self.room]
        self.room -= len(part)
        return self.file.write(part)

    def close(self) -> None:
        self.file.close()


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    events = Events(tmp_path, tmp_path / "run")
    events.write("a", n=1)
    real, events.file = events.file, Full(tmp_path / "run" / EVENTS, room=10)
    events.write("b", n=2)
    events.write("c", n=3)
    events.file.close()
    events.file = real
    events.write("d", n=4)
    events.close()
    assert [e["event"] for e in read_events(tmp_path / "run" / EVENTS)] == ["a", "d"]


def test_no_room_for_the_folder_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way")
    events = Events(tmp_path, run_folder(tmp_path, "toys"))
    with recorded(events, "toys", "foxgan run toys", ["a"], []):
        events.write("message", text="nobody reads this")
    assert (tmp_path / "data").read_text() == "a file is in the way"


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    lines = [b'{"time": "t", "event": "a"}', b"\xff\x00", b"[1]", b'{"event": 3, "time": "t"}', b"[" * 100_000]
    path.write_bytes(b"\n".join([*lines, b'{"time": "t", "event": "b"}', b'{"time": "t", "ev']))
    assert [e["event"] for e in read_events(path)] == ["a", "b"]
    assert list(read_events(tmp_path / "nothing.jsonl")) == []


def test_values_that_json_cannot_hold_do_not_break_a_line(tmp_path: Path) -> None:
    events = Events(tmp_path, tmp_path / "run")
    events.write("a", total=float("inf"), path=tmp_path, text="\udcff\n" + "x" * 99_999, deep={"nan": [float("nan")]})
    events.close()
    (event,) = read_events(tmp_path / "run" / EVENTS)
    assert event["total"] is None and event["deep"] == {"nan": [None]} and len(event["text"]) < 11_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_progress_is_written_every_two_seconds_and_at_the_end(tmp_path: Path, clock: list[float]) -> None:
    recorder = Recorder(Silent(), events := Events(tmp_path, tmp_path / "run"), "crops")
    recorder.finish()  # of nothing
    recorder.start("Cropping", 100)
    for _ in range(10):
        clock[0] += 0.5
        recorder.advance(10, "fast")
    recorder.finish()
    recorder.finish()
    events.close()
    lines = list(read_events(tmp_path / "run" / EVENTS))
    assert [e["done"] for e in lines] == [40, 80, 100]
    assert lines[0].items() >= {"step": "crops", "description": "Cropping", "total": 100, "note": "fast"}.items()


def test_a_training_of_a_week_leaves_a_file_that_can_be_read(tmp_path: Path, clock: list[float]) -> None:
    recorder = Recorder(Silent(), events := Events(tmp_path, tmp_path / "run"), "model")
    recorder.start("Training, kimg", 25_000)
    for _ in range(7 * 24 * 3600 // 5):
        clock[0] += 5
        recorder.advance(0.2)
    events.close()
    assert 15_000 < len(list(read_events(tmp_path / "run" / EVENTS))) < 25_000


def test_messages_are_shown_as_before_and_debug_is_not_written(tmp_path: Path) -> None:
    class Shown(Silent):
        lines: list[str] = []

        def message(self, level: str, text: str) -> None:
            self.lines.append(f"{level} {text}")

    recorder = Recorder(Shown(), events := Events(tmp_path, tmp_path / "run"), "crops")
    for level in ("info", "warning", "debug"):
        recorder.message(level, "hello")
    events.close()
    assert Shown.lines == ["info hello", "warning hello", "debug hello"]
    assert [(e["level"], e["step"]) for e in read_events(tmp_path / "run" / EVENTS)] == [
        ("info", "crops"),
        ("warning", "crops"),
    ]


def old_runs(runs: Path, count: int, age: float, last: str) -> None:
    for i in range(count):
        folder = runs / f"20260101T0000{i:02}.000Z-1"
        folder.mkdir(parents=True)
        (folder / EVENTS).write_text(json.dumps({"time": "t", "event": last}) + "\n")
        os.utime(folder / EVENTS, (time.time() - age,) * 2)


def test_the_newest_runs_stay_and_nothing_else_is_deleted(tmp_path: Path) -> None:
    old_runs(tmp_path, 30, 1.0, "run_finished")
    (tmp_path / "notes").mkdir()
    make_room(tmp_path)
    assert sorted(p.name[13:15] for p in tmp_path.glob("2026*")) == [f"{i:02}" for i in range(30 - KEPT_RUNS + 1, 30)]
    assert (tmp_path / "notes").is_dir()


@pytest.mark.parametrize(("age", "left"), [(60.0, 30), (7200.0, KEPT_RUNS - 1)])
def test_a_run_that_may_be_at_work_keeps_its_folder(tmp_path: Path, age: float, left: int) -> None:
    old_runs(tmp_path, 30, age, "progress")
    make_room(tmp_path)
    assert len(list(tmp_path.iterdir())) == left


def test_the_page_gets_what_the_runs_did(toys: Any) -> None:
    def fail(out: Path) -> None:
        raise StageError("no luck")

    toys.run(TWO % "fox")
    toys.trouble["initial"] = fail
    with pytest.raises(StageError):
        toys.run(TWO % "cat")
    failed, ok = records(toys.workspace / "data" / "toys" / "runs")
    assert (ok.outcome, sorted(ok.made), ok.kept, ok.dropped) == ("ok", ["first", "sort", "write"], [], {"blurry": 1})
    assert (failed.outcome, failed.made, failed.kept, list(failed.failed)) == ("failed", ["write"], ["sort"], ["first"])
    assert [(s.step, s.outcome) for s in failed.spans] == [("write", "made"), ("first", "failed")]
    assert all(0 <= s.begin <= s.end <= ok.seconds + 0.1 for s in ok.spans)
    page = (toys.workspace / "data" / "toys" / "report.html").read_text()
    section = page.split('id="runs"')[1].split("</section>")[0]
    assert section.count('class="state run-failed"') == 1 and section.count('class="state run-ok"') == 1
    assert "no luck" in section and "1 blurry" in section


def test_events_written_by_somebody_else_do_not_break_the_page(tmp_path: Path) -> None:
    odd = '{"time": "2026-01-01T00:00:00+00:00", "event": "dropped", "reasons": 3}'
    for i, text in enumerate(['{"time": "yesterday", "event": "run_started"}', '{"time": 4}', "", odd]):
        folder = tmp_path / f"20260101T00000{i}.000Z-1"
        folder.mkdir()
        (folder / EVENTS).write_text(text)
    assert list(records(tmp_path)) == []
