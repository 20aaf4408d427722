"""Steps side by side, each in a process of its own, and what becomes of the others when one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foxgan import run
from foxgan.errors import StageError
from foxgan.pipeline.telling.progress import Lines

TEXT = """
name: many
steps:
  one: {use: scrape, source: synthetic, limit: 2, photo_size: 64, workers: 0}
  two: {use: scrape, source: synthetic, limit: 2, seed: 1, photo_size: 64, workers: 0}
  three: {use: scrape, source: synthetic, limit: 2, seed: 2, photo_size: 64, workers: 0}
  all: {use: crop, images: [one, two, three], size: 16, workers: 0}
"""
LONG = TEXT.replace("limit: 2", "limit: 20").replace("photo_size: 64", "photo_size: 96")
WRONG = TEXT.replace(
    "two: {use: scrape, source: synthetic, limit: 2, seed: 1, photo_size: 64",
    "two: {use: scrape, source: folder, path: bad",
)


def written(folder: Path, text: str = TEXT) -> Path:
    (folder / "bad").mkdir(exist_ok=True)
    (folder / "bad" / "a.jpg").write_text("no picture")
    (folder / "many.yaml").write_text(text)
    return folder / "many.yaml"


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Digests of the long pipeline, made one by one."""
    folder = tmp_path_factory.mktemp("straight")
    return {n: e.digest for n, e in run(written(folder, LONG), workspace_folder=folder / "home").steps.items()}


def test_side_by_side_gives_the_same_as_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    both = run(path, workspace_folder=tmp_path / "a", jobs=3, progress=Lines(0))
    assert sorted(both.made[:3]) == ["one", "three", "two"]
    assert both.made[3] == "all"
    straight = run(path, workspace_folder=tmp_path / "b")
    assert {n: e.digest for n, e in both.steps.items()} == {n: e.digest for n, e in straight.steps.items()}
    told = capsys.readouterr().err
    assert all(f"{step}: done in" in told for step in both.steps)
    assert run(path, workspace_folder=tmp_path / "a", jobs=3).made == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_after_a_failure_what_does_not_need_it_is_made_if_so_asked(tmp_path: Path, jobs: int) -> None:
    path = written(tmp_path, WRONG)
    with pytest.raises(StageError, match="step two: .*none of 1 files became a photo"):
        run(path, workspace_folder=tmp_path / "home", jobs=jobs, keep_going=True)
    made = {p.parent.name.split("-")[0] for p in (tmp_path / "home").glob("data/*/foxgan.json")}
    assert made == {"scrape"}
    assert len(list((tmp_path / "home").glob("data/*/foxgan.json"))) == 2
    assert (tmp_path / "home" / "data" / "many" / "three").exists()


def test_all_failures_are_told(tmp_path: Path) -> None:
    text = WRONG.replace(
        "three: {use: scrape, source: synthetic, limit: 2, seed: 2, photo_size: 64",
        "three: {use: scrape, source: folder, path: bad, min_size: 9",
    )
    with pytest.raises(StageError, match=r"step two: .*; and 1 more: step three: .*\(report: "):
        run(written(tmp_path, text), workspace_folder=tmp_path / "home", keep_going=True)


def test_without_it_nothing_new_begins_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="step two"):
        run(written(tmp_path, WRONG), workspace_folder=tmp_path / "home")
    assert not (tmp_path / "home" / "data" / "many" / "three").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process_behind_and_goes_on(
    tmp_path: Path, number: signal.Signals, straight: dict[str, str | None]
) -> None:
    path = written(tmp_path, LONG)
    command = [sys.executable, "-m", "foxgan.cli", "run", str(path), "-j", "2", "--workspace", str(tmp_path / "home")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "home").glob("data/scrape-*/images"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number != signal.SIGKILL else -9), err
    assert "Traceback" not in err
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_lives(process.pid)
    report = run(written(tmp_path, LONG), workspace_folder=tmp_path / "home", jobs=2)
    assert {n: e.digest for n, e in report.steps.items()} == straight


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
