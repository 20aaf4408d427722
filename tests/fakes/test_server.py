"""What all fakes have in common: visits, rules, robots, the clock, and that the same seed makes the same world."""

import asyncio
import email.utils
import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest

from tests.fakes import HOSTS, Fakes
from tests.fakes.client import Client, get, post
from tests.fakes.odd import KINDS, odd_picture


def photo(fakes: Fakes) -> str:
    """An address of a picture."""
    return fakes.url("museum") + "/media/0.jpg"


@pytest.fixture
def clients() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_every_host_has_its_own_port_and_robots(fakes: Fakes) -> None:
    assert len({fakes.url(host) for host in HOSTS}) == len(HOSTS)
    assert get(fakes.url("museum") + "/robots.txt").text.startswith("User-agent: *")
    assert get(fakes.url("gbif") + "/robots.txt").status == 404


def test_the_same_seed_makes_the_same_pictures(fakes: Fakes) -> None:
    with Fakes(seed=0) as again, Fakes(seed=1) as other:
        first, second, third = (get(photo(f)).body for f in (fakes, again, other))
    assert first == second != third


def test_starting_and_stopping_takes_no_time() -> None:
    begin = time.monotonic()
    with Fakes():
        pass
    assert time.monotonic() - begin < 0.5


def test_visits_tell_who_came_how_often_and_for_how_much(fakes: Fakes) -> None:
    bodies = [get(photo(fakes), agent=agent).body for agent in ("a/1", "a/1", "b/2")]
    seen = fakes.visits("museum")
    assert seen.paths == ["/media/0.jpg"] * 3
    assert seen.agents == {"a/1", "b/2"}
    assert seen.total_bytes == seen.most_bytes_in(10) == 3 * len(bodies[0])
    assert (seen.most_in(60), seen.most_at_once) == (3, 1)
    assert [len(v) for v in seen.by_client().values()] == [2, 1]
    assert len(fakes.visits("museum", agent="b/*")) == 1
    assert not fakes.visits("farm")


def test_requests_that_overlap_are_counted(fakes: Fakes) -> None:
    fakes.rule("museum/media/*", "slow", seconds=0.2)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(get, [photo(fakes)] * 3))
    assert fakes.visits("museum").most_at_once == 3


@pytest.mark.parametrize("connections", [1, 3])
def test_a_visitor_with_few_connections_is_never_counted_with_more(fakes: Fakes, connections: int) -> None:
    async def visit() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

            async def one(number: int) -> None:
                async with session.get(f"{fakes.url('museum')}/media/{number % 9 * 3}.jpg") as response:
                    await response.read()

            await asyncio.gather(*(one(number) for number in range(200)))

    asyncio.run(visit())
    assert 1 <= fakes.visits("museum").most_at_once <= connections
    assert len(fakes.visits("museum").by_client()) == 1


def test_a_rule_spares_the_first_and_ends_after_its_times(fakes: Fakes) -> None:
    fakes.rule("museum/media/*", "500", after=1, times=2)
    assert [get(photo(fakes)).status for _ in range(4)] == [200, 500, 500, 200]


def test_a_rule_for_all_hosts_begins_with_a_slash(fakes: Fakes) -> None:
    rule = fakes.rule("/robots.txt", "503")
    assert get(fakes.url("farm") + "/robots.txt").status == get(fakes.url("gbif") + "/robots.txt").status == 503
    assert get(photo(fakes)).status == 200
    assert rule.seen == 2


@pytest.mark.parametrize("path, fault", [("museum/*", "explode"), ("nowhere/*", "500")])
def test_a_rule_that_can_never_hold_is_refused(fakes: Fakes, path: str, fault: str) -> None:
    with pytest.raises(KeyError, match="there are|hosts are"):
        fakes.rule(path, fault)


def test_retry_after_is_a_number_a_date_or_absent(fakes: Fakes) -> None:
    fakes.clock.freeze(1_800_000_000)
    waits: list[dict[str, Any]] = [{"retry_after": 7}, {"retry_after": "date", "seconds": 90}, {"retry_after": None}]
    for i, options in enumerate(waits):
        fakes.rule("museum/media/*", "429", after=i, times=1, **options)
    found = [get(photo(fakes)).headers.get("Retry-After") for _ in range(3)]
    assert (found[0], found[2]) == ("7", None)
    assert found[1] and email.utils.parsedate_to_datetime(found[1]).timestamp() == 1_800_000_090


def test_a_host_refuses_for_an_hour_of_its_own_clock(fakes: Fakes) -> None:
    fakes.clock.freeze()
    fakes.rule("museum/media/*", "throttle", seconds=3600)
    answers = []
    for pause in (0, 1800, 1799, 1):
        fakes.clock.advance(pause)
        answer = get(photo(fakes))
        answers.append((answer.status, answer.headers.get("Retry-After")))
    assert answers == [(429, "3601"), (429, "1801"), (429, "2"), (200, None)]


def test_robots_of_any_status_text_and_length(fakes: Fakes) -> None:
    fakes.serve_robots("museum", "User-agent: foxgan\nCrawl-delay: 2\nDisallow: /media/*.jpg$\n", padding=600_000)
    answer = get(fakes.url("museum") + "/robots.txt")
    assert len(answer.body) > 600_000 and answer.text.endswith("Disallow: /media/*.jpg$\n")
    fakes.serve_robots("museum", status=401)
    assert get(fakes.url("museum") + "/robots.txt").status == 401


def test_the_remote_control_does_what_the_methods_do(fakes: Fakes) -> None:
    admin = fakes.url("admin")
    assert "museum" in get(admin + "/").text
    post(admin + "/rule", {"path": "museum/media/*", "fault": "410", "times": 1})
    assert [get(photo(fakes)).status for _ in range(2)] == [410, 200]
    before = fakes.clock.now()
    post(admin + "/advance", {"seconds": 3600})
    assert fakes.clock.now() - before >= 3600
    post(admin + "/settings", {"openverse_depth": 40})
    assert fakes.settings.openverse_depth == 40
    assert [row["status"] for row in get(admin + "/log?host=museum").json] == [410, 200]
    post(admin + "/reset")
    assert not fakes.visits()
    assert post(admin + "/rule", {"path": "museum/*", "fault": "explode"}).status == 400


def test_pictures_have_validators_and_parts(fakes: Fakes) -> None:
    whole = get(photo(fakes))
    tag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    assert get(photo(fakes), {"If-None-Match": tag}).status == 304
    assert get(photo(fakes), {"If-Modified-Since": date}).status == 304
    part = get(photo(fakes), {"Range": "bytes=100-", "If-Range": tag})
    assert (part.status, part.body) == (206, whole.body[100:])
    assert part.headers["Content-Range"] == f"bytes 100-{len(whole.body) - 1}/{len(whole.body)}"
    assert get(photo(fakes), {"Range": f"bytes={len(whole.body)}-"}).status == 416


def test_a_range_is_ignored_or_belongs_to_another_file(fakes: Fakes) -> None:
    tag = get(photo(fakes)).headers["ETag"]
    fakes.rule("museum/media/*", "no_range", times=1)
    assert get(photo(fakes), {"Range": "bytes=100-"}).status == 200
    fakes.switch("changed")
    changed = get(photo(fakes), {"Range": "bytes=100-", "If-Range": tag})
    assert changed.status == 200 and changed.headers["ETag"] != tag


def test_redirects_lead_anywhere(fakes: Fakes) -> None:
    for to, status in (("/media/2.jpg", 301), ("file:///etc/passwd", 307), ("http://10.0.0.1/a.jpg", 308)):
        fakes.reset()
        fakes.rule("museum/media/0.jpg", "redirect", to=to, status=status)
        answer = get(photo(fakes))
        assert (answer.status, answer.headers["Location"]) == (status, to)
    fakes.reset()
    fakes.rule("museum/media/0.jpg", "redirect")
    assert get(photo(fakes)).headers["Location"] == "/media/0.jpg"


def test_headers_may_come_more_than_once(fakes: Fakes) -> None:
    tags = [
        ("X-Robots-Tag", "otherbot: noai, noindex"),
        ("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST"),
    ]
    fakes.rule("museum/media/*", "headers", headers=tags)
    assert get(photo(fakes)).headers.get_all("X-Robots-Tag") == [value for _, value in tags]


def test_bodies_are_changed(fakes: Fakes) -> None:
    good = get(photo(fakes))

    def answer(fault: str, **options: Any) -> Any:
        fakes.reset()
        fakes.rule("museum/media/*", fault, **options)
        return get(photo(fakes))

    assert answer("empty").headers["Content-Length"] == "0"
    assert answer("wrong_type").headers["Content-Type"] == "text/plain"
    page = answer("page")
    assert page.body.startswith(b"<!doctype html") and page.headers["Content-Type"] == "image/jpeg"
    zipped = answer("gzip")
    assert zipped.body[:2] == b"\x1f\x8b" and zipped.headers["Content-Encoding"] == "gzip"
    assert len(answer("gzip", zeros=10_000_000).body) < 20_000
    pieces = answer("chunked")
    assert pieces.body == good.body and "Content-Length" not in pieces.headers
    for kind in ("svg", "html", "huge_header"):
        assert answer("picture", kind=kind).body == odd_picture(kind)


@pytest.mark.parametrize("fault", ["truncated", "reset"])
def test_bodies_break_off(fakes: Fakes, fault: str) -> None:
    whole = len(get(photo(fakes)).body)
    fakes.rule("museum/media/*", fault)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(photo(fakes))
    assert fakes.visits("museum")[-1].bytes == whole // 2


def test_a_host_hangs_up(fakes: Fakes) -> None:
    fakes.rule("museum/media/*", "hang_up", times=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(photo(fakes))
    assert get(photo(fakes)).status == 200


@pytest.mark.parametrize("fault", ["drip", "stall", "endless"])
def test_bodies_never_end(fakes: Fakes, fault: str, clients: Client) -> None:
    fakes.rule("museum/media/*", fault)
    response = clients.open(photo(fakes), timeout=0.3)
    if fault == "endless":
        assert len(response.read(3_000_000)) == 3_000_000
    else:
        with pytest.raises(TimeoutError):
            response.read(10_000_000)


def test_every_odd_picture_is_served_and_looked_at(fakes: Fakes) -> None:
    for kind in KINDS:
        if kind not in ("heic", "avif"):
            assert get(f"{fakes.url('museum')}/odd/{kind}.jpg").status == 200, kind


def test_an_address_tells_which_photo_it_shows(fakes: Fakes) -> None:
    shown = fakes.shown(photo(fakes))
    assert shown is not None and shown.photo == fakes.world.photos[0]
    assert fakes.shown(fakes.url("museum") + "/media/1.jpg") is None
