"""`gc`, `verify` and `adopt` as a user meets them: what they print, ask and end with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from foxgan import images
from foxgan.commands.care import adopt_command, gc_command, parse_age, parse_size, size_text, verify_command
from foxgan.errors import StageError, UsageError
from foxgan.pipeline.single import run_stage


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with two outputs of one stage, of which the newer is kept."""
    for limit in (1, 2):
        params = {"source": "synthetic", "limit": str(limit), "photo_size": "64", "workers": "0"}
        run_stage("scrape", params, workspace_folder=tmp_path / "home")
    return tmp_path / "home"


def call(command: Any, home: Path, *args: str) -> Result:
    return CliRunner().invoke(command, [*args, "--workspace", str(home)])


def artifacts(home: Path) -> int:
    return len(list(home.glob("data/scrape-*")))


def test_gc_asks_nobody_where_there_is_no_terminal(home: Path) -> None:
    result = call(gc_command, home)
    assert isinstance(result.exception, UsageError) and result.exception.exit_code == 2
    assert "--yes to delete, or --dry-run to see" in str(result.exception)
    assert artifacts(home) == 2


def test_gc_says_what_would_go_and_what_stays_and_why(home: Path) -> None:
    result = call(gc_command, home, "--dry-run", "-v")
    assert "goes" in result.stdout and "no pipeline stands on it" in result.stdout and "last of scrape" in result.stdout
    assert "1 to delete, which frees" in result.stdout
    assert artifacts(home) == 2
    assert "last of scrape" not in call(gc_command, home, "--dry-run").stdout


def test_gc_deletes_when_told_to(home: Path) -> None:
    assert "deleted 1 of 1" in call(gc_command, home, "--yes").stdout
    assert artifacts(home) == 1
    assert call(gc_command, home, "--yes").stdout.startswith("nothing to delete; 1 stay")
    assert call(gc_command, home, "--yes", "--keep-last", "0").exit_code == artifacts(home) == 0


def test_gc_prints_json_for_programs(home: Path) -> None:
    facts = json.loads(call(gc_command, home, "--json", "--yes", "--budget", "50GB").stdout)
    assert (facts["goes"], facts["fits"], facts["deleted"]) == ([], True, [])
    facts = json.loads(call(gc_command, home, "--json", "--yes").stdout)
    assert [e["path"] for e in facts["goes"]] == facts["deleted"]
    assert facts["bytes_after"] < facts["bytes"] and [e["why"] for e in facts["stays"]] == ["last of scrape"]


def test_gc_says_when_a_budget_cannot_be_met(home: Path) -> None:
    assert "the budget of 1 kB cannot be met" in call(gc_command, home, "--dry-run", "--budget", "1kB").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 2), (b"y\n", 1)])
def test_gc_asks_on_a_terminal(home: Path, answer: bytes, left: int) -> None:
    ours, theirs = os.openpty()
    code = "from foxgan.commands.care import gc_command; gc_command()"
    command = [sys.executable, "-c", code, "--workspace", str(home)]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.write(ours, answer)
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, b"Delete them?" in err, artifacts(home)) == (0, True, left), err


def test_verify_ends_well_where_all_is_well_and_with_1_where_not(home: Path) -> None:
    assert call(verify_command, home).stdout == "2 checked, 0 with problems\n"
    folder = sorted(home.glob("data/scrape-*"))[0]
    photo = next(folder.glob("images/*/*"))
    photo.chmod(0o644)
    photo.write_bytes(b"x")
    result = call(verify_command, home)
    assert isinstance(result.exception, StageError) and "1 of 2 outputs" in str(result.exception)
    assert str(photo) in result.stdout and f"-> delete {folder} and run scrape again" in result.stdout
    facts = json.loads(call(verify_command, home, "--json").stdout)
    assert sorted(len(f["problems"]) for f in facts) == [0, 1]


def test_verify_checks_the_current_outputs_of_one_pipeline(home: Path) -> None:
    text = "steps: {photos: {use: scrape, source: synthetic, limit: 2, photo_size: 64, workers: 0}}"
    (home / "photos.yaml").write_text(text)
    assert call(verify_command, home, str(home / "photos.yaml")).stdout == "1 checked, 0 with problems\n"


def test_adopt_tells_what_it_has_taken_in(home: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("red/a.png", "grey/b.png")):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        images.write(tmp_path / "mine" / name, np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "mine" / "film.mp4").write_bytes(b"no picture")
    result = call(adopt_command, home, str(tmp_path / "mine"), "--license", "CC0-1.0")
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'mine'}: 2 of 3 pictures kept (1 not_an_image)",
        "0 with a known origin; classes: grey, red",
    ]
    facts = json.loads(call(adopt_command, home, str(tmp_path / "mine"), "--json").stdout)
    assert facts["counts"]["kept"] == 2 and facts["classes"] == ["grey", "red"]
    refused = call(adopt_command, home, str(sorted(home.glob("data/scrape-*"))[0]))
    assert isinstance(refused.exception, UsageError)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("12h", 43_200), ("1.5d", 129_600), ("2W", 1_209_600)])
def test_ages_are_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("50GB", 50 * 10**9), ("1.5 kB", 1500), ("2GiB", 2**31), ("7", 7)])
def test_sizes_are_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "30 years", "1e3d"])
def test_what_is_no_age_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="not an age; write a number and s, m, h, d or w"):
        parse_age(text)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "50 cats"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="not a size; write a number and kB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (999_950, "1 MB"), (5 * 10**13, "50 TB")]
)
def test_sizes_for_people_have_three_digits(size: int, text: str) -> None:
    assert size_text(size) == text
