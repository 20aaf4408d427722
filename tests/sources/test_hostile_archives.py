"""Archives that want to do harm, through the whole stage: nothing lands elsewhere, nothing fills the memory, and good photos are kept."""

import gzip
import io
import random
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from foxgan.dataset.index import KEPT, read_index
from foxgan.errors import DataError, FoxganError
from foxgan.sources.archive import Archive
from foxgan.sources.candidate import Refused
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape
from tests.fakes.odd import odd_picture


def picture(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


MEMBERS = {  # and what becomes of them
    "good.png": (picture(0), KEPT),
    "../up.png": (picture(1), "unsafe_name"),
    "a/../../up.png": (picture(2), "unsafe_name"),
    "/etc/abs.png": (picture(3), "unsafe_name"),
    "C:\\windows.png": (picture(4), "unsafe_name"),
    "page.jpg": (odd_picture("html"), "not_an_image"),
    "drawing.jpg": (odd_picture("svg"), "not_an_image"),
    "giant.png": (odd_picture("huge_header"), "too_large"),
    "bomb.png": (odd_picture("bomb"), "too_large"),
    "cut.jpg": (odd_picture("truncated_jpeg"), "broken"),
    "zeros.png": (bytes(900_000), "not_an_image"),
    "large.png": (random.Random(0).randbytes(1_000_001), "too_large"),
    "last.png": (picture(5), KEPT),
}


def make_zip(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, _) in MEMBERS.items():
            archive.writestr(name, data)
        archive.writestr("zip bomb.png", bytes(20_000_000))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return {"zip bomb.png": "bomb", "link.png": "link"}


def make_tar(path):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        kinds = {
            "link.png": tarfile.SYMTYPE,
            "hard.png": tarfile.LNKTYPE,
            "pipe.png": tarfile.FIFOTYPE,
            "disk.png": tarfile.BLKTYPE,
        }
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, (data, _) in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return {"link.png": "link", "hard.png": "link", "pipe.png": "not_a_file", "disk.png": "not_a_file"}


@pytest.mark.parametrize(("name", "make"), [("a.zip", make_zip), ("a.tar", make_tar), ("a.tar.gz", make_tar)])
def test_every_member_has_its_reason_and_good_ones_are_kept(tmp_path, name, make):
    inside = tmp_path / "inside"
    (inside / "out").mkdir(parents=True)
    more = make(inside / name)
    Scrape(source="archive", path=inside / name, max_file_mb=1, workers=0).run(inside / "out", Context())
    rows = read_index(inside / "out", kept=False)
    expected = {name: reason for name, (_, reason) in MEMBERS.items()} | more
    assert dict(rows.select("source_id", "status").iter_rows()) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    assert {p.name for p in inside.iterdir()} == {name, "out"}


def header(kind, size, name=b"a"):
    block = bytearray(512)
    block[:100], block[100:108], block[124:136] = name.ljust(100, b"\0"), b"0000644\0", b"%011o\0" % size
    block[156:157], block[257:265], block[148:156] = kind, b"ustar\x0000", b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"], ids=["pax", "global pax", "long name", "long link"])
def test_a_header_of_gigabytes_is_not_read(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header(kind, 200_000_000))
        for _ in range(200):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(DataError, match="not a readable zip or tar archive"):
        list(Archive((path,), 10**6).candidates())
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_members_without_end_take_no_memory(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(header(b"0", 0) * 20_000 + bytes(1024))
    tracemalloc.start()
    assert len(list(Archive((path,), 10**6, "none").candidates())) == 1
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def archives():
    """One of each form, with labels."""
    files = {f"images/{n}.png": picture(n) for n in range(3)} | {
        "labels/0.txt": b"0 .5 .5 .1 .1",
        "data.yaml": b"names: [a]",
    }
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        yield buffer.getvalue()
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode=mode, format=form) as tar:
                for name, data in files.items():
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime = len(data), 1.5
                    tar.addfile(info, io.BytesIO(data))
            yield buffer.getvalue()


@pytest.mark.parametrize("data", list(archives()), ids=lambda data: data[:2].hex())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damage_anywhere_gives_photos_or_a_refusal(tmp_path, data):
    rng, path = random.Random(len(data)), tmp_path / "a"
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            damaged[rng.randrange(len(damaged))] = rng.choice((0, 255, 0x80, rng.randrange(256)))
        path.write_bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.1 else damaged)
        source = Archive((path,), 10**6)
        try:
            for candidate in source.candidates():
                if not candidate.refusal:
                    source.load(candidate)
        except (FoxganError, Refused):
            continue
        finally:
            source.close()


def test_a_damaged_list_of_classes_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", picture(0))
        archive.writestr("data.yaml", b"names: [head]")
    path.write_bytes(path.read_bytes().replace(b"names: [head]", b"names: [tail]", 1))
    with pytest.raises(DataError, match="data.yaml: is damaged in its archive"):
        list(Archive((path,), 10**6).candidates())
