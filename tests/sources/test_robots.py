"""What hosts ask of robots is done; and no name or redirect leads to a private address."""

import dataclasses
import socket
import time

import pytest
from werkzeug import Response

from foxgan.sources.fetch import Manners, download
from foxgan.sources.robots import kept_out, wants_contact
from foxgan.web import agent, is_public

POLITE = Manners(timeout=2, retries=0, rate=1000, contact="me@example.org")


@pytest.fixture
def fetch(tmp_path):
    def run(*urls, manners=POLITE):
        found = {}
        download(urls, tmp_path / "in", manners, found.__setitem__)
        return list(found.values()) if len(urls) > 1 else found[urls[0]]

    return run


def serve(httpserver, robots, status=200, **headers):
    httpserver.expect_request("/robots.txt").respond_with_data(robots, status=status)
    httpserver.expect_request("/a.jpg").respond_with_data(b"body", headers=headers)
    return httpserver.url_for("/a.jpg")


def asked(httpserver):
    return [request.path for request, _ in httpserver.log]


def test_who_asks_is_told_with_version_contact_and_library(httpserver, fetch):
    assert fetch(serve(httpserver, "")) == ""
    [first, *_] = [request.headers["User-Agent"] for request, _ in httpserver.log]
    assert first == agent("me@example.org")
    assert first.startswith("foxgan/") and "(me@example.org) aiohttp/" in first


def test_hosts_that_demand_a_contact_are_not_asked_without_one_nor_after_a_redirect(httpserver, fetch, monkeypatch):
    monkeypatch.setattr("foxgan.sources.robots.CONTACT_WANTED", ("localhost",))
    there = serve(httpserver, "")
    away = there.replace("localhost", "127.0.0.1").replace("a.jpg", "away.jpg")
    httpserver.expect_request("/away.jpg").respond_with_data("", status=302, headers={"Location": there})
    nobody = dataclasses.replace(POLITE, contact="")
    assert fetch(there, away, manners=nobody) == ["contact", "contact"]
    assert asked(httpserver) == ["/robots.txt", "/away.jpg"]
    assert fetch(there, away) == ["", ""]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://upload.wikimedia.org/wikipedia/commons/2/25/Fox.jpg", True),
        ("https://UPLOAD.wikimedia.org./Fox.jpg", True),
        ("https://de.wikipedia.org:443/wiki/Fuchs", True),
        ("https://notwikimedia.org/Fox.jpg", False),
        ("https://wikimedia.org.example.com/Fox.jpg", False),
    ],
)
def test_all_hosts_of_wikimedia_demand_a_contact(url, wanted):
    assert wants_contact(url) is wanted


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        ("User-agent: *\nDisallow: /", "robots"),
        ("User-agent: foxgan\nDisallow: /*.jpg$", "robots"),
        ("User-agent: *\nDisallow: /\n\nUser-agent: foxgan\nAllow: /", ""),
        ("User-agent: otherbot\nDisallow: /", ""),
        ("User-agent: *\nCrawl-delay: 3600", "robots"),
        ("#" * 600_000 + "\nUser-agent: *\nDisallow: /", ""),
    ],
)
def test_rules_hold_for_us_as_the_standard_says(httpserver, fetch, robots, reason):
    assert fetch(serve(httpserver, robots)) == reason
    assert asked(httpserver) == ["/robots.txt"] + ["/a.jpg"] * (reason == "")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, ""),
        (401, ""),
        (403, ""),
        (500, "robots_unreachable"),
        (503, "robots_unreachable"),
        (429, "robots_unreachable"),
    ],
)
def test_without_rules_all_is_allowed_and_while_the_host_is_ill_nothing(httpserver, fetch, status, reason):
    assert fetch(serve(httpserver, "User-agent: *\nDisallow: /", status)) == reason


def test_robots_txt_is_asked_for_once_and_its_delay_is_kept(httpserver, fetch):
    times = []
    httpserver.expect_request("/robots.txt").respond_with_data("User-agent: *\nCrawl-delay: 0.2")
    httpserver.expect_request("/a.jpg").respond_with_handler(lambda _: times.append(time.monotonic()) or Response(b"x"))
    assert set(fetch(*(httpserver.url_for(f"/a.jpg?{n}") for n in range(4)))) == {""}
    assert asked(httpserver).count("/robots.txt") == 1
    assert max(times) - min(times) >= 0.55


def test_rules_of_the_host_that_a_redirect_leads_to_hold(httpserver, fetch):
    other = httpserver.url_for("/a.jpg").replace("localhost", "127.0.0.1")
    host = httpserver.url_for("/").replace("127.0.0.1", "localhost")

    def robots(request):
        return Response("User-agent: *\nDisallow: /" if request.host.startswith("127") else "")

    httpserver.expect_request("/robots.txt").respond_with_handler(robots)
    httpserver.expect_request("/go").respond_with_data("", status=302, headers={"Location": other})
    assert fetch(f"{host}go") == "robots"
    assert "/a.jpg" not in asked(httpserver)


def test_pictures_that_must_not_be_learned_from_are_left(httpserver, fetch):
    assert fetch(serve(httpserver, "", **{"X-Robots-Tag": "noai"})) == "noai"


def test_who_says_so_does_not_ask(httpserver, fetch):
    url = serve(httpserver, "User-agent: *\nDisallow: /", **{"X-Robots-Tag": "noai"})
    assert fetch(url, manners=Manners(robots=False)) == ""


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        (["noai"], True),
        (["all, NoImageAI"], True),
        (["nofollow", "noindex"], True),
        (["none"], True),
        (["foxgan: noai"], True),
        (["otherbot: noai"], False),
        (["otherbot: nofollow, noai"], False),
        (["otherbot: noai", "noml"], True),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], False),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], True),
        (["max-image-preview: none"], False),
        ([], False),
        ([":", ",,", "noaix"], False),
    ],
)
def test_robots_tags_are_read_with_their_agents_and_values(tags, kept):
    assert kept_out(tags) is kept


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
        ),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
    ],
)
def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_other_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("robots", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_no_name_leads_to_this_machine(httpserver, fetch, monkeypatch, host, robots):
    monkeypatch.delenv("FOXGAN_ALLOW_PRIVATE")
    httpserver.expect_request("/a.jpg").respond_with_data(b"body")
    reason = fetch(f"http://{host}:{httpserver.port}/a.jpg", manners=Manners(retries=0, robots=robots))
    assert reason == ("bad_url" if host.isdigit() else "private_address")
    assert httpserver.log == []


def test_a_name_that_changes_its_address_leads_nowhere_either(httpserver, fetch, monkeypatch):
    """DNS rebinding: what counts is the address that is connected to, not one that was looked up before."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1", "127.0.0.1"])

    def resolve(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.delenv("FOXGAN_ALLOW_PRIVATE")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    socket.getaddrinfo("rebind.example", 80)
    reason = fetch(f"http://rebind.example:{httpserver.port}/a.jpg", manners=Manners(retries=0, robots=False))
    assert reason == "private_address"
    assert httpserver.log == []
