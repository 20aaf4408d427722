"""The fake Flickr speaks as its documentation says."""

from typing import Any

from tests.fakes import FLICKR_KEY, Fakes
from tests.fakes.client import get

EXTRAS = "license,date_upload,owner_name,o_dims,url_o,url_k,url_h,url_l,url_c,url_z,url_m"


def call(fakes: Fakes, method: str = "photos.search", **query: Any) -> Any:
    plain = {"method": f"flickr.{method}", "api_key": FLICKR_KEY, "format": "json", "nojsoncallback": 1, "text": "fox"}
    answer = get(fakes.url("flickr") + "/services/rest", **{**plain, **query})
    assert answer.status == 200
    return answer.json


def photos(fakes: Fakes, **query: Any) -> list[Any]:
    rows: list[Any] = call(fakes, extras=EXTRAS, per_page=500, **query)["photos"]["photo"]
    return rows


def test_failures_come_as_success(fakes: Fakes) -> None:
    assert call(fakes, api_key="short") == {
        "stat": "fail",
        "code": 100,
        "message": "Invalid API Key (Key has invalid format)",
    }
    assert call(fakes, api_key="f" * 32)["code"] == 100
    assert call(fakes, "photos.fly")["code"] == 112
    fakes.switch("flickr_unavailable", times=1)
    assert call(fakes)["code"] == 105
    assert call(fakes)["stat"] == "ok"


def test_numbers_are_texts_or_numbers(fakes: Fakes) -> None:
    rows = photos(fakes)
    for name in ("license", "o_width"):
        assert {type(row[name]) for row in rows} == {str, int}
    assert {type(call(fakes, per_page=5, page=page)["photos"]["total"]) for page in (1, 2)} == {str, int}


def test_sizes_that_do_not_exist_are_absent(fakes: Fakes) -> None:
    rows = photos(fakes)
    assert {"url_o" in row for row in rows} == {"url_z" in row for row in rows} == {True, False}
    assert any(not any(name.startswith("url_") for name in row) for row in rows)
    for row in rows:
        for name, url in row.items():
            if name.startswith("url_"):
                shown = fakes.shown(url)
                assert shown is not None
                assert int(row[name.replace("url", "width")]) == shown.version.size(shown.photo)[0]
    assert all(get(row["url_m"]).status == 200 for row in rows[:5] if "url_m" in row)


def test_only_the_first_results_are_distinct(fakes: Fakes) -> None:
    fakes.set(flickr_distinct=10)
    pages = [[p["id"] for p in call(fakes, per_page=5, page=page)["photos"]["photo"]] for page in (1, 2, 3)]
    assert pages[2] == pages[0] != pages[1]
    assert call(fakes, per_page=5000)["photos"]["perpage"] == 500


def test_slices_by_upload_time_include_both_ends(fakes: Fakes) -> None:
    rows = photos(fakes, sort="date-posted-asc")
    times = [int(row["dateupload"]) for row in rows]
    assert times == sorted(times) and len(set(times)) < len(times)
    middle = times[len(times) // 2]
    parts = photos(fakes, max_upload_date=middle), photos(fakes, min_upload_date=middle)
    assert sum(map(len, parts)) == len(rows) + times.count(middle)


def test_licenses_are_told_with_ids_that_are_rare(fakes: Fakes) -> None:
    known = {row["id"]: row["url"] for row in call(fakes, "photos.licenses.getInfo")["licenses"]["license"]}
    assert known["4"] == "https://creativecommons.org/licenses/by/2.0/"
    seen = {str(row["license"]) for row in photos(fakes)}
    assert seen <= known.keys() and seen >= {"0", "7", "8", "11"}
    assert {str(row["license"]) for row in photos(fakes, license="4,5")} == {"4", "5"}


def test_without_nojsoncallback_it_is_no_json(fakes: Fakes) -> None:
    query: dict[str, Any] = {"method": "flickr.photos.search", "api_key": FLICKR_KEY, "text": "fox"}
    address = fakes.url("flickr") + "/services/rest"
    assert get(address, format="json", **query).text.startswith("jsonFlickrApi(")
    assert get(address, **query).headers.get_content_type() == "text/xml"
