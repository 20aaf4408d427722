"""`foxgan why` and `foxgan graph` on real stages."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from foxgan.commands.explain import graph_command, why_command
from foxgan.errors import UsageError
from foxgan.pipeline.run import run

PIPELINE = """
name: tiny
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(PIPELINE)
    run(folder / "tiny.yaml", workspace_folder=folder)
    run(folder / "tiny.yaml", {"photos.limit": 4}, workspace_folder=folder)
    return folder


def told(command: object, folder: Path, *args: str) -> str:
    words = [str(folder / "tiny.yaml"), *args, "--workspace", str(folder)]
    return CliRunner().invoke(command, words, catch_exceptions=False).output  # type: ignore[arg-type]


def test_a_size_that_was_changed_is_named(finished: Path) -> None:
    text = told(why_command, finished, "crops", "--set", "photos.limit=4", "--set", "crops.size=32")
    assert text.startswith("crops (crop) runs, because this differs from what it made at ")
    assert "\n  size: 16x16 -> 32x32\n" in text


def test_more_photos_tell_step_and_items(finished: Path) -> None:
    text = told(why_command, finished, "crops")
    assert "is kept: it is there already" in text and "4 -> 3 items" in text
    text = told(why_command, finished, "dataset", "--set", "photos.limit=5")
    assert text.startswith("dataset (pack) waits for crops")
    assert "  photos (scrape) runs, because" in text and "    limit: 4 -> 5" in text


def test_json_tells_the_same(finished: Path) -> None:
    (facts,) = json.loads(told(why_command, finished, "dataset", "--set", "photos.limit=5", "--json"))
    assert (facts["state"], facts["waits_for"], facts["changes"]) == ("unknown", ["crops"], [])
    (cause,) = facts["causes"]
    assert cause["step"] == "photos" and cause["changes"][0]["new"] == 5 and cause["changes"][0]["horizon"]


def test_a_step_that_does_not_exist_is_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'crops'"):
        told(why_command, finished, "crop")


def test_the_graph_shows_states(finished: Path) -> None:
    lines = told(graph_command, finished, "--set", "crops.size=8").splitlines()
    assert [(line.split()[0], line.split()[3]) for line in lines] == [("●", "kept"), ("○", "run"), ("○", "unknown")]
