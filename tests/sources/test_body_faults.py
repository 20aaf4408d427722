"""Bodies that break off, drip, never end or are something else, all in one run: each has its reason, and costs no other photo."""

import pytest

from foxgan.dataset.index import KEPT
from tests.fakes import Fakes
from tests.fakes.client import get
from tests.sources.lists import photos, scraped

ONCE = {"times": 1}
BODIES = {  # a fault, how it is set, and what becomes of the photo
    "whole": ("slow", {"seconds": 0.01}, KEPT),
    "breaks off once": ("truncated", ONCE, KEPT),
    "breaks off": ("truncated", {"share": 0.1}, "connection"),
    "reset once": ("reset", ONCE, KEPT),
    "reset": ("reset", {"share": 0.1}, "connection"),
    "hung up once": ("hang_up", ONCE, KEPT),
    "hung up": ("hang_up", {}, "connection"),
    "stalls once": ("stall", ONCE, KEPT),
    "stalls": ("stall", {}, "timeout"),
    "drips": ("drip", {"seconds": 0.1}, "timeout"),
    "drips without a length": ("drip", {"seconds": 0.1, "chunked": True}, "timeout"),
    "drips its head": ("drip_head", {"seconds": 0.1}, "timeout"),
    "endless": ("endless", {}, "too_large"),
    "empty": ("empty", {}, "not_an_image"),
    "chunked": ("chunked", {}, KEPT),
    "wrong type": ("wrong_type", {}, KEPT),
    "page": ("page", {}, "not_an_image"),
    "gzip": ("gzip", {}, KEPT),
    "gzip bomb": ("gzip", {"zeros": 50_000_000}, "too_large"),
    "also whole": ("slow", {"seconds": 0.01}, KEPT),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The rows of one run through all of it, and the fakes."""
    out = tmp_path_factory.mktemp("bodies") / "out"
    with Fakes(side=256) as fakes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOXGAN_ALLOW_PRIVATE", "1")
        urls = dict(zip(BODIES, photos(fakes, len(BODIES)), strict=True))
        for name, (fault, options, _) in BODIES.items():
            fakes.rule(urls[name].replace(fakes.url("museum"), "museum"), fault, **options)
        rows = scraped(out, urls.values(), timeout=0.5, retries=2, connections=32)
        yield {name: rows[url] for name, url in urls.items()}, fakes


@pytest.mark.parametrize("name", BODIES)
def test_every_body_has_its_end(run, name):
    rows, _ = run
    assert rows[name]["status"] == BODIES[name][2]


def test_what_is_kept_is_what_the_server_has(run):
    rows, fakes = run
    fakes.reset()
    kept = [row for row in rows.values() if row["status"] == KEPT]
    assert len(kept) == sum(status == KEPT for _, _, status in BODIES.values())
    for row in kept:
        with open(row["path"], "rb") as file:
            assert file.read() == get(row["image_url"]).body
