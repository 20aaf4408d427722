"""The fake Openverse speaks as its documentation says."""

from typing import Any

import pytest

from tests.fakes import Fakes
from tests.fakes.client import Answer, get, post
from tests.fakes.openverse import CLIENT_ID, CLIENT_SECRET


def images(fakes: Fakes, headers: dict[str, str] | None = None, **query: Any) -> Answer:
    return get(fakes.url("openverse") + "/v1/images/", headers, **query)


def pages(fakes: Fakes, **query: Any) -> list[Any]:
    first = images(fakes, page=1, **query).json
    return [first, *(images(fakes, page=page, **query).json for page in range(2, first["page_count"] + 1))]


def token(fakes: Fakes) -> dict[str, str]:
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}
    answer = post(fakes.url("openverse") + "/v1/auth_tokens/token/", form, form=True).json
    assert (answer["expires_in"], answer["token_type"]) == (36000, "Bearer")
    return {"Authorization": f"Bearer {answer['access_token']}"}


def test_page_sizes_are_limited_by_who_asks(fakes: Fakes) -> None:
    refused = images(fakes, page_size=21)
    assert (refused.status, refused.json) == (401, {"detail": "page_size may not exceed 20 for anonymous requests"})
    assert images(fakes, token(fakes), page_size=50).json["page_size"] == 50
    assert images(fakes, token(fakes), page_size=51).status == 400
    assert images(fakes, {"Authorization": "Bearer wrong"}).status == 401


def test_no_query_shows_more_than_its_depth() -> None:
    with Fakes(photos=600) as fakes:
        first = images(fakes, q="fox").json
        assert first["page_count"] == 12 and first["result_count"] > 240
        assert images(fakes, q="fox", page=12).json["results"]
        assert images(fakes, q="fox", page=13).status == 401
        assert images(fakes, token(fakes), q="fox", page=13).status == 400


def test_pages_are_short_before_the_last_one_and_dead_rows_are_gone(fakes: Fakes) -> None:
    found = pages(fakes, page_size=5, license="by,by-nc,by-sa,cc0")
    sizes = [len(page["results"]) for page in found]
    assert min(sizes[:-1]) < 5
    alive = {row["id"] for page in found for row in page["results"]}
    everything = [row for page in pages(fakes, page_size=5, filter_dead="false") for row in page["results"]]
    dead = [row["url"] for row in everything if row["source"] == "museum" and get(row["url"]).status == 404]
    assert dead and not alive & {row["id"] for row in everything if row["url"] in dead}


def test_every_url_of_a_row_leads_to_a_picture_at_another_host(fakes: Fakes) -> None:
    rows = [row for page in pages(fakes, page_size=20) for row in page["results"]]
    assert {row["source"] for row in rows} == {"flickr", "wikimedia", "museum"}
    assert all(row["url"].startswith(tuple(fakes.url(host) for host in ("farm", "upload", "museum"))) for row in rows)
    for row in rows[:12]:
        assert get(row["url"]).status == get(row["thumbnail"]).status == get(row["detail_url"]).status == 200
    for name in (
        "title",
        "creator",
        "creator_url",
        "category",
        "filesize",
        "filetype",
        "height",
        "width",
        "license_version",
    ):
        assert {row[name] is None for row in rows} == {True, False}, name


@pytest.mark.parametrize(
    "query, name",
    [
        ({"license": "xyz"}, "license"),
        ({"li": "by"}, "li"),
        ({"pagesize": 3}, "pagesize"),
        ({"page": 0}, "page"),
        ({"page_size": "x"}, "page_size"),
        ({"source": "flickr", "excluded_source": "museum"}, "source"),
    ],
)
def test_wrong_params_are_named(fakes: Fakes, query: dict[str, Any], name: str) -> None:
    answer = images(fakes, **query)
    assert (answer.status, list(answer.json["detail"])) == (400, [name])


def test_the_unknown_is_not_found(fakes: Fakes) -> None:
    for path in ("/v1/images/nothing/", "/v1/images/nothing/related/", "/v2/"):
        answer = get(fakes.url("openverse") + path)
        assert (answer.status, answer.json) == (404, {"detail": "Not found."})


def test_filters_choose(fakes: Fakes) -> None:
    total = images(fakes, mature="true").json["result_count"]
    queries = {"license": "by", "license_type": "commercial,modification", "source": "flickr", "aspect_ratio": "tall"}
    for query in queries.items():
        wanted: dict[str, Any] = dict([query])
        assert 0 < images(fakes, mature="true", **wanted).json["result_count"] < total, query
    assert images(fakes).json["result_count"] < total
    assert images(fakes, q="no such thing").json["result_count"] == 0


def test_what_is_left_is_told_and_then_refused(fakes: Fakes) -> None:
    fakes.clock.freeze()
    fakes.set(throttle=True, openverse_burst=2)
    first = images(fakes)
    assert first.headers["X-RateLimit-Limit-anon_burst"] == "2/min"
    assert first.headers["X-RateLimit-Available-anon_burst"] == "1"
    assert first.headers["X-RateLimit-Limit-anon_sustained"] == "200/day"
    images(fakes)
    refused = images(fakes)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "61")
    assert refused.json == {"detail": "Request was throttled. Expected available in 61 seconds."}
    assert "X-RateLimit-Limit-oauth2_client_credentials_burst" in images(fakes, token(fakes)).headers
    fakes.clock.advance(61)
    assert images(fakes).status == 200


def test_clients_register(fakes: Fakes) -> None:
    base = fakes.url("openverse") + "/v1"
    assert post(base + "/auth_tokens/register/", {"name": "me"}).status == 400
    known = post(
        base + "/auth_tokens/register/", {"name": "me", "description": "tests", "email": "me@example.org"}
    ).json
    assert (known["client_id"], known["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
    assert post(base + "/auth_tokens/token/", {"grant_type": "client_credentials"}, form=True).status == 401
    assert get(base + "/rate_limit/", token(fakes)).json["verified"] is True


def test_a_cdn_may_refuse_with_a_page(fakes: Fakes) -> None:
    fakes.rule("openverse/*", "403")
    answer = images(fakes)
    assert (answer.status, answer.headers.get_content_type()) == (403, "text/html")
