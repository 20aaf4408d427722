"""Photos of one animal are one group, whoever tells of them."""

import polars as pl
import pytest

from foxgan.dataset.groups import united
from foxgan.dataset.index import read_index, write_index


def rows(*told):
    """(id, group, source, source_id, also)"""
    return [dict(zip(("id", "group", "source", "source_id", "also"), row, strict=False)) for row in told]


def groups(*told):
    schema = {name: pl.String for name in ("id", "group", "source", "source_id")} | {"also": pl.List(pl.String)}
    return united(pl.DataFrame(rows(*told), schema=schema))["group"].to_list()


@pytest.mark.parametrize(
    "link",
    [
        (("a", "inaturalist:1", "inaturalist", "33"), ("b", "gbif:7", "gbif", "inaturalist:33")),
        (("a", "inaturalist:1", "inaturalist", "33"), ("a", "gbif:7", "gbif", "7#0")),
        (("a", "inaturalist:1", "x", "1", ["openverse:inaturalist:33"]), ("b", "gbif:7", "gbif", "inaturalist:33")),
    ],
)
def test_a_picture_that_two_groups_have_makes_them_one(link):
    sibling, stranger = ("c", "gbif:7", "gbif", "7#1"), ("d", "gbif:8", "gbif", "8#0")
    assert groups(*link, sibling, stranger) == ["inaturalist:1"] * 3 + ["gbif:8"]
    assert groups(stranger, sibling, *reversed(link)) == ["gbif:8"] + ["inaturalist:1"] * 3


def test_groups_are_one_by_way_of_others_in_any_order():
    chain = [(f"{n // 2}", f"g:{(n + 1) // 2:02}", "s", f"{n}") for n in range(40)]
    assert set(groups(*chain)) == {"g:00"} == set(groups(*reversed(chain)))
    assert groups(*chain[::3])[-1] != "g:00"


def test_what_has_no_group_and_what_has_no_origin_stays_as_it_is():
    assert groups(("a", None, "s", "1"), ("b", None, "s", "1")) == [None, None]
    assert groups(("a", "g:1", None, None), ("b", "g:2", None, None)) == ["g:1", "g:2"]
    frame = pl.DataFrame({"id": ["a"]})
    assert united(frame) is frame


def test_an_index_of_several_artifacts_has_one_group_for_what_they_share(tmp_path):
    for name, told in {
        "gbif": [("a", "gbif:7", "gbif", "inaturalist:33"), ("b", "gbif:7", "gbif", "7#1")],
        "inaturalist": [("A", "inaturalist:1", "inaturalist", "33"), ("c", "inaturalist:2", "inaturalist", "34")],
    }.items():
        (tmp_path / name).mkdir()
        write_index(tmp_path / name, rows(*told))
    frame = read_index([tmp_path / "gbif", tmp_path / "inaturalist"])
    assert dict(frame.select("id", "group").iter_rows()) == {
        **dict.fromkeys("abA", "inaturalist:1"),
        "c": "inaturalist:2",
    }
    assert set(read_index(tmp_path / "gbif")["group"]) == {"gbif:7"}


def test_equal_pictures_of_one_artifact_make_their_groups_one(tmp_path):
    write_index(tmp_path, rows(("a", "x:2", "s", "1"), ("a", "x:1", "s", "2"), ("b", "x:2", "s", "3")))
    assert read_index(tmp_path)["group"].to_list() == ["x:1", "x:1"]
