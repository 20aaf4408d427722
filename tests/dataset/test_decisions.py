import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from foxgan.dataset import decisions
from foxgan.dataset.decisions import apply, read_all, read_decisions
from foxgan.errors import DataError


def written(path: Path, given: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"foxgan_decisions": 1, "decisions": given} | more))
    return path


def rows(*given: tuple[str, str, str | None, str | None], photo: str | None = None) -> pl.DataFrame:
    schema = dict.fromkeys(("id", "status", "path", "parent"), pl.String)
    return pl.DataFrame(list(given), schema=schema, orient="row").with_columns(photo=pl.lit(photo, pl.String))


def test_a_file_gives_the_decision_by_item(tmp_path: Path) -> None:
    given = {
        "a": {"decision": "drop", "note": "zwei Füchse", "time": "2026-01-02T03:04:05Z"},
        "b": {"decision": "keep"},
    }
    path = written(tmp_path / "d.json", given, artifact={"stage": "crop", "digest": "00"})
    assert read_decisions(path) == {"a": "drop", "b": "keep"}


def test_of_several_files_the_later_wins(tmp_path: Path) -> None:
    first = written(tmp_path / "1.json", {"a": {"decision": "drop"}, "b": {"decision": "drop"}})
    second = written(tmp_path / "2.json", {"b": {"decision": "keep"}})
    assert read_all([first, second]) == {"a": "drop", "b": "keep"}
    assert read_all([second, first]) == {"a": "drop", "b": "drop"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the JSON of decisions"),
        ("[1]", r"\[1\] at its top"),
        ("[" * 100_000, "not the JSON of decisions"),
        ('{"decisions": {}}', "has no 'foxgan_decisions'.*`foxgan review` makes one"),
        ('{"foxgan_decisions": 2, "decisions": {}}', "foxgan_decisions is 2; this foxgan reads 1"),
        ('{"foxgan_decisions": true, "decisions": {}}', "foxgan_decisions is true"),
        ('{"foxgan_decisions": 1}', "decisions is null"),
        ('{"foxgan_decisions": 1, "decisions": {}, "more": 1}', 'the file has "more"; known are'),
        ('{"foxgan_decisions": 1, "decisions": {}, "artifact": {"stage": 1}}', "artifact is"),
        ('{"foxgan_decisions": 1, "decisions": {"a": "drop"}}', 'decision over "a" is "drop"; write'),
        ('{"foxgan_decisions": 1, "decisions": {"a": {"decision": "maybe"}}}', '"maybe"; it is \'drop\' or \'keep\''),
        ('{"foxgan_decisions": 1, "decisions": {"a": {"decision": ["drop"]}}}', "it is 'drop' or 'keep'"),
        ('{"foxgan_decisions": 1, "decisions": {"a": {"decision": "drop", "why": ""}}}', 'decision over "a" has "why"'),
        ('{"foxgan_decisions": 1, "decisions": {"a": {"decision": "drop", "note": 3}}}', "note is 3"),
        ('{"foxgan_decisions": 1, "decisions": {"": {"decision": "drop"}}}', "an id has 1 to"),
        ('{"foxgan_decisions": 1, "decisions": {"a": {"decision": "drop"}, "a": {"decision": "keep"}}}', "'a' is there twice"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_decisions(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder; `decisions` takes the file"):
        read_decisions(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_decisions(tmp_path / "nowhere.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MAX_BYTES", 100)
    path = tmp_path / "d.json"
    path.write_text(" " * 101)
    with pytest.raises(DataError, match="101 bytes; .* at most 100"):
        read_decisions(path)


def test_dropped_items_are_thrown_out_and_kept_ones_brought_back() -> None:
    frame = rows(("a", "kept", "a.png", None), ("b", "kept", "b.png", None), ("c", "blurry", "c.png", None))
    told: list[str] = []
    found = apply(frame, {"a": "drop", "b": "keep", "c": "keep"}, told.append)
    assert found["status"].to_list() == ["thrown_out", "kept", "kept"]
    assert found.columns == frame.columns and not told
    assert apply(frame, {}).equals(frame)


def test_an_item_goes_with_its_parent_unless_it_was_decided_over_itself() -> None:
    frame = rows(("a", "kept", "a.png", "head"), ("b", "kept", "b.png", "head"), ("c", "blurry", "c.png", "head"))
    told: list[str] = []
    found = apply(frame, {"head": "drop", "b": "keep"}, told.append)
    assert found["status"].to_list() == ["thrown_out", "kept", "blurry"]
    assert not told
    assert apply(frame, {"head": "keep"})["status"].to_list() == ["kept", "kept", "blurry"]


def test_the_nearest_decision_counts() -> None:
    frame = rows(("a", "kept", "a.png", "head"), ("b", "kept", "b.png", "other"), photo="photo")
    assert apply(frame, {"photo": "drop"})["status"].to_list() == ["thrown_out", "thrown_out"]
    assert apply(frame, {"photo": "drop", "head": "keep"})["status"].to_list() == ["kept", "thrown_out"]
    assert apply(frame, {"photo": "keep", "b": "drop"})["status"].to_list() == ["kept", "thrown_out"]


def test_what_has_no_picture_or_was_withdrawn_stays_dropped_and_is_told() -> None:
    frame = rows(("a", "too_small", None, None), ("b", "withdrawn", "b.png", None), ("c", "broken", "c.png", None))
    told: list[str] = []
    assert apply(frame, dict.fromkeys("abc", "keep"), told.append)["status"].to_list() == frame["status"].to_list()
    assert len(told) == 1 and "3 items stay dropped (broken, too_small, withdrawn)" in told[0]


def test_decisions_over_items_that_are_not_here_are_counted_and_told() -> None:
    told: list[str] = []
    found = apply(rows(("a", "kept", "a.png", None)), {"a": "drop", "x" * 64: "drop", "y": "keep"}, told.append)
    assert found["status"].to_list() == ["thrown_out"]
    assert len(told) == 1 and "2 of 3 are over items that are not here" in told[0] and "x" * 16 in told[0]
