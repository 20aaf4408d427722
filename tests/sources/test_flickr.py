"""The spider of Flickr against the fake service."""

import traceback
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest

from foxgan.errors import StageError, UsageError
from foxgan.licenses import allowed
from foxgan.sources import flickr
from foxgan.sources.flickr import Flickr
from foxgan.sources.frontier import Frontier
from foxgan.web import Failed
from tests.fakes import FLICKR_KEY, Fakes
from tests.fakes.flickr import NAMES, uploaded
from tests.fakes.flickr import Flickr as Service
from tests.fakes.holdings import FLICKR_SIZES, flickr_id
from tests.sources.crawls import BrokenOff, crawled

WRONG_KEY = "f" * 32


@pytest.fixture(scope="module")
def server():
    with Fakes(photos=300, side=1200) as fakes:
        yield fakes


@pytest.fixture
def fakes(server, monkeypatch):
    monkeypatch.setenv("FOXGAN_FLICKR_KEY", FLICKR_KEY)
    monkeypatch.setattr(Flickr, "rate", 1000.0)
    server.reset()
    server.set(flickr_distinct=4000)
    return server


@pytest.fixture
def ask(fakes, tmp_path):
    def run(text="fox", folder="crawl", limit=None, break_after=None, retries=5, **params):
        url = f"{fakes.url('flickr')}/services/rest"
        return crawled(Flickr(text, **params), tmp_path / folder, url, limit, break_after, "", retries)

    return run


@pytest.fixture
def small(fakes, monkeypatch):
    """So few results of a search are distinct that time has to be sliced."""
    fakes.set(flickr_distinct=20)
    monkeypatch.setattr(flickr, "DISTINCT", 20)
    monkeypatch.setattr(flickr, "PER_PAGE", 5)


def expected(fakes, policy="open"):
    """The ids of all photos there that may be taken; small ones are in no public size."""
    service, held = Service(fakes.state), fakes.state.holdings
    licenses = {id: flickr._license({"name": name, "url": url}) for id, (name, url) in NAMES.items()}
    public = [p for p in held.flickr() if any(held.flickr_url(p, size) for size in ("o", *FLICKR_SIZES))]
    return {str(flickr_id(p)) for p in public if allowed(licenses[service.license(p)], policy)}


def searches(fakes):
    return [parse_qs(urlsplit(path).query) for path in fakes.visits("flickr", "*photos.search*").paths]


def test_every_photo_with_a_fitting_license_is_found_once(fakes, ask):
    found = ask()
    assert Counter(record["source_id"] for record in found) == Counter(expected(fakes))
    assert {r["license"] for r in found} == {
        *("CC0-1.0", "PDM-1.0", "CC-BY-2.0", "CC-BY-SA-2.0", "CC-BY-4.0", "CC-BY-SA-4.0"),
    }
    assert all(r["license_url"] and r["creator"] and r["landing_url"].endswith(r["source_id"]) for r in found)
    assert all(r["creator"] in r["attribution"] and r["license"] in r["attribution"] for r in found)


@pytest.mark.parametrize("policy", ["noncommercial", "any"])
def test_other_policies_take_more(fakes, ask, policy):
    found = ask(policy=policy)
    assert {record["source_id"] for record in found} == expected(fakes, policy) > expected(fakes)
    licenses = {record["license"] for record in found}
    assert ("LicenseRef-USGov" in licenses) == ("CC-BY-ND-2.0" in licenses) == (policy == "any")
    assert "all-rights-reserved" not in licenses


def test_time_is_sliced_until_no_slice_holds_more_than_is_distinct(fakes, ask, small):
    found = ask(policy="any")
    assert Counter(record["source_id"] for record in found) == Counter(expected(fakes, "any"))
    assert len(found) > 5 * 20
    assert max(int(query["page"][0]) for query in searches(fakes)) == 20 // 5
    assert max(Counter(fakes.visits("flickr").paths).values()) == 1
    assert fakes.visits("flickr").most_at_once == 1


def test_a_second_with_too_many_photos_is_sliced_by_license(fakes, ask, monkeypatch):
    fakes.set(flickr_distinct=1)
    monkeypatch.setattr(flickr, "DISTINCT", 1)
    monkeypatch.setattr(flickr, "PER_PAGE", 1)
    found = {record["source_id"] for record in ask("snow", policy="any")}
    asked = [query for query in searches(fakes) if "," not in query["license"][0]]
    assert asked and all(query["min_upload_date"] == query["max_upload_date"] for query in asked)
    service, snowy = Service(fakes.state), [p for p in fakes.state.holdings.flickr() if p.scene == "snow"]
    taken = {str(flickr_id(p)): (uploaded(p), service.license(p)) for p in snowy}
    wanted = expected(fakes, "any") & {*taken}
    assert {taken[id] for id in found} == {taken[id] for id in wanted}  # one of each license in each second


def test_the_largest_size_up_to_the_wanted_one_is_taken(fakes, ask):
    for size in ("o", "l", "m"):
        found = ask(folder=size, size=size)
        for record in found:
            shown = fakes.shown(record["image_url"])
            sizes = ["o", *FLICKR_SIZES]
            held = fakes.state.holdings
            there = [s for s in [*sizes[sizes.index(size) :], "o"] if held.flickr_url(shown.photo, s)]
            assert record["image_url"] == held.flickr_url(shown.photo, there[0])


@pytest.mark.parametrize("slices", [False, True])
def test_a_crawl_that_is_broken_off_after_any_page_finds_the_same(fakes, ask, slices, monkeypatch, request):
    if slices:
        request.getfixturevalue("small")
    monkeypatch.setattr(flickr.time, "time", lambda: 1_800_000_000.0)
    whole = ask(folder="whole")
    pages = len(searches(fakes))
    for after in range(1, pages, 7):
        fakes.reset()
        with pytest.raises(BrokenOff):
            ask(folder=str(after), break_after=after)
        assert ask(folder=str(after)) == whole
        assert len(searches(fakes)) == pages


def test_the_page_in_flight_is_all_that_is_asked_again(fakes, ask, small, monkeypatch):
    monkeypatch.setattr(flickr.time, "time", lambda: 1_800_000_000.0)
    whole = ask(folder="whole")
    pages = Counter(map(str, searches(fakes)))
    for after in range(0, len(pages), 7):
        fakes.reset()
        fakes.rule("flickr/*photos.search*", "reset", times=1, after=after)
        with pytest.raises(StageError, match="goes on from here"):
            ask(folder=str(after), retries=0)
        assert ask(folder=str(after)) == whole
        assert (Counter(map(str, searches(fakes))) - pages).total() == 1


def test_a_finished_crawl_asks_no_more_and_a_reopened_one_for_what_is_new(fakes, ask, monkeypatch, tmp_path):
    monkeypatch.setattr(flickr.time, "time", lambda: 1_582_000_000.0)
    whole = ask()
    monkeypatch.setattr(flickr.time, "time", lambda: 1_800_000_000.0)
    fakes.reset()
    assert ask() == whole and searches(fakes) == []
    frontier = Frontier(tmp_path / "crawl")
    frontier.reopen()
    frontier.close()
    ask()
    assert searches(fakes)[-1]["min_upload_date"] == ["1582000000"]
    assert len(searches(fakes)) == 2


def test_a_service_that_is_down_for_now_is_asked_again(fakes, ask):
    fakes.switch("flickr_unavailable", times=2)
    assert len(ask()) == len(expected(fakes))


@pytest.mark.parametrize("fault", ["truncated", "reset", "503", "page", "gzip", "wrong_type"])
def test_answers_that_are_broken_are_asked_for_again(fakes, ask, fault):
    fakes.rule("flickr/*photos.search*", fault, times=1)
    assert len(ask()) == len(expected(fakes))


def test_without_a_key_nobody_is_asked(fakes, ask, monkeypatch):
    monkeypatch.delenv("FOXGAN_FLICKR_KEY")
    with pytest.raises(UsageError, match="set FOXGAN_FLICKR_KEY"):
        ask()
    with pytest.raises(UsageError, match="has no size 'xl'"):
        monkeypatch.setenv("FOXGAN_FLICKR_KEY", FLICKR_KEY)
        ask(size="xl")
    assert not fakes.visits("flickr")


@pytest.mark.parametrize("key", [WRONG_KEY, "not a key"])
def test_a_key_that_is_not_accepted_is_told_once(fakes, ask, monkeypatch, key):
    monkeypatch.setenv("FOXGAN_FLICKR_KEY", key)
    with pytest.raises(StageError, match="does not accept the key in FOXGAN_FLICKR_KEY: Invalid API Key"):
        ask()
    assert len(fakes.visits("flickr")) == 1


@pytest.mark.parametrize("fault", ["", "reset", "500", "404", "page", "redirect", "truncated", "empty"])
def test_the_key_is_nowhere_but_in_requests(fakes, ask, tmp_path, capfd, caplog, monkeypatch, fault):
    caplog.set_level("DEBUG")
    if fault:
        fakes.rule("flickr/*photos.search*", fault, after=0)
        with pytest.raises(StageError) as raised:
            ask(retries=0)
        assert FLICKR_KEY not in "".join(traceback.format_exception(raised.value))
    else:
        ask()
    spider = Flickr("fox")
    spider._key = FLICKR_KEY
    with pytest.raises(Failed) as failed:
        spider.check({"stat": "fail", "code": 1, "message": f"Bad {FLICKR_KEY}"}, {})
    told = [repr(spider), str(failed.value), *capfd.readouterr(), caplog.text]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert FLICKR_KEY not in "".join(told) and FLICKR_KEY.encode() not in kept
    assert len(kept) > 1000


@pytest.mark.parametrize(
    ("row", "license"),
    [
        ({"id": 4, "name": "Attribution License", "url": "https://creativecommons.org/licenses/by/2.0/"}, "CC-BY-2.0"),
        ({"id": 13, "name": "x", "url": "https://creativecommons.org/licenses/by-nc/4.0/deed.en"}, "CC-BY-NC-4.0"),
        ({"id": 0, "name": "All Rights Reserved", "url": ""}, "all-rights-reserved"),
        ({"id": 8, "name": "United States Government Work", "url": "http://www.usa.gov/"}, "LicenseRef-USGov"),
        ({"id": 4, "name": "Our own terms", "url": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_service_says_what_its_numbers_mean(row, license):
    assert flickr._license(row) == license
