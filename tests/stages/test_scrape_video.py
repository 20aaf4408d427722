"""Films through the stage: one index row for every stretch, films that stay whole, and going on."""

from pathlib import Path

import pytest

from foxgan.dataset.index import KEPT, index_digest, read_index
from foxgan.errors import StageError, UsageError
from foxgan.images import decode
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape
from tests.sources.test_video import film, scene


def scrape(out, workers=0, **fields):
    out.mkdir(exist_ok=True)
    stage = Scrape(workers=workers, source="video", **fields)
    stage.check()
    stage.run(out, Context())
    return read_index(out, kept=False).sort("source_id")


@pytest.fixture
def films(tmp_path):
    (tmp_path / "films").mkdir()
    film(tmp_path / "films" / "a.mp4", [scene(0, n) // 2 + 2 * n for n in range(60)])
    film(tmp_path / "films" / "b.mkv", [scene(1, n) // 2 + 2 * n for n in range(30)])
    (tmp_path / "films" / "c.mp4").write_bytes(b"no film")
    return tmp_path / "films"


def test_frames_are_photos_of_their_film(tmp_path, films):
    rows = scrape(tmp_path / "out", path=films, license="CC-BY-4.0", creator="Me", every="10f")
    assert rows["source_id"].to_list() == [
        *("a.mp4#0", "a.mp4#0.4", "a.mp4#0.8", "a.mp4#1.2", "a.mp4#1.6", "a.mp4#2"),
        *("b.mkv#0", "b.mkv#0.4", "b.mkv#0.8", "c.mp4"),
    ]
    kept = rows.filter(rows["status"] == KEPT)
    assert kept["group"].to_list() == ["a.mp4"] * 6 + ["b.mkv"] * 3 and rows["status"][-1] == "not_a_film"
    assert set(kept.select("source", "license", "creator", "width", "height").rows()) == {
        ("video", "CC-BY-4.0", "Me", 64, 48)
    }
    for row in kept.iter_rows(named=True):
        assert decode(Path(row["path"])).shape == (48, 64, 3)


def test_workers_batches_and_interruptions_change_nothing(tmp_path, films, monkeypatch):
    from foxgan.stages import scrape as module

    straight = scrape(tmp_path / "straight", path=films, every="3f", pick="sharpest")
    monkeypatch.setitem(module.BATCH, "video", 4)
    assert scrape(tmp_path / "workers", workers=2, path=films, every="3f", pick="sharpest").height == straight.height
    out = tmp_path / "again"
    scrape(out, path=films, every="3f", pick="sharpest")
    journal = (out / "items.jsonl").read_bytes().splitlines(keepends=True)
    (out / "items.jsonl").write_bytes(b"".join(journal[1::3]))
    scrape(out, path=films, every="3f", pick="sharpest")
    assert index_digest(out) == index_digest(tmp_path / "straight") == index_digest(tmp_path / "workers")


def test_a_larger_limit_keeps_the_frames_of_a_smaller_one(tmp_path, films):
    few, more = (set(scrape(tmp_path / str(n), path=films, every="2f", limit=n)["source_id"]) for n in (10, 20))
    assert few < more and len(few) == 10


def test_the_params_of_films_are_for_films_only(tmp_path):
    for params in ({"every": "2s"}, {"pick": "scene"}, {"min_change": 0}, {"scene_change": 9}):
        with pytest.raises(UsageError, match="is only for video, not for source folder"):
            Scrape(source="folder", path=tmp_path, **params).check()
    with pytest.raises(UsageError, match="`labels` is only for folder and archive"):
        Scrape(source="video", path=tmp_path, labels="none").check()
    with pytest.raises(UsageError, match="needs `path`: a film, or a folder of films"):
        Scrape(source="video").check()


def test_a_folder_without_films_is_refused_with_a_word_of_advice(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(
        StageError, match="none of 1 files became a photo .1 not_a_film.; check `path`: these files are no films"
    ):
        scrape(tmp_path / "out", path=tmp_path)
