"""Stage `scrape` from Openverse and GBIF, from the question to the kept photos."""

import pytest

from foxgan.dataset.index import KEPT, read_index
from foxgan.licenses import allowed
from foxgan.sources.gbif import Gbif
from foxgan.sources.openverse import CLIENT_ID, CLIENT_SECRET, Openverse
from foxgan.stages.context import Context
from foxgan.stages.scrape import Scrape
from tests.fakes import Fakes


@pytest.fixture(scope="module")
def fakes():
    with Fakes(photos=60, side=64) as server:
        server.set(openverse_burst=100_000, openverse_sustained=100_000)
        yield server


@pytest.mark.parametrize(
    ("source", "spider", "taxon"), [("openverse", Openverse, "fox"), ("gbif", Gbif, "Vulpes vulpes")]
)
def test_photos_of_a_service_come_with_license_and_origin(tmp_path, monkeypatch, fakes, source, spider, taxon):
    monkeypatch.setattr(spider, "rate", 1000.0)
    monkeypatch.setenv(f"FOXGAN_{source.upper()}_URL", f"{fakes.url(source)}/v1")
    for name in (CLIENT_ID, CLIENT_SECRET):
        monkeypatch.delenv(name, raising=False)
    stage = Scrape(source=source, taxon=taxon, limit=6, rate=1000, retries=0, contact="me@example.org", workers=0)
    stage.check()
    stage.run(tmp_path, Context())
    rows = read_index(tmp_path)
    assert set(rows["source"]) == {source} and len(rows) == 6
    kept = rows.filter(rows["status"] == KEPT)
    assert len(kept) > 3 and all(allowed(license, "open") for license in kept["license"])
    needed = kept.select("landing_url", "group", "image_url", "attribution", "license_url")
    assert not needed.null_count().sum_horizontal()[0]
