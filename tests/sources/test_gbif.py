"""The spider of GBIF against the fake service."""

import re

import pytest

from foxgan.errors import StageError
from foxgan.licenses import OPEN, allowed
from foxgan.sources.frontier import Frontier
from foxgan.sources.gbif import Gbif, _parts
from foxgan.sources.inaturalist import INaturalist
from tests.fakes import Fakes
from tests.fakes import gbif as fake
from tests.fakes.client import get
from tests.fakes.fixture import fakes as fakes
from tests.sources.crawls import BrokenOff, crawled

RED_FOX = 5219243
ALL = "HUMAN_OBSERVATION,PRESERVED_SPECIMEN"  # that the fake has


@pytest.fixture
def many():
    with Fakes(photos=400) as server:
        yield server


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.setattr(Gbif, "rate", 1000.0)
    monkeypatch.setattr(INaturalist, "rate", 1000.0)

    def run(
        fakes,
        limit=None,
        taxon="Vulpes vulpes",
        folder="crawl",
        break_after=None,
        spider=Gbif,
        again=False,
        **params,
    ):
        if again:
            known = Frontier(tmp_path / folder)
            known.reopen()
            known.close()
        made = spider(taxon, **params)
        return crawled(made, tmp_path / folder, f"{fakes.url(made.name)}/v1", limit, break_after, retries=1)

    return run


def searches(fakes):
    return fakes.visits("gbif", "/v1/occurrence/*")


def number(record):
    """Of the world's photo that a record tells of."""
    photo = re.search(r"/photos/(\d+)/|/media/(\d+)\.jpg", record["image_url"])
    return (int(photo[1]) - 330_000_001) // 7 if photo[1] else int(photo[2])


def ids(records):
    return {record["source_id"] for record in records}


def test_every_open_picture_of_a_taxon_is_found_once_with_its_own_license(fakes, ask):
    found = ask(fakes)
    assert len(ids(found)) == len(found) > 8
    held = fakes.state.holdings
    for record in found:
        photo = fakes.world.photos[number(record)]
        assert record["license"].startswith({"pd": "PDM"}.get(held.license(photo), held.license(photo).upper()[:5]))
        assert allowed(record["license"], "open") and record["license_url"]
        assert record["creator"] == photo.person.name in record["attribution"]
    assert {record["license"] for record in found} <= {*OPEN, "CC-BY-4.0", "CC-BY-SA-4.0"}
    assert get(found[0]["image_url"]).status == 200


def test_pictures_without_a_license_or_an_address_are_left_out_whatever_their_record_says(many, ask):
    everything = ask(many, policy="any", basis_of_record=ALL)
    sightings = [(s, photos) for s, photos in fake.Gbif(many.state)._records() if s.taxon.gbif == RED_FOX]
    wanted = [p for _, photos in sightings for p in photos if many.state.holdings.license(p) and p.number % 9 != 4]
    assert sorted(number(r) for r in everything) == sorted(p.number for p in wanted)
    assert any(
        fake.record_license(s) == "CC0_1_0" and p.license == "cc-by-nc" for s, photos in sightings for p in photos
    )
    assert len(ask(many, folder="open")) < len(everything)


def test_pictures_of_specimens_in_drawers_are_left_out_unless_asked_for(many, ask):
    specimens = {p.number for s in many.world.sightings if fake.basis(s) == "PRESERVED_SPECIMEN" for p in s.photos}
    alive = {number(record) for record in ask(many)}
    everything = {number(record) for record in ask(many, folder="all", basis_of_record=ALL)}
    assert alive and alive == everything - specimens != everything
    only = ask(many, folder="drawers", basis_of_record="PRESERVED_SPECIMEN")
    assert {number(record) for record in only} == everything & specimens


def test_photos_of_inaturalist_are_known_as_those_that_it_tells_of_itself(many, ask):
    theirs = {f"inaturalist:{r['source_id']}": r for r in ask(many, folder="theirs", spider=INaturalist, policy="any")}
    found = {r["source_id"]: r for r in ask(many, policy="any")}
    shared = theirs.keys() & found.keys()
    assert len(shared) > 50
    assert all(found[key]["group"] == theirs[key]["group"] for key in shared)
    others = [r for key, r in found.items() if not key.startswith("inaturalist:")]
    assert others and all("#" in r["source_id"] and "/media/" in r["image_url"] for r in others)


def test_records_of_others_are_groups_of_their_own():
    row = {
        "key": 44,
        "references": "https://example.org/1",
        "license": "http://creativecommons.org/licenses/by-nc/4.0/",
    }
    media = [
        {"type": "StillImage", "identifier": f"https://example.org/{n}.jpg", "license": "CC_BY_4_0"} for n in range(2)
    ]
    sound = {"type": "Sound", "identifier": "https://example.org/0.mp3", "license": "CC_BY_4_0"}
    found = Gbif("x")._records({**row, "media": [sound, *media, None, {"type": "StillImage"}]})
    assert [(r["source_id"], r["group"]) for r in found] == [("44#1", "gbif:44"), ("44#2", "gbif:44")]
    assert {(r["landing_url"], r["license"], r["creator"]) for r in found} == {
        ("https://example.org/1", "CC-BY-4.0", None)
    }


@pytest.mark.parametrize(
    ("taxon", "words"),
    [
        ("Vulpes vulpez", r"5219243 \(Vulpes vulpes \(Linnaeus, 1758\), species\): set `taxon` to the key"),
        ("Vulpes imaginaria", r"5219234 \(Vulpes Frisch, 1775, genus\): set `taxon` to the key"),
        ("Xyz", "no taxon that is called 'Xyz' exactly; give its scientific name"),
    ],
)
def test_only_exact_names_are_taken_and_others_are_told(fakes, ask, taxon, words):
    with pytest.raises(StageError, match=words):
        ask(fakes, taxon=taxon)
    assert not searches(fakes)


def test_a_key_is_taken_as_it_is(fakes, ask):
    assert ask(fakes, taxon=str(RED_FOX)) == ask(fakes, folder="named")
    assert len(fakes.visits("gbif", "/v1/species/*")) == 1


@pytest.mark.parametrize("depth", [40, 20])
def test_what_is_deeper_than_a_query_goes_is_found_by_years_and_countries(many, ask, monkeypatch, depth):
    straight = ask(many, folder="straight")
    monkeypatch.setattr(Gbif, "depth", depth)
    monkeypatch.setattr(Gbif, "per_page", 5)
    many.set(gbif_depth=depth)
    many.reset()
    assert ids(ask(many)) == ids(straight)
    paths = searches(many).paths
    assert set(searches(many).statuses) == {200} and len(paths) == len(set(paths))
    assert any("year=1500,2100" in path for path in paths)
    assert any("country=" in path for path in paths) == (depth == 20)


def test_years_are_halved_until_they_fit():
    def leaves(query):
        if "," not in query.get("year", ","):
            return [query["year"]]
        return [
            year
            for part in _parts(query, ())
            for year in leaves(dict(pair.split("=") for pair in part.replace("%2C", ",").split("&")))
        ]

    assert sorted(map(int, leaves({"taxonKey": "1"}))) == [*range(1500, 2101)]
    assert _parts({"taxonKey": "1", "year": "2023"}, ["CH", "DE"]) == [
        "taxonKey=1&year=2023&country=CH",
        "taxonKey=1&year=2023&country=DE",
    ]
    assert _parts({"taxonKey": "1", "year": "2023", "country": "DE"}, ["DE"]) == []


def test_a_killed_crawl_goes_on_and_asks_for_nothing_again(fakes, ask, monkeypatch):
    monkeypatch.setattr(Gbif, "per_page", 4)
    monkeypatch.setattr(Gbif, "depth", 16)
    straight = ask(fakes, folder="straight")
    pages = len(searches(fakes))
    assert pages > 20
    for at in (1, 2, 5, 9, pages // 2, pages):
        fakes.reset()
        with pytest.raises(BrokenOff):
            ask(fakes, folder=f"at{at}", break_after=at)
        assert ask(fakes, folder=f"at{at}") == straight
        assert len(searches(fakes)) == pages


def test_a_crawl_killed_before_a_page_was_kept_asks_for_that_page_again(fakes, ask, monkeypatch):
    monkeypatch.setattr(Gbif, "per_page", 4)
    straight = ask(fakes, folder="straight")
    pages = len(searches(fakes))
    calls = iter(range(1, 10**6))
    store = Frontier.store

    def breaks(*args):
        if next(calls) == 3:
            raise BrokenOff
        return store(*args)

    fakes.reset()
    with monkeypatch.context() as patch, pytest.raises(BrokenOff):
        patch.setattr(Frontier, "store", breaks)
        ask(fakes)
    assert ask(fakes) == straight
    paths = searches(fakes).paths
    assert len(paths) == pages + 1 and paths[2] == paths[3]


def test_limit_is_kept_and_a_larger_one_goes_on_from_there(fakes, ask, monkeypatch):
    monkeypatch.setattr(Gbif, "per_page", 4)
    first = ask(fakes, 3)
    assert len(first) == 3 and len(searches(fakes)) < 4
    assert ask(fakes, 6)[:3] == first


def test_who_asks_again_finds_what_is_new(fakes, ask):
    known = ask(fakes)
    photo = next(fakes.world.photos[number(r)] for r in ask(fakes, folder="any", policy="any") if "-NC" in r["license"])
    fakes.relicense(photo.number, "cc-by")
    assert ask(fakes) == known
    assert [number(record) for record in ask(fakes, again=True)[len(known) :]] == [photo.number]


def test_short_waits_and_server_errors_are_sat_out(fakes, ask, monkeypatch):
    monkeypatch.setattr(Gbif, "per_page", 10)
    straight = ask(fakes, folder="straight")
    fakes.rule("gbif/v1/occurrence/*", "429", times=1, retry_after=0)
    fakes.rule("gbif/v1/occurrence/*", "503", times=1, after=2)
    assert ask(fakes) == straight


@pytest.mark.parametrize(
    ("fault", "words", "asked"),
    [
        ("403", "http_403.*keep programs or this network out: set `contact`", 1),
        ("400", "http_400", 1),
        ("500", "http_500.*try again later; the same command goes on", 2),
        ("page", "not_json", 2),
        ("throttle", "http_429.*try again in 6[01] minutes", 1),
    ],
)
def test_what_does_not_pass_is_told_after_few_requests(fakes, ask, fault, words, asked):
    fakes.rule("gbif/v1/occurrence/*", fault)
    with pytest.raises(StageError, match=words):
        ask(fakes)
    assert len(searches(fakes)) == asked
