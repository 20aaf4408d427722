"""The fake iNaturalist speaks as its documentation says."""

from typing import Any

import pytest

from tests.fakes import Fakes
from tests.fakes.client import get, post

PHOTO = r"/photos/\d+/square\.(jpe?g|JPG|png|gif)(\?\d+)?$"


def observations(fakes: Fakes, version: str = "v1", **query: Any) -> Any:
    return get(f"{fakes.url('inaturalist')}/{version}/observations", **query).json


def everything(fakes: Fakes) -> list[Any]:
    rows: list[Any] = observations(fakes, order_by="id", order="asc", per_page=200, id_above=0)["results"]
    return rows


def test_the_loop_over_ids_sees_each_observation_once_and_its_total_falls(fakes: Fakes) -> None:
    seen: list[int] = []
    totals: list[int] = []
    while True:
        page = observations(fakes, order_by="id", order="asc", per_page=7, id_above=seen[-1] if seen else 0)
        totals.append(page["total_results"])
        if not page["results"]:
            break
        seen += [row["id"] for row in page["results"]]
    assert seen == sorted(set(seen)) == [row["id"] for row in everything(fakes)]
    assert totals == sorted(totals, reverse=True) and totals[-1] == 0


def test_deep_pages_are_refused(fakes: Fakes) -> None:
    answer = get(fakes.url("inaturalist") + "/v1/observations", page=51, per_page=200)
    assert answer.status == answer.json["status"] == 403
    assert answer.json["error"].startswith("Result window is too large")
    assert get(fakes.url("inaturalist") + "/v1/observations", page=50, per_page=200).status == 200


@pytest.mark.parametrize("asked, given", [(500, 200), (0, 0), (-3, 30), ("x", 30), (None, 30)])
def test_per_page_is_clamped_without_a_word(fakes: Fakes, asked: Any, given: int) -> None:
    assert observations(fakes, **({} if asked is None else {"per_page": asked}))["per_page"] == given


def test_a_photo_license_means_at_least_one_photo(fakes: Fakes) -> None:
    rows = observations(fakes, photo_license="CC0,cc-by", per_page=200)["results"]
    licenses = [{photo["license_code"] for photo in row["photos"]} for row in rows]
    assert rows and any(found - {"cc0", "cc-by"} for found in licenses)
    assert None in {photo["license_code"] for row in everything(fakes) for photo in row["photos"]}


def test_a_record_has_another_license_than_its_photos(fakes: Fakes) -> None:
    assert any(p["license_code"] != row["license_code"] for row in everything(fakes) for p in row["photos"])


def test_filters_choose(fakes: Fakes) -> None:
    rows = everything(fakes)
    for name, value in (("quality_grade", "research"), ("captive", "true")):
        found = observations(fakes, per_page=200, **{name: value})["results"]
        assert 0 < len(found) < len(rows)
    below = observations(fakes, taxon_id=42068, per_page=200)["results"]
    assert {"Vulpes vulpes", "Vulpes lagopus"} == {row["taxon"]["name"] for row in below}
    assert observations(fakes, taxon_name="no such animal")["total_results"] == 0
    dead = observations(fakes, term_id=17, term_value_id=19)["total_results"]
    assert dead + observations(fakes, term_id=17, without_term_value_id=19)["total_results"] == len(rows)
    assert observations(fakes, id_below=rows[3]["id"])["total_results"] == 3


def test_pictures_that_are_not_the_photo_end_as_documented(fakes: Fakes) -> None:
    photos = [photo for row in everything(fakes) for photo in row["photos"]]
    static = fakes.url("static")
    by_url = {photo["url"].removeprefix(static): photo for photo in photos}
    assert by_url["/assets/copyright-infringement-square.png"]["flags"][0]["flag"] == "copyright infringement"
    assert by_url["/assets/artificially-generated-content-square.png"]["flags"][0]["resolved"] is False
    assert by_url["/assets/media-hidden-square.png"]["hidden"] is True
    assert "/attachment_defaults/local_photos/square.png" in by_url
    assert any(link["photo"] is None for row in everything(fakes) for link in row["observation_photos"])
    assert any(photo["original_dimensions"] is None for photo in photos)
    assert get(static + "/assets/media-hidden-square.png").status == 200


def test_sizes_are_words_in_the_last_part_and_endings_stay(fakes: Fakes) -> None:
    photo = next(p for row in everything(fakes) for p in row["photos"] if p["original_dimensions"])
    square, original = photo["url"], photo["url"].replace("/square.", "/original.")
    assert get(square).body != get(original).body
    shown = fakes.shown(original)
    assert shown is not None
    assert shown.version.size(shown.photo) == tuple(photo["original_dimensions"].values())
    endings = {p["url"].partition("?")[0].rpartition(".")[2] for row in everything(fakes) for p in row["photos"]}
    assert endings >= {"jpg", "jpeg", "JPG", "png", "gif"}


def test_a_new_license_moves_a_photo_to_the_other_host(fakes: Fakes) -> None:
    photos = [p for row in everything(fakes) for p in row["photos"] if "/photos/" in p["url"]]
    licensed, other = (next(p for p in photos if bool(p["license_code"]) is b) for b in (True, False))
    numbers = [(p["id"] - 330_000_001) // 7 for p in (licensed, other)]
    fakes.relicense(numbers[0], "")
    fakes.relicense(numbers[1], "cc-by")
    assert [get(p["url"]).status for p in (licensed, other)] == [403, 404]
    assert fakes.url("open-data") in fakes.state.holdings.inaturalist_url(fakes.world.photos[numbers[1]], "square")


def test_names_of_taxa_are_found_and_some_are_ambiguous(fakes: Fakes) -> None:
    def taxa(path: str = "taxa", **query: Any) -> Any:
        return get(f"{fakes.url('inaturalist')}/v1/{path}", **query).json["results"]

    assert [t["id"] for t in taxa(q="Vulpes vulpes")] == [42069]
    assert {t["name"] for t in taxa(q="Kit Fox")} == {"Vulpes macrotis", "Vulpes velox"}
    assert [t["name"] for t in taxa(q="Vulpes fulva", is_active="any")] == ["Vulpes fulva"]
    assert not taxa(q="Vulpes fulva")
    found = taxa("taxa/autocomplete", q="vulp", rank="species")
    assert found[0]["name"] == "Vulpes vulpes" and found[0]["default_photo"]["medium_url"].startswith("http")


def test_v2_gives_uuids_unless_fields_are_named(fakes: Fakes) -> None:
    assert set(observations(fakes, "v2", per_page=1)["results"][0]) == {"uuid"}
    row = observations(fakes, "v2", per_page=1, fields="(id:!t,taxon:(name:!t),photos:(id:!t,url:!t))")["results"][0]
    assert set(row) == {"uuid", "id", "taxon", "photos"} and set(row["taxon"]) == {"name"}
    assert "place_guess" in observations(fakes, "v2", per_page=1, fields="all")["results"][0]
    address = fakes.url("inaturalist") + "/v2/observations?per_page=1"
    wanted = {"fields": {"id": True, "user": {"login": True}}}
    assert set(post(address, wanted, {"X-HTTP-Method-Override": "GET"}).json["results"][0]) == {"uuid", "id", "user"}


def test_v2_has_errors_of_its_own(fakes: Fakes) -> None:
    base = fakes.url("inaturalist") + "/v2/observations"
    wrong = get(base, per_page="many")
    assert (wrong.status, wrong.json["errors"]) == (422, [{"path": "per_page", "message": "must be integer"}])
    deep = get(base, per_page=200, page=51)
    assert (deep.status, deep.json["status"], deep.json["errors"][0]["errorCode"]) == (500, "500", "500")
    assert get(base, fields="(id:!t").status == 422


def test_the_proxy_refuses_and_half_of_its_bodies_are_not_json(fakes: Fakes) -> None:
    fakes.rule("inaturalist/*", "429", retry_after=9)
    answers = [get(fakes.url("inaturalist") + "/v1/observations") for _ in range(2)]
    assert [(a.status, a.headers["Retry-After"]) for a in answers] == [(429, "9")] * 2
    assert [a.headers.get_content_type() for a in answers] == ["text/html", "application/json"]


def test_the_rate_limit_holds_when_it_is_asked_for(fakes: Fakes) -> None:
    fakes.clock.freeze()
    fakes.set(throttle=True, inaturalist_per_minute=2)
    address = fakes.url("inaturalist") + "/v1/observations?per_page=0"
    assert [get(address).status for _ in range(3)] == [200, 200, 429]
    fakes.clock.advance(61)
    assert get(address).status == 200
    missing = get(fakes.url("inaturalist") + "/v1/nothing")
    assert (missing.status, missing.json["status"]) == (404, 404)
