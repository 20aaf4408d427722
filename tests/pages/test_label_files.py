"""Label files as they lie on the disk, and what `scrape` makes of them."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from foxgan import images
from foxgan.dataset.index import read_index
from foxgan.errors import DataError, LockedError, UsageError
from foxgan.pages.label_files import LabelFolder, Mark, Names, hold, open_labels
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape

FACE = ["left_eye", "right_eye", "nose"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    images.write(path, np.full((100, 200, 3), 90, np.uint8))
    return path


def lines(folder: LabelFolder, name: str) -> list[list[float]]:
    return [[float(v) for v in line.split()] for line in folder.file(name).read_text().splitlines()]


def test_boxes_are_written_as_yolo_reads_them_and_read_back(tmp_path: Path, photo: Path) -> None:
    labels = open_labels(tmp_path / "labels", ["fox", "wolf"], None, ())
    marks = [Mark(1, (80, 30, 120, 70)), Mark(0, (0, 0, 1 / 3, 1 / 7))]
    labels.write("a", photo, marks, 200, 100)
    assert lines(labels, "a")[0] == [1, 0.5, 0.5, 0.2, 0.4]
    assert (tmp_path / "labels" / "images" / "a.png").read_bytes() == photo.read_bytes()
    found = labels.read("a", 200, 100)
    assert found is not None and found[1] == 0
    for mark, back in zip(marks, found[0], strict=True):
        assert back.number == mark.number and np.allclose(back.box, mark.box, atol=1e-3)
    assert labels.labelled() == {"a"} and labels.read("b", 200, 100) is None


def test_points_are_written_with_what_is_seen_of_them_and_read_back(tmp_path: Path, photo: Path) -> None:
    labels = open_labels(tmp_path / "labels", ["fox"], FACE, ())
    mark = Mark(0, (80, 30, 120, 70), ((90, 40, 2), (110, 40, 1), (0, 0, 0)))
    labels.write("a", photo, [mark, Mark(0, (0, 0, 20, 20))], 200, 100)
    assert lines(labels, "a") == [
        [0, 0.5, 0.5, 0.2, 0.4, 0.45, 0.4, 2, 0.55, 0.4, 1, 0, 0, 0],
        [0, 0.05, 0.1, 0.1, 0.2] + [0] * 9,
    ]
    found = labels.read("a", 200, 100)
    assert found is not None and found[0] == [mark, Mark(0, (0, 0, 20, 20), ((0, 0, 0),) * 3)]
    data = yaml.safe_load((tmp_path / "labels" / "data.yaml").read_text())
    assert data["names"] == {0: "fox"} and data["kpt_shape"] == [3, 3] and data["flip_idx"] == [1, 0, 2]


def test_scrape_reads_the_folder_with_points_and_photos_without_heads(tmp_path: Path, photo: Path) -> None:
    labels = open_labels(tmp_path / "labels", ["fox"], FACE, ())
    labels.write("train/a", photo, [Mark(0, (80, 30, 120, 70), ((90, 40, 2), (110, 40, 1), (0, 0, 0)))], 200, 100)
    other = photo.with_name("b.png")
    images.write(other, np.zeros((50, 60, 3), np.uint8))
    labels.write("val/b", other, [], 60, 50)
    (tmp_path / "out").mkdir()
    ctx = Context()
    Scrape(source="folder", path=tmp_path / "labels", workers=0).run(tmp_path / "out", ctx)  # type: ignore[arg-type]
    assert sorted(read_index(tmp_path / "out").select("source_id", "split").rows()) == [
        ("images/train/a.png", "train"),
        ("images/val/b.png", "val"),
    ]
    (head,) = read_index(tmp_path / "out", name="truth.parquet").to_dicts()
    assert (head["class"], head["box"], head["keypoints"]) == ("fox", [80, 30, 120, 70], [90, 40, 110, 40, None, None])
    assert ctx.facts == {}


def test_an_unlabelled_photo_goes_again_but_one_that_was_there_before_stays(tmp_path: Path, photo: Path) -> None:
    labels = open_labels(tmp_path / "labels", ["fox"], None, ())
    labels.write("a", photo, [], 200, 100)
    assert labels.file("a").read_text() == ""
    labels.forget("a", photo)
    assert not list((tmp_path / "labels" / "images").rglob("*.png")) and labels.labelled() == set()
    (tmp_path / "in place" / "images").mkdir(parents=True)
    own = tmp_path / "in place" / "images" / "a.png"
    os.link(photo, own)
    labels = open_labels(tmp_path / "in place", ["fox"], None, ())
    labels.write("a", own, [], 200, 100)
    labels.forget("a", own)
    assert own.is_file() and labels.labelled() == set()


def test_what_data_yaml_says_stays_and_new_classes_come_behind(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: /elsewhere\nnames: [fox, 'no']\n")
    assert open_labels(tmp_path, None, None, ["head"]).names == Names(("fox", "no"))
    assert (tmp_path / "data.yaml").read_text() == "path: /elsewhere\nnames: [fox, 'no']\n"
    assert open_labels(tmp_path, ["wolf", "fox"], None, ()).names.classes == ("fox", "no", "wolf")
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert data == {"path": "/elsewhere", "names": {0: "fox", 1: "no", 2: "wolf"}}


def test_names_of_points_are_kept_and_others_are_refused(tmp_path: Path) -> None:
    open_labels(tmp_path, ["fox"], ["tip", "root"], ())
    assert open_labels(tmp_path, None, None, ()).names.points == ("tip", "root")
    with pytest.raises(UsageError, match="its heads have the points tip, root; not nose"):
        open_labels(tmp_path, None, ["nose"], ())
    (tmp_path / "data.yaml").write_text("names: [fox]\nkpt_shape: [3, 3]\n")
    assert list(open_labels(tmp_path, None, None, ()).names.points) == FACE


def test_boxes_that_get_points_later_say_that_they_have_none_yet(tmp_path: Path, photo: Path) -> None:
    open_labels(tmp_path / "l", ["fox"], None, ()).write("a", photo, [Mark(0, (80, 30, 120, 70))], 200, 100)
    labels = open_labels(tmp_path / "l", None, FACE, ())
    assert lines(labels, "a") == [[0, 0.5, 0.5, 0.2, 0.4] + [0] * 9]


@pytest.mark.parametrize(
    "names", [[""], ["fox", "fox"], [" fox"], ["a\nb"], ["x" * 300], [str(i) for i in range(300)], []]
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UsageError, match=r"(?s)--classes .*write names with commas"):
        open_labels(tmp_path, names or None, None, [] if not names else ["head"])
    assert not (tmp_path / "data.yaml").exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [("names: {1: fox}", "expected 0, 1, 2"), ("names: [fox]\nkpt_shape: [3, 2]", r"expected \[3, 3\]"), ("names: 3", "plain names")],
)  # fmt: skip
def test_a_data_file_that_means_something_else_is_refused_and_stays(tmp_path: Path, data: str, why: str) -> None:
    (tmp_path / "data.yaml").write_text(data)
    with pytest.raises(DataError, match=f"data.yaml.*{why}"):
        open_labels(tmp_path, ["fox"], None, ())
    assert (tmp_path / "data.yaml").read_text() == data


def test_labels_without_a_data_file_need_names(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .1 .1\n")
    with pytest.raises(UsageError, match="say what its numbers mean: --classes"):
        open_labels(tmp_path, None, None, ["head"])
    assert open_labels(tmp_path, ["head"], None, ()).labelled() == {"a"}


def test_malformed_lines_are_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    labels = open_labels(tmp_path, ["fox"], None, ())
    labels.file("a").parent.mkdir()
    labels.file("a").write_bytes(b"0 .5 .5 .2 .4\n7 .5 .5 .1 .1\n0 1.5 .5 .1 .1\nnonsense\n0 .95 .5 .2 .4\n\xff\n")
    found = labels.read("a", 200, 100)
    assert found is not None and found[1] == 4
    assert [mark.box for mark in found[0]] == [(80, 30, 120, 70), (170, 30, 200, 70)]  # clipped to the photo


def test_a_label_file_is_replaced_in_one_go(tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = open_labels(tmp_path / "l", ["fox"], None, ())
    labels.write("a", photo, [Mark(0, (80, 30, 120, 70))], 200, 100)
    old = labels.file("a").read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            labels.write("a", photo, [], 200, 100)
    assert labels.file("a").read_bytes() == old and len(list(labels.file("a").parent.iterdir())) == 1


def test_two_pages_do_not_change_the_same_folder(tmp_path: Path) -> None:
    held = hold(tmp_path / "l")
    with pytest.raises(LockedError, match="another `foxgan label` is at work"):
        hold(tmp_path / "l")
    held.release()
    hold(tmp_path / "l").release()
