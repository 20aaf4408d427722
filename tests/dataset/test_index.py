from pathlib import Path
from typing import Any

import polars as pl
import pytest

from foxgan.dataset.index import COLUMNS, counts, index_digest, item_id, read_index, write_index
from foxgan.errors import DataError


def photo(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "source": "folder", "source_id": f"{name}.jpg", "width": 3, "license": "CC0-1.0", **more}


def made(folder: Path, *rows: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    write_index(folder, rows)
    return folder


def test_what_was_written_is_read_with_all_columns_and_their_types(tmp_path: Path) -> None:
    made(tmp_path / "a", photo("x", box=[1, 2, 3.5, 4], path=str(tmp_path / "a" / "images" / "x.jpg")), photo("y"))
    frame = read_index(tmp_path / "a")
    assert dict(frame.schema) == {c: (t() if isinstance(t, type) else t) for c, t in COLUMNS.items()}
    assert frame["path"].to_list() == [str(tmp_path / "a" / "images" / "x.jpg"), None]
    assert frame["box"].to_list() == [[1, 2, 3.5, 4], None]
    assert frame["status"].to_list() == ["kept", "kept"]


def test_paths_move_with_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made(tmp_path / "a", photo("x", path=str(tmp_path / "a" / "x.jpg")), photo("y", path="sub/y.jpg"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_index(tmp_path / "b")["path"].to_list() == [
        str(tmp_path / "b" / "x.jpg"),
        str(tmp_path / "b" / "sub" / "y.jpg"),
    ]


def test_equal_pictures_are_one_row_with_all_origins(tmp_path: Path) -> None:
    made(tmp_path / "a", photo("x"), photo("y"), photo("x", source_id="copy.jpg"), photo("x", source="urls"))
    frame = read_index(tmp_path / "a")
    assert frame["source_id"].to_list() == ["x.jpg", "y.jpg"]
    assert frame["also"].to_list() == [["folder:copy.jpg", "urls:x.jpg"], None]
    assert counts(tmp_path / "a") == {"in": 4, "kept": 2, "dropped": {"duplicate": 2}}


def test_a_later_stage_does_not_count_the_duplicates_of_an_earlier_one(tmp_path: Path) -> None:
    made(tmp_path / "photos", photo("x"), photo("x", source_id="copy.jpg"))
    parent = read_index(tmp_path / "photos").to_dicts()[0]
    heads = [
        {"id": f"head{i}", "parent": "x", **{c: parent[c] for c in ("source", "source_id", "also")}} for i in range(2)
    ]
    made(tmp_path / "heads", *heads)
    assert counts(tmp_path / "heads") == {"in": 2, "kept": 2, "dropped": {}}
    assert read_index(tmp_path / "heads")["also"].to_list() == [["folder:copy.jpg"]] * 2


def test_united_artifacts_keep_the_first_of_equal_rows_and_every_origin(tmp_path: Path) -> None:
    a = made(tmp_path / "a", photo("x"), photo("y"))
    b = made(tmp_path / "b", photo("z"), photo("x", source_id="other.jpg", license="CC-BY-4.0"))
    frame = read_index([a, b])
    assert frame["id"].to_list() == ["x", "y", "z"]
    assert frame["license"].to_list()[0] == "CC0-1.0"
    assert frame["also"].to_list() == [["folder:other.jpg"], None, None]
    again = read_index([a, a])
    assert again["id"].to_list() == ["x", "y"]
    assert again["also"].to_list() == [None, None]


def test_an_item_that_one_artifact_dropped_and_another_kept_is_kept(tmp_path: Path) -> None:
    a = made(tmp_path / "a", photo("x", status="too_small"))
    b = made(tmp_path / "b", photo("x"))
    assert read_index([a, b])["id"].to_list() == ["x"]
    assert read_index([a])["id"].to_list() == []
    assert read_index(a, kept=False)["status"].to_list() == ["too_small"]


def test_the_digest_depends_neither_on_the_order_of_rows_nor_on_volatile_columns(tmp_path: Path) -> None:
    first = index_digest(made(tmp_path / "a", photo("x"), photo("y", score=0.5)))
    other = [photo("y", score=0.5, path="y.jpg", image_url="http://a"), photo("x", retrieved_at="now", path="z.jpg")]
    assert index_digest(made(tmp_path / "b", *other)) == first
    assert index_digest(made(tmp_path / "c", photo("x", label=None, phash=None), photo("y", score=0.5))) == first


@pytest.mark.parametrize(
    "change",
    [{"license": "CC-BY-4.0"}, {"creator": "A. Fox"}, {"score": 0.6}, {"status": "blurry"}, {"box": [0, 0, 1, 1]}],
)
def test_the_digest_depends_on_what_a_row_means(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = [photo("x"), photo("y", score=0.5)]
    first = index_digest(made(tmp_path / "a", *rows))
    rows[1].update(change)
    assert index_digest(made(tmp_path / "b", *rows)) != first


def test_dropped_items_are_counted_by_reason(tmp_path: Path) -> None:
    made(tmp_path / "a", photo("x"), *(photo(str(i), status="blurry") for i in range(3)), photo("z", status="no_head"))
    assert counts(tmp_path / "a") == {"in": 5, "kept": 1, "dropped": {"blurry": 3, "no_head": 1}}


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown columns \['licence'\]; known are id"):
        made(tmp_path / "a", photo("x", licence="CC0-1.0"))
    assert not (tmp_path / "a" / "index.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", b"x" * 5000])
def test_a_damaged_index_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.parquet").write_bytes(content)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_index(tmp_path)


def test_a_foreign_table_is_told(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "width": ["wide"]}).write_parquet(tmp_path / "index.parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_index(tmp_path)


def test_a_folder_that_is_no_artifact_is_told_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="foxgan scrape --source folder"):
        read_index(tmp_path)


def test_ids_tell_parts_apart_and_follow_their_values() -> None:
    assert item_id("a", "b") != item_id("ab")
    assert item_id({"b": 1, "a": 2}) == item_id({"a": 2, "b": 1})
    assert item_id(b"a") != item_id("a")
