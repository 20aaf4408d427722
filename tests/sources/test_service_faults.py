"""Services that are ill, slow or say something else: every spider ends in time, with a reason, and keeps what it has found."""

import json
from importlib import import_module

import pytest

from foxgan import web
from foxgan.dataset.index import KEPT, read_index
from foxgan.errors import StageError
from foxgan.sources.crawl import Asking, _json
from foxgan.sources.inaturalist import INaturalist
from foxgan.sources.services import SERVICES, find, spider
from foxgan.sources.web_params import WebParams
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape
from foxgan.web import Failed
from tests.fakes import FLICKR_KEY, Fakes
from tests.fakes.faults import zipped_zeros
from tests.fakes.fixture import fakes as fakes

PATHS = {"inaturalist": "/v1", "openverse": "/v1", "commons": "/w", "gbif": "/v1", "flickr": "/services/rest"}
BOMB = 55_000_000  # bytes
FAULTS = {  # a fault, how it is set, and the reason of the failure; of a web page, what comes first is enough
    "a page": ("page", {}, "not_json"),
    "nothing": ("empty", {}, "not_json"),
    "a part": ("truncated", {}, "connection"),
    "hangs up": ("hang_up", {}, "connection"),
    "stalls": ("stall", {}, "timeout"),
    "drips": ("drip", {"seconds": 0.05}, "timeout"),
    "drips its head": ("drip_head", {"seconds": 0.05}, "timeout"),
    "endless": ("endless", {}, "too_large"),
    "a bomb": ("gzip", {"zeros": BOMB}, "too_large"),
    "500": ("500", {}, "http_500"),
    "403": ("403", {}, "http_403"),
    "a loop": ("redirect", {}, "too_many_redirects"),
    "a file": ("redirect", {"to": "file:///etc/passwd"}, "bad_url"),
    "an hour": (
        "429",
        {"retry_after": 3600},
        r"http_429.*try again in 60 minutes|does not want to be asked for 60 minutes",
    ),
}
ANY_PAGE = {"a page", "nothing", "endless", "a bomb"}


@pytest.fixture(scope="module")
def server():
    zipped_zeros(BOMB)  # takes a moment
    with Fakes(photos=30, side=64) as fakes:
        yield fakes


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("source", SERVICES)
def test_a_service_that_is_ill_ends_the_crawl_with_a_reason(server, tmp_path, monkeypatch, source, fault):
    monkeypatch.setenv("FOXGAN_FLICKR_KEY", FLICKR_KEY)
    monkeypatch.setattr(web, "SLOWEST", 2)
    module, name = SERVICES[source]
    monkeypatch.setattr(getattr(import_module(module), name), "rate", 1000.0)
    kind, options, reason = FAULTS[fault]
    host = "pages" if source == "page" else source
    server.reset()
    server.rule(f"{host}/*", kind, **options)
    params = WebParams(taxon="Vulpes vulpes", url=f"{server.url('pages')}/gallery", robots=False)
    asking = Asking(server.url(host) + PATHS.get(source, ""), "me@example.org", timeout=0.6, retries=0)
    if source == "page" and fault in ANY_PAGE:
        find(spider(source, params), tmp_path, [], asking, None)
    else:
        with pytest.raises(StageError, match=reason):
            find(spider(source, params), tmp_path, [], asking, None)
    assert len(server.visits(host)) <= web.MAX_REDIRECTS + 1


def test_what_was_found_before_a_service_fell_ill_is_kept_and_the_next_run_goes_on(fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("FOXGAN_INATURALIST_URL", f"{fakes.url('inaturalist')}/v1")
    monkeypatch.setattr(INaturalist, "rate", 1000.0)
    monkeypatch.setattr(import_module("foxgan.sources.inaturalist"), "PER_PAGE", 5)
    fakes.rule("inaturalist/v1/observations*", "429", after=2, retry_after=3600)
    stage = Scrape(source="inaturalist", taxon="Vulpes vulpes", licenses="any", rate=1000, workers=0)
    with pytest.raises(StageError, match=r"\(http_429\) after \d+ photos"):
        stage.run(tmp_path, Context())
    asked = fakes.visits("inaturalist", "/v1/observations*").paths
    fakes.state.rules.clear()
    stage.run(tmp_path, Context())
    more = fakes.visits("inaturalist", "/v1/observations*").paths[len(asked) :]
    assert more[0] == asked[-1] and not set(more) & set(asked[:-1]), "only what was refused is asked for again"
    assert set(read_index(tmp_path)["status"]) == {KEPT}


def test_half_a_character_in_an_answer_does_no_harm(fakes, tmp_path, monkeypatch):
    """A name that was cut in the middle of an emoji: JSON can hold that, a table of text cannot."""
    monkeypatch.setenv("FOXGAN_INATURALIST_URL", f"{fakes.url('inaturalist')}/v1")
    monkeypatch.setattr(INaturalist, "rate", 1000.0)
    monkeypatch.setattr(json, "dumps", _cut(json.dumps))
    stage = Scrape(source="inaturalist", taxon="Vulpes vulpes", limit=3, rate=1000, workers=0)
    stage.run(tmp_path, Context())
    assert all(creator.endswith("?") for creator in read_index(tmp_path)["creator"])


def _cut(dumps):
    """As the fakes' JSON: names end with half an emoji."""

    def cut(value, **options):
        if isinstance(value, dict) and "results" in value:
            for observation in value["results"]:
                if "user" in observation:
                    observation["user"] = {**observation["user"], "name": "Fox \ud83e"}
        return dumps(value, **options)

    return cut


@pytest.mark.parametrize("data", [b"[1]", b'"text"', b"null", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000, b""])
def test_an_answer_that_is_no_object_is_a_failure_that_may_pass(data):
    with pytest.raises(Failed, match="not_json|no_answer") as caught:
        _json(data)
    assert caught.value.again
