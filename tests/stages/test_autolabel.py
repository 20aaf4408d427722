"""Stages `autolabel` and `agreement`: from findings to labels, and how well findings fit labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from foxgan import images
from foxgan.dataset.index import TRUTH, item_id, read_heads, read_index, write_index
from foxgan.errors import StageError
from foxgan.stages.agreement import Agreement
from foxgan.stages.autolabel import Autolabel
from foxgan.stages.base import Context
from foxgan.stages.train_detector import TrainDetector

BOX, OTHER = [10.0, 10.0, 40.0, 40.0], [50.0, 10.0, 62.0, 40.0]


def found(folder: Path, *photos: list[tuple[list[float] | None, float | None, str | None]], **more: Any) -> Path:
    """An output of `detect`: for each photo its rows of (box, score, status)."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, heads in enumerate(photos):
        images.write(folder / "images" / f"{number}.png", np.full((48, 64, 3), 10 * number, np.uint8))
        for box, score, status in heads:
            row = {
                "id": item_id(number, box),
                "parent": f"photo{number:02}",
                "path": f"images/{number}.png",
                "status": status,
            }
            row |= {"box": box, "score": score, "class": "fox head" if box else None, "width": 64, "height": 48}
            rows.append(row | {"group": f"g{number // 2}", "license": "CC0-1.0", "source_id": str(number)} | more)
    write_index(folder, rows)
    return folder


SURE = (BOX, 0.9, None)
UNSURE = (OTHER, 0.3, None)
NONE = (None, None, "no_head")


def run(stage: Any, out: Path) -> Context:
    out.mkdir()
    ctx = Context()
    stage.run(out, ctx)
    return ctx


def test_sure_heads_are_labels_and_photos_with_an_unsure_one_are_left_out(tmp_path: Path) -> None:
    small = (OTHER, 0.8, "too_small")  # a head all the same
    heads = found(
        tmp_path / "heads",
        [SURE],
        [SURE, UNSURE],
        [NONE],
        [UNSURE],
        [(None, None, "broken")],
        [SURE, small],
        [SURE],
        [SURE],
    )
    ctx = run(Autolabel(heads=(heads,)), tmp_path / "out")
    photos = read_index(tmp_path / "out", kept=False).sort("id")
    assert photos["status"].to_list() == ["kept", "unsure", "kept", "unsure", "broken", "kept", "kept", "kept"]
    assert photos["id"].to_list() == [f"photo{n:02}" for n in range(8)]
    assert photos["license"].to_list() == ["CC0-1.0"] * 8
    labels = read_index(tmp_path / "out", name=TRUTH).sort("parent")
    assert labels["parent"].to_list() == ["photo00", "photo05", "photo05", "photo06", "photo07"]
    assert set(labels["class"]) == {"fox head"}
    facts = {"photos": 8, "labelled_photos": 4, "empty_photos": 1, "unsure_photos": 2, "labelled_heads": 5}
    assert ctx.facts == facts
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"index.parquet", TRUTH, "labels.jpg", "unsure.jpg"}
    assert read_heads([tmp_path / "out"])["path"].str.ends_with("heads/images/0.png").any()  # files stay where they are


def test_photos_of_a_group_are_on_one_side_and_a_split_that_is_given_stays(tmp_path: Path) -> None:
    heads = found(tmp_path / "heads", *[[SURE]] * 12)
    run(Autolabel(heads=(heads,), val_share=0.4), tmp_path / "out")
    photos = read_index(tmp_path / "out")
    assert set(photos["split"]) == {"train", "val"}
    assert photos.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    labels = read_index(tmp_path / "out", name=TRUTH).join(photos.select(parent="id", side="split"), on="parent")
    assert (labels["split"] == labels["side"]).all()
    given = found(tmp_path / "given", *[[SURE]] * 3, split="val")
    both = (heads, given)  # ids of photos are the same: the first counts
    run(Autolabel(heads=both), tmp_path / "both")
    assert len(read_index(tmp_path / "both")) == 12


def test_min_score_moves_the_border(tmp_path: Path) -> None:
    heads = found(tmp_path / "heads", [SURE], [SURE, UNSURE], [UNSURE], [SURE])
    ctx = run(Autolabel(heads=(heads,), min_score=0.25), tmp_path / "out")
    assert (ctx.facts["labelled_heads"], ctx.facts["unsure_photos"]) == (5, 0)
    with pytest.raises(StageError, match=r"no photo with a sure head among 4 \(4 have heads that score below 0.95\)"):
        run(Autolabel(heads=(heads,), min_score=0.95), tmp_path / "none")


def test_something_else_than_findings_is_refused(tmp_path: Path) -> None:
    for name, row in {"photos": {"id": "a"}, "truth": {"id": "a", "parent": "b", "box": BOX}}.items():
        (tmp_path / name).mkdir()
        write_index(tmp_path / name, [row])
        with pytest.raises(StageError, match="holds no findings of a detector; give the output of `detect`"):
            run(Autolabel(heads=(tmp_path / name,)), tmp_path / f"{name}-out")


def test_a_detector_learns_from_such_labels(tmp_path: Path) -> None:
    heads = found(tmp_path / "heads", *[[SURE]] * 4, [NONE], [UNSURE], [SURE], [SURE])
    run(Autolabel(heads=(heads,), val_share=0.3), tmp_path / "labels")
    settings = {"size": 64, "epochs": 1, "batch": 4, "device": "cpu", "threads": 1}
    ctx = run(TrainDetector(images=(tmp_path / "labels",), **settings), tmp_path / "student")  # type: ignore[arg-type]
    assert ctx.facts["train_photos"] + ctx.facts["val_photos"] == 7


# Agreement


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    heads = found(tmp_path / "teacher", *[[SURE]] * 6, [NONE], [NONE])
    run(Autolabel(heads=(heads,), val_share=0.5), tmp_path / "labels")
    return tmp_path / "labels"


def student(tmp_path: Path, labels: Path, missing: str | None = None) -> Path:
    """Findings in the photos of `labels`: its boxes moved a little, none in the photo `missing`, and one too many in an empty one."""
    rows = []
    for photo in read_index(labels).sort("id").iter_rows(named=True):
        row = {key: photo[key] for key in ("path", "split", "group")} | {"parent": photo["id"]}
        n = int(photo["id"][-2:])
        box = None if photo["id"] == missing or n == 7 else [11.0, 10.0, 41.0, 40.0]
        more = {"status": "no_head"} if box is None else {"box": box, "score": 0.5 + n / 100, "class": "head"}
        rows.append(row | more | {"id": item_id(photo["id"], box)})
    (tmp_path / "found").mkdir()
    write_index(tmp_path / "found", rows)
    return tmp_path / "found"


def test_agreement_is_measured_on_photos_kept_aside(tmp_path: Path, labels: Path) -> None:
    val = read_index(labels).filter(pl.col("split") == "val")
    heads = read_index(labels, name=TRUTH)
    aside = sorted(set(val["id"]) & set(heads["parent"]))
    assert aside
    found_heads = student(tmp_path, labels, missing=aside[0])
    ctx = run(Agreement(heads=(found_heads,), reference=(labels,)), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts == ctx.facts
    assert (facts["photos"], facts["labelled_heads"]) == (len(val), len(aside))
    assert facts["recall"] == pytest.approx((len(aside) - 1) / len(aside), abs=1e-4)
    assert facts["mean_iou"] == pytest.approx(29 / 31, abs=1e-4)
    assert (tmp_path / "out" / "worst.jpg").is_file()
    every = run(Agreement(heads=(found_heads,), reference=(labels,), split="all"), tmp_path / "all").facts
    assert (every["photos"], every["labelled_heads"], every["found_heads"]) == (8, 6, 6)
    assert every["precision"] == pytest.approx(5 / 6, abs=1e-4)


def test_scores_below_the_limit_count_for_average_precision_only(tmp_path: Path, labels: Path) -> None:
    found_heads = student(tmp_path, labels)
    params = {"heads": (found_heads,), "reference": (labels,), "split": "all"}
    low = run(Agreement(**params), tmp_path / "low").facts
    high = run(Agreement(**params, min_score=0.53), tmp_path / "high").facts
    assert low["map50"] == high["map50"] > 0.8
    assert high["found_heads"] == 4 < low["found_heads"]
    assert high["recall"] < low["recall"] == 1


def test_classes_fit_only_where_it_is_asked_for(tmp_path: Path, labels: Path) -> None:
    params = {"heads": (student(tmp_path, labels),), "reference": (labels,), "split": "all"}
    assert run(Agreement(**params, classes=True), tmp_path / "strict").facts["map50"] == 0
    assert run(Agreement(**params), tmp_path / "loose").facts["map50"] > 0.8


def test_findings_and_labels_without_a_photo_in_common_are_told(tmp_path: Path, labels: Path) -> None:
    other = found(tmp_path / "other", [SURE])
    with pytest.raises(
        StageError, match=r"no photo of split val in common; let `detect` look at the output of `autolabel`"
    ):
        run(Agreement(heads=(other,), reference=(labels,)), tmp_path / "a")
    with pytest.raises(StageError, match=r"no labelled heads \(truth\.parquet\)"):
        run(Agreement(heads=(other,), reference=(other,)), tmp_path / "b")
