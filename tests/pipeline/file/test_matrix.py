import os
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest

from foxgan.errors import PipelineError, UsageError
from foxgan.pipeline.file.labels import labels
from foxgan.pipeline.file.overrides import parse_override
from foxgan.pipeline.spec import Pipeline, load_pipeline

pytestmark = pytest.mark.usefixtures("toys")


def refusal(toys: Any, text: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(toys.file(text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1500
    return message.removeprefix(f"{toys.folder}{os.sep}")


def loaded(toys: Any, text: str, *changes: str) -> Pipeline:
    return load_pipeline(toys.file(text), dict(map(parse_override, changes)))


def reads(pipeline: Pipeline) -> dict[str, list[str]]:
    return {name: step.after for name, step in pipeline.steps.items() if step.after}


TWO = "steps:\n  write: {matrix: {text: [a, b], workers: [1, 2]}}\n"


def test_a_matrix_makes_one_step_per_combination_in_written_order(toys: Any) -> None:
    steps = loaded(toys, TWO).steps
    names = ["write@text=a,workers=1", "write@text=a,workers=2", "write@text=b,workers=1", "write@text=b,workers=2"]
    assert list(steps) == names
    step = steps["write@text=b,workers=1"]
    assert (step.base, step.variant) == ("write", {"text": "b", "workers": 1})
    assert (step.stage.text, step.stage.workers) == ("b", 1)  # type: ignore[attr-defined]


def test_a_step_without_a_matrix_has_its_own_name_as_base(toys: Any) -> None:
    step = loaded(toys, "steps: {write: {}}").step("write")
    assert (step.base, step.variant) == ("write", {})


def test_a_reader_of_a_single_name_fans_out_and_a_list_gets_all(toys: Any) -> None:
    text = """
        steps:
          all: {use: join, texts: [write]}
          first: {use: initial, texts: loud}
          loud: {use: join, texts: write, upper: true}
          write: {matrix: {text: [a, b]}}
    """
    pipeline = loaded(toys, text)
    assert reads(pipeline) == {
        "loud@text=a": ["write@text=a"],
        "loud@text=b": ["write@text=b"],
        "first@text=a": ["loud@text=a"],
        "first@text=b": ["loud@text=b"],
        "all": ["write@text=a", "write@text=b"],
    }
    assert pipeline.steps["first@text=b"].variant == {"text": "b"}


def test_variants_run_each_for_itself_and_a_list_unites_them(toys: Any) -> None:
    text = """
        steps:
          write: {matrix: {text: [fox, wolf]}}
          loud: {use: join, texts: write, upper: true}
          all: {use: join, texts: [loud]}
    """
    report = toys.run(text)
    assert (report.folder("loud@text=wolf") / "value.txt").read_text() == "WOLF"
    assert (report.folder("all") / "value.txt").read_text() == "FOX+WOLF"
    assert toys.run(text).made == []
    with pytest.raises(UsageError, match="loud has the variants loud@text=fox, loud@text=wolf"):
        report.folder("loud")


def test_another_value_makes_only_its_own_steps(toys: Any) -> None:
    text = "steps:\n  write: {matrix: {text: [%s]}}\n  initial: {texts: write}\n"
    toys.run(text % "a, b")
    assert toys.run(text % "a, b, c").made == ["write@text=c", "initial@text=c"]


def test_only_with_a_written_name_runs_all_its_variants(toys: Any) -> None:
    text = "steps:\n  write: {matrix: {text: [a, b]}}\n  other: {use: write}\n"
    assert toys.run(text, only="write").made == ["write@text=a", "write@text=b"]


CROSS = """
    steps:
      write: {matrix: {text: [a, b]}}
      upper: {use: mix, left: write}
      both: {use: mix, left: upper, right: write}
      other: {use: write, matrix: {workers: [1, 2]}}
      crossed: {use: mix, left: upper, right: other}
      same: {use: write, matrix: {text: [x, y]}}
      doubled: {use: mix, left: write, right: same}
"""


@pytest.fixture
def mix(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy with two inputs."""
    import sys
    from types import ModuleType

    from foxgan import stages
    from foxgan.stages.base import Field, Input, Stage

    class Mix(Stage):
        """Two inputs."""

        name = "mix"

        left: Input = Field((), description="One")
        right: Input = Field((), description="Another")

    module = ModuleType("mixing_toys")
    module.Mix = Mix  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mixing_toys", module)
    monkeypatch.setitem(stages.MODULES, "mix", ("mixing_toys", "Mix"))


@pytest.mark.usefixtures("mix")
def test_inputs_are_joined_on_the_axes_that_they_share(toys: Any) -> None:
    pipeline = loaded(toys, CROSS)
    assert pipeline.select("both") == ["both@text=a", "both@text=b"]
    assert pipeline.steps["both@text=b"].after == ["upper@text=b", "write@text=b"]


@pytest.mark.usefixtures("mix")
def test_different_axes_multiply(toys: Any) -> None:
    pipeline = loaded(toys, CROSS)
    names = [f"crossed@text={text},workers={workers}" for text in "ab" for workers in (1, 2)]
    assert pipeline.select("crossed") == names
    assert pipeline.steps[names[2]].after == ["other@workers=1", "upper@text=b"]


@pytest.mark.usefixtures("mix")
def test_axes_of_the_same_name_are_told_apart_by_their_origin(toys: Any) -> None:
    pipeline = loaded(toys, CROSS)
    names = [f"doubled@write.text={left},same.text={right}" for left in "ab" for right in "xy"]
    assert pipeline.select("doubled") == names
    assert pipeline.steps[names[1]].variant == {"write.text": "a", "same.text": "y"}


def test_an_own_axis_of_the_same_name_as_an_inherited_one_is_told_apart_too(toys: Any) -> None:
    text = "steps:\n  write: {matrix: {text: [a]}}\n"
    text += "  more: {use: join, texts: write, matrix: {upper: [true, false]}}\n"
    text += "  most: {use: join, texts: more, matrix: {upper: [true]}}\n"
    assert loaded(toys, text).select("most") == [
        "most@text=a,more.upper=true,most.upper=true",
        "most@text=a,more.upper=false,most.upper=true",
    ]


def test_inherited_axes_come_before_own_ones(toys: Any) -> None:
    text = "steps:\n  write: {matrix: {text: [a, b]}}\n  join: {texts: write, matrix: {upper: [true, false]}}\n"
    assert loaded(toys, text).select("join")[:2] == ["join@text=a,upper=true", "join@text=a,upper=false"]


def test_one_variant_may_be_named(toys: Any) -> None:
    text = "steps:\n  write: {matrix: {text: [a, b]}}\n  initial: {texts: %s}\n  join: {texts: [%s, %s]}\n"
    names = ("write@text=b", "write@text=b", "write@text=a")
    assert reads(loaded(toys, text % names)) == {"initial": [names[0]], "join": [names[2], names[1]]}


@pytest.mark.parametrize("wrong", ["write@text=c", "write@text", "write@"])
def test_a_variant_that_does_not_exist_is_told_with_those_that_do(toys: Any, wrong: str) -> None:
    message = refusal(toys, f"steps:\n  write: {{matrix: {{text: [a, b]}}}}\n  initial: {{texts: {wrong}}}\n")
    assert message.startswith(f"toys.yaml:3:20: step initial: {wrong!r} is neither a step (did you mean 'write@text=")
    assert message.endswith("steps: write@text=a, write@text=b")


def test_an_axis_may_hold_steps_and_paths_and_lists_of_them(toys: Any) -> None:
    (toys.folder / "a.txt").write_text("a")
    text = """
        steps:
          one: {use: write}
          two: {use: write, matrix: {text: [x, y]}}
          join: {matrix: {texts: [one, a.txt, [one, a.txt], two, [two]]}}
    """
    pipeline = loaded(toys, text)
    assert pipeline.select("join") == [
        "join@texts=one",
        "join@texts=a.txt",
        "join@texts=one+a.txt",
        "join@texts=two,text=x",
        "join@texts=two,text=y",
        f"join@texts={labels(['two', ['two']])[1]}",
    ]
    sources = pipeline.steps["join@texts=one+a.txt"].sources["texts"]
    assert [s.step or s.path for s in sources] == ["one", toys.folder / "a.txt"]


BAD = [
    ("write: {matrix: {}}", "2:19", "matrix is empty"),
    ("write: {matrix: [text]}", "2:19", "matrix must be a mapping"),
    ("write: {matrix: {text: []}}", "2:26", "must be a list of at least one value"),
    ("write: {matrix: {text: a}}", "2:26", "text is 'a'; it must be a list"),
    ("write: {matrix: {txt: [a]}}", "2:20", "no field 'txt' (did you mean 'text'?); it has: text, workers"),
    ("write: {matrix: {use: [write]}}", "2:20", "no field 'use'"),
    ("write: {matrix: {text: [a, b, a]}}", "2:33", "text has 'a' twice"),
    ("grow: {matrix: {limit: [1, 1.0]}}", "2:30", "limit has 1.0 twice"),
    ("write: {text: a, matrix: {text: [b]}}", "2:29", "text is set and varied"),
    ("write: {matrix: {workers: [1, many]}}", "2:33", "step write@workers=many: workers is 'many'"),
    ("join: {matrix: {texts: [gone]}}", "2:27", "'gone' is neither a step"),
    ("a: {use: join, matrix: {texts: [a]}}", "2:3", "in a circle: a -> a"),
    ("a: {use: initial, texts: a@x}", "2:3", "in a circle: a -> a"),
]


@pytest.mark.parametrize(("step", "place", "words"), BAD)
def test_a_mistake_in_a_matrix_is_told_with_its_place(toys: Any, step: str, place: str, words: str) -> None:
    message = refusal(toys, f"steps:\n  {step}\n")
    assert message.startswith(f"toys.yaml:{place}: ")
    assert words in message


def test_true_and_1_are_two_values(toys: Any) -> None:
    assert "yes or no" in refusal(toys, "steps: {write: {matrix: {workers: [1, true]}}}")


def test_setting_an_axis_on_the_command_line_ends_its_variation(toys: Any) -> None:
    assert loaded(toys, TWO, "write.text=c").select("write") == ["write@workers=1", "write@workers=2"]
    step = loaded(toys, TWO, "write.text=c", "write.workers=3").step("write")
    assert (step.stage.text, step.variant) == ("c", {})  # type: ignore[attr-defined]


def test_a_matrix_can_be_set_on_the_command_line(toys: Any) -> None:
    text = "steps: {write: {text: a, workers: 2}}"
    assert loaded(toys, text, "write.matrix={text: [x, y]}").select("write") == ["write@text=x", "write@text=y"]


def test_a_variable_may_hold_the_values_of_an_axis(toys: Any) -> None:
    text = 'vars: {t: [a, b]}\nsteps: {write: {matrix: {text: "${t}"}}}'
    assert loaded(toys, text).select("write") == ["write@text=a", "write@text=b"]
    assert loaded(toys, text, "vars.t=[c]").select("write") == ["write@text=c"]


def test_select_knows_written_names_and_variants_and_tells_what_there_is(toys: Any) -> None:
    pipeline = loaded(toys, "steps:\n  write: {matrix: {text: [a, b]}}\n  other: {use: write}\n")
    assert pipeline.select("write@text=b") == ["write@text=b"]
    assert pipeline.select("other") == ["other"]
    for wrong, words in [
        ("wrte", "no step 'wrte' (did you mean 'write'?); steps: write, other"),
        ("write@text=c", "write has the variants write@text=a, write@text=b"),
        ("other@text=a", "steps: write, other"),
    ]:
        with pytest.raises(UsageError) as caught:
            pipeline.select(wrong)
        assert words in str(caught.value)


def ends_at_once(toys: Any, text: str) -> str:
    start = time.process_time()
    message = refusal(toys, text)
    assert time.process_time() - start < 2
    return message


def axis(count: int) -> str:
    return f"[{', '.join(map(str, range(1, count + 1)))}]"


def test_a_matrix_of_a_million_combinations_ends_at_once(toys: Any) -> None:
    text = f"steps:\n  grow: {{matrix: {{limit: {axis(100)}, word: {axis(101)}}}}}\n"
    assert "toys.yaml:2:18: step grow: matrix has 100 x 101 = 10100 combinations" in ends_at_once(toys, text)


def test_ten_thousand_steps_end_at_once(toys: Any) -> None:
    assert "1500 steps; a pipeline has at most 1000" in ends_at_once(
        toys, "steps:\n" + "".join(f"  s{i}: {{use: write}}\n" for i in range(1500))
    )
    assert "a pipeline file has at most" in ends_at_once(
        toys, "steps:\n" + "".join(f"  s{i}: {{use: write}}\n" for i in range(10_000))
    )


@pytest.mark.usefixtures("mix")
def test_axes_that_multiply_step_by_step_end_at_once(toys: Any) -> None:
    lines = [f"  w{i}: {{use: write, matrix: {{workers: {axis(8)}}}}}" for i in range(6)]
    lines += ["  m0: {use: mix, left: w0, right: w1}"]
    lines += [f"  m{i}: {{use: mix, left: m{i - 1}, right: w{i + 1}}}" for i in range(1, 5)]
    assert "step m2: more than 1000 steps with its variants" in ends_at_once(toys, "steps:\n" + "\n".join(lines))


def test_a_long_chain_of_axes_ends_at_once(toys: Any) -> None:
    lines = ["  j0: {use: write, matrix: {text: [a]}}"]
    lines += [f"  j{i}: {{use: join, texts: j{i - 1}, matrix: {{upper: [true]}}}}" for i in range(1, 900)]
    assert "step j16: varied in 17 ways" in ends_at_once(toys, "steps:\n" + "\n".join(lines))


def test_lists_that_unfold_to_too_many_entries_end_at_once(toys: Any) -> None:
    many = ", ".join(["write"] * 100)
    text = f"steps:\n  write: {{matrix: {{workers: {axis(500)}}}}}\n  join: {{texts: [{many}]}}\n"
    assert "too large" in ends_at_once(toys, text)


def test_a_thousand_variants_load_in_little_time(toys: Any) -> None:
    text = f"steps:\n  write: {{matrix: {{workers: {axis(500)}}}}}\n  initial: {{texts: write}}\n"
    start = time.process_time()
    assert len(loaded(toys, text).steps) == 1000
    assert time.process_time() - start < 3


NAMES: Sequence[tuple[Any, str]] = [
    (0.5, r"0\.5"),
    (-1, "-1"),
    (1e-05, "1e-05"),
    (True, "true"),
    (None, "null"),
    ("1-4", "1-4"),
    ("64x128", "64x128"),
    ([64, 32], r"64\+32"),
    ("a b", "a_b-[0-9a-f]{6}"),
    ("../up", "_up-[0-9a-f]{6}"),
    ("..", "empty-[0-9a-f]{6}"),
    ("", "empty-[0-9a-f]{6}"),
    (".hidden", "hidden-[0-9a-f]{6}"),
    ("end.", "end-[0-9a-f]{6}"),
    ("a=1,b@c", "a_1_b_c-[0-9a-f]{6}"),
    ("C:\\x", "C_x-[0-9a-f]{6}"),
    ("лиса", "_-[0-9a-f]{6}"),
    ("x" * 200, "x{32}-[0-9a-f]{6}"),
]


@pytest.mark.parametrize(("value", "pattern"), NAMES)
def test_labels_are_safe_names_of_files(value: Any, pattern: str) -> None:
    (label,) = labels([value])
    assert re.fullmatch(pattern, label)


def test_labels_are_unique_also_where_case_does_not_count() -> None:
    values = ["fox", "Fox", "FOX", 0.5, "0.5", ["a", "b"], "a+b", "a/b", "a b", "a_b"]
    found = labels(values)
    assert (found[0], found[3], found[5]) == ("fox", "0.5", "a+b")
    assert len({label.casefold() for label in found}) == len(values)


def test_a_name_of_many_long_values_fits_a_file_system(toys: Any) -> None:
    text = f"steps:\n  grow: {{matrix: {{word: [{'x' * 90}, {'x' * 90}y]}}}}\n"
    text += "".join(
        f"  j{i}: {{use: join, texts: {'grow' if i == 0 else f'j{i - 1}'}, matrix: {{upper: [true]}}}}\n"
        for i in range(12)
    )
    pipeline = loaded(toys, text)
    assert max(map(len, pipeline.steps)) <= 64 + 1 + 120
    assert len(pipeline.select("j11")) == 2
