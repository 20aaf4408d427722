"""The spider of iNaturalist against the fake service."""

import urllib.request

import pytest

from foxgan.errors import StageError
from foxgan.licenses import OPEN, allowed
from foxgan.sources.crawl import Asking, crawl
from foxgan.sources.frontier import Frontier
from foxgan.sources.inaturalist import INaturalist, photo_url
from tests.fakes.fixture import fakes as fakes


@pytest.fixture
def ask(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(INaturalist, "rate", 1000.0)

    def run(limit=None, taxon="Vulpes vulpes", retries=5, **params):
        frontier = Frontier(tmp_path / str(params))
        try:
            asking = Asking(f"{fakes.url('inaturalist')}/v1", retries=retries)
            crawl(INaturalist(taxon, **params), frontier, asking, limit)
            return list(frontier.records(limit))
        finally:
            frontier.close()

    return run


def test_every_open_photo_of_a_taxon_is_found_once_with_its_own_license(ask):
    found = ask()
    assert len(found) > 5
    assert len({record["source_id"] for record in found}) == len(found)
    assert all(allowed(record["license"], "open") and record["creator"] for record in found)
    assert {record["license"] for record in found} <= {*OPEN}
    assert all(record["group"].startswith("inaturalist:") and record["landing_url"] for record in found)


def test_what_stands_in_for_a_photo_is_never_asked_for(ask):
    found = ask(policy="any")
    assert all("/photos/" in record["image_url"] and "original." in record["image_url"] for record in found)
    for record in found[:3]:
        assert urllib.request.urlopen(record["image_url"]).status == 200


def test_other_policies_take_more(ask):
    assert len(ask()) < len(ask(policy="noncommercial")) <= len(ask(policy="any"))


def test_a_name_is_asked_for_its_id_once_and_an_unclear_one_is_told(ask):
    with pytest.raises(StageError, match="set `taxon` to the id of the one you mean"):
        ask(taxon="fox")
    with pytest.raises(StageError, match="no taxa called 'Vulpes unheardof'"):
        ask(taxon="Vulpes unheardof")


def test_limit_is_kept_and_a_larger_one_goes_on_from_there(ask):
    first = ask(limit=3)
    assert len(first) == 3
    assert ask(limit=6)[:3] == first
    assert len(ask()) > 6


@pytest.mark.parametrize(
    ("square", "large"),
    [
        ("https://h/photos/33/square.jpg", "https://h/photos/33/large.jpg"),
        ("https://h/photos/33/square.JPG?159", "https://h/photos/33/large.JPG?159"),
        ("http://h:8900/a/photos/33/square.jpeg", "http://h:8900/a/photos/33/large.jpeg"),
        ("https://h/assets/copyright-infringement-square.png", None),
        ("https://h/assets/artificially-generated-content-square.png", None),
        ("https://h/attachment_defaults/local_photos/square.png", None),
        ("None", None),
    ],
)
def test_only_the_word_for_the_size_changes_in_an_address(square, large):
    assert photo_url(square, "large") == large
