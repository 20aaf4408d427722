"""`foxgan compare` on real stages and the shipped generator."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from foxgan.commands.compare import compare_command
from foxgan.errors import StageError, UsageError
from foxgan.pipeline.run import Selection, run

PIPELINE = """
name: tiny
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96, workers: 0}
  crops: {use: crop, images: photos, workers: 0, matrix: {size: [16, 24, 16x32]}}
  dataset: {use: pack, images: crops, workers: 0}
  later: {use: crop, images: photos, workers: 0, matrix: {size: [8, 12]}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(PIPELINE)
    for step in ("crops@size=16", "crops@size=24", "dataset@size=16"):
        run(folder / "tiny.yaml", selection=Selection(until=step), workspace_folder=folder)
    return folder


def told(folder: Path, *args: str) -> str:
    words = [str(folder / "tiny.yaml"), *args, "--workspace", str(folder)]
    return CliRunner().invoke(compare_command, words, catch_exceptions=False).output


def test_the_page_lies_beside_the_report(finished: Path) -> None:
    page = finished / "data" / "tiny" / "compare-crops.html"
    assert told(finished, "crops") == f"comparison: {page}\n"
    html = page.read_text(encoding="utf-8")
    assert "3 variants of a step of stage crop, by size; 2 finished." in html
    assert "without numbers and pictures: crops@size=16x32." in html
    assert html.count("<img") == 6
    assert str(finished) not in html


def test_json_tells_the_same_and_the_page_may_lie_elsewhere(finished: Path, tmp_path: Path) -> None:
    facts = json.loads(told(finished, "crops", "--out", str(tmp_path / "x.html"), "--json"))
    assert facts["page"] == str(tmp_path / "x.html") and (tmp_path / "x.html").exists()
    assert [(v["step"], v["variant"], v["state"], v["kept"]) for v in facts["variants"]] == [
        ("crops@size=16", {"size": 16}, "kept", 3),
        ("crops@size=24", {"size": 24}, "kept", 3),
        ("crops@size=16x32", {"size": "16x32"}, "run", None),
    ]


def test_a_step_that_reads_a_matrix_step_can_be_compared(finished: Path) -> None:
    facts = json.loads(told(finished, "dataset", "--json"))
    assert [v["state"] for v in facts["variants"]] == ["kept", "run", "unknown"]


def test_what_cannot_be_compared_is_told(finished: Path) -> None:
    with pytest.raises(UsageError, match=r"step photos has no variants.*with variants: crops, later, dataset"):
        told(finished, "photos")
    with pytest.raises(UsageError, match="crops@size=16 is one variant; .* takes the name as written: crops"):
        told(finished, "crops@size=16")
    with pytest.raises(UsageError, match="did you mean 'crops'"):
        told(finished, "crop")
    with pytest.raises(UsageError, match="step crops has no variants"):
        told(finished, "crops", "--set", "crops.size=16")
    with pytest.raises(
        StageError, match=r"step later: none of its 2 variants is finished; run `foxgan run .* --until later`"
    ):
        told(finished, "later")
