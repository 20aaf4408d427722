"""The fake GBIF speaks as its documentation says."""

import hashlib
from typing import Any

import pytest

from tests.fakes import Fakes
from tests.fakes.client import Answer, get


def search(fakes: Fakes, **query: Any) -> Answer:
    return get(fakes.url("gbif") + "/v1/occurrence/search", **query)


@pytest.mark.parametrize(
    "name, kind",
    [("Vulpes vulpes", "EXACT"), ("Vulpes vulpez", "FUZZY"), ("Vulpes imaginaria", "HIGHERRANK"), ("Xyz", "NONE")],
)
def test_names_match_more_or_less(fakes: Fakes, name: str, kind: str) -> None:
    answer = get(fakes.url("gbif") + "/v1/species/match", name=name, strict="false").json
    assert answer["matchType"] == kind
    assert ("usageKey" in answer) == (kind != "NONE")
    assert kind != "EXACT" or answer["usageKey"] == 5219243


def test_pages_go_on_until_the_end_of_records(fakes: Fakes) -> None:
    keys: list[int] = []
    while True:
        page = search(fakes, limit=4, offset=len(keys)).json
        keys += [row["key"] for row in page["results"]]
        if page["endOfRecords"]:
            break
    assert len(keys) == len(set(keys)) == page["count"]
    assert search(fakes, limit=1000).json["limit"] == 300
    assert search(fakes).headers["Cache-Control"] == "public, max-age=600"


def test_deep_offsets_are_refused(fakes: Fakes) -> None:
    assert search(fakes, offset=99_701, limit=300).status == 400
    assert search(fakes, offset=99_700, limit=300).status == 200
    assert search(fakes, offset="x").status == 400


def test_media_have_gaps_and_licenses_of_their_own(fakes: Fakes) -> None:
    rows = search(fakes, limit=300, mediaType="StillImage").json["results"]
    media = [(row, medium) for row in rows for medium in row["media"]]
    assert any("identifier" not in m and m["references"] for _, m in media)
    assert any("license" not in m for _, m in media)
    assert any("zero/1.0" in row["license"] and "by-nc" in m.get("license", "") for row, m in media)
    assert all(m.get("license", "http:").startswith("http:") for _, m in media)
    assert {row["basisOfRecord"] for row in rows} == {"HUMAN_OBSERVATION", "PRESERVED_SPECIMEN"}
    for row in rows:
        copies = row["extensions"]["http://rs.gbif.org/terms/1.0/Multimedia"]
        assert [c.get("http://purl.org/dc/terms/identifier") for c in copies] == [
            m.get("identifier") for m in row["media"]
        ]


def test_many_media_are_photos_of_inaturalist(fakes: Fakes) -> None:
    rows = search(fakes, limit=300).json["results"]
    urls = [m["identifier"] for row in rows for m in row["media"] if "identifier" in m]
    hosts = {host: [u for u in urls if u.startswith(fakes.url(host))] for host in ("open-data", "static", "museum")}
    assert all(hosts.values()) and len(hosts["open-data"]) > len(hosts["museum"])
    assert get(hosts["open-data"][0]).status == 200


def test_filters_repeat_and_have_two_spellings(fakes: Fakes) -> None:
    total = search(fakes, limit=0).json["count"]
    foxes, wolves = (search(fakes, taxonKey=key).json["count"] for key in (5219243, 5219173))
    assert search(fakes, taxon_key=[5219243, 5219173]).json["count"] == foxes + wolves
    years = [search(fakes, year=year).json["count"] for year in ("2020,2021", "2022,2024")]
    assert sum(years) == total and all(years)
    licenses = [search(fakes, license=name).json["count"] for name in ("CC0_1_0", "CC_BY_4_0", "CC_BY_NC_4_0")]
    assert sum(licenses) == total


def test_thumbnails_are_found_by_the_digest_of_an_identifier(fakes: Fakes) -> None:
    row = next(r for r in search(fakes, limit=300).json["results"] if "identifier" in r["media"][0])
    digest = hashlib.md5(row["media"][0]["identifier"].encode()).hexdigest()
    base = fakes.url("gbif") + "/v1/image/cache"
    small, large = (get(f"{base}/{size}occurrence/{row['gbifID']}/media/{digest}") for size in ("100x/", ""))
    assert len(small.body) < len(large.body)
    assert get(f"{base}/occurrence/{row['gbifID']}/media/{'0' * 32}").status == 404
