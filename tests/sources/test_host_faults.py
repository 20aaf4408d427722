"""Hosts that are ill, busy, moved or hostile: each of their photos has its reason, and other hosts' photos are kept."""

import contextlib
import socket
import time

import pytest

from foxgan import web
from foxgan.dataset.index import KEPT
from foxgan.sources import hosts, robots
from foxgan.sources.fetch import PER_HOST, Manners, download
from foxgan.stages.base import Context
from tests.fakes.fixture import fakes as fakes
from tests.sources.lists import photos, scraped
from tests.sources.raw import raw_server

OK = b"HTTP/1.1 200 OK\r\n"
FOUND = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
ANSWERS = {  # from a server that speaks no clean HTTP, and the reason of its photo
    b"": "connection",
    b"\0\1garbage\r\n\r\n": "connection",
    b"SSH-2.0-OpenSSH_9.9\r\n": "connection",
    b"HTTP/1.1 abc\r\n\r\n": "connection",
    b"HTTP/1.1 204 No Content\r\n\r\n": "http_204",
    b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc": "http_206",
    b"HTTP/1.1 304 Not Modified\r\n\r\n": "http_304",
    b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n": "http_416",
    OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n": "connection",
    OK + b"X: a\r\n" * 50_000 + b"\r\n": "connection",
    OK + b"Content-Length: -5\r\n\r\nabc": "connection",
    OK + b"Content-Length: 99999999999999999999\r\n\r\nabc": "connection",
    OK + b"Content-Length: 99999999\r\n\r\nabc": "too_large",
    OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n": "connection",
    OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc": "connection",
    OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc": "connection",
    OK + b'ETag: "\xff\x01"\r\nContent-Length: 30\r\n\r\nabc': "connection",
    OK + b"X-Robots-Tag: \xff\r\nContent-Length: 3\r\n\r\nabc": "not_an_image",
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n": "http_302",
    FOUND + b"/\xff\xfe\r\n\r\n": "bad_url",
    FOUND + b"http://[::bad/\r\n\r\n": "bad_url",
    FOUND + b"http://127.0.0.1:999999/\r\n\r\n": "bad_url",
    FOUND + b"http://" + b"a" * 300 + b".org/\r\n\r\n": "bad_url",
    FOUND + b"file:///etc/passwd\r\n\r\n": "bad_url",
    FOUND + b"javascript:alert(1)\r\n\r\n": "bad_url",
}


def test_answers_that_are_no_http_cost_one_photo_each(fakes, tmp_path):
    with contextlib.ExitStack() as stack:
        odd = {stack.enter_context(raw_server(answer)) + "/a.jpg": reason for answer, reason in ANSWERS.items()}
        good = photos(fakes, 3)
        rows = scraped(tmp_path / "out", [*odd, *good], connections=64, robots=False)
    assert {url: row["status"] for url, row in rows.items()} == odd | dict.fromkeys(good, KEPT)


def test_addresses_that_are_none_cost_one_photo_each(fakes, tmp_path):
    bad = ["http://", "http:///a.jpg", "http://[::bad/a.jpg", "ftp://x/a", "a.jpg", "http://a..b/x", "http://x:99999/a"]
    good = photos(fakes, 2)
    rows = scraped(tmp_path / "out", [*bad, *good])
    assert {url: row["status"] for url, row in rows.items()} == dict.fromkeys(bad, "bad_url") | dict.fromkeys(
        good, KEPT
    )
    found = {}
    download(["http://127.0.0.1/\ud83d.jpg"], tmp_path / "in", Manners(), found.__setitem__)
    assert list(found.values()) == ["bad_url"], "half a character, as JSON may hold it"


STATUSES = {  # a fault, how it is set, and what becomes of the photo
    "404": ("404", {}, "http_404"),
    "410": ("410", {}, "http_410"),
    "403 of a CDN": ("403", {}, "http_403"),
    "500": ("500", {}, "http_500"),
    "500, then 200": ("500", {"times": 1}, KEPT),
    "503": ("503", {"retry_after": 0}, "http_503"),
    "503, then 200": ("503", {"times": 1}, KEPT),
    "429 with seconds": ("429", {"times": 1, "retry_after": 1}, KEPT),
    "429 with a date": ("429", {"times": 1, "retry_after": "date", "seconds": 1}, KEPT),
    "429 with nothing": ("429", {"times": 1, "retry_after": None}, KEPT),
    "429 with nonsense": ("429", {"times": 1, "retry_after": "soon"}, KEPT),
    "301": ("redirect", {"times": 1, "status": 301}, KEPT),
    "307": ("redirect", {"times": 1, "status": 307}, KEPT),
    "308": ("redirect", {"times": 1, "status": 308}, KEPT),
    "relative": ("redirect", {"to": "../media/./51.jpg"}, KEPT),
    "loop": ("redirect", {}, "too_many_redirects"),
    "to a file": ("redirect", {"to": "file:///etc/passwd"}, "bad_url"),
    "to another host": ("redirect", {"to": "{pages}/files/photos/1.jpg"}, KEPT),
    "to a host without robots": ("redirect", {"to": "{farm}/x.jpg"}, "robots"),
    "to nobody": ("redirect", {"to": "http://127.0.0.1:9/x.jpg"}, "robots_unreachable"),
    "noai": ("headers", {"headers": [("X-Robots-Tag", "otherbot: all"), ("X-Robots-Tag", "noai")]}, "noai"),
}


def test_statuses_and_redirects_cost_one_photo_each(fakes, tmp_path):
    fakes.serve_robots("farm", "User-agent: *\nDisallow: /")
    urls = dict(zip(STATUSES, photos(fakes, len(STATUSES)), strict=True))
    for name, (fault, options, _) in STATUSES.items():
        given = {k: v.format(**fakes.state.urls) if k == "to" else v for k, v in options.items()}
        fakes.rule(urls[name].replace(fakes.url("museum"), "museum"), fault, **given)
    rows = scraped(tmp_path / "out", urls.values())
    assert {name: rows[url]["status"] for name, url in urls.items()} == {n: s for n, (_, _, s) in STATUSES.items()}
    assert not fakes.visits("farm", "/x.jpg")


def test_photos_of_a_host_whose_rules_cannot_be_read_wait_for_a_later_run(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(robots, "PATIENCE", 4.0)
    monkeypatch.setattr(web, "SLOWEST", 1)
    ill, slow, drips, healed, large = ("open-data", "static", "farm", "museum", "pages")
    fakes.serve_robots(ill, status=503)
    fakes.rule(f"{slow}/robots.txt", "slow", seconds=30)
    fakes.rule(f"{drips}/robots.txt", "drip_head", seconds=0.1)
    fakes.rule(f"{healed}/robots.txt", "503", times=1)
    fakes.serve_robots(large, "User-agent: *\nDisallow: /", padding=600_000)
    waiting = [f"{fakes.url(host)}/{n}.jpg" for host in (ill, slow, drips) for n in range(2)]
    good = photos(fakes, 3, healed) + photos(fakes, 3, large)
    rows = scraped(tmp_path / "out", [*waiting, *good])
    assert {url: row["status"] for url, row in rows.items()} == {
        **dict.fromkeys(waiting, "robots_unreachable"),
        **dict.fromkeys(good, KEPT),
    }
    assert [
        visit.path for host in (ill, slow, drips) for visit in fakes.visits(host) if visit.path != "/robots.txt"
    ] == []
    fakes.reset()
    again = scraped(tmp_path / "out", [*waiting, *good])
    assert {again[url]["status"] for url in waiting} == {"http_404"}, "these are asked for now"
    assert len(fakes.visits("museum")) == 0, "and what is there is not"


@pytest.mark.parametrize("told", ["an hour", "nothing"])
def test_a_host_that_is_busy_for_an_hour_is_left_and_asked_again_by_a_later_run(fakes, tmp_path, told):
    busy, good = photos(fakes, 20, "pages"), photos(fakes, 20)
    if told == "an hour":
        fakes.rule("pages/files/*", "throttle", seconds=3600)
    else:
        fakes.rule("pages/files/*", "429", retry_after=None)
    begun = time.monotonic()
    rows = scraped(tmp_path / "out", [*busy, *good], retries=1 if told == "an hour" else 0)
    assert time.monotonic() - begun < 20
    assert {rows[url]["status"] for url in busy} == {"http_429"} and {rows[url]["status"] for url in good} == {KEPT}
    asked = len(fakes.visits("pages", "/files/*"))
    assert asked <= (PER_HOST if told == "an hour" else hosts.GIVE_UP + PER_HOST)
    fakes.reset()
    rows = scraped(tmp_path / "later", [*busy, *good], Context(earlier=[tmp_path / "out"]))
    assert {row["status"] for row in rows.values()} == {KEPT}
    assert len(fakes.visits("pages", "/files/*")) == len(busy) and not fakes.visits("museum")


def test_a_rest_that_a_host_asks_for_is_kept_on_all_connections(fakes, tmp_path):
    fakes.rule("museum/media/*", "429", after=6, times=1, retry_after=1)
    fakes.rule("museum/media/*", "slow", seconds=0.05)
    rows = scraped(tmp_path / "out", photos(fakes, 20))
    assert {row["status"] for row in rows.values()} == {KEPT}
    visits = fakes.visits("museum", "/media/*")
    refused = next(visit for visit in visits if visit.status == 429)
    rested = [visit for visit in visits if refused.ended < visit.began < refused.ended + 0.9]
    assert len(rested) <= PER_HOST - 1, "only what was on its way already"
    assert len(visits) == 21


def test_a_host_to_which_others_lead_has_no_more_connections_than_any(fakes, tmp_path):
    shown = iter(photos(fakes, 20))
    led = [
        f"{fakes.url(host)}/{n}.jpg" for host in ("open-data", "static", "farm", "pages", "upload") for n in range(4)
    ]
    for url in led:
        host, _, path = url.removeprefix("http://").partition("/")
        name = next(name for name, base in fakes.state.urls.items() if base.endswith(host))
        fakes.rule(f"{name}/{path}", "redirect", to=next(shown))
    fakes.rule("museum/*", "slow", seconds=0.1)
    rows = scraped(tmp_path / "out", led, connections=32, contact="me@example.org")
    assert {row["status"] for row in rows.values()} == {KEPT}
    assert 2 < fakes.visits("museum", "/media/*").most_at_once <= PER_HOST


def test_a_host_that_is_gone_is_not_waited_for_a_hundred_times(fakes, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    gone, good = [f"http://127.0.0.1:{port}/{n}.jpg" for n in range(200)], photos(fakes, 5)
    begun = time.monotonic()
    rows = scraped(tmp_path / "out", [*gone, *good], robots=False)
    assert {rows[url]["status"] for url in gone} == {"connection"} and {rows[url]["status"] for url in good} == {KEPT}
    assert time.monotonic() - begun < 15, "200 photos with a pause of half a second each"


def test_photos_that_are_missing_do_not_close_a_host(fakes, tmp_path):
    missing = [f"{fakes.url('museum')}/media/{number}.jpg" for number in range(1000, 1030)]
    fakes.rule("museum/media/10[01]*", "500")
    good = photos(fakes, 3)
    rows = scraped(tmp_path / "out", [*missing, *good], retries=0)
    assert {rows[url]["status"] for url in missing} == {"http_500", "http_404"}
    assert {rows[url]["status"] for url in good} == {KEPT}


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_jumps_hurries_nothing_and_holds_nothing_up(fakes, tmp_path, monkeypatch, jump):
    """The server's clock stands still; ours is a day off after a moment."""
    fakes.clock.freeze()
    fakes.rule("museum/media/*", "429", after=4, times=1, retry_after="date", seconds=2)
    real, begun = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() + (jump if time.monotonic() > begun + 0.1 else 0))
    rows = scraped(tmp_path / "out", photos(fakes, 20), rate=20)
    assert {row["status"] for row in rows.values()} == {KEPT}
    assert time.monotonic() - begun < 15
    visits = fakes.visits("museum", "/media/*")
    refused = next(position for position, visit in enumerate(visits) if visit.status == 429)
    rest = [b.began - a.began for a, b in zip(visits[refused:], visits[refused + 1 :], strict=False)]
    assert max(rest) > 1, "a date has whole seconds"
    assert visits.most_in(1.0) <= 22


@pytest.mark.parametrize("addresses", [["127.0.0.2"], ["127.0.0.2", "127.0.0.3"]])
def test_a_name_that_now_leads_to_this_machine_costs_only_its_own_photos(fakes, tmp_path, monkeypatch, addresses):
    """DNS rebinding, as seen from a world in which 127.0.0.1 is a public address and no other is."""

    def resolve(host, port, *args, **kwargs):
        found = addresses if host == "rebind.example" else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.delenv("FOXGAN_ALLOW_PRIVATE")
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    good = photos(fakes, 3)
    bad = [url.replace("127.0.0.1", "rebind.example") for url in good]
    fakes.rule(photos(fakes, 4)[3].replace(fakes.url("museum"), "museum"), "redirect", to=bad[0])
    led = photos(fakes, 4)[3]
    rows = scraped(tmp_path / "out", [*bad, led, *good])
    assert {url: row["status"] for url, row in rows.items()} == {
        **dict.fromkeys([*bad, led], "private_address"),
        **dict.fromkeys(good, KEPT),
    }
    assert not [visit for visit in fakes.visits() if "rebind" in visit.headers["Host"]]
