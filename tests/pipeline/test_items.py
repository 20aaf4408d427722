"""Adding, changing and removing photos: only those are worked on again, on real stages over tiny pictures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foxgan import images, run
from foxgan.dataset.index import KEPT, read_index
from foxgan.dataset.lmdb import open_dataset
from foxgan.errors import UsageError
from foxgan.pipeline.run import RunReport, Selection

TEXT = """
name: items
steps:
  photos: {use: scrape, source: folder, path: files, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
"""


class Bench:
    """A folder of photos, and runs over it that tell how many items each step took from earlier artifacts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, folder / "files"
        self.files.mkdir(parents=True)
        for number in range(6):
            self.photo(f"{number}.png", number)

    def photo(self, name: str, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        images.write(self.files / name, pixels)

    def run(self, text: str = TEXT, **options: Any) -> RunReport:
        path = self.folder / "items.yaml"
        path.write_text(text)
        names = {"force", "refresh"}
        selection = Selection(**{k: v for k, v in options.items() if k in names})
        rest = {k: v for k, v in options.items() if k not in names}
        return run(path, selection=selection, workspace_folder=self.folder / "home", **rest)

    def straight(self, text: str = TEXT) -> dict[str, str]:
        """The digests of a run in an empty workspace."""
        shutil.rmtree(self.folder / "other", ignore_errors=True)
        path = self.folder / "items.yaml"
        path.write_text(text)
        return digests(run(path, workspace_folder=self.folder / "other"))


def digests(report: RunReport) -> dict[str, str]:
    return {name: str(entry.digest) for name, entry in report.steps.items()}


def reused(report: RunReport) -> dict[str, int]:
    """Items that steps made now have taken over."""
    return {name: (report.steps[name].manifest or {})["facts"].get("reused", 0) for name in report.made}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_added_photos_alone_are_worked_on(bench: Bench) -> None:
    bench.run()
    bench.photo("new.png", 99)
    report = bench.run()
    assert reused(report) == {"photos": 6, "crops": 6, "dataset": 6}
    assert digests(report) == bench.straight()
    assert len(open_dataset(report.folder("dataset"))) == 7


def test_files_taken_over_are_links_to_the_same_bytes(bench: Bench) -> None:
    first = bench.run()
    bench.photo("new.png", 99)
    second = bench.run()
    [path, *_] = [p for p in first.folder("crops").rglob("*.png")]
    other = second.folder("crops") / path.relative_to(first.folder("crops"))
    assert os.stat(path).st_ino == os.stat(other).st_ino
    assert os.stat(other).st_mode & 0o222 == 0


def test_a_changed_photo_of_the_same_size_is_seen(bench: Bench) -> None:
    def bitmap(grey: int) -> int:
        Image.new("RGB", (24, 24), (grey, grey, 9)).save(bench.files / "plain.bmp")
        return (bench.files / "plain.bmp").stat().st_size

    size = bitmap(10)
    bench.run()
    assert bitmap(200) == size
    report = bench.run()
    assert reused(report) == {"photos": 6, "crops": 6, "dataset": 6}
    assert digests(report) == bench.straight()


def test_a_removed_photo_leaves_every_artifact(bench: Bench) -> None:
    bench.run()
    (bench.files / "0.png").unlink()
    report = bench.run()
    assert reused(report) == {"photos": 5, "crops": 5, "dataset": 5}
    assert digests(report) == bench.straight()


def test_a_renamed_photo_is_another_item_whose_crop_is_known(bench: Bench) -> None:
    bench.run()
    (bench.files / "0.png").rename(bench.files / "zero.png")
    report = bench.run()
    assert reused(report)["photos"] == 5
    assert reused(report)["crops"] == 6
    assert digests(report) == bench.straight()


def test_a_param_that_decides_over_items_takes_nothing_over_and_one_of_the_whole_set_does(bench: Bench) -> None:
    bench.run()
    assert reused(bench.run(TEXT.replace("size: 16", "size: 12")))["crops"] == 0
    report = bench.run(TEXT.replace("workers: 0}\n  crops", "workers: 0, license: CC0-1.0}\n  crops"))
    assert reused(report)["photos"] == 6
    assert set(read_index(report.folder("photos"))["license"]) == {"CC0-1.0"}


def test_force_takes_nothing_over(bench: Bench) -> None:
    bench.run()
    report = bench.run(force=("photos",))
    assert reused(report) == {"photos": 0}


def test_what_a_killed_run_has_done_is_taken_over_when_photos_came_meanwhile(bench: Bench) -> None:
    first = bench.run()
    folder = first.folder("crops")
    (folder / "foxgan.json").unlink()  # as a kill just before the end leaves it
    facts = {**json.loads((first.folder("photos") / "foxgan.json").read_text()), "key": first.steps["crops"].key.full}  # type: ignore[union-attr]
    manifest = first.steps["crops"].manifest or {}
    facts |= {name: manifest[name] for name in ("lineage", "items", "horizon")}
    (folder / ".work.json").write_text(json.dumps({**facts, "seconds": {}, "ready": True}))
    bench.photo("new.png", 99)
    assert reused(bench.run())["crops"] == 6


def test_a_file_that_the_earlier_artifact_has_lost_is_made_again(bench: Bench) -> None:
    first = bench.run()
    next(first.folder("crops").rglob("*.png")).unlink()
    bench.photo("new.png", 99)
    report = bench.run()
    assert reused(report)["crops"] == 5
    assert digests(report) == bench.straight()


def test_a_damaged_value_of_an_earlier_dataset_is_not_copied(bench: Bench) -> None:
    first = bench.run()
    path = first.folder("dataset") / "data.mdb"
    dataset = open_dataset(path)
    with dataset._store.env.begin(buffers=True) as txn:
        value = bytes(txn.get(b"00000002"))
    del dataset
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(value[-40:], bytes(40)))
    bench.photo("new.png", 99)
    report = bench.run()
    assert reused(report)["dataset"] in (0, 5)
    assert digests(report) == bench.straight()


def test_labels_that_changed_reach_items_that_did_not(bench: Bench) -> None:
    """The numbers of classes move when one comes in between."""
    text = TEXT.replace("path: files", "path: files, labels: folders")
    for name, seed in (("cat/1.png", 7), ("fox/1.png", 8)):
        (bench.files / name).parent.mkdir(exist_ok=True)
        bench.photo(name, seed)
    bench.run(text)
    (bench.files / "dog").mkdir()
    bench.photo("dog/1.png", 9)
    report = bench.run(text)
    assert reused(report)["photos"] == 8
    assert digests(report) == bench.straight(text)
    labels = read_index(report.folder("photos")).drop_nulls("class").select("class", "label").unique().rows()
    assert sorted(labels) == [("cat", 0), ("dog", 1), ("fox", 2)]


def test_equal_files_at_two_places_stay_one_item(bench: Bench) -> None:
    bench.run()
    shutil.copy(bench.files / "1.png", bench.files / "again.png")
    report = bench.run()
    assert digests(report) == bench.straight()
    counts = (report.steps["photos"].manifest or {})["counts"]
    assert counts == {"in": 7, "kept": 6, "dropped": {"duplicate": 1}}


def test_a_source_that_asks_no_web_cannot_be_refreshed(bench: Bench) -> None:
    with pytest.raises(UsageError, match="asks no web source"):
        bench.run(refresh=("photos",))


def test_refresh_asks_for_what_is_missing_and_keeps_what_is_known(bench: Bench, httpserver: Any) -> None:
    png = images.encode_png(np.zeros((24, 24, 3), np.uint8))
    httpserver.expect_request("/good.png").respond_with_data(png)
    httpserver.expect_request("/gone.png").respond_with_data("", status=404)
    (bench.folder / "list.txt").write_text(f"{httpserver.url_for('/good.png')}\n{httpserver.url_for('/gone.png')}\n")
    text = (
        "name: web\nsteps:\n"
        "  photos: {use: scrape, source: urls, path: list.txt, retries: 0, rate: 100, robots: false, workers: 0}\n"
    )
    first = bench.run(text)
    assert first.steps["photos"].manifest["counts"]["dropped"] == {"http_404": 1}  # type: ignore[index]
    assert bench.run(text).made == []
    httpserver.clear()
    httpserver.expect_request("/gone.png").respond_with_data(images.encode_png(np.ones((24, 24, 3), np.uint8)))
    second = bench.run(text, refresh=("photos",))
    assert [str(request.path) for request, _ in httpserver.log] == ["/gone.png"], "the known one is not asked for"
    assert second.steps["photos"].manifest["counts"] == {"in": 2, "kept": 2, "dropped": {}}  # type: ignore[index]
    assert read_index(second.folder("photos"))["status"].to_list() == [KEPT, KEPT]
