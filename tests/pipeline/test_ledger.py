import hashlib
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from foxgan.errors import DataError, StageError
from foxgan.pipeline import ledger as module
from foxgan.pipeline.ledger import Ledger

HOUR = 3_600_000_000_000


def write(path: Path, text: str, age_ns: int = HOUR) -> None:
    """A file that was changed `age_ns` ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time_ns() - age_ns
    os.utime(path, ns=(then, then))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, as they are."""
    names: list[str] = []
    real = module.file_sha256

    def noting(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(module, "file_sha256", noting)
    return names


def digest(tmp_path: Path, target: str = "photos") -> str:
    """As a new run sees it."""
    ledger = Ledger(tmp_path / ".ledger")
    try:
        return ledger.content_digest(tmp_path / target)
    finally:
        ledger.close()


def test_unchanged_files_are_read_once_and_one_changed_file_alone_again(tmp_path: Path, hashed: list[str]) -> None:
    for name in ("a", "sub/b", "sub/c"):
        write(tmp_path / "photos" / name, name)
    first = digest(tmp_path)
    assert hashed == ["a", "b", "c"]
    assert digest(tmp_path) == first
    assert hashed == ["a", "b", "c"]
    write(tmp_path / "photos" / "sub" / "b", "other", HOUR // 2)
    assert digest(tmp_path) != first
    assert hashed == ["a", "b", "c", "b"]


def test_a_touched_file_is_read_again_and_counts_by_its_content(tmp_path: Path, hashed: list[str]) -> None:
    write(tmp_path / "photos" / "a", "fox")
    first = digest(tmp_path)
    write(tmp_path / "photos" / "a", "fox", HOUR // 2)
    assert digest(tmp_path) == first
    assert len(hashed) == 2


def test_new_content_of_the_same_size_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a", "fox")
    first = digest(tmp_path)
    write(tmp_path / "photos" / "a", "owl", HOUR // 2)
    assert digest(tmp_path) != first


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a", "fox")
    first, stat = digest(tmp_path), (tmp_path / "photos" / "a").stat()
    write(tmp_path / "other", "owl")
    os.utime(tmp_path / "other", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(tmp_path / "other", tmp_path / "photos" / "a")
    assert digest(tmp_path) != first


def test_a_file_changed_within_two_seconds_is_not_trusted(tmp_path: Path, hashed: list[str]) -> None:
    write(tmp_path / "photos" / "a", "fox", age_ns=0)
    stat = (tmp_path / "photos" / "a").stat()
    first = digest(tmp_path)
    (tmp_path / "photos" / "a").write_text("owl")  # within the same tick of a coarse clock
    os.utime(tmp_path / "photos" / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(tmp_path) != first
    assert hashed == ["a", "a"]


def test_names_and_places_in_the_folder_count_but_hidden_files_do_not(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a", "fox")
    first = digest(tmp_path)
    write(tmp_path / "photos" / ".DS_Store", "x")
    assert digest(tmp_path) == first
    (tmp_path / "photos" / "a").rename(tmp_path / "photos" / "b")
    second = digest(tmp_path)
    assert second != first
    (tmp_path / "photos" / "c").mkdir()
    (tmp_path / "photos" / "b").rename(tmp_path / "photos" / "c" / "b")
    assert digest(tmp_path) not in (first, second)


def test_a_file_counts_by_its_bytes_alone(tmp_path: Path) -> None:
    write(tmp_path / "weights", "fox")
    assert digest(tmp_path, "weights") == hashlib.sha256(b"fox").hexdigest()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_valid_text_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with open(os.fsencode(tmp_path / "photos") + b"/f\xff\xfe.jpg", "wb") as file:
        file.write(b"fox")
    assert digest(tmp_path) == digest(tmp_path)


def test_one_run_sees_one_content(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / ".ledger")
    write(tmp_path / "photos" / "a", "fox")
    first = ledger.content_digest(tmp_path / "photos")
    write(tmp_path / "photos" / "a", "owl")
    assert ledger.content_digest(tmp_path / "photos") == first
    ledger.close()


def test_thousands_of_unchanged_files_cost_a_moment(tmp_path: Path, hashed: list[str]) -> None:
    then = time.time_ns() - HOUR
    for i in range(100):
        folder = tmp_path / "photos" / str(i)
        folder.mkdir(parents=True)
        for j in range(20):
            (folder / f"{j}.jpg").write_bytes(b"x")
            os.utime(folder / f"{j}.jpg", ns=(then, then))
    first = digest(tmp_path)
    hashed.clear()
    start = time.process_time()
    assert digest(tmp_path) == first
    assert time.process_time() - start < 0.5
    assert hashed == []


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photos: cannot be read"):
        digest(tmp_path)


def test_a_damaged_ledger_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / ".ledger").write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    with pytest.raises(StageError, match="delete it: finished folders are found again"):
        Ledger(tmp_path / ".ledger")


def test_a_ledger_that_cannot_grow_is_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / ".ledger")
    ledger.db.execute("PRAGMA max_page_count = 1")  # SQLite's own "database or disk is full"
    manifest = {"key": "k", "stage": "s", "lineage": "l", "digest": "d", "seconds": {"total": 1.0}, "x": "y" * 99_999}
    with pytest.raises(StageError, match="make sure that the disk has room"):
        ledger.add(manifest, 1)
    ledger.close()


def test_time_per_unit_is_of_the_same_step_before_that_of_its_stage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / ".ledger")
    for key, lineage, seconds in (("a", "mine", 10.0), ("b", "another", 50.0)):
        manifest = {"key": key, "stage": "s", "lineage": lineage, "digest": "d", "seconds": {"total": seconds}}
        ledger.add(manifest, units=10)
    assert ledger.seconds_per_unit("s", "mine") == 1
    assert ledger.seconds_per_unit("s", "unknown") == 5
    assert ledger.seconds_per_unit("t", "unknown") is None
    ledger.close()


def test_two_runs_may_write_at_the_same_time(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path / ".ledger"), sqlite3.connect(tmp_path / ".ledger")
    write(tmp_path / "photos" / "a", "fox")
    other.execute("SELECT * FROM files").fetchall()
    assert ledger.content_digest(tmp_path / "photos")
    assert other.execute("SELECT count(*) FROM files").fetchone() == (1,)
    other.close()
    ledger.close()
