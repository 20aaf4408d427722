import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foxgan import stages
from foxgan.commands.explain import told, why_command
from foxgan.errors import StageError
from foxgan.pipeline.plan import plan
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.pipeline.telling.explain import Change, Explanation, explain
from foxgan.pipeline.withdrawn import Withdrawal
from foxgan.stages.base import Field, Stage

THREE = """
steps:
  write: {text: fox}
  first: {use: initial, texts: write}
  join: {texts: [write, first]}
"""


def why(toys: Any, text: str, step: str, overrides: dict[str, Any] | None = None) -> Explanation:
    store = Store(toys.workspace)
    try:
        return explain(load_pipeline(toys.file(text), overrides), store, step)
    finally:
        store.close()


def words(explanation: Explanation) -> str:
    return "\n".join(told(explanation))


def test_a_step_that_never_ran_says_so(toys: Any) -> None:
    found = why(toys, THREE, "write")
    assert (found.state, found.last, found.changes) == ("run", None, [])
    assert "never ran" in words(found)


def test_a_finished_step_says_since_when(toys: Any) -> None:
    toys.run(THREE)
    found = why(toys, THREE, "join")
    assert found.state == "kept" and found.changes == [] and found.last
    assert f"nothing differs from what it made at {found.last['finished'][:10]}" in words(found)


def test_a_changed_param_and_one_that_fell_back_to_its_default_are_named(toys: Any) -> None:
    toys.run("steps: {write: {text: dog}, join: {texts: write, upper: true}}")
    found = why(toys, "steps: {write: {text: dog}, join: {texts: write}}", "join")
    assert found.changes == [Change("param", "upper", True, False, default=True)]
    assert "upper: true -> false, its default" in words(found)
    found = why(toys, "steps: {write: {text: dog}, join: {texts: write, upper: true}}", "write", {"write.text": "cat"})
    assert found.changes == [Change("param", "text", "dog", "cat")]


def test_machine_params_and_versions_of_libraries_are_never_a_cause(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(THREE)
    monkeypatch.setattr("foxgan.pipeline.telling.explain.__version__", "99.0")
    found = why(toys, THREE, "write", {"write.workers": 7})
    assert found.changes == [] and found.state == "kept"
    assert [(c.kind, c.name, c.new) for c in found.beside] == [("param", "workers", 7), ("foxgan", "foxgan", "99.0")]
    assert "never a reason: workers: 1 -> 7" in words(found)


def test_a_new_version_of_the_stage_is_named(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(THREE)
    monkeypatch.setattr(stages.stage_class("write"), "version", 5)
    assert why(toys, THREE, "write").changes == [Change("version", "write", 1, 5)]


def test_another_stage_under_the_same_step_is_named(toys: Any) -> None:
    toys.run("steps: {a: {use: write}, b: {use: initial, texts: a}}")
    found = why(toys, "steps: {a: {use: write}, b: {use: join, texts: a}}", "b")
    assert found.changes == [Change("stage", "stage", "initial", "join")]


def test_a_changed_input_tells_step_content_and_items(toys: Any) -> None:
    text = "steps: {sort: {kept: 3}, held: {use: hold, items: sort}}"
    toys.run(text)
    toys.run(text, {"sort.kept": 5}, only="sort")
    (change,) = why(toys, text, "held", {"sort.kept": 5}).changes
    assert (change.kind, change.name, change.old.source, change.new.source) == ("input", "items", "sort", "sort")
    assert (change.old.items, change.new.items) == (3, 5) and change.old.digest != change.new.digest


def test_inputs_that_came_went_and_moved_are_told_apart(toys: Any) -> None:
    text = "steps: {a: {use: write, text: a}, b: {use: write, text: b}, c: {use: write, text: c}, join: {texts: [%s]}}"
    toys.run(text % "a, b, c")
    (moved,) = why(toys, text % "c, b, a", "join").changes
    assert (moved.kind, moved.old, moved.new) == ("order", ["a", "b", "c"], ["c", "b", "a"])
    (gone,) = why(toys, text % "a, c", "join").changes
    assert gone.old.source == "b" and gone.new is None
    toys.run(text % "a, c")
    (come,) = why(toys, text % "a, b, c", "join").changes
    assert come.old is None and come.new.source == "b"
    assert "texts: b is new" in words(why(toys, text % "a, b, c", "join"))


def test_an_outside_file_counts_by_content_and_name(toys: Any) -> None:
    text = "steps: {join: {texts: %s}}"
    for name, content in (("one.txt", "1"), ("two.txt", "1")):
        (toys.folder / name).write_text(content)
    toys.run(text % "one.txt")
    (renamed,) = why(toys, text % "two.txt", "join").changes
    assert renamed.old.source.endswith("one.txt") and renamed.new.source.endswith("two.txt")
    (toys.folder / "one.txt").write_text("another")
    assert "one.txt is not the same any more" in words(why(toys, text % "one.txt", "join"))


def test_a_longer_run_says_from_which_shorter_one_it_goes_on(toys: Any) -> None:
    report = toys.run("steps: {grow: {limit: 4}}")
    found = why(toys, "steps: {grow: {limit: 6}}", "grow")
    assert found.changes == [Change("param", "limit", 4, 6, horizon=True)]
    assert found.goes_on_from == f"data/{report.folder('grow').name}"
    found = why(toys, "steps: {grow: {limit: 2}}", "grow")
    assert found.goes_on_from is None and "begins anew" in words(found)


def test_unfinished_work_is_mentioned(toys: Any) -> None:
    def stop(out: Path) -> None:
        raise StageError("stopped")

    toys.run("steps: {grow: {limit: 1}}")
    toys.trouble["grow"] = stop
    with pytest.raises(StageError):
        toys.run("steps: {grow: {limit: 1, word: leaf}}")
    found = why(toys, "steps: {grow: {limit: 1, word: leaf}}", "grow")
    assert found.unfinished and "unfinished work is there and goes on" in words(found)


def test_a_deleted_folder_is_told_with_who_needs_it(toys: Any) -> None:
    report = toys.run(THREE)
    shutil.rmtree(report.folder("write"))
    found = why(toys, THREE, "write")
    assert (found.state, found.changes) == ("gone", []) and "need not run" in words(found)
    found = why(toys, THREE, "write", {"join.upper": True})
    assert (found.state, found.deleted, found.needed_by) == ("run", True, ["join"])
    shutil.rmtree(report.folder("join"))
    found = why(toys, THREE, "join")
    assert found.state == "run" and "nothing that follows stands for it" in words(found)
    assert found.waits_for == []


def test_a_step_that_waits_leads_to_the_root_causes(toys: Any) -> None:
    toys.run(THREE)
    found = why(toys, THREE, "join", {"write.text": "cat"})
    assert (found.state, found.changes, found.waits_for) == ("unknown", [], ["first", "write"])
    assert [(c.step, c.state) for c in found.causes] == [("write", "run")]
    assert found.causes[0].changes == [Change("param", "text", "fox", "cat")]
    assert "Where they make the same as before, the change stops there; join would then stay as it is" in words(found)
    found = why(toys, THREE, "join", {"write.text": "cat", "join.upper": True})
    assert found.changes == [Change("param", "upper", False, True)]
    assert "join runs anyway, for what differs" in words(found)


def test_a_pipeline_that_never_ran_is_compared_with_the_newest_of_the_same_name(toys: Any) -> None:
    toys.run("name: one\nsteps: {write: {text: fox}}")
    found = why(toys, "name: two\nsteps: {write: {text: cat}}", "write")
    assert found.changes == [Change("param", "text", "fox", "cat")]
    assert why(toys, "name: two\nsteps: {write: {text: fox}}", "write").changes == []


def test_going_back_to_what_was_made_before_is_told(toys: Any) -> None:
    toys.run(THREE)
    toys.run(THREE, {"write.text": "cat"})
    found = why(toys, THREE, "write")
    assert (found.state, found.changes) == ("kept", [Change("param", "text", "cat", "fox", default=True)])
    assert "it is there already" in words(found)


def test_a_key_that_is_made_in_another_way_is_admitted(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(THREE)
    store = Store(toys.workspace)
    (manifest,) = (m for m in store.ledger.manifests() if m["step"] == "write")
    store.ledger.add(manifest | {"key": "0" * 64}, 0)
    store.ledger.use("toys", "write", "0" * 64)
    store.close()
    shutil.rmtree(next(toys.workspace.glob("data/write-*")))
    assert [c.kind for c in why(toys, THREE, "write").changes] == ["key"]


NAMES = ("one.txt", "two.txt")


def change(draw: random.Random, params: dict[str, Any], files: dict[str, str]) -> None:
    """Change one thing somewhere; often something that makes no other key."""
    options: dict[str, Any] = {
        "write.text": ("fox", str(draw.random()), str(draw.random())),
        "write.workers": (1, 2, 3),
        "sort.kept": (2, 3),
        "sort.dropped": (0, 1),
        "grow.limit": (1, 2, 3),
        "grow.word": ("line", "leaf"),
        "join.upper": (False, True),
        "join.texts": (["write", "first"], ["first", "write"], ["write"], ["write", "write", "first"]),
        "outside.texts": (*NAMES, ["one.txt", "two.txt"], ["write", "one.txt"]),
        "mixed.count": (1, 1.0, 2, "auto"),
    }
    if draw.random() < 0.2:
        files[draw.choice(NAMES)] = draw.choice(("a", "b"))
    else:
        name = draw.choice([*options, "write.text", "join.upper"])
        params.pop(name, None)
        if draw.random() < 0.8:
            params[name] = draw.choice(options[name])


class Take(Stage):
    """Takes photos in."""

    name = "take"
    takes_in = True
    reads = ("source",)

    def run(self, out: Path, ctx: Any) -> None:
        (out / "value.txt").write_text("taken")


class Mixed(Stage):
    """A param whose values look alike."""

    name = "mixed"

    count: int | float | str = Field(1, description="Of several kinds")

    def run(self, out: Path, ctx: Any) -> None:
        (out / "value.txt").write_text(repr(self.count))


class Hold(Stage):
    """Count what an index holds."""

    name = "hold"

    items: stages.base.Input = Field(description="Output of `sort`")

    def run(self, out: Path, ctx: Any) -> None:
        (out / "value.txt").write_text("held")


@pytest.fixture(autouse=True)
def more_toys(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for toy in (Mixed, Hold, Take):
        monkeypatch.setitem(stages.MODULES, toy.name, (toy.__module__, toy.__name__))


MANY = """
steps:
  write: {}
  first: {use: initial, texts: write}
  join: {texts: [write, first]}
  outside: {use: join, texts: one.txt}
  sort: {}
  hold: {items: sort}
  grow: {}
  mixed: {}
"""


@pytest.mark.parametrize("seed", range(3))
def test_nothing_differs_exactly_where_the_key_is_the_same(
    toys: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toys.folder)
    draw, params, files = random.Random(seed), dict[str, Any](), dict.fromkeys(NAMES, "a")
    same = other = waiting = 0
    for turn in range(20):
        for _ in range(draw.choice((0, 1, 2, 4)) if turn else 0):
            change(draw, params, files)
        if turn % 4 == 3:  # `join` waits, and differs itself
            params |= {"write.text": str(draw.random()), "join.upper": not params.get("join.upper", False)}
        for name, content in files.items():
            (toys.folder / name).write_text(content)
        pipeline, store = load_pipeline(toys.file(MANY), params), Store(toys.workspace)
        planned = plan(pipeline, store, pipeline.steps)
        found = {step: explain(pipeline, store, step) for step in planned}
        store.close()
        after = toys.run(MANY, params).steps if turn % 4 in (0, 3) or draw.random() < 0.5 else planned
        for step, e in found.items():
            key = planned[step].key
            assert list(told(e)) and bool(e.last) == bool(turn)
            assert "key" not in {c.kind for c in e.changes}, step
            if key and e.last:
                assert (e.changes == []) == (key.full == e.last["key"]), (step, e.changes)
                same, other = same + (not e.changes), other + bool(e.changes)
            elif e.last and e.changes and after is not planned:
                assert after[step].key.full != e.last["key"], (step, e.changes)
                waiting += 1
    assert same > 50 and other > 8 and waiting > 0


def test_a_withdrawn_photo_is_named_until_the_step_ran_without_it(toys: Any) -> None:
    report = toys.run("steps: {take: {}}")
    manifest = report.steps["take"].manifest
    store = Store(toys.workspace)
    store.withdrawn.add(Withdrawal("f" * 64, "asked for", datetime.now(UTC).isoformat(), [manifest["items"]], []))
    store.close()
    found = why(toys, "steps: {take: {}}", "take")
    assert found.changes == [Change("withdrawn", "f" * 64, new="f" * 64)]
    assert "photo ffffffffffff was withdrawn" in words(found)
    toys.run("steps: {take: {}}")
    assert why(toys, "steps: {take: {}}", "take").changes == []


def test_the_command_speaks_and_prints_json(toys: Any) -> None:
    toys.run(THREE)
    args = [str(toys.file(THREE)), "join", "--set", "write.text=cat", "--workspace", str(toys.workspace)]
    text = CliRunner().invoke(why_command, args, catch_exceptions=False).output
    assert text.splitlines()[0].startswith("join (join) waits for first, write")
    (facts,) = json.loads(CliRunner().invoke(why_command, [*args, "--json"], catch_exceptions=False).output)
    assert facts["causes"][0]["changes"][0]["new"] == "cat" and facts["last"]["step"] == "join"
