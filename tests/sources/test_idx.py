"""MNIST's file format, right and wrong."""

import gzip
import struct

import numpy as np
import pytest

from foxgan.errors import DataError, FoxganError, UnsafeFileError
from foxgan.images import decode
from foxgan.sources.idx import Idx, read_idx


def idx(array, kind=8):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def pixels(count=5, side=28):
    return np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)


def write_pair(folder, name="train", packed=True, count=5):
    labels = np.arange(count, dtype=np.uint8) % 3
    ending, pack = (".gz", gzip.compress) if packed else ("", bytes)
    (folder / f"{name}-images-idx3-ubyte{ending}").write_bytes(pack(idx(pixels(count))))
    (folder / f"{name}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))
    return folder / f"{name}-images-idx3-ubyte{ending}", folder / f"{name}-labels-idx1-ubyte{ending}"


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_gives_all_images_with_their_labels_and_splits(tmp_path, packed):
    write_pair(tmp_path, "train", packed)
    write_pair(tmp_path, "t10k", packed, count=2)
    source = Idx((tmp_path,))
    found = list(source.candidates())
    assert [c.source_id for c in found[:3]] == [f"{n}-images-idx3-ubyte#00000{i}" for n, i in
                                                (("t10k", 0), ("t10k", 1), ("train", 0))]  # fmt: skip
    assert found[1].meta == {"label": 1, "class": "1", "split": "test"}
    assert found[4].meta == {"label": 2, "class": "2", "split": "train"}
    loaded = source.load(found[4])
    assert loaded.shape == (28, 28, 1)
    assert np.array_equal(decode(loaded.data, mode="any")[..., 0], pixels()[2])


def test_labels_may_be_given_or_missing(tmp_path):
    images, labels = write_pair(tmp_path)
    moved = labels.rename(tmp_path / "other-name")
    assert [c.meta.get("label") for c in Idx((images,)).candidates()] == [None] * 5
    assert [c.meta["label"] for c in Idx((images,), (moved,)).candidates()] == [0, 1, 2, 0, 1]


def test_colour_images_have_a_fourth_dimension(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    (tmp_path / "x-images-idx4-ubyte").write_bytes(idx(array))
    source = Idx((tmp_path,))
    assert np.array_equal(decode(source.load(list(source.candidates())[1]).data), array[1])


def test_wrong_lengths_name_what_the_header_says(tmp_path):
    path = tmp_path / "a"
    for data, message in ((idx(pixels())[:-1], r"3,919"), (idx(pixels()) + b"x", "more")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            read_idx(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\x0d\x03" + bytes(50), b"\x89PNG\r\n\x1a\n", idx(pixels(2, 0)), idx(np.zeros((2, 3, 3, 7), np.uint8))],
)
def test_what_is_no_idx_file_is_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=str(tmp_path / "a")):
        list(Idx((tmp_path / "a",)).candidates())


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 16000, 16000))
    with pytest.raises(UnsafeFileError):
        read_idx(tmp_path / "a")


def test_cut_off_gzip_is_broken(tmp_path):
    images, _ = write_pair(tmp_path)
    images.write_bytes(images.read_bytes()[:200])
    with pytest.raises(DataError, match="broken gzip"):
        read_idx(images)


def test_labels_of_another_length_are_no_pair(tmp_path):
    images, _ = write_pair(tmp_path)
    (tmp_path / "l").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match="4 labels.*5 images"):
        list(Idx((images,), (tmp_path / "l",)).candidates())


def test_missing_files_are_named(tmp_path):
    (tmp_path / "full").mkdir()
    images, _ = write_pair(tmp_path / "full")
    for paths, labels in (((tmp_path,), ()), ((tmp_path / "x",), ()), ((images,), (tmp_path / "x",))):
        with pytest.raises(FoxganError, match=str(tmp_path)):
            list(Idx(paths, labels).candidates())
