"""Writer and reader of a dataset, what damage does to it, and the digest that no encoding changes."""

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import lmdb
import numpy as np
import pytest
import torch

from foxgan.dataset.codec import Encoding, encode, png_shape
from foxgan.dataset.lmdb import Dataset, lmdb_digest, open_dataset
from foxgan.dataset.store import Meta
from foxgan.dataset.writer import Writer
from foxgan.errors import DataError, StageError
from foxgan.images import decode, encode_png

ENCODINGS = get_args(Encoding)


def pictures(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def pack(folder, images, labels=None, encoding="png", class_names=None, ids=None):
    folder.mkdir(exist_ok=True)
    height, width, channels = images.shape[1:]
    meta = Meta(
        count=len(images), height=height, width=width, channels=channels, encoding=encoding, class_names=class_names
    )
    with Writer(folder, "plan") as writer:
        for image in images[writer.count :]:
            writer.add(encode(image, encoding))
        writer.finish(meta, ids or [f"id{i}" for i in range(len(images))], labels)
    return folder


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 24, 3), (9, 5, 4)])
def test_pictures_come_back_bit_by_bit(tmp_path, shape, encoding):
    images = pictures(5, shape)
    dataset = open_dataset(pack(tmp_path / "d", images, encoding=encoding))
    assert (dataset.height, dataset.width, dataset.channels, len(dataset)) == (*shape, 5)
    found = dataset.images(range(5))
    assert torch.equal(found, torch.from_numpy(images.transpose(0, 3, 1, 2)))
    assert found.is_contiguous()
    image, label = dataset[3]
    assert torch.equal(image, torch.from_numpy(images[3].transpose(2, 0, 1))) and image.dtype == torch.uint8
    assert label.dtype == torch.int64 and label.ndim == 0 and label == -1
    assert torch.equal(dataset[-1][0], dataset[4][0])
    with pytest.raises(IndexError):
        dataset[5]


def test_labels_classes_and_ids_come_back(tmp_path):
    dataset = Dataset(pack(tmp_path, pictures(4, (8, 8, 3)), [2, 0, 0, 1], class_names=["cat", "dog", "fox", "owl"]))
    assert dataset.labels is not None and dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [2, 0, 0, 1] and dataset.num_classes == 4
    assert dataset.class_names == ["cat", "dog", "fox", "owl"] and dataset.ids == ["id0", "id1", "id2", "id3"]
    assert int(dataset[0][1]) == 2
    assert Dataset(pack(tmp_path / "unlabelled", pictures(2, (8, 8, 3)))).num_classes == 0


def test_many_values_make_the_map_grow(tmp_path):
    dataset = Dataset(pack(tmp_path, pictures(40, (512, 512, 3)), encoding="raw"))  # 30 MiB; the map begins with 16
    assert torch.equal(dataset.images([39]), torch.from_numpy(pictures(40, (512, 512, 3))[39:].transpose(0, 3, 1, 2)))


def test_file_has_the_format_that_all_tools_read(tmp_path):
    pack(tmp_path, pictures(2, (8, 8, 1)), labels=[0, 1])
    with lmdb.open(str(tmp_path), readonly=True, lock=False, lib_version=0) as env, env.begin() as txn:
        assert [key for key, _ in txn.cursor()] == [b"00000000", b"00000001", b"crc32", b"ids", b"labels", b"meta"]
        assert png_shape(txn.get(b"00000001")) == (8, 8, 1)
        assert txn.get(b"labels") == b"[0, 1]"
    assert [path.name for path in tmp_path.iterdir()] == ["data.mdb"]


def test_digest_tells_meaning_and_not_encoding(tmp_path):
    images = pictures(6, (12, 12, 3))
    first = pack(tmp_path / "png", images, [0, 1, 0, 1, 0, 1])
    same = open_dataset(first).fingerprint
    for encoding in ENCODINGS:
        assert lmdb_digest(pack(tmp_path / f"as-{encoding}", images, [0, 1, 0, 1, 0, 1], encoding=encoding)) == same
    others = [
        pack(tmp_path / "labels", images, [0, 1, 0, 1, 0, 0]),
        pack(tmp_path / "none", images),
        pack(tmp_path / "pixels", pictures(6, (12, 12, 3), seed=1), [0, 1, 0, 1, 0, 1]),
        pack(tmp_path / "ids", images, [0, 1, 0, 1, 0, 1], ids=list("abcdef")),
    ]
    assert len({lmdb_digest(folder) for folder in others} | {same}) == 5


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_pictures_come_out_as_pngs_and_those_that_are_stored_so_as_they_are(tmp_path, encoding):
    images = pictures(3, (12, 10, 3))
    found = list(open_dataset(pack(tmp_path, images, encoding=encoding)).pngs())
    assert found == [encode(image, "png") for image in images]
    assert np.array_equal(decode(found[2]), images[2])


def test_pngs_are_not_encoded_again(tmp_path):
    with Writer(tmp_path, "plan") as writer:
        value = encode_png(pictures(1, (8, 8, 3))[0], 9)
        writer.add(value)
        writer.finish(Meta(count=1, height=8, width=8, channels=3, encoding="png"), ["a"], None)
    assert list(open_dataset(tmp_path).pngs()) == [value]


def test_two_readers_of_one_file_live_in_one_process(tmp_path):
    pack(tmp_path, pictures(3, (8, 8, 3)))
    one, two = Dataset(tmp_path), Dataset(tmp_path / "data.mdb")
    assert torch.equal(one.images([1]), two.images([1]))
    del one
    assert lmdb_digest(tmp_path) == two.fingerprint


def test_link_to_the_folder_is_as_good_as_the_folder(tmp_path):
    pack(tmp_path / "real", pictures(2, (8, 8, 3)))
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make links")
    assert len(open_dataset(str(tmp_path / "link"))) == 2


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on; a user may still choose it
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
def test_workers_read_the_same_pictures(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    images = pictures(12, (8, 8, 3))
    dataset = Dataset(pack(tmp_path, images, labels=list(range(12))))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert torch.equal(torch.cat([b[0] for b in batches]), dataset.images(range(12)))
    assert torch.cat([b[1] for b in batches]).tolist() == list(range(12))
    assert len(pickle.dumps(dataset)) < 1000


# Damage


@pytest.fixture
def damaged(tmp_path):
    return pack(tmp_path / "d", pictures(300, (16, 16, 3)), encoding="raw") / "data.mdb"


def test_truncated_file_is_refused(damaged):
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size // 2)
    with pytest.raises(DataError, match=r"data\.mdb: a damaged LMDB"):
        Dataset(damaged)


def test_zeros_over_pages_are_refused(damaged):
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        file.write(bytes(3 * 4096))
    with pytest.raises(DataError, match=r"data\.mdb: a damaged LMDB"):
        Dataset(damaged)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_changed_byte_in_a_picture_is_refused_by_its_number(tmp_path, encoding):
    images = pictures(5, (16, 16, 3))
    path = pack(tmp_path, images, encoding=encoding) / "data.mdb"
    content = path.read_bytes()
    value = encode(images[3], encoding)
    middle = len(value) // 2
    path.write_bytes(content.replace(value, value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]))
    dataset = Dataset(path)
    dataset.images([0, 1, 2, 4])
    for read in (lambda: dataset[3], lambda: lmdb_digest(path)):
        with pytest.raises(DataError, match=r"picture 3 \(id3\)"):
            read()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\0" * 100_000, b"x" * 8192], ids=["empty", "text", "zeros", "letters"]
)
def test_file_that_is_no_lmdb_is_refused(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.mdb: "):
        Dataset(tmp_path)


def test_missing_file_is_refused_with_advice(tmp_path):
    with pytest.raises(DataError, match=r"data\.mdb: no such file.*foxgan pack"):
        Dataset(tmp_path)


GOOD = {
    b"meta": b'{"count": 1, "height": 4, "width": 4, "channels": 1, "encoding": "raw"}',
    b"ids": b'["a"]',
    b"labels": b"null",
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({b"meta": None}, "without `meta`"),
        ({b"meta": b"[" * 100_000}, "`meta` is not that of"),
        (
            {b"meta": GOOD[b"meta"].replace(b'"count": 1', b'"count": 9999999')},
            "holds 1 pictures where `meta` says 9999999",
        ),
        ({b"meta": GOOD[b"meta"].replace(b'"height": 4', b'"height": 99999')}, "height"),
        ({b"meta": GOOD[b"meta"].replace(b'"height": 4', b'"height": 9999')}, "16 bytes where"),
        ({b"meta": GOOD[b"meta"].replace(b"raw", b"pickle")}, "encoding"),
        ({b"ids": b'["a", "b"]'}, "`ids` is not a list of 1 texts"),
        ({b"labels": b'["a"]'}, "`labels` is not a list of 1 class numbers"),
        ({b"labels": b"[100000000000]"}, "`labels` is not a list of 1 class numbers"),
        ({b"crc32": b"12345678"}, "checksum"),
        ({b"ids": b"[" * 1_000_000}, "`ids` is not JSON"),
    ],
)
def test_lmdb_of_another_kind_is_refused_before_memory_is_spent(tmp_path, changed, expected):
    values = {b"00000000": bytes(16), b"crc32": (0xECBB4B55).to_bytes(4, "little"), **GOOD, **changed}
    with lmdb.open(str(tmp_path), lock=False) as env, env.begin(write=True) as txn:
        for key, value in values.items():
            txn.put(key if value is not None else b"other", value or b"")
    with pytest.raises(DataError) as caught:
        Dataset(tmp_path)[0]
    assert expected in str(caught.value) and "data.mdb" in str(caught.value)


# Interruption and full disks


def test_killed_writer_is_continued_and_ends_with_the_same_file_content(tmp_path):
    images = pictures(60, (16, 16, 3))
    np.save(tmp_path / "images.npy", images)
    code = (
        "import os, sys, numpy as np; from pathlib import Path\n"
        "from foxgan.dataset import writer; from foxgan.dataset.codec import encode\n"
        "writer.FLUSH_BYTES = 8192; w = writer.Writer(Path(sys.argv[1]), 'plan')\n"
        "for image in np.load(sys.argv[2])[:40]: w.add(encode(image, 'png'))\n"
        "os._exit(9)"
    )
    folder = tmp_path / "killed"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", code, str(folder), str(tmp_path / "images.npy")], check=False)
    with Writer(folder, "plan") as writer:
        assert 20 < writer.count <= 40
    assert lmdb_digest(pack(folder, images)) == lmdb_digest(pack(tmp_path / "straight", images))
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


def test_writer_stopped_before_the_renaming_is_continued(tmp_path, monkeypatch):
    images = pictures(3, (8, 8, 3))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stop)
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path / "stopped", images)
    with Writer(tmp_path / "stopped", "plan") as writer:
        assert writer.count == 3
    assert lmdb_digest(pack(tmp_path / "stopped", images)) == lmdb_digest(pack(tmp_path / "straight", images))


def stop(*_):
    raise KeyboardInterrupt


def test_what_a_writer_of_another_plan_left_is_removed(tmp_path):
    with Writer(tmp_path, "other") as writer:
        writer.add(b"value")
    (tmp_path / "data-123.tmp").write_bytes(b"no lmdb")
    with Writer(tmp_path, "plan") as writer:
        assert writer.count == 0
    assert len(list(tmp_path.glob("data-*.tmp"))) == 1


def test_full_disk_is_a_refusal_and_leaves_no_dataset(tmp_path):
    resource = pytest.importorskip(
        "resource"
    )  # a limit on a file's size is the nearest to a full disk that a test can have
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StageError, match="cannot be written.*make room"):
            pack(tmp_path, pictures(20, (256, 256, 3)), encoding="raw")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "data.mdb").exists()
    assert len(Dataset(pack(tmp_path, pictures(20, (256, 256, 3)), encoding="raw"))) == 20


def test_picture_of_another_shape_is_found_when_the_writer_reads_back(tmp_path):
    meta = Meta(count=1, height=8, width=8, channels=3, encoding="png")
    with Writer(tmp_path, "plan") as writer:
        writer.add(encode(pictures(1, (8, 9, 3))[0], "png"))
        with pytest.raises(DataError, match=r"picture 0 \(a\) is 8x9 RGB where the dataset is 8x8 RGB"):
            writer.finish(meta, ["a"], None)
    assert not (Path(tmp_path) / "data.mdb").exists()
