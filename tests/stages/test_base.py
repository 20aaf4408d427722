import json
import os
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import ValidationError

from foxgan.stages.base import Context, Field, Input, Reference, Row, Size, Stage, Weights, fields_of_kind
from foxgan.stages.journal import Journal, journalled


class Odd(Stage):
    """Every kind of field."""

    name = "odd"

    one: Input = Field((), description="Inputs")
    maybe: Input | None = Field(None, description="Optional inputs")
    model: Weights = Field("x", description="Weights")
    resume: Weights | None = Field(None, description="Optional weights")
    size: Size = Field((8, 8), description="Size")
    share: float = Field(0.5, description="A number")


def test_fields_that_refer_to_steps_are_found_through_none_and_annotations() -> None:
    assert fields_of_kind(Odd, "artifact") == ["one", "maybe"]
    assert fields_of_kind(Odd, "weights") == ["model", "resume"]

    class More(Odd):
        """One more layer."""

        name = "more"
        deep: Annotated[Input, "note"] | None = Field(None, description="Inputs below another annotation")

    assert fields_of_kind(More, "artifact") == ["one", "maybe", "deep"]
    assert Reference("artifact") != Reference("weights")


@pytest.mark.parametrize(
    ("written", "size"),
    [(64, (64, 64)), ("64", (64, 64)), ("128x64", (128, 64)), ("128X64", (128, 64)), ([3, 4], (3, 4))],
)
def test_a_size_is_a_number_or_height_by_width(written: Any, size: tuple[int, int]) -> None:
    stage = Odd(size=written)
    assert stage.size == size
    assert stage.model_dump(mode="json")["size"] == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize(
    "wrong", ["", "x", "1x2x3", "-4", "a", 2.5, True, None, [1], [1, 2, 3], ["a", "b"], "²", 0, 16385, {}]
)
def test_what_is_no_size_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Odd(size=wrong)


@pytest.mark.parametrize("wrong", [[1], 5, {"a": 1}, [["a"]]])
def test_what_is_no_input_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Odd(one=wrong)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_are_finite(wrong: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Odd(share=wrong)


def items(count: int) -> list[Row]:
    return [{"id": str(i)} for i in range(count)]


class Doubler:
    """Doubles batches of items; `calls` holds what it was given."""

    calls: list[list[str]] = []

    def __init__(self, stop_at: str = "") -> None:
        self.stop_at = stop_at

    def __call__(self, batch: list[Row]) -> list[list[Row]]:
        self.calls.append([item["id"] for item in batch])
        if self.stop_at in self.calls[-1]:
            raise KeyboardInterrupt
        return [[{"class": item["id"] * 2}] * (int(item["id"]) % 3) for item in batch]


def each(out: Path, count: int, stop_at: str = "", **options: Any) -> list[tuple[int, str]]:
    keys = [item["id"] for item in items(count)]
    settings: dict[str, Any] = {"keys": keys, "description": "Doubling", "batch": 2, **options}
    return doubles(Context().each(out, items(count), Doubler, (stop_at or "none",), **settings))


def doubles(done: pl.DataFrame) -> list[tuple[int, str]]:
    """Whose rows come, and what they say."""
    return done.select("item", "class").rows()


@pytest.fixture(autouse=True)
def fresh_calls() -> None:
    Doubler.calls = []


def test_each_item_comes_with_its_rows_in_order(tmp_path: Path) -> None:
    assert each(tmp_path, 5) == [(1, "11"), (2, "22"), (2, "22"), (4, "44")]


def test_an_interrupted_run_repeats_no_item(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        each(tmp_path, 7, stop_at="4")
    Doubler.calls = []
    again = each(tmp_path, 7)
    assert Doubler.calls == [["4", "5"], ["6"]]
    assert again == each(tmp_path / "straight", 7)


def test_items_may_be_a_table(tmp_path: Path) -> None:
    table = pl.DataFrame(items(5))
    done = Context().each(tmp_path, table, Doubler, keys=table["id"].to_list(), description="", batch=2)
    assert doubles(done) == each(tmp_path / "rows", 5)
    assert Doubler.calls[:3] == [["0", "1"], ["2", "3"], ["4"]]


def test_a_longer_list_computes_only_what_is_new(tmp_path: Path) -> None:
    each(tmp_path, 3)
    Doubler.calls = []
    assert each(tmp_path, 5)[-1] == (4, "44")
    assert Doubler.calls == [["3", "4"]]


def test_items_of_one_key_are_computed_once_per_run_at_most_and_all_answered(tmp_path: Path) -> None:
    same = [{"id": "1"}, {"id": "2"}, {"id": "1"}]
    done = Context().each(tmp_path, same, Doubler, keys=["1", "2", "1"], description="", batch=1)
    assert doubles(done) == [(0, "11"), (1, "22"), (1, "22"), (2, "11")]
    assert sorted(Doubler.calls) == [["1"], ["2"]]


def deadly(batch: list[Row]) -> list[list[Row]]:
    if any(item["id"] == "3" for item in batch):
        os._exit(9)
    return [[{"status": "kept", "id": f"of {item['id']}"}] for item in batch]


def test_only_the_item_that_kills_goes_without_a_result(tmp_path: Path) -> None:
    keys = list("01234567")
    done = Context().each(tmp_path, items(8), deadly, keys=keys, description="Dying", batch=4, workers=2)
    assert done["item"].to_list() == list(range(8))
    assert done["status"].to_list() == ["worker_died" if key == "3" else "kept" for key in keys]
    assert done["id"].to_list() == ["3" if key == "3" else f"of {key}" for key in keys]


def test_a_result_keeps_its_values_and_types(tmp_path: Path) -> None:
    head = {"box": [0.1, 1, 2.345, 3], "class": "é", "traits": '{"x":"\\"}'}
    row: Row = {
        "box": [0.1, 1, 2, 3],
        "score": 1,
        "width": 70000,
        "heads": [head],
        "path": 'a"\\b.png',
        "bad_labels": 2,
    }
    journal = Journal(tmp_path)
    journal.write({"a": [row]})
    [found] = journal.table(["a"]).to_dicts()
    journal.close()
    assert {c: found[c] for c in ("item", "id", "score", "width", "path", "bad_labels")} == {
        **{c: row[c] for c in ("score", "width", "path", "bad_labels")},
        "item": 0,
        "id": "a",
    }
    assert found["box"] == pytest.approx(row["box"])
    assert found["heads"] == [{"keypoints": None, "label": None, **head}]


@pytest.mark.parametrize(
    "tail", [b'{"key": "2", "ro', b"\0\0\0\0\n", b"5\n", b"[]\n", b'{"rows": []}\n', b'{"key": "2"}\n']
)
def test_a_torn_end_of_the_journal_is_forgotten(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "items.jsonl"
    journal = Journal(tmp_path)
    journal.write({"0": [{"label": 1}], "1": []})
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert journalled(tmp_path)["key"].to_list() == ["0", "1"]
    journal = Journal(tmp_path)
    assert journal.done["key"].to_list() == ["0", "1"]
    assert journal.table(["0", "1"]).select("item", "label").rows() == [(0, 1)]
    journal.write({"2": []})
    journal.close()
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == ["0", "1", "2"]


def test_phases_add_up_and_facts_are_kept() -> None:
    ctx = Context()
    for _ in range(2):
        with ctx.phase("work"):
            pass
    ctx.record(map50=0.5)
    assert ctx.seconds.keys() == {"work"}
    assert ctx.facts == {"map50": 0.5}
