"""Folders of photos: order, hidden files, links, and what names and label files tell."""

import os

import pytest

from foxgan.errors import DataError
from foxgan.sources.candidate import Refused, fair_sample
from foxgan.sources.folder import Folder

BIG = 10**6


def fill(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def ids(source):
    return [c.source_id for c in source.candidates()]


def test_files_come_recursively_in_order_without_hidden_ones_and_companions(tmp_path):
    fill(
        tmp_path,
        ["b.jpg", "a/z.png", "a/b/c.webp", ".hidden.jpg", ".git/x.jpg", "notes.txt", "no-ending", "__MACOSX/b.jpg"],
    )
    assert ids(Folder((tmp_path,), BIG)) == ["b.jpg", "no-ending", "a/z.png", "a/b/c.webp"]


def test_several_folders_keep_their_photos_apart(tmp_path):
    roots = [fill(tmp_path / name, ["x.jpg"]) for name in ("one", "two")]
    source = Folder(tuple(roots), BIG)
    assert ids(source) == ["0-one/x.jpg", "1-two/x.jpg"]
    assert len({c.key for c in source.candidates()}) == 2


def test_links_that_lead_outside_are_refused_and_linked_folders_not_entered(tmp_path):
    outside = fill(tmp_path / "outside", ["secret.jpg"])
    root = fill(tmp_path / "root", ["inside.jpg"])
    try:
        os.symlink(outside / "secret.jpg", root / "link.jpg")
        os.symlink(root / "inside.jpg", root / "twin.jpg")
        os.symlink(outside, root / "folder")
        os.symlink(root / "nowhere", root / "dangling.jpg")
    except OSError:
        pytest.skip("this system has no symbolic links")
    found = {c.source_id: c.refusal for c in Folder((root,), BIG).candidates()}
    assert found == {"inside.jpg": "", "link.jpg": "outside_link", "twin.jpg": "", "dangling.jpg": "unreadable"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [c.refusal for c in Folder((tmp_path,), BIG).candidates()] == ["not_a_file"]


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    fill(tmp_path, ["a-long-name-is-a-large-file.jpg", "b.jpg"])
    assert [c.refusal for c in Folder((tmp_path,), 10).candidates()] == ["too_large", ""]


def test_a_file_that_went_away_is_refused(tmp_path):
    fill(tmp_path, ["a.jpg"])
    source = Folder((tmp_path,), BIG)
    [candidate] = source.candidates()
    assert source.load(candidate).data == b"a.jpg"
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(Refused, match="unreadable"):
        source.load(candidate)


def test_class_folders_give_label_and_class(tmp_path):
    fill(tmp_path, ["train/wolf/1.jpg", "train/fox/2.jpg", "val/fox/3.jpg"])
    found = {c.source_id: c.meta for c in Folder((tmp_path,), BIG, "folders").candidates()}
    assert found == {
        "train/fox/2.jpg": {"split": "train", "class": "fox", "label": 0},
        "train/wolf/1.jpg": {"split": "train", "class": "wolf", "label": 1},
        "val/fox/3.jpg": {"split": "val", "class": "fox", "label": 0},
    }


def test_label_files_in_yolo_layout_belong_to_their_photos(tmp_path):
    fill(tmp_path, ["set/images/train/a.jpg", "set/images/train/b.jpg", "set/labels/train/a.txt", "loose.jpg"])
    (tmp_path / "set/data.yaml").write_text("names: [head, tail]")
    source = Folder((tmp_path,), BIG)
    found = {c.source_id: c for c in source.candidates()}
    assert set(found) == {"set/images/train/a.jpg", "set/images/train/b.jpg", "loose.jpg"}
    labelled = found["set/images/train/a.jpg"]
    assert labelled.class_names == {0: "head", 1: "tail"}
    assert source.load(labelled).labels == b"set/labels/train/a.txt"
    assert found["set/images/train/b.jpg"].labels is None
    assert all(c.labels is None for c in Folder((tmp_path,), BIG, "none").candidates())


def test_names_that_are_no_utf8_are_made_readable(tmp_path):
    name = os.fsdecode(b"f\xffx.jpg")
    try:
        (tmp_path / name).write_bytes(b"data")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    source = Folder((tmp_path,), BIG)
    [candidate] = source.candidates()
    assert candidate.source_id == "f?x.jpg" and source.load(candidate).data == b"data"


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list(Folder((tmp_path / "nowhere",), BIG).candidates())


def test_a_larger_sample_contains_the_smaller_and_keeps_the_order(tmp_path):
    source = Folder((fill(tmp_path, [f"{c}/{i:02}.jpg" for c in "abcd" for i in range(25)]),), BIG)
    small, large = (fair_sample(source.candidates(), n) for n in (20, 60))
    assert set(c.key for c in small) < set(c.key for c in large)
    assert [c.source_id for c in large] == sorted(c.source_id for c in large)
    assert {c.source_id[0] for c in small} == set("abcd"), "every folder has its share"


def test_the_shape_of_points_comes_from_data_yaml_and_is_part_of_the_key(tmp_path):
    fill(tmp_path, ["images/a.jpg", "labels/a.txt"])
    (tmp_path / "data.yaml").write_text("names: [head]")
    [plain] = Folder((tmp_path,), BIG).candidates()
    (tmp_path / "data.yaml").write_text("names: [head]\nkpt_shape: [3, 3]")
    [posed] = Folder((tmp_path,), BIG).candidates()
    assert (plain.point_shape, posed.point_shape) == (None, (3, 3))
    assert plain.key != posed.key
