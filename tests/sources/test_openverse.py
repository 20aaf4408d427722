"""The spider of Openverse against the fake service."""

import time

import pytest

from foxgan.errors import StageError, UsageError
from foxgan.licenses import OPEN, normalised
from foxgan.sources.frontier import FILE, Frontier
from foxgan.sources.openverse import CLIENT_ID, CLIENT_SECRET, LICENSES, Openverse, _license, what_is_left
from tests.fakes import Fakes
from tests.fakes import openverse as fake
from tests.fakes.client import get
from tests.fakes.fixture import fakes as fakes
from tests.sources.crawls import BrokenOff, crawled

WITHOUT_VERSION = {name.removesuffix("-2.0") for name in OPEN}


@pytest.fixture
def many():
    with Fakes(photos=600) as server:
        yield server


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.setattr(Openverse, "rate", 1000.0)
    for name in (CLIENT_ID, CLIENT_SECRET):
        monkeypatch.delenv(name, raising=False)

    def run(fakes, limit=None, folder="crawl", break_after=None, retries=2, calm=True, again=False, **params):
        if calm:
            fakes.set(openverse_burst=100_000, openverse_sustained=100_000)
        if again:
            known = Frontier(tmp_path / folder)
            known.reopen()
            known.close()
        spider = Openverse(**{"text": "fox", **params})
        return crawled(spider, tmp_path / folder, f"{fakes.url('openverse')}/v1", limit, break_after, retries=retries)

    return run


def searches(fakes):
    return fakes.visits("openverse", "/v1/images/*")


def held(fakes, *licenses):
    """What the catalogue has, asked by other means; all of it has to do with foxes and animals."""
    entries = fake.Openverse(fakes.state)._entries()
    return {
        entry.photo.uuid
        for entry in entries
        if entry.license.openverse in (licenses or LICENSES) and not entry.mature and not entry.dead
    }


def test_every_open_picture_is_found_once_with_the_version_of_its_license(fakes, ask):
    found = ask(fakes, text="animal")
    assert len({record["source_id"] for record in found}) == len(found) > 20
    assert {record["license"] for record in found} == {"CC0-1.0", "PDM-1.0", "CC-BY-2.0", "CC-BY-SA-2.0"}
    assert all(record["landing_url"] and record["attribution"] and record["license_url"] for record in found)
    assert {record["creator"] is None for record in found} == {True, False}
    for record in found[:3]:
        assert get(record["image_url"]).status == 200


def test_what_cannot_be_seen_by_one_query_is_found_by_parts_of_it(many, ask):
    found = {record["source_id"] for record in ask(many, text="fox animal", policy="any")}
    wanted = held(many)
    assert len(wanted) > 240 and found >= wanted
    assert all("page=13" not in path for path in searches(many).paths)
    assert set(searches(many).statuses) == {200}


@pytest.mark.parametrize(
    ("depth", "parts"), [(20, ("&source=", "excluded_source=", "aspect_ratio=")), (10, ("&size=", "extension="))]
)
def test_very_shallow_queries_are_split_by_source_and_shape_too(many, ask, monkeypatch, depth, parts):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", depth)
    many.set(openverse_depth=depth)
    found = {record["source_id"] for record in ask(many, policy="any")}
    assert found == held(many) if depth == 20 else len(found) > 0.9 * len(held(many))
    paths = searches(many).paths
    assert len(paths) == len(set(paths)), "nothing is asked twice"
    assert all(any(part in path for path in paths) for part in parts)


def test_short_pages_are_no_end(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 2)
    found = {record["source_id"] for record in ask(fakes)}
    assert found == held(fakes, "cc0", "pdm", "by", "by-sa")


def test_pictures_marked_as_mature_are_left_out_unless_asked_for(fakes, ask):
    known = {e.photo.uuid for e in fake.Openverse(fakes.state)._entries() if e.mature}
    found = {record["source_id"] for record in ask(fakes)}
    assert known and not found & known
    more = {record["source_id"] for record in ask(fakes, folder="mature", mature=True)}
    assert more - found and more - found <= known


def test_policies_decide_what_is_asked_for_and_what_is_taken(fakes, ask):
    found = {policy: ask(fakes, folder=policy, policy=policy) for policy in ("open", "noncommercial", "any")}
    assert len(found["open"]) < len(found["noncommercial"]) < len(found["any"])
    assert "license=cc0,pdm,by,by-sa&" in searches(fakes).paths[0]


@pytest.mark.parametrize(
    ("row", "license"),
    [
        ({"license": "by", "license_version": "2.0"}, "CC-BY-2.0"),
        ({"license": "by", "license_url": "https://creativecommons.org/licenses/by/3.0/"}, "CC-BY-3.0"),
        ({"license": "by", "license_url": "https://creativecommons.org/licenses/by-nc/3.0/"}, "unknown"),
        ({"license": "by", "license_version": "2.0", "license_url": "https://example.org/mine"}, "CC-BY-2.0"),
        ({"license": "pdm", "license_url": "https://creativecommons.org/publicdomain/mark/1.0/"}, "PDM-1.0"),
        ({"license": "sampling+", "license_version": "1.0"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_row_that_contradicts_itself_has_no_license(row, license):
    assert _license(row) == license
    assert normalised(license) == license


def test_a_killed_crawl_goes_on_and_asks_for_nothing_again(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 5)
    fakes.set(openverse_depth=15)
    straight = ask(fakes, folder="straight")
    pages = len(searches(fakes))
    assert pages > 8
    for at in range(1, pages + 1):
        fakes.reset()
        with pytest.raises(BrokenOff):
            ask(fakes, folder=f"at{at}", break_after=at)
        assert ask(fakes, folder=f"at{at}") == straight
        assert len(searches(fakes)) == pages


def test_a_crawl_killed_before_a_page_was_kept_asks_for_that_page_again(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 5)
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


def test_limit_is_kept_and_a_larger_one_goes_on_from_there(fakes, ask):
    first = ask(fakes, 3)
    assert len(first) == 3 and len(searches(fakes)) == 1
    assert ask(fakes, 6)[:3] == first


def test_who_asks_again_finds_what_is_new(fakes, ask, monkeypatch):
    known = ask(fakes)
    number = next(p.number for p in fakes.world.photos if p.license == "cc-by-nc" and p.number % 10 == 0)
    fakes.relicense(number, "cc-by")
    assert ask(fakes) == known
    assert [record["source_id"] for record in ask(fakes, again=True)[len(known) :]] == [fakes.world.photos[number].uuid]


def test_who_has_a_client_asks_with_larger_pages_and_tells_nobody_the_token(many, ask, monkeypatch, tmp_path):
    monkeypatch.setenv(CLIENT_ID, fake.CLIENT_ID)
    monkeypatch.setenv(CLIENT_SECRET, fake.CLIENT_SECRET)
    found = {record["source_id"] for record in ask(many, policy="any")}
    assert found >= held(many)
    assert all("page_size=48" in visit.path for visit in searches(many))
    assert all(visit.headers["Authorization"] == f"Bearer {fake.TOKEN}" for visit in searches(many))
    stored = (tmp_path / "crawl" / FILE).read_bytes()
    assert fake.TOKEN.encode() not in stored and fake.CLIENT_SECRET.encode() not in stored


def test_signing_in_between_two_runs_misses_nothing(many, ask, monkeypatch):
    wanted = {record["source_id"] for record in ask(many, folder="straight", policy="any")}
    with pytest.raises(BrokenOff):
        ask(many, policy="any", break_after=5)
    monkeypatch.setenv(CLIENT_ID, fake.CLIENT_ID)
    monkeypatch.setenv(CLIENT_SECRET, fake.CLIENT_SECRET)
    with pytest.raises(BrokenOff):
        ask(many, policy="any", break_after=2)
    monkeypatch.delenv(CLIENT_ID)
    monkeypatch.delenv(CLIENT_SECRET)
    assert {record["source_id"] for record in ask(many, policy="any")} == wanted


def test_the_token_goes_to_no_other_host(fakes, ask, monkeypatch):
    monkeypatch.setenv(CLIENT_ID, fake.CLIENT_ID)
    monkeypatch.setenv(CLIENT_SECRET, fake.CLIENT_SECRET)
    fakes.rule("openverse/v1/images/*", "redirect", to=fakes.url("museum") + "/v1/images/")
    with pytest.raises(StageError, match="redirected"):
        ask(fakes)
    fakes.rule("openverse/v1/auth_tokens/*", "redirect", to=fakes.url("museum") + "/token", status=307)
    with pytest.raises(StageError, match="redirected"):
        ask(fakes)
    assert not fakes.visits("museum")


def test_a_wrong_client_is_told_without_its_secret(fakes, ask, monkeypatch):
    monkeypatch.setenv(CLIENT_ID, "somebody")
    with pytest.raises(UsageError, match=f"set both {CLIENT_ID} and {CLIENT_SECRET}"):
        ask(fakes)
    monkeypatch.setenv(CLIENT_SECRET, "swordfish")
    with pytest.raises(StageError, match="openverse does not know the client") as error:
        ask(fakes)
    assert "swordfish" not in str(error.value)
    assert not searches(fakes)


@pytest.mark.parametrize(
    ("headers", "pause", "spent"),
    [
        ({}, 0, ""),
        ({"X-RateLimit-Limit-anon_burst": "20/min", "X-RateLimit-Available-anon_burst": "19"}, 3, ""),
        ({"X-RateLimit-Limit-anon_burst": "20/min", "X-RateLimit-Available-anon_burst": "0"}, 60, ""),
        ({"X-RateLimit-Limit-anon_sustained": "200/day", "X-RateLimit-Available-anon_sustained": "1"}, 0, ""),
        ({"X-RateLimit-Limit-anon_sustained": "200/day", "X-RateLimit-Available-anon_sustained": "0"}, 0, "200/day"),
        ({"X-RateLimit-Limit-x": "many", "X-RateLimit-Available-x": "0"}, 0, ""),
        ({"X-RateLimit-Limit-x": "20/min", "X-RateLimit-Available-x": "?"}, 0, ""),
    ],
)
def test_the_less_is_left_the_slower_it_is_asked(headers, pause, spent):
    assert what_is_left(headers) == (pause, spent)


def test_the_limit_of_a_minute_is_never_met(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.openverse.SPANS", {"m": 1, "d": 86400})
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 2)
    monkeypatch.setattr(type(fakes.clock), "now", lambda clock: 60 * time.time())  # a minute there is a second here
    fakes.set(throttle=True, openverse_burst=8, openverse_sustained=100_000)
    ask(fakes, calm=False)
    assert set(searches(fakes).statuses) == {200} and len(searches(fakes)) > 8
    assert searches(fakes).most_in(1) <= 8


def test_a_day_that_is_used_up_ends_the_crawl_before_it_is_refused(many, ask):
    many.set(throttle=True, openverse_burst=100_000, openverse_sustained=5)
    with pytest.raises(StageError, match=r"as often as it allows, 5/day; .*FOXGAN_OPENVERSE_CLIENT_ID"):
        ask(many, calm=False)
    assert len(searches(many)) == 5 and set(searches(many).statuses) == {200}
    with pytest.raises(
        StageError, match=r"does not want to be asked for 14\d\d minutes; try again later; the same command"
    ):
        ask(many, calm=False)
    assert searches(many).statuses == {200: 5, 429: 1}, "who is told to wait a day does not knock again"
    many.clock.advance(86401)
    many.set(openverse_sustained=1000)
    assert {r["source_id"] for r in ask(many)} == {r["source_id"] for r in ask(many, folder="straight")}


def test_short_waits_and_server_errors_are_sat_out(fakes, ask):
    straight = ask(fakes, folder="straight")
    fakes.rule("openverse/v1/images/*", "429", times=1, retry_after=0)
    fakes.rule("openverse/v1/images/*", "503", times=1, after=1)
    fakes.rule("openverse/v1/images/*", "truncated", times=1, after=3)
    assert ask(fakes) == straight


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("403", "http_403.*keep programs or this network out: set `contact`"),
        ("500", "http_500.*try again later; the same command goes on"),
        ("page", "not_json"),
    ],
)
def test_what_does_not_pass_is_told_after_few_requests(fakes, ask, fault, words):
    fakes.rule("openverse/v1/images/*", fault)
    with pytest.raises(StageError, match=words):
        ask(fakes, retries=1)
    assert len(searches(fakes)) == (1 if fault == "403" else 2)


def test_what_openverse_refuses_is_told_in_its_words(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 21)
    with pytest.raises(StageError, match="page_size may not exceed 20 for anonymous requests"):
        ask(fakes)
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 20)
    monkeypatch.setattr("foxgan.sources.openverse.LICENSES", ("cc-0",))
    with pytest.raises(StageError, match=r"refuses what it is asked \(license: License 'cc-0' does not exist\.\)"):
        ask(fakes, folder="second")


def test_a_query_that_is_cut_is_refused(fakes, ask):
    with pytest.raises(UsageError, match="`taxon` has 201 characters, openverse reads 200"):
        ask(fakes, text="f" * 201)


def test_pages_that_are_gone_when_it_goes_on_are_the_end(fakes, ask, monkeypatch, tmp_path):
    monkeypatch.setattr("foxgan.sources.openverse.ANONYMOUS", 5)
    with pytest.raises(BrokenOff):
        ask(fakes, break_after=2)
    known = Frontier(tmp_path / "crawl")
    query, state = known.open_query()
    known.store(query, [], [500, *state[1:]], False)
    known.close()
    before = len(searches(fakes))
    assert ask(fakes)
    assert len(searches(fakes)) == before + 1
