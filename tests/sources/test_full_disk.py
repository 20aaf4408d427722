"""A disk that fills up at any point of a scrape: the user is told what to do, and the next run goes on from what is there."""

import errno
import io
import os
from collections import Counter
from pathlib import Path

import pytest

from foxgan.dataset.index import KEPT, index_digest, read_index
from foxgan.errors import StageError
from foxgan.sources import frontier
from foxgan.sources.fetch import PER_HOST, place
from foxgan.sources.inaturalist import INaturalist
from foxgan.stages.base import Context
from foxgan.stages.journal import journalled
from foxgan.stages.scrape import Scrape
from tests.fakes.fixture import fakes as fakes
from tests.sources.lists import photos, scraped

COUNT = 8


class Disk:
    """Room for so many bytes of what Python writes through `Path.open`; as on a real disk, a write may end half-way."""

    def __init__(self, monkeypatch, room):
        self.room, self.written = room, 0
        real, disk = Path.open, self

        class File(io.FileIO):
            def write(self, data):
                fits = min(len(data), disk.room - disk.written)
                if fits <= 0 < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
                disk.written += fits
                return super().write(memoryview(data)[:fits])

        def open(path, mode="r", *args, **kwargs):
            if "b" not in mode or mode == "rb":
                return real(path, mode, *args, **kwargs)
            file = File(path, mode.replace("b", ""))
            return io.BufferedRandom(file) if "+" in mode else io.BufferedWriter(file)

        monkeypatch.setattr(Path, "open", open)


def asked(fakes):
    return Counter(visit.path for visit in fakes.visits("museum", "/media/*"))


def no_links(*_):
    raise OSError(errno.EPERM, "no links on this disk")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.45, 0.55, 0.7, 0.9, 0.97, 0.999])
def test_a_run_on_a_full_disk_says_so_and_the_next_one_asks_for_nothing_that_is_there(
    fakes, tmp_path, monkeypatch, share, links
):
    if not links:  # so that each body is written twice: as it comes, and when it is filed
        monkeypatch.setattr(os, "link", no_links)
    urls = photos(fakes, COUNT)
    with monkeypatch.context() as patch:
        disk = Disk(patch, 10**9)
        scraped(tmp_path / "straight", urls)
    bodies = sum(Path(path).stat().st_size for path in read_index(tmp_path / "straight")["path"])
    assert bodies * (1 if links else 2) < disk.written < bodies * (1.1 if links else 2.1)
    fakes.reset()
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        Disk(patch, int(share * disk.written))
        with pytest.raises(StageError, match="the disk is full; make room and run it again, it goes on from here"):
            scraped(out, urls, retries=0)
    assert not (out / "index.parquet").exists()
    assert not list(out.rglob("incoming/*.tmp")), "what came half takes no room"
    there = {url for url in urls if place(out / "incoming", url).exists()}
    filed = len(journalled(out))
    before = asked(fakes)
    assert len(there) >= before.total() - PER_HOST, "what had come is there, but for what was on its way"
    scraped(out, urls)
    again = asked(fakes) - before
    assert again.total() == COUNT - len(there) and filed <= len(there)
    assert index_digest(out) == index_digest(tmp_path / "straight")


def test_a_disk_that_fills_while_photos_are_filed_keeps_those_that_are(fakes, tmp_path, monkeypatch):
    """More than a batch of them, so that some are journalled."""
    monkeypatch.setattr(os, "link", no_links)
    urls = photos(fakes, 36)
    with monkeypatch.context() as patch:
        disk = Disk(patch, 10**9)
        scraped(tmp_path / "straight", urls)
    fakes.reset()
    with monkeypatch.context() as patch:
        Disk(patch, int(0.9 * disk.written))
        with pytest.raises(StageError, match="the disk is full"):
            scraped(tmp_path / "out", urls)
    assert 16 <= len(journalled(tmp_path / "out")) < 36
    fakes.reset()
    rows = scraped(tmp_path / "out", urls)
    assert {row["status"] for row in rows.values()} == {KEPT} and not asked(fakes)


def test_a_crawl_on_a_full_disk_says_so_and_goes_on(fakes, tmp_path, monkeypatch):
    """SQLite's own full disk: a database that may not grow."""
    monkeypatch.setenv("FOXGAN_INATURALIST_URL", f"{fakes.url('inaturalist')}/v1")
    monkeypatch.setattr(INaturalist, "rate", 1000.0)
    monkeypatch.setattr("foxgan.sources.inaturalist.PER_PAGE", 5)
    fields = {"licenses": "any", "quality_grade": "research,needs_id,casual", "rate": 1000, "workers": 0}
    stage = Scrape(source="inaturalist", taxon="Vulpes vulpes", **fields)
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(frontier, "_SCHEMA", f"PRAGMA max_page_count=6;{frontier._SCHEMA}")
        with pytest.raises(StageError, match="full.*make sure that the disk has room"):
            stage.run(out, Context())
    before = Counter(visit.path for visit in fakes.visits("inaturalist", "*/observations*"))
    assert before.total() > 2, "some pages were kept"
    stage.run(out, Context())
    after = Counter(visit.path for visit in fakes.visits("inaturalist", "*/observations*"))
    assert sum(count > 1 for count in after.values()) == 1, "only the page that could not be written is asked for again"
    assert set(read_index(out, kept=False)["status"]) >= {KEPT}
