"""`quality` and `duplicates` in a pipeline: what is decided again, what is taken over, and what disappears, on real stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foxgan import images, run
from foxgan.dataset.index import read_index
from foxgan.pipeline.care.gc import Rules, collect, survey
from foxgan.pipeline.care.verify import finished_folders, verify
from foxgan.pipeline.care.withdrawing import withdraw
from foxgan.pipeline.keys import items_key, make_key
from foxgan.pipeline.run import RunReport
from foxgan.pipeline.store import Store
from foxgan.stages.context import Silent
from foxgan.stages.quality import Quality
from foxgan.vision.synthetic import draw_photo

TEXT = """
name: selecting
steps:
  photos: {use: scrape, source: folder, path: files, workers: 0}
  good: {use: quality, images: photos, workers: 0}
  unique: {use: duplicates, images: good, workers: 0}
  crops: {use: crop, images: unique, size: 32, workers: 0}
"""


class Bench:
    """A folder of photos, three drawn ones and a copy, and runs over it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.home = folder, folder / "files", folder / "home"
        self.files.mkdir()
        for number in range(3):
            self.photo(f"{number}.jpg", number)
        self.photo("copy.jpg", 0, 0.5)

    def photo(self, name: str, number: int, factor: float = 1.0) -> None:
        picture = draw_photo(5, number, size=256).image
        height, width = picture.shape[:2]
        images.write(self.files / name, images.resize(picture, round(height * factor), round(width * factor)))

    def run(self, **overrides: Any) -> RunReport:
        path = self.folder / "selecting.yaml"
        path.write_text(TEXT)
        return run(path, overrides, workspace_folder=self.home)


def kept(report: RunReport, step: str) -> list[str]:
    return sorted(read_index(report.folder(step))["source_id"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_pictures_flow_through_both_and_only_once(bench: Bench) -> None:
    report = bench.run()
    assert kept(report, "crops") == ["0.jpg", "1.jpg", "2.jpg"]
    [first] = read_index(report.folder("crops")).filter(source_id="0.jpg").to_dicts()
    assert first["also"] == ["folder:copy.jpg"]
    assert bench.run().made == []


def test_other_thresholds_look_at_no_picture_again(bench: Bench) -> None:
    bench.run()
    report = bench.run(**{"good.min_sharpness": None, "unique.min_similarity": 0.999})
    facts = {name: (report.steps[name].manifest or {})["facts"].get("reused") for name in report.made}
    assert facts == {"good": 4, "unique": 4, "crops": 3}
    assert kept(report, "crops") == ["0.jpg", "1.jpg", "2.jpg", "copy.jpg"]


def test_decisions_of_a_person_are_no_reason_to_look_again() -> None:
    stage = Quality(images="photos")
    given = {"images": ["a" * 64]}
    assert items_key(stage, given) == items_key(stage, given | {"decisions": ["b" * 64]})
    assert make_key(stage, given).full != make_key(stage, given | {"decisions": ["b" * 64]}).full


def test_where_the_best_copy_is_removed_the_next_one_takes_its_place(bench: Bench) -> None:
    bench.run()
    (bench.files / "0.jpg").unlink()
    assert kept(bench.run(), "crops") == ["1.jpg", "2.jpg", "copy.jpg"]


def test_a_withdrawn_photo_disappears(bench: Bench) -> None:
    bench.run()
    store = Store(bench.home)
    withdraw(store, "folder:1.jpg", "asked for")
    store.close()
    report = bench.run()
    assert {step: kept(report, step) for step in ("good", "unique", "crops")} == {
        "good": ["0.jpg", "2.jpg", "copy.jpg"],
        "unique": ["0.jpg", "2.jpg"],
        "crops": ["0.jpg", "2.jpg"],
    }


def test_photos_that_only_borrowers_name_stay_and_all_is_well(bench: Bench) -> None:
    report = bench.run()
    store = Store(bench.home)
    plan = survey(store, Rules(keep_last=0))
    collect(store, plan)
    assert report.folder("photos").exists()
    found = list(verify(store, finished_folders(store.root), Silent()))
    assert len(found) == 4 and [problem for checked in found for problem in checked.problems] == []
    store.close()


def test_the_report_shows_what_is_near_the_thresholds(bench: Bench) -> None:
    bench.run()
    page = (bench.home / "data" / "selecting" / "report.html").read_text(encoding="utf-8")
    assert "Near the thresholds" in page and "copies" in page and "blurry" in page
