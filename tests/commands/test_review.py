"""`foxgan review` on real stages."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from foxgan.commands.review import review_command
from foxgan.errors import StageError, UsageError
from foxgan.pipeline.run import Selection, run

PIPELINE = """
name: tiny
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0, matrix: {fit: [centre, pad]}}
  dataset: {use: pack, images: crops@fit=pad, workers: 0}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(PIPELINE)
    run(folder / "tiny.yaml", selection=Selection(until="crops@fit=pad"), workspace_folder=folder)
    return folder


def told(folder: Path, *args: str) -> str:
    words = [*args, "--workspace", str(folder), "-q"]
    return CliRunner().invoke(review_command, words, catch_exceptions=False).output


def test_a_step_of_a_pipeline_and_its_folder_make_the_same_page(finished: Path) -> None:
    folder = (finished / "data" / "tiny" / "photos").resolve()
    page = finished / "data" / "reviews" / f"{folder.name}.html"
    assert told(finished, str(finished / "tiny.yaml"), "photos") == f"review: {page}\n"
    html = page.read_text(encoding="utf-8")
    assert "<h1>photos</h1>" in html and "<code>foxgan review tiny.yaml photos</code>" in html
    assert str(finished) not in html
    page.unlink()
    assert told(finished, str(finished / "data" / "tiny" / "photos")) == f"review: {page}\n"
    assert "<h1>photos</h1>" in page.read_text(encoding="utf-8")


def test_json_tells_the_same_and_the_page_may_lie_elsewhere(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    words = [
        str(finished / "tiny.yaml"),
        "crops@fit=pad",
        "--out",
        str(out),
        "--sort",
        "index",
        "--limit",
        "2",
        "--json",
    ]
    facts = json.loads(told(finished, *words))
    assert facts["pages"] == [str(out)] and Path(facts["artifact"]).name.startswith("crop-")
    assert out.read_text(encoding="utf-8").count('"thumb"') == 2


def test_what_cannot_be_reviewed_is_told(finished: Path) -> None:
    pipeline = str(finished / "tiny.yaml")
    with pytest.raises(
        StageError, match="step dataset: not finished; run `foxgan run tiny.yaml --until dataset` first"
    ):
        told(finished, pipeline, "dataset")
    with pytest.raises(
        UsageError, match="step crops has variants; review one of them: crops@fit=centre, crops@fit=pad"
    ):
        told(finished, pipeline, "crops")
    with pytest.raises(UsageError, match="did you mean 'photos'"):
        told(finished, pipeline, "photo")
    with pytest.raises(UsageError, match="not a finished output of a step"):
        told(finished, pipeline)
    with pytest.raises(UsageError, match="--set: it changes a pipeline"):
        told(finished, str(finished / "data" / "tiny" / "photos"), "--set", "photos.limit=2")
    with pytest.raises(UsageError, match="no such score"):
        told(finished, pipeline, "photos", "--sort", "beauty")
