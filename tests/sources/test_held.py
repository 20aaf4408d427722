"""Photos that are here already are asked for on the condition that they have changed."""

import os

import pytest
from werkzeug import Response

from foxgan.dataset.index import write_index
from foxgan.sources.fetch import Manners, download, place
from foxgan.sources.held import Held, held_bodies

QUICK = Manners(timeout=2, retries=1, rate=1000, robots=False)
DATE = "Mon, 01 Jun 2026 00:00:00 GMT"


@pytest.fixture
def old(tmp_path):
    """A body as an artifact holds it, fetched in 2001."""
    path = tmp_path / "old.jpg"
    path.write_bytes(b"old")
    os.utime(path, (1e9, 1e9))
    path.chmod(0o444)
    return path


def serve(httpserver, states, body=b"new", tells="ETag"):
    """An image whose state is the last of `states`; redirects may come before."""

    def answer(request):
        asked = request.headers.get("If-None-Match" if tells == "ETag" else "If-Modified-Since")
        here = asked == states[-1]
        return Response(status=304) if here else Response(body, headers={tells: states[-1]})

    httpserver.expect_request("/a.jpg").respond_with_handler(answer)
    return httpserver.url_for("/a.jpg")


def fetch(tmp_path, url, held, **manners):
    done = {}
    states = download([url], tmp_path / "in", QUICK, done.__setitem__, held)
    assert done == {url: ""}
    return place(tmp_path / "in", url), states


@pytest.mark.parametrize(("tells", "state"), [("ETag", '"1"'), ("Last-Modified", DATE)])
@pytest.mark.parametrize("links", [True, False])
def test_what_has_not_changed_is_taken_from_where_it_is(tmp_path, httpserver, old, monkeypatch, tells, state, links):
    def refuse(*_):
        raise OSError("no links on this disk")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    url = serve(httpserver, [state], tells=tells)
    path, states = fetch(tmp_path, url, {url: Held(old, state)})
    assert path.read_bytes() == b"old" and path.stat().st_mtime == 1e9 and states == {url: state}
    assert [response.status_code for _, response in httpserver.log] == [304]
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_what_has_changed_is_fetched_and_known_by_its_new_state(tmp_path, httpserver, old):
    url = serve(httpserver, ['"2"'])
    path, states = fetch(tmp_path, url, {url: Held(old, '"1"')})
    assert path.read_bytes() == b"new" and old.read_bytes() == b"old" and states == {url: '"2"'}


def test_not_changed_says_nothing_of_another_address(tmp_path, httpserver, old):
    serve(httpserver, ['"1"'])
    httpserver.expect_request("/moved.jpg").respond_with_data(status=302, headers={"Location": "/a.jpg"})
    url = httpserver.url_for("/moved.jpg")
    path, _ = fetch(tmp_path, url, {url: Held(old, '"1"')})
    assert path.read_bytes() == b"new"
    assert [response.status_code for _, response in httpserver.log] == [302, 304, 302, 200]


def test_a_host_that_does_not_want_it_to_be_learned_from_any_more_is_heard(tmp_path, httpserver, old):
    httpserver.expect_request("/robots.txt").respond_with_data("")
    httpserver.expect_request("/a.jpg").respond_with_data(status=304, headers={"X-Robots-Tag": "noai"})
    url, done = httpserver.url_for("/a.jpg"), {}
    manners = Manners(timeout=2, retries=0, rate=1000)
    assert download([url], tmp_path / "in", manners, done.__setitem__, {url: Held(old, '"1"')}) == {}
    assert done == {url: "noai"} and not list((tmp_path / "in").iterdir())


def test_a_host_that_answers_not_changed_to_everybody_is_no_source(tmp_path, httpserver):
    httpserver.expect_request("/a.jpg").respond_with_data(status=304)
    url, done = httpserver.url_for("/a.jpg"), {}
    download([url], tmp_path / "in", QUICK, done.__setitem__)
    assert done == {url: "http_304"}


@pytest.mark.parametrize("state", ["x" * 300, "caf\u00e9"])
def test_states_that_no_header_can_ask_for_are_forgotten(tmp_path, httpserver, state):
    url = serve(httpserver, [state], tells="Last-Modified")
    assert fetch(tmp_path, url, None)[1] == {}


def test_artifacts_hold_what_they_kept_and_the_newest_counts(tmp_path):
    row = {"image_url": "https://x/a.jpg", "path": "images/a.jpg", "validator": '"new"'}
    gone = {"id": "2", "image_url": "https://x/b.jpg", "validator": '"b"', "status": "too_small"}
    bare = {"id": "3", "image_url": "https://x/c.jpg", "path": "images/c.jpg"}
    for name, told in {
        "new": [{"id": "1", **row}, gone, bare],
        "older": [{"id": "1", **row, "validator": '"old"'}],
    }.items():
        (tmp_path / name).mkdir()
        write_index(tmp_path / name, told)
    folders = [tmp_path / "damaged", tmp_path / "new", tmp_path / "older"]
    asked = [f"https://x/{name}.jpg" for name in "abcd"]
    assert held_bodies(folders, asked) == {asked[0]: Held(tmp_path / "new" / "images" / "a.jpg", '"new"')}
    assert held_bodies(folders, []) == {}
