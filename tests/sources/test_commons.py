"""The spider of Wikimedia Commons against the fake service."""

from collections import Counter

import pytest

from foxgan.errors import StageError, UsageError
from foxgan.licenses import OPEN, allowed
from foxgan.sources import commons
from foxgan.sources.commons import Commons
from foxgan.web import Failed
from tests.fakes import Fakes
from tests.fakes.holdings import page_id
from tests.sources.crawls import BrokenOff, crawled

HIDDEN = {"no_info", "empty", "missing", "svg", "video", "gif"}  # what is wrong with files that are no photos to us


@pytest.fixture(scope="module")
def server():
    with Fakes(photos=240, side=64) as fakes:
        fakes.set(commons_imageinfo=4)
        yield fakes


@pytest.fixture
def fakes(server, monkeypatch):
    monkeypatch.setattr(Commons, "rate", 1000.0)
    monkeypatch.setattr(commons, "PER_PAGE", 10)
    monkeypatch.setattr(commons, "PAUSE", 0.01)
    server.reset()
    return server


@pytest.fixture
def ask(fakes, tmp_path):
    def run(text="fox", folder="crawl", limit=None, break_after=None, contact="me@example.org", retries=5, **params):
        params = {"width": 32, **params}
        url = f"{fakes.url('commons')}/w"
        return crawled(Commons(text, **params), tmp_path / folder, url, limit, break_after, contact, retries)

    return run


def expected(fakes, wanted=lambda photo: True):
    """The ids of all photos there that may be taken."""
    held = fakes.state.holdings.commons.values()
    return {str(page_id(photo)) for photo, trap in held if trap not in HIDDEN and wanted(photo)}


def test_a_search_finds_every_photo_once_with_its_license_and_no_drawing_film_or_gif(fakes, ask):
    found = ask()
    assert Counter(record["source_id"] for record in found) == Counter(expected(fakes))
    assert all(allowed(record["license"], "open") and record["license_url"] for record in found)
    assert {record["license"].removesuffix("-4.0") for record in found} == {*OPEN}
    assert all(record["landing_url"] and record["group"] == f"commons:{record['source_id']}" for record in found)


def test_makers_and_credits_are_plain_text(fakes, ask):
    names = {str(page_id(photo)): photo.person.name for photo, _ in fakes.state.holdings.commons.values()}
    found = ask()
    assert {record["creator"] for record in found} == {names[record["source_id"]] for record in found}
    assert all(r["attribution"].startswith(f"{names[r['source_id']]}, ") for r in found)
    assert {r["attribution"].rpartition(", ")[2] for r in found} == {"via Wikimedia Commons"}


def test_the_best_come_first(ask):
    assert [r["source_id"] for r in ask(limit=5)] == [r["source_id"] for r in ask(folder="all")][:5]
    ids = [int(record["source_id"]) for record in ask(folder="all")]
    assert ids != sorted(ids)


def test_thumbnails_are_fetched_unless_originals_are_asked_for_or_there_is_none(fakes, ask):
    small, whole = ask(), ask(folder="whole", width=None)
    assert {fakes.shown(record["image_url"]) is not None for record in (*small, *whole)} == {True}
    assert not any("/thumb/" in record["image_url"] for record in whole)
    without = [r["source_id"] for r in small if "/thumb/" not in r["image_url"]]
    held = fakes.state.holdings
    narrow = {
        p for p, trap in held.commons.values() if trap == "thumb_error" or held.version("commons", p).size(p)[0] <= 32
    }
    assert {*without} == {*map(str, map(page_id, narrow))} & expected(fakes)


def test_a_category_is_walked_with_those_below_it_whatever_circles_there_are(fakes, ask):
    found = ask("category:vulpes_vulpes")
    assert {record["source_id"] for record in found} == expected(fakes, lambda p: p.taxon.name == "Vulpes vulpes")
    asked = Counter(fakes.visits("commons").paths)
    assert max(asked.values()) == 1


def test_depth_bounds_the_walk(fakes, ask):
    sizes = [len(ask("Category:Vulpes vulpes", folder=str(depth), depth=depth)) for depth in (0, 1, 2, 9)]
    assert 0 < sizes[0] <= sizes[1] < sizes[2] == sizes[3]
    fakes.reset()
    ask("Category:Vulpes vulpes", folder="none", depth=0)
    assert not [path for path in fakes.visits("commons").paths if "subcat" in path]


@pytest.mark.parametrize("text", ["fox", "Category:Vulpes vulpes"])
def test_a_crawl_that_is_broken_off_after_any_page_finds_the_same_and_asks_nothing_twice(fakes, ask, text):
    whole = ask(text, folder="whole")
    pages = len(fakes.visits("commons"))
    for after in range(1, pages, 3):
        fakes.reset()
        with pytest.raises(BrokenOff):
            ask(text, folder=str(after), break_after=after)
        assert ask(text, folder=str(after)) == whole
        assert len(fakes.visits("commons")) == pages


def test_the_page_in_flight_is_all_that_is_asked_again(fakes, ask):
    whole = ask(folder="whole")
    pages = fakes.visits("commons").paths
    for after in range(0, len(pages), 3):
        fakes.reset()
        fakes.rule("commons/w/api.php*", "reset", times=1, after=after)
        with pytest.raises(StageError, match="goes on from here"):
            ask(folder=str(after), retries=0)
        assert ask(folder=str(after)) == whole
        assert Counter(fakes.visits("commons").paths) == Counter(pages) + Counter([pages[after]])


def test_all_requests_of_a_batch_ask_alike_and_no_answer_is_asked_for_twice(fakes, ask):
    ask()
    asked = fakes.visits("commons")
    assert all("maxlag=5" in path and "formatversion=2" in path for path in asked.paths)
    assert any("iicontinue" in path for path in asked.paths) and any("gsroffset" in path for path in asked.paths)
    assert asked.most_at_once == 1
    assert len({*asked.paths}) == len(asked)


def test_nobody_is_asked_without_a_contact(fakes, ask):
    with pytest.raises(UsageError, match="set `contact`"):
        ask(contact="")
    assert not fakes.visits("commons")
    ask()
    assert fakes.visits("commons").statuses == {200: len(fakes.visits("commons"))}


@pytest.mark.parametrize("switch", ["maxlag", "ratelimited"])
def test_a_service_that_is_busy_is_asked_again_after_a_pause(fakes, ask, switch, monkeypatch):
    if switch == "maxlag":  # its Retry-After is five seconds
        fakes.switch(switch, times=1)
        with pytest.raises(StageError, match="maxlag: Waiting for db1"):
            ask(retries=0)
    fakes.switch("ratelimited", times=2)
    assert len(ask()) == len(expected(fakes))


def test_a_busy_service_says_how_long_to_wait_and_gets_it():
    spider = Commons("fox")
    error = {"error": {"code": "maxlag", "info": "Waiting"}}
    waits = []
    for headers in ({}, {"Retry-After": "1"}, {"Retry-After": "17"}):
        with pytest.raises(Failed) as failed:
            spider.check(error, headers)
        waits.append((failed.value.wait, failed.value.again))
    assert waits == [(5.0, True), (5.0, True), (17.0, True)]


@pytest.mark.parametrize(
    "answer", [{"error": {"code": "badvalue", "info": "No <b>such</b> value"}}, {"error": "x"}, {"error": []}]
)
def test_other_errors_are_told_and_not_tried_again(answer):
    with pytest.raises(Failed) as failed:
        Commons("fox").check(answer, {})
    assert not failed.value.again and "<" not in failed.value.reason


def test_warnings_are_no_errors_and_a_search_ends_where_the_service_wants_it(fakes, ask, monkeypatch):
    monkeypatch.setattr(commons, "DEEPEST", 30)
    fakes.set(commons_search_depth=30)
    try:
        assert 0 < len(ask()) <= 30
    finally:
        fakes.set(commons_search_depth=10_000)


@pytest.mark.parametrize("fault", ["truncated", "reset", "empty", "page", "503", "chunked", "gzip", "wrong_type"])
def test_answers_that_are_broken_are_asked_for_again(fakes, ask, fault):
    fakes.rule("commons/w/api.php*", fault, times=1, after=2)
    assert {record["source_id"] for record in ask()} == expected(fakes)


def test_an_old_form_of_answers_is_read_too():
    spider = Commons("fox")
    facts = {
        "License": {"value": "cc-by-sa-3.0,2.5,1.0"},
        "LicenseUrl": {"value": "//example.org/l"},
        "Artist": {"value": 7},
    }
    info = {"url": "//h/a.jpg", "mime": "image/jpeg", "mediatype": "BITMAP", "extmetadata": facts}
    old = {"query": {"pages": {"5": {"pageid": 5, "ns": 6, "imageinfo": [info]}}}, "batchcomplete": ""}
    [page] = commons._merged([], old)
    record = spider._record(page)
    assert record["license"] == "CC-BY-SA-3.0" and record["license_url"] == "https://example.org/l"
    assert record["image_url"] == "https://h/a.jpg" and record["creator"] == "7"
    assert record["attribution"] == "7, CC-BY-SA-3.0, via Wikimedia Commons"


def test_a_part_that_comes_later_completes_a_page_and_takes_nothing_away():
    first = {"query": {"pages": [{"pageid": 1, "imageinfo": [{"url": "a"}]}, {"pageid": 2}]}}
    second = {"query": {"pages": [{"pageid": 1}, {"pageid": 2, "imageinfo": [{"url": "b"}]}]}}
    pages = commons._merged(commons._merged([], first), second)
    assert [page["imageinfo"][0]["url"] for page in pages] == ["a", "b"]
