"""Stage `scrape` from Openverse and GBIF, from the question to the kept photos."""

import contextlib

import pytest
from pydantic import ValidationError

from foxgan.dataset.index import KEPT, read_index
from foxgan.errors import StageError, UsageError
from foxgan.licenses import allowed
from foxgan.sources.gbif import Gbif
from foxgan.sources.openverse import CLIENT_ID, CLIENT_SECRET, Openverse
from foxgan.sources.services import SERVICES
from foxgan.stages.context import Context
from foxgan.stages.scrape import Scrape
from tests.fakes import Fakes


@pytest.fixture(scope="module")
def fakes():
    with Fakes(photos=60, side=64) as server:
        server.set(openverse_burst=100_000, openverse_sustained=100_000)
        yield server


@pytest.mark.parametrize(
    ("source", "spider", "taxon"), [("openverse", Openverse, "fox"), ("gbif", Gbif, "Vulpes vulpes")]
)
def test_photos_of_a_service_come_with_license_and_origin(tmp_path, monkeypatch, fakes, source, spider, taxon):
    monkeypatch.setattr(spider, "rate", 1000.0)
    monkeypatch.setenv(f"FOXGAN_{source.upper()}_URL", f"{fakes.url(source)}/v1")
    for name in (CLIENT_ID, CLIENT_SECRET):
        monkeypatch.delenv(name, raising=False)
    stage = Scrape(source=source, taxon=taxon, limit=6, rate=1000, retries=0, contact="me@example.org", workers=0)
    stage.check()
    stage.run(tmp_path, Context())
    rows = read_index(tmp_path)
    assert set(rows["source"]) == {source} and len(rows) == 6
    kept = rows.filter(rows["status"] == KEPT)
    assert len(kept) > 3 and all(allowed(license, "open") for license in kept["license"])
    needed = kept.select("landing_url", "group", "image_url", "attribution", "license_url")
    assert not needed.null_count().sum_horizontal()[0]


@pytest.mark.parametrize(
    ("source", "params", "asked"),
    [
        ("gbif", {}, "basisOfRecord=HUMAN_OBSERVATION&basisOfRecord=MACHINE_OBSERVATION&"),
        ("gbif", {"basis_of_record": "Preserved specimen, human_observation"}, "HUMAN_OBSERVATION&basisOfRecord=PRES"),
        ("openverse", {}, "license="),
        ("openverse", {"mature": True}, "mature=true"),
    ],
)
def test_what_is_wanted_reaches_the_service(tmp_path, monkeypatch, fakes, source, params, asked):
    fakes.reset()
    for name in (CLIENT_ID, CLIENT_SECRET):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"FOXGAN_{source.upper()}_URL", f"{fakes.url(source)}/v1")
    stage = Scrape(source=source, taxon="5219243", limit=1, rate=1000, workers=0, **params)
    stage.check()
    with contextlib.suppress(StageError):  # where the one photo cannot be had
        stage.run(tmp_path, Context())
    path = fakes.visits(source).paths[0]
    assert asked in path and ("mature" in path) == bool(params.get("mature"))


def test_photos_of_one_animal_are_one_group_whichever_services_tell_of_them(tmp_path, monkeypatch, fakes):
    found = {}
    for source, taxon in {
        "inaturalist": "Vulpes vulpes",
        "gbif": "5219243",
        "openverse": "fox",
        "commons": "fox",
    }.items():
        module, name = SERVICES[source]
        monkeypatch.setattr(f"{module}.{name}.rate", 1000.0)
        monkeypatch.setenv(f"FOXGAN_{source.upper()}_URL", fakes.url(source) + ("/w" if source == "commons" else "/v1"))
        params = {"basis_of_record": "HUMAN_OBSERVATION,PRESERVED_SPECIMEN"} if source == "gbif" else {}
        params |= {"variant": "small"} if source == "inaturalist" else {}  # other bytes than GBIF's
        (tmp_path / source).mkdir()
        fields = {"licenses": "any", "rate": 1000, "contact": "me@example.org", "workers": 0}
        Scrape(source=source, taxon=taxon, **fields, **params).run(tmp_path / source, Context())
        found[source] = told(fakes, tmp_path / source)
    united = told(fakes, [tmp_path / "gbif", tmp_path / "inaturalist"])
    animals = {}
    for photo, group in united.items():
        animals.setdefault(photo.sighting, set()).add(group)
    assert len(united) > len(animals) > 10 and all(len(groups) == 1 for groups in animals.values())
    assert found["inaturalist"].items() <= united.items(), "as iNaturalist calls them"
    assert any(photo not in found["inaturalist"] for photo in united), "and others of the same animals"
    at_commons = {photo: group for photo, group in found["openverse"].items() if group.startswith("commons:")}
    known = at_commons.keys() & found["commons"].keys()
    assert known and all(at_commons[photo] == found["commons"][photo] for photo in known)


def told(fakes, folders):
    """The groups of the photos that are kept."""
    return {
        fakes.shown(url).photo: group for url, group in read_index(folders).select("image_url", "group").iter_rows()
    }


def test_wishes_that_mean_nothing_are_told():
    with pytest.raises(ValidationError, match="no kind of record is 'SKIN'; write some of HUMAN_OBSERVATION, "):
        Scrape(source="gbif", taxon="1", basis_of_record="skin")
    with pytest.raises(UsageError, match="`mature` is only for openverse"):
        Scrape(source="gbif", taxon="1", mature=True).check()
    same = [
        Scrape(source="gbif", taxon="1", basis_of_record=text)
        for text in ("OCCURRENCE,OBSERVATION", "observation, occurrence")
    ]
    assert same[0] == same[1]
