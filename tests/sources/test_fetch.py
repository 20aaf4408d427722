"""The downloader against hosts that misbehave in every known way (tests/fakes), and its manners as those hosts see them."""

import hashlib
import urllib.request

import pytest

from foxgan.sources.crawl import Asking
from foxgan.sources.fetch import PER_HOST, Manners, download, place
from foxgan.sources.frontier import Frontier
from foxgan.sources.inaturalist import INaturalist
from foxgan.sources.services import find
from tests.fakes.fixture import fakes as fakes

FAST = Manners(timeout=1, retries=2, rate=1000, max_bytes=5_000_000)


@pytest.fixture
def urls(fakes, tmp_path, monkeypatch):
    """Addresses of photos at two image hosts."""
    monkeypatch.setattr(INaturalist, "rate", 1000.0)
    find(INaturalist("Vulpes vulpes", "any"), tmp_path / "crawl", [], Asking(f"{fakes.url('inaturalist')}/v1"), None)
    frontier = Frontier(tmp_path / "crawl")
    found = [record["image_url"] for record in frontier.records()]
    frontier.close()
    return found


@pytest.fixture
def fetch(tmp_path):
    def run(*urls, manners=FAST):
        found = {}
        download(urls, tmp_path / "in", manners, found.__setitem__)
        assert [p for p in (tmp_path / "in").iterdir() if p.suffix] == [], "nothing half is left"
        return [found[url] for url in urls] if len(urls) > 1 else found[urls[0]]

    return run


def body(tmp_path, url):
    return hashlib.sha256(place(tmp_path / "in", url).read_bytes()).hexdigest()


def served(url):
    with urllib.request.urlopen(url) as response:
        return hashlib.sha256(response.read()).hexdigest()


@pytest.mark.parametrize("fault", ["truncated", "reset"])
@pytest.mark.parametrize("other", [None, "no_range", "no_validators"])
def test_a_body_that_breaks_off_goes_on_where_it_was(fakes, fetch, urls, tmp_path, fault, other):
    if other:
        fakes.rule("/*photos/*", other)
    fakes.rule("/*photos/*", fault, times=1)
    assert fetch(urls[0]) == ""
    visits = [visit for visit in fakes.visits() if "/photos/" in visit.path]
    assert body(tmp_path, urls[0]) == served(urls[0])
    assert len(visits) == 2
    whole = place(tmp_path / "in", urls[0]).stat().st_size
    assert (sum(visit.bytes for visit in visits) <= 1.1 * whole) is (other is None), "without a range it comes again"


def test_a_body_that_has_changed_meanwhile_is_fetched_anew(fakes, fetch, urls, tmp_path):
    fakes.rule("/*photos/*", "truncated", times=1)
    fakes.switch("changed", times=1)
    assert fetch(urls[0]) == ""
    assert body(tmp_path, urls[0]) == served(urls[0]) or len(fakes.visits(path="/*photos/*")) > 2


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("404", {}, "http_404"),
        ("410", {}, "http_410"),
        ("403", {}, "http_403"),
        ("429", {"retry_after": 3600}, "http_429"),
        ("429", {"retry_after": "date", "seconds": 3600}, "http_429"),
        ("throttle", {"seconds": 3600}, "http_429"),
        ("stall", {}, "timeout"),
        ("endless", {}, "too_large"),
        ("gzip", {"zeros": 50_000_000}, "too_large"),
        ("redirect", {}, "too_many_redirects"),
        ("redirect", {"to": "file:///etc/passwd"}, "bad_url"),
        ("redirect", {"to": "//[::bad/x"}, "bad_url"),
        ("headers", {"headers": [("X-Robots-Tag", "otherbot: noai"), ("X-Robots-Tag", "noimageai")]}, "noai"),
    ],
)
def test_every_failure_has_its_reason(fakes, fetch, urls, fault, options, reason):
    fakes.rule("/*photos/*", fault, **options)
    assert fetch(urls[0]) == reason


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("500", {"times": 1}),
        ("503", {"times": 2, "retry_after": 0}),
        ("429", {"times": 1, "retry_after": "date", "seconds": 0}),
        ("stall", {"times": 1}),
        ("chunked", {}),
        ("gzip", {}),
        ("wrong_type", {}),
        ("redirect", {"times": 1, "status": 301}),
        ("redirect", {"times": 1, "status": 308}),
    ],
)
def test_what_passes_or_does_no_harm_ends_well(fakes, fetch, urls, tmp_path, fault, options):
    fakes.rule("/*photos/*", fault, **options)
    assert fetch(urls[0]) == ""
    fakes.reset()
    assert body(tmp_path, urls[0]) == served(urls[0])


def test_a_server_that_drips_is_left_in_the_end(fakes, fetch, urls):
    fakes.rule("/*photos/*", "drip", seconds=0.05)
    assert fetch(urls[0], manners=Manners(timeout=0.1, retries=0, rate=1000)) == "timeout"


def test_a_redirect_to_a_private_address_is_not_followed(fakes, fetch, urls, monkeypatch):
    """As seen from a public host, here by letting this machine's one address in and no other."""
    from foxgan import web

    monkeypatch.delenv("FOXGAN_ALLOW_PRIVATE")
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    for to in (
        "http://127.0.0.2:80/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
    ):
        fakes.rule("/*photos/*", "redirect", times=1, to=to)
        assert fetch(urls[0]) == "private_address"


def test_hosts_see_no_more_than_they_were_promised(fakes, fetch, urls):
    fakes.rule("/*photos/*", "slow", seconds=0.05)
    assert set(fetch(*urls, manners=Manners(timeout=2, rate=25, connections=16, contact="me@example.org"))) == {""}
    hosts = {visit.host for visit in fakes.visits(path="/*photos/*")}
    for host in hosts:
        seen = fakes.visits(host)
        assert seen.most_at_once <= PER_HOST
        assert seen.most_in(1.0) <= 26 + 1, "and robots.txt once"
        assert seen.paths.count("/robots.txt") == 1
        assert all("(me@example.org)" in agent for agent in seen.agents)
