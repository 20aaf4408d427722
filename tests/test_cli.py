"""The command line as a user meets it: real processes, on cheap real stages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PIPELINE = """
name: tiny
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
ENVIRONMENT.pop("FOXGAN_HOME", None)


def start(folder: Path, *args: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "foxgan.cli", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **pipes, **options)


def foxgan(folder: Path, *args: str, code: int = 0) -> tuple[str, str]:
    """(stdout, stderr) of a command that must end with `code`, never with a traceback."""
    process = start(folder, *args)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    return out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pipeline has run; tests only look at it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(PIPELINE)
    out, err = foxgan(folder, "run", "tiny.yaml")
    assert out.startswith("tiny: made photos, crops, dataset in ")
    assert "photos: done in " in err
    return folder


def test_a_run_leaves_its_report_and_links(finished: Path) -> None:
    assert (finished / "data" / "tiny" / "report.html").stat().st_size > 1000
    assert (finished / "data" / "tiny" / "dataset" / "data.mdb").exists()


def test_stdout_has_results_only(finished: Path) -> None:
    out, err = foxgan(finished, "run", "tiny.yaml")
    assert out.splitlines() == ["tiny: nothing to do", f"report: {finished / 'data' / 'tiny' / 'report.html'}"]
    assert err == ""
    facts = json.loads(foxgan(finished, "run", "tiny.yaml", "--json")[0])
    assert (facts["pipeline"], facts["made"]) == ("tiny", [])
    assert [(s["step"], s["state"], s["kept"]) for s in facts["steps"]] == [
        ("photos", "kept", 3),
        ("crops", "kept", 3),
        ("dataset", "kept", 3),
    ]


def test_status_tells_of_every_step_as_a_table_and_as_json(finished: Path) -> None:
    out, err = foxgan(finished, "status", "tiny.yaml", "--set", "crops.size=8")
    lines = [re.split(r"\s{2,}", line) for line in out.splitlines()]
    assert lines[0][:7] == ["step", "stage", "state", "kept", "dropped", "seconds", "folder"]
    assert lines[1][:5] == ["photos", "scrape", "kept", "3", "0"]
    assert [line[2] for line in lines[2:]] == ["would run", "unknown"]
    assert err == ""
    rows = json.loads(foxgan(finished, "status", "tiny.yaml", "--json")[0])
    assert [row["state"] for row in rows] == ["kept"] * 3
    assert all(Path(row["folder"], "foxgan.json").exists() for row in rows)


def test_a_dry_run_shows_what_would_run_and_makes_nothing(folder: Path) -> None:
    out, _ = foxgan(folder, "run", "tiny.yaml", "--dry-run", "--until", "crops")
    assert [re.split(r"\s{2,}", line)[:3] for line in out.splitlines()[1:]] == [
        ["photos", "scrape", "would run"],
        ["crops", "crop", "unknown"],
    ]
    assert not list(folder.glob("data/*-*"))


def test_a_stage_alone_shares_the_cache_and_prints_its_folder(finished: Path) -> None:
    options = ("--source", "synthetic", "--limit", "3", "--photo-size", "96")
    out, err = foxgan(finished, "scrape", *options)
    assert Path(out.strip()) == (finished / "data" / "tiny" / "photos").resolve()
    out, _ = foxgan(finished, "crop", "--images", "data/tiny/photos", "--size", "16", "--json")
    facts = json.loads(out)
    assert facts["state"] == "kept"
    assert Path(facts["folder"]) == (finished / "data" / "tiny" / "crops").resolve()


def test_the_help_of_a_stage_names_its_fields_with_defaults(finished: Path) -> None:
    out, _ = foxgan(finished, "crop", "--help")
    words = " ".join(out.split())
    assert "--max-enlarge" in words
    assert "Side of a crop in pixels, or HxW [256x256]" in words
    for option in (
        "--heads PATH",
        "--size HxW",
        "--align [box|level|eyes]",
        "--margin FLOAT",
        "--fit [centre|pad|stretch]",
        "--workers INT",
    ):
        assert option in words
    assert "--out DIR" in words
    assert "--mirrored / --no-mirrored" in " ".join(foxgan(finished, "duplicates", "--help")[0].split())


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (
            ["rum", "tiny.yaml"],
            2,
            "no command 'rum' (did you mean 'run'?); commands: run, status, why, graph, ",
        ),
        (["run"], 2, "Missing argument 'PIPELINE'"),
        (
            ["run", "tiny.yaml", "--only", "crps"],
            2,
            "no step 'crps' (did you mean 'crops'?); steps: photos, crops, dataset",
        ),
        (["run", "tiny.yaml", "--set", "crops"], 2, "write it as step.param=value"),
        (["run", "tiny.yaml", "--fast"], 2, "No such option"),
        (["run", "dmo"], 3, "no such file, and no shipped pipeline of that name (did you mean 'demo'?)"),
        (["status", "dmo"], 3, "no such file"),
        (["run", "tiny.yaml", "--set", "crops.sise=3"], 3, "no field 'sise' (did you mean 'size'?)"),
        (["run", "tiny.yaml", "--set", "crops.images=."], 1, "step crops: "),
        (["run", "bad.yaml"], 3, "bad.yaml:3:3: 'write' stands here a second time; first at line 2"),
        (["run", "photo.yaml"], 3, "not UTF-8 text"),
        (["scrape", "--source", "moon"], 2, "source is 'moon': input should be 'folder'"),
        (["scrape", "--source", "folder"], 2, "needs `path`"),
        (["scrape", "--source", "folder", "--path", "gone"], 2, "'gone' is neither a step nor an existing path"),
        (["scrape", "--source", "folder", "--path", "empty"], 1, "no files in it that could be photos"),
        (["crop", "--size", "3", "--images", "empty"], 1, "no index.parquet in it"),
        (["scrape", "--source", "synthetic", "--out", "tiny.yaml"], 1, "a file is in the way"),
        (["run", "tiny.yaml", "--workspace", "tiny.yaml"], 1, "cannot write here"),
    ],
)
def test_a_mistake_ends_with_its_code_and_one_line(folder: Path, args: list[str], code: int, words: str) -> None:
    (folder / "bad.yaml").write_text("steps:\n  write: {}\n  write: {}\n")
    (folder / "photo.yaml").write_bytes(b"\xff\xd8\xff")
    (folder / "empty").mkdir()
    out, err = foxgan(folder, *args, code=code)
    assert out == ""
    assert words in err.splitlines()[-1]
    if code != 2 or not err.startswith("Usage"):
        assert [line for line in err.splitlines() if line.startswith("foxgan: ")] == err.splitlines()[-1:]


def test_a_bad_file_starts_no_work(folder: Path) -> None:
    foxgan(folder, "run", "tiny.yaml", "--set", "dataset.encoding=tiff", code=3)
    assert not (folder / "data").exists()


def test_more_dropped_than_allowed_ends_with_4_after_all_is_done(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "good.ppm").write_bytes(b"P6 16 16 255\n" + bytes(range(256)) * 3)
    (folder / "half.yaml").write_text(
        "steps:\n  scrape: {source: folder, path: photos, max_dropped: 0.4}\n  crop: {images: scrape, size: 8}\n"
    )
    out, err = foxgan(folder, "run", "half.yaml", "--json", code=4)
    assert json.loads(out)["made"] == ["scrape", "crop"]
    assert "step scrape: done, but 1 of 2 items were dropped" in err.splitlines()[-1]
    assert "crop: done" in err
    assert (folder / "data" / "half" / "report.html").exists()


def slow(folder: Path, *args: str) -> subprocess.Popen[str]:
    """A run that draws photos for some seconds, once it has begun."""
    (folder / "slow.yaml").write_text("steps: {scrape: {source: synthetic, limit: 24, photo_size: 384, workers: 0}}")
    process = start(folder, "run", "slow.yaml", *args, start_new_session=True)
    wait_for(folder, "data/scrape-*/images/*/*", process)
    return process


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_second_run_waits_and_uses_the_result_or_ends_with_5(folder: Path) -> None:
    first = slow(folder)
    os.kill(first.pid, signal.SIGSTOP)  # however slow the second is to begin
    out, err = foxgan(folder, "run", "slow.yaml", "--no-wait", code=5)
    assert f"process {first.pid} on " in err
    assert "leave out --no-wait to wait" in err
    second = start(folder, "run", "slow.yaml")
    assert second.stderr is not None
    assert any(f"waiting, process {first.pid} on " in line for line in second.stderr)
    os.kill(first.pid, signal.SIGCONT)
    texts = [p.communicate(timeout=120) for p in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert "slow: made scrape in" in texts[0][0]
    assert "slow: nothing to do" in texts[1][0]
    assert "scrape: finished by another run" in texts[1][1]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_a_line_and_goes_on_later(folder: Path, signum: int) -> None:
    process = slow(folder)
    os.kill(process.pid, signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "foxgan: interrupted; the same command goes on from here"
    assert "Traceback" not in err
    photos = {p: p.stat().st_mtime_ns for p in folder.glob("data/scrape-*/images/*/*.jpg")}
    assert photos
    foxgan(folder, "run", "slow.yaml")
    assert photos.items() <= {p: p.stat().st_mtime_ns for p in folder.glob("data/scrape-*/images/*/*.jpg")}.items()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a group of processes")
def test_ctrl_c_in_a_terminal_reaches_workers_too_and_they_are_silent(folder: Path) -> None:
    process = slow(folder, "--set", "scrape.workers=2")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "foxgan: interrupted; the same command goes on from here"


@pytest.mark.skipif(sys.platform == "win32", reason="rights are different")
def test_a_workspace_without_the_right_to_write_is_told(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write everywhere but on a disk that is read-only
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", home], capture_output=True)
        if mounted.returncode:
            pytest.skip("no right to mount")
    try:
        out, err = foxgan(folder, "run", "tiny.yaml", "--workspace", "home", code=1)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", home], check=True)
    assert out == ""
    assert "home: foxgan cannot write here (" in err
    assert "choose another place with --workspace or FOXGAN_HOME" in err


@pytest.mark.skipif(sys.platform == "win32", reason="rights are different")
def test_a_photo_without_the_right_to_read_is_told(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "a.zip").write_bytes(b"x")
    (folder / "a.zip").chmod(0)
    _, err = foxgan(folder, "scrape", "--source", "archive", "--path", "a.zip", code=1)
    assert "a.zip: cannot be read (Permission denied)" in err


def test_quiet_says_nothing_but_the_result(folder: Path) -> None:
    out, err = foxgan(folder, "run", "tiny.yaml", "-q", "--until", "photos")
    assert (out.count("\n"), err) == (2, "")


def test_a_closed_pipe_is_no_defect(finished: Path) -> None:
    process = start(finished, "status", "tiny.yaml")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource")
@pytest.mark.parametrize(("args", "seconds"), [(["--help"], 0.5), (["run", "tiny.yaml"], 1.0)])
def test_what_does_nothing_takes_no_time(finished: Path, args: list[str], seconds: float) -> None:
    """CPU time, so that a busy machine does not count; the best of three."""
    import resource

    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        foxgan(finished, *args)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < seconds
