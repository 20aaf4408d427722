"""NVIDIA's layout, there and back; and files from strangers."""

import json
import zipfile
from typing import get_args

import numpy as np
import pytest

from foxgan.dataset import interchange
from foxgan.dataset.codec import Encoding, encode
from foxgan.dataset.lmdb import Dataset
from foxgan.dataset.store import Meta
from foxgan.dataset.writer import Writer
from foxgan.errors import DataError, UnsafeFileError


def dataset(folder, count=3, encoding="png", labels=None, class_names=None):
    folder.mkdir()
    meta = Meta(count=count, height=4, width=6, channels=3, encoding=encoding, class_names=class_names)
    with Writer(folder, "plan") as writer:
        for number in range(count):
            writer.add(encode(np.full((4, 6, 3), number % 256, np.uint8), encoding))
        writer.finish(meta, [str(number) for number in range(count)], labels)
    return Dataset(folder)


def test_zip_has_nvidias_layout(tmp_path):
    interchange.write_zip(dataset(tmp_path / "d", 1002, "raw", labels=[1] * 1002), tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        names = archive.namelist()
        assert names[0] == "00000/img00000000.png" and names[1001] == "00001/img00001001.png" and len(names) == 1003
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        assert json.loads(archive.read("dataset.json"))["labels"][1001] == ["00001/img00001001.png", 1]
        assert archive.read(names[7]) == encode(np.full((4, 6, 3), 7, np.uint8), "png")


def test_equal_datasets_give_equal_zips(tmp_path):
    for encoding in get_args(Encoding):
        interchange.write_zip(dataset(tmp_path / encoding, encoding=encoding), tmp_path / f"{encoding}.zip")
    assert len({path.read_bytes() for path in tmp_path.glob("*.zip")}) == 1


@pytest.mark.parametrize("labels", [None, [2, 0, 1]])
def test_zip_and_folder_list_the_same(tmp_path, labels):
    packed = dataset(tmp_path / "d", labels=labels, class_names=["a", "b", "c"] if labels else None)
    interchange.write_zip(packed, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(tmp_path / "folder")
    listing = interchange.read_listing(tmp_path / "x.zip")
    assert listing == interchange.read_listing(tmp_path / "folder")
    assert listing.labels == labels and listing.class_names == packed.class_names
    assert listing.names == [f"00000/img0000000{number}.png" for number in range(3)]


def written(tmp_path, labels):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"data")
        archive.writestr("dataset.json", labels if isinstance(labels, bytes) else json.dumps(labels))
    return tmp_path / "x.zip"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (b"{", "dataset.json is not"),
        (b"[" * 100_000, "dataset.json is not"),
        ([], "dataset.json is not"),
        ({"labels": 5}, "dataset.json is not"),
        ({"labels": [["a.png"]]}, "dataset.json is not"),
        ({"labels": [[{}, 1]]}, "dataset.json is not"),
        ({"labels": []}, "no class number for a.png"),
        ({"labels": [["a.png", -1]]}, "no class number for a.png; found -1"),
        ({"labels": [["a.png", [0.0, 1.0]]]}, "no class number for a.png"),
        ({"labels": [["a.png", 1]], "class_names": "fox"}, "class_names"),
    ],
)
def test_labels_of_another_form_are_refused(tmp_path, labels, expected):
    with pytest.raises(DataError, match=expected):
        interchange.read_listing(written(tmp_path, labels))


def test_names_that_lead_outside_are_never_opened(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "inside" / "dataset.json").write_text('{"labels": [["../secret.png", 0]]}')
    assert interchange.read_listing(tmp_path / "inside").names == []


def test_files_larger_than_the_bound_are_not_read(tmp_path, monkeypatch):
    path = written(tmp_path, {"labels": None})
    monkeypatch.setattr(interchange, "MAX_FILE_BYTES", 3)
    with interchange.open_zip(path) as archive, pytest.raises(UnsafeFileError, match=r"a\.png: more than"):
        interchange.read_member(archive, "a.png")
    with pytest.raises(UnsafeFileError, match="more than"):
        interchange.read_file(path)


def test_broken_zip_is_refused(tmp_path):
    path = written(tmp_path, {"labels": None})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip: not a readable zip"):
        interchange.read_listing(path)
    with pytest.raises(DataError, match="not a readable zip"):
        interchange.read_listing(tmp_path / "missing.zip")
