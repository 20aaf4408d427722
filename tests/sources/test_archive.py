"""Zip and tar files, friendly and hostile."""

import io
import pickle
import tarfile
import zipfile

import pytest

from foxgan.errors import DataError, UnsafeFileError
from foxgan.sources.archive import Archive
from foxgan.sources.candidate import Refused

BIG = 10**6
FILES = {"images/train/a.jpg": b"first", "images/val/b.jpg": b"second", "labels/train/a.txt": b"0 .5 .5 .1 .1",
         "data.yaml": b"names: {0: head}"}  # fmt: skip


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def contents(source):
    found = {}
    for candidate in source.candidates():
        found[candidate.source_id] = candidate.refusal or source.load(candidate).data
    source.close()
    return found


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_every_kind_of_archive_gives_its_photos_labels_and_splits(tmp_path, ending):
    path = tmp_path / f"photos.{ending}"
    mode = "w" if ending == "tar" else f"w:{ending.removeprefix('tar.')}"
    make_zip(path, FILES) if ending == "zip" else make_tar(path, FILES, mode)
    source = pickle.loads(pickle.dumps(Archive((path,), BIG)))  # as a worker gets it
    a, b = source.candidates()
    assert (a.meta, b.meta, dict(a.class_names)) == ({"split": "train"}, {"split": "val"}, {0: "head"})
    assert (source.load(b).data, source.load(a).data) == (b"second", b"first"), "also backwards"
    assert source.load(a).labels == FILES["labels/train/a.txt"] and b.labels is None
    source.close()


def test_labels_of_a_packed_tar_are_read_on_the_one_way_through_it(tmp_path):
    names = [f"{n:02}" for n in range(20)]
    files = {f"labels/{name}.txt": name.encode() for name in reversed(names)}
    files |= {f"images/{name}.jpg": name.encode() * 100 for name in names}
    source = Archive((make_tar(tmp_path / "a.tar.gz", files, "w:gz"),), BIG)
    for candidate in list(source.candidates()):
        loaded = pickle.loads(pickle.dumps(source)).load(candidate)
        assert loaded.labels == loaded.data[:2] == source.load(candidate).labels
        _, start, size = candidate.where
        assert source._opened(0).tell() == start + size, "it never went back for the labels"
    source.close()


def test_names_that_lead_out_of_the_archive_are_refused(tmp_path):
    files = {
        "../evil.png": b"x",
        "/etc/evil.png": b"x",
        "C:\\evil.png": b"x",
        "a/../../b.png": b"x",
        "good.png": b"good",
    }
    for make in (make_zip, make_tar):
        found = contents(Archive((make(tmp_path / "a", files),), BIG))
        assert found.pop("good.png") == b"good"
        assert len(found) == 4 and set(found.values()) == {"unsafe_name"}
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a"]


def test_links_and_devices_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("soft.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert contents(Archive((tmp_path / "a.tar",), BIG)) == {
        "soft.png": "link",
        "hard.png": "link",
        "pipe.png": "not_a_file",
    }
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("soft.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert contents(Archive((tmp_path / "a.zip",), BIG)) == {"soft.png": "link"}


def test_encrypted_members_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": b"x" * 50})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    path.write_bytes(data)
    assert contents(Archive((path,), BIG)) == {"a.png": "encrypted"}


def test_large_members_and_bombs_are_refused_unopened(tmp_path):
    path = make_zip(
        tmp_path / "a.zip", {"large.png": bytes(range(256)) * 8, "bomb.png": bytes(5_000_000), "a.png": b"good"}
    )
    found = contents(Archive((path,), 1000))
    assert found == {"large.png": "too_large", "bomb.png": "bomb", "a.png": b"good"}


def test_a_tar_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    path = make_tar(tmp_path / "a.tar.gz", {"bomb.png": bytes(20_000_000)}, "w:gz")
    with pytest.raises(UnsafeFileError, match="bomb.png"):
        list(Archive((path,), BIG).candidates())


def test_damage_to_one_member_costs_only_that_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": bytes(range(256)), "b.png": b"good"})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    source = Archive((path,), BIG)
    a, b = source.candidates()
    with pytest.raises(Refused, match="broken"):
        source.load(a)
    assert source.load(b).data == b"good"
    source.close()


def test_a_cut_off_tar_gives_what_is_whole_or_says_that_it_is_broken(tmp_path):
    path = make_tar(tmp_path / "a.tar.gz", {"a.png": bytes(range(256)) * 99, "b.png": b"x"}, "w:gz")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="not a readable"):
        list(Archive((path,), BIG).candidates())


def test_what_is_no_archive_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no archive at all")
    for path, message in (("a.zip", "not a readable zip or tar"), ("b.zip", "no such file"), (".", "not a file")):
        with pytest.raises(DataError, match=message):
            list(Archive((tmp_path / path,), BIG).candidates())


def test_several_archives_keep_their_photos_apart(tmp_path):
    paths = tuple(make_zip(tmp_path / f"{n}.zip", {"x.png": n.encode()}) for n in ("one", "two"))
    assert contents(Archive(paths, BIG)) == {"0-one.zip/x.png": b"one", "1-two.zip/x.png": b"two"}
