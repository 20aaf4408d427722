"""Runs that look into the shared cache before they make a step."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from foxgan.pipeline.shared import lookup
from foxgan.pipeline.telling.events import read_events
from tests.pipeline.shared.test_sharing import CHAIN, LOOK, Telling, elsewhere, more, push_from, use

__all__ = ["more"]  # a fixture


@pytest.fixture
def full(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty workspace beside a cache that has everything."""
    toys.run(CHAIN)
    push_from(toys, CHAIN, str(tmp_path / "cache"))
    monkeypatch.setenv("FOXGAN_CACHE", str(tmp_path / "cache"))
    elsewhere(toys)
    return toys


def test_only_what_nobody_reads_is_fetched(full: Any) -> None:
    report = full.run(CHAIN, progress=Telling())
    assert (report.made, report.fetched, full.ran) == ([], ["last"], [])
    assert [p.parent.name for p in (full.workspace / "data").glob("*-*/foxgan.json")] == [report.folder("last").name]
    assert (report.folder("last") / "value.txt").read_text() == "FOX+FOX"
    [events] = full.workspace.glob("data/*/runs/2*/events.jsonl")
    assert [e["step"] for e in read_events(events) if e["event"] == "step_fetched"] == ["last"]
    assert full.run(CHAIN).fetched == []


def test_a_changed_step_runs_on_fetched_inputs(full: Any) -> None:
    report = full.run(CHAIN, {"last.upper": False})
    assert full.ran == ["join"]
    assert report.made == ["last"]


def test_with_several_jobs_too(full: Any) -> None:
    assert full.run(CHAIN, jobs=2).fetched == ["last"]


def test_what_arrives_damaged_is_made_here_with_a_warning(full: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "cache" / "objects").glob("*/*"):
        path.write_bytes(b"x" * path.stat().st_size)
    told = Telling()
    report = full.run(CHAIN, progress=told)
    assert full.ran == ["write", "join", "join"], told.said
    assert report.fetched == []
    assert sum("warning" in text for text in told.said) == 3, told.said


def test_force_asks_nobody(full: Any) -> None:
    full.run(CHAIN, force=("write",))
    assert full.ran == ["write"]


def test_what_borrows_files_comes_with_its_inputs(more: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more.run(LOOK)
    push_from(more, LOOK, str(tmp_path / "cache"))
    monkeypatch.setenv("FOXGAN_CACHE", str(tmp_path / "cache"))
    elsewhere(more)
    report = more.run(LOOK)
    assert report.made == []
    assert all(report.folder(step).is_dir() for step in ("one", "two"))


def test_what_borrows_files_and_reads_decisions_too(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "decisions.json").write_text('{"foxgan_decisions": 1, "decisions": {}}')
    text = (
        "steps: {photos: {use: scrape, source: synthetic, limit: 2, photo_size: 160, workers: 0}, "
        f"good: {{use: quality, images: photos, decisions: {tmp_path / 'decisions.json'}, workers: 0}}}}"
    )
    toys.run(text)
    assert set(push_from(toys, text, str(tmp_path / "cache")).values()) == {"sent"}
    monkeypatch.setenv("FOXGAN_CACHE", str(tmp_path / "cache"))
    elsewhere(toys)
    report = toys.run(text)
    assert report.made == [] and "good" in report.fetched


def test_with_nothing_to_do_nobody_is_asked(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full.run(CHAIN)
    monkeypatch.setenv("FOXGAN_CACHE", "nothing://x")
    assert full.run(CHAIN).made == []


def test_a_server_that_never_answers_costs_a_bounded_time_once(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        use(f"http://127.0.0.1:{listener.getsockname()[1]}", monkeypatch)
        monkeypatch.setenv("FOXGAN_CACHE", "s3://x")
        told, start = Telling(), time.monotonic()
        full.run(CHAIN, progress=told)
        assert time.monotonic() - start < 20, "far from the minutes that a client would wait"
    assert full.ran == ["write", "join", "join"]
    assert sum("warning" in text for text in told.said) == 1, told.said


def test_manifests_from_the_cache_name_no_place_of_the_other_machine(full: Any, tmp_path: Path) -> None:
    texts = [path.read_text() for path in (tmp_path / "cache" / "artifacts").glob("*.json")]
    assert texts
    assert all(json.loads(text)["files"] for text in texts)
    assert not any(str(tmp_path) in text for text in texts)
