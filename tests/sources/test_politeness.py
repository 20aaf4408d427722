"""Manners of every spider and of the downloads that follow, as the hosts see them."""

from importlib import import_module

import pytest

from foxgan.dataset.index import KEPT, read_index
from foxgan.sources.fetch import PER_HOST
from foxgan.sources.openverse import CLIENT_ID, CLIENT_SECRET
from foxgan.sources.services import SERVICES
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape
from foxgan.web import agent
from tests.fakes import FLICKR_KEY, IMAGE_HOSTS, Fakes

CONTACT = "https://example.org/foxes; me@example.org"
ASKED = 8.0  # requests a second to a service, so that the test needs seconds
FETCHED = 10.0  # and to an image host
PATHS = {"inaturalist": "/v1", "openverse": "/v1", "commons": "/w", "gbif": "/v1", "flickr": "/services/rest"}
ASKS = {  # what a crawl asks for
    "inaturalist": "/v1/observations*",
    "openverse": "/v1/images*",
    "commons": "/w/api.php*",
    "gbif": "/v1/occurrence*",
    "flickr": "/services/rest*",
    "page": "/gallery*",
}


@pytest.fixture(scope="module", params=ASKS)
def crawl(request, tmp_path_factory):
    """A run of `foxgan scrape` from a service that once asks for a rest of a second, with a picture that has moved to a host without
    welcome: the fakes, the service's host, what it was asked, and the rows."""
    source, out = request.param, tmp_path_factory.mktemp("out")
    host = "pages" if source == "page" else source
    module, name = SERVICES[source]
    with Fakes(photos=90, side=64) as fakes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOXGAN_ALLOW_PRIVATE", "1")
        patch.setenv(f"FOXGAN_{source.upper()}_URL", fakes.url(host) + PATHS.get(source, ""))
        patch.setenv("FOXGAN_FLICKR_KEY", FLICKR_KEY)
        for variable in (CLIENT_ID, CLIENT_SECRET):
            patch.delenv(variable, raising=False)
        patch.setattr(getattr(import_module(module), name), "rate", ASKED)
        fakes.set(openverse_burst=100_000, openverse_sustained=100_000)
        fakes.serve_robots("static", "User-agent: *\nDisallow: /")
        fakes.rule(f"{host}{ASKS[source]}", "429", times=1, retry_after=1)
        fakes.rule("/*.jpg", "redirect", after=2, times=1, to=f"{fakes.url('static')}/moved.jpg")
        fakes.rule("/*", "slow", seconds=0.03)
        if source == "page":
            what = {"url": f"{fakes.url('pages')}/gallery", "pages": 5}
        else:
            what = {"taxon": "fox" if source in ("openverse", "flickr") else "Vulpes vulpes", "licenses": "any"}
        stage = Scrape(source=source, rate=FETCHED, contact=CONTACT, limit=24, workers=0, **what)
        stage.check()
        stage.run(out, Context())
        yield fakes, host, fakes.visits(host, ASKS[source]), read_index(out, kept=False)


def test_a_service_is_asked_one_thing_at_a_time_and_no_faster_than_it_allows(crawl):
    fakes, host, _, _ = crawl
    asked = [visit for visit in fakes.visits(host) if not visit.path.endswith(".jpg")]
    assert len(asked) >= 2 and max(visit.at_once for visit in asked) == 1
    pauses = [b.began - a.began for a, b in zip(asked, asked[1:], strict=False) if "robots" not in a.path + b.path]
    assert min(pauses, default=1) > 0.8 / ASKED


def test_a_service_that_asks_for_a_rest_gets_it(crawl):
    _, _, asked, _ = crawl
    refused = [position for position, visit in enumerate(asked) if visit.status == 429]
    assert len(refused) == 1
    before, after = asked[refused[0] : refused[0] + 2]
    assert before.path == after.path, "the same question again"
    assert 1 <= after.began - before.began < 5


def test_image_hosts_see_no_more_than_they_were_promised(crawl):
    fakes, _, _, rows = crawl
    assert set(rows["status"]) >= {KEPT}
    for image_host in (*IMAGE_HOSTS, "pages"):
        fetched = fakes.visits(image_host, "/*.jp*g") or fakes.visits(image_host, "/*photos*")
        assert fetched.most_at_once <= PER_HOST
        assert fetched.most_in(1.0) <= FETCHED + 2, "a second's worth, one that was waiting, and a rounding"
        assert fakes.visits(image_host).paths.count("/robots.txt") <= 2, "the crawl of a page asks for itself"


def test_a_picture_that_has_moved_to_a_host_without_welcome_is_left(crawl):
    fakes, _, _, rows = crawl
    assert rows["status"].to_list().count("robots") == 1
    assert fakes.visits("static").paths == ["/robots.txt"]


def test_everybody_is_told_who_asks(crawl):
    fakes, _, _, _ = crawl
    assert fakes.visits().agents == {agent(CONTACT)}
