"""Human choices as cached inputs: what they throw out is gone downstream, and nothing else is made again."""

import json
from pathlib import Path

import numpy as np
import pytest

from foxgan import images, run
from foxgan.dataset.index import counts, read_index
from foxgan.dataset.lmdb import open_dataset
from foxgan.errors import DataError, PipelineError, StageError
from foxgan.pipeline.care.verify import verify
from foxgan.pipeline.run import RunReport
from foxgan.pipeline.store import Store
from foxgan.stages.context import Silent

TEXT = """
name: chosen
steps:
  photos: {use: scrape, source: folder, path: files, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
  again: {use: pack, images: dataset, workers: 0}
"""


class Warnings(Silent):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, level: str, text: str) -> None:
        if level == "warning":
            self.told.append(text)


class Bench:
    """Six photos, and runs over them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.progress = folder, folder / "home", Warnings()
        (folder / "files").mkdir()
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            images.write(folder / "files" / f"{number}.png", pixels)

    def decide(self, name: str = "decisions.json", **given: str) -> None:
        entries = {item.removeprefix("_"): {"decision": decision} for item, decision in given.items()}
        (self.folder / name).write_text(json.dumps({"foxgan_decisions": 1, "decisions": entries}))

    def run(self, decisions: str = "") -> RunReport:
        text = TEXT.replace("images: crops,", f"images: crops, decisions: {decisions},") if decisions else TEXT
        (self.folder / "chosen.yaml").write_text(text)
        return run(self.folder / "chosen.yaml", workspace_folder=self.home, progress=self.progress)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_thrown_out_items_vanish_downstream_and_all_else_is_cached(bench: Bench) -> None:
    before = bench.run()
    first, second, *rest = open_dataset(before.folder("dataset")).ids
    bench.decide(**{f"_{first}": "drop", f"_{second}": "keep"})
    report = bench.run("decisions.json")
    assert report.made == ["dataset", "again"]
    assert report.steps["dataset"].manifest["facts"]["reused"] == 5  # encoded values are copied
    for step in ("dataset", "again"):
        assert open_dataset(report.folder(step)).ids == [second, *rest]
    assert counts(report.folder("dataset")) == {"in": 6, "kept": 5, "dropped": {"thrown_out": 1}}
    row = read_index(report.folder("dataset"), kept=False).row(0, named=True)
    assert (row["id"], row["status"], row["source_id"][-4:]) == (first, "thrown_out", ".png")
    assert bench.run("decisions.json").made == [] and bench.run().made == []
    assert not bench.progress.told


def test_a_file_counts_by_what_it_says_and_the_last_file_wins(bench: Bench) -> None:
    first, second, *_ = open_dataset(bench.run().folder("dataset")).ids
    bench.decide(**{f"_{first}": "drop"})
    bench.run("decisions.json")
    bench.decide(**{f"_{second}": "drop"})
    changed = bench.run("decisions.json")
    assert changed.made == ["dataset", "again"] and second not in open_dataset(changed.folder("dataset")).ids
    bench.decide("later.json", **{f"_{second}": "keep", f"_{first}": "drop"})
    both = bench.run("[decisions.json, later.json]")
    assert first not in open_dataset(both.folder("dataset")).ids and second in open_dataset(both.folder("dataset")).ids


def test_decisions_that_change_nothing_stop_there(bench: Bench) -> None:
    first, *_ = open_dataset(bench.run().folder("dataset")).ids
    bench.decide(**{f"_{first}": "keep"})
    assert bench.run("decisions.json").made == ["dataset"]  # the same output, so `again` stands


def test_photos_that_were_thrown_out_take_their_crops_with_them(bench: Bench) -> None:
    photo = read_index(bench.run().folder("photos")).row(0, named=True)["id"]
    bench.decide(**{f"_{photo}": "drop", "_unknown": "drop"})
    report = bench.run("decisions.json")
    crops = read_index(report.folder("crops"))
    gone = crops.filter(crops["parent"] == photo)["id"].to_list()
    assert set(open_dataset(report.folder("dataset")).ids) == set(crops["id"]) - set(gone) and len(gone) == 1
    assert len(bench.progress.told) == 1 and "1 of 2 are over items that are not here" in bench.progress.told[0]


def test_photos_take_their_crops_with_them_also_where_heads_lie_between(bench: Bench) -> None:
    drawn = TEXT.replace("source: folder, path: files", "source: synthetic, limit: 4, photo_size: 160").replace(
        "images: photos", "heads: photos"
    )
    (bench.folder / "chosen.yaml").write_text(drawn)
    before = run(bench.folder / "chosen.yaml", workspace_folder=bench.home)
    photos, crops = (read_index(before.folder(step)) for step in ("photos", "crops"))
    photo = crops["photo"][0]
    assert photo in photos["id"] and not crops["parent"].is_in(photos["id"].implode()).any()  # heads are their parents
    bench.decide(**{f"_{photo}": "drop"})
    (bench.folder / "chosen.yaml").write_text(
        drawn.replace("images: crops,", "images: crops, decisions: decisions.json,")
    )
    report = run(bench.folder / "chosen.yaml", workspace_folder=bench.home, progress=bench.progress)
    left = crops.filter(crops["photo"] != photo)["id"]
    assert sorted(open_dataset(report.folder("dataset")).ids) == sorted(left) and 0 < len(left) < len(crops)
    assert not bench.progress.told
    assert set(read_index(report.folder("again"))["photo"]) == set(crops["photo"]) - {photo}


def test_a_dataset_of_which_something_was_thrown_out_is_whole(bench: Bench) -> None:
    first, *_ = open_dataset(bench.run().folder("dataset")).ids
    bench.decide(**{f"_{first}": "drop"})
    folder = bench.run("decisions.json").folder("dataset")
    store = Store(bench.home)
    try:
        assert [checked.problems for checked in verify(store, [folder], Silent())] == [[]]
    finally:
        store.close()


def test_pictures_of_an_outside_folder_can_be_thrown_out_too(bench: Bench) -> None:
    crops = bench.run().folder("crops")
    first, *_ = read_index(crops)["id"].sort()
    bench.decide(**{f"_{first}": "drop"})
    text = f"name: outside\nsteps:\n  dataset: {{use: pack, images: {crops / 'images'}, decisions: decisions.json, workers: 0}}\n"
    (bench.folder / "outside.yaml").write_text(text)
    report = run(bench.folder / "outside.yaml", workspace_folder=bench.home)
    assert first not in open_dataset(report.folder("dataset")).ids and len(open_dataset(report.folder("dataset"))) == 5


def test_to_throw_out_all_is_refused_and_so_is_a_file_that_is_not_there(bench: Bench) -> None:
    ids = open_dataset(bench.run().folder("dataset")).ids
    bench.decide(**{f"_{item}": "drop" for item in ids})
    with pytest.raises(StageError, match="nothing is left to pack, as .*decisions.json throws out all 6"):
        bench.run("decisions.json")
    with pytest.raises(PipelineError, match="neither a step nor an existing path"):
        bench.run("elsewhere.json")
    (bench.folder / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken.json: not the JSON of decisions"):
        bench.run("broken.json")
