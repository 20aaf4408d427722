"""A photo that was withdrawn is in nothing that is made from then on, and what was trained with it is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images, run
from foxgan.dataset.index import TRUTH, read_index
from foxgan.errors import DataError, UsageError
from foxgan.pipeline.care.withdrawing import withdraw
from foxgan.pipeline.run import RunReport
from foxgan.pipeline.store import Store
from foxgan.pipeline.withdrawn import Withdrawal, Withdrawals

TEXT = """
name: small
steps:
  photos: {use: scrape, source: synthetic, limit: 5, photo_size: 64, workers: 0}
  crops: {use: crop, heads: photos, size: 16, max_outside: 1, max_enlarge: 9, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
  other: {use: scrape, source: synthetic, limit: 2, seed: 7, photo_size: 64, workers: 0}
"""
MODEL = "  model: {use: train, dataset: dataset, kimg: 0.004, channel_base: 64, channel_max: 8, z_dim: 8, w_dim: 8, batch: 2}\n"


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = self.run()

    def run(self, text: str = TEXT) -> RunReport:
        (self.folder / "small.yaml").write_text(text)
        return run(self.folder / "small.yaml", workspace_folder=self.folder / "home")

    def withdraw(self, item: str, reason: str = "asked") -> tuple[Withdrawal, list[Any]]:
        store = Store(self.folder / "home")
        try:
            return withdraw(store, item, reason)
        finally:
            store.close()

    def ids(self, step: str) -> list[str]:
        return sorted(read_index(self.report.folder(step))["id"])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def descendants(report: RunReport, photo: str) -> set[str]:
    heads = read_index(report.folder("photos"), name=TRUTH)
    of_photo = set(heads.filter(heads["parent"] == photo)["id"])
    crops = read_index(report.folder("crops"))
    return {row["id"] for row in crops.to_dicts() if row["parent"] in of_photo}


def test_a_withdrawn_photo_leaves_every_artifact_on_the_next_run(home: Home) -> None:
    photo = home.ids("photos")[0]
    crops = descendants(home.report, photo)
    assert crops and crops <= set(home.ids("dataset"))
    home.withdraw(photo)
    report = home.run()
    assert report.made == ["photos", "crops", "dataset"], "and not `other`, which never had it"
    row = next(r for r in read_index(report.folder("photos"), kept=False).to_dicts() if r["id"] == photo)
    assert (row["status"], row["path"]) == ("withdrawn", None)
    assert not list(report.folder("photos").rglob(f"{photo}*"))
    assert not crops & set(read_index(report.folder("dataset"))["id"])
    assert home.run().made == []


@pytest.mark.parametrize("how", ["beginning", "crop", "origin"])
def test_a_photo_may_be_named_by_its_beginning_by_a_crop_or_by_its_origin(home: Home, how: str) -> None:
    photos = read_index(home.report.folder("photos"))
    photo, source_id = photos.row(2, named=True)["id"], photos.row(2, named=True)["source_id"]
    names = {
        "beginning": photo[:12],
        "crop": next(iter(descendants(home.report, photo))),
        "origin": f"synthetic:{source_id}",
    }
    assert home.withdraw(names[how])[0].id == photo


def test_what_means_nothing_or_too_much_is_refused(home: Home) -> None:
    for item in ("zzzzzzzzzzzz", home.ids("photos")[0][:4], "synthetic:nobody", "not an id at all"):
        with pytest.raises(UsageError, match="no item here is called so"):
            home.withdraw(item)
    with pytest.raises(UsageError, match=r"means \d+ photos"):
        home.withdraw("")
    with pytest.raises(UsageError, match="--reason"):
        home.withdraw(home.ids("photos")[0], " ")


def test_a_photo_that_is_not_here_is_refused_when_it_comes(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    images.write(files / "a.png", np.zeros((24, 24, 3), np.uint8))
    images.write(files / "b.png", np.ones((24, 24, 3), np.uint8))
    from foxgan.pipeline.digest import file_sha256

    store = Store(tmp_path / "home")
    withdraw(store, file_sha256(files / "b.png"), "asked beforehand")
    store.close()
    (tmp_path / "p.yaml").write_text("steps:\n  photos: {use: scrape, source: folder, path: files, workers: 0}\n")
    report = run(tmp_path / "p.yaml", workspace_folder=tmp_path / "home")
    assert report.steps["photos"].manifest["counts"]["dropped"] == {"withdrawn": 1}  # type: ignore[index]


def test_models_trained_with_it_are_known_even_when_what_lies_between_is_gone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.report = home.run(TEXT + MODEL)
    photo = home.ids("photos")[1]
    shutil.rmtree(home.report.folder("crops"))
    entry, models = home.withdraw(photo)
    key = home.report.steps["model"].key
    assert key is not None
    assert entry.models == [key.full]
    assert [made.folder for made in models] == [home.report.folder("model")]
    store = Store(tmp_path / "home")
    assert store.withdrawn.behind(key.full) == [photo]
    store.close()


def test_a_damaged_list_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.jsonl"
    Withdrawals(path).add(Withdrawal("1" * 64, "asked", "2026-01-01"))
    path.write_text(path.read_text() + "{torn\n")
    with pytest.raises(DataError, match=r"withdrawn.jsonl:2: not a withdrawal"):
        Withdrawals(path).ids  # noqa: B018


def test_withdrawals_add_up(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.jsonl"
    withdrawals = Withdrawals(path)
    for number in "12":
        withdrawals.add(Withdrawal(number * 64, "asked", "2026-01-01", sources=["s"]))
    assert withdrawals.ids == {"1" * 64, "2" * 64}
    assert Withdrawals(path).had_by("s") == ["1" * 64, "2" * 64]
    assert Withdrawals(path).had_by(None) == []
    assert len(path.read_text().splitlines()) == 2
    assert all(json.loads(line)["reason"] == "asked" for line in path.read_text().splitlines())
