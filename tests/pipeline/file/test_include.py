import os
import time
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import PipelineError
from foxgan.pipeline.file.include import MAX_FILES, MAX_LEVELS
from foxgan.pipeline.file.overrides import parse_override
from foxgan.pipeline.file.yamlfile import MAX_BYTES
from foxgan.pipeline.spec import Pipeline, load_pipeline

pytestmark = pytest.mark.usefixtures("toys")


def refusal(toys: Any, text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(toys.file(text, "top.yaml"))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 2500
    return message.replace(f"{toys.folder}{os.sep}", "").replace(os.sep, "/")


def loaded(toys: Any, text: str, *changes: str) -> Pipeline:
    return load_pipeline(toys.file(text, "top.yaml"), dict(map(parse_override, changes)))


def texts(pipeline: Pipeline) -> dict[str, Any]:
    return {name: getattr(step.stage, "text", None) for name, step in pipeline.steps.items()}


@pytest.fixture
def base(toys: Any) -> Path:
    (toys.folder / "sub").mkdir()
    text = """
        name: of-no-matter
        vars: {animal: fox, sound: "${animal} barks"}
        steps:
          write: {text: "${sound}", workers: 2}
          join: {texts: write, upper: true}
    """
    path: Path = toys.file(text, "sub/base.yaml")
    return path


@pytest.mark.usefixtures("base")
def test_an_included_file_is_as_if_written_here(toys: Any) -> None:
    pipeline = loaded(toys, "include: sub/base.yaml\nsteps: {last: {use: initial, texts: join}}\n")
    assert pipeline.name == "top"
    assert list(pipeline.steps) == ["write", "join", "last"]
    assert texts(pipeline)["write"] == "fox barks"


@pytest.mark.usefixtures("base")
def test_included_steps_alone_are_a_pipeline(toys: Any) -> None:
    assert list(loaded(toys, "name: mine\ninclude: [sub/base.yaml]\n").steps) == ["write", "join"]


@pytest.mark.usefixtures("base")
def test_included_steps_and_variables_see_the_variables_of_the_including_file(toys: Any) -> None:
    text = 'include: sub/base.yaml\nvars: {kind: arctic, animal: "${kind} fox"}\n'
    assert texts(loaded(toys, text))["write"] == "arctic fox barks"
    assert texts(loaded(toys, text, "vars.kind=red"))["write"] == "red fox barks"


@pytest.mark.usefixtures("base")
def test_a_step_of_the_same_name_is_merged_param_by_param(toys: Any) -> None:
    text = "include: sub/base.yaml\nsteps:\n  write: {text: howl}\n  join: {max_dropped: 0.5}\n  new: {use: write}\n"
    pipeline = loaded(toys, text)
    assert list(pipeline.steps) == ["write", "new", "join"]
    write = pipeline.step("write").stage
    assert (write.text, write.workers) == ("howl", 2)  # type: ignore[attr-defined]
    join = pipeline.step("join")
    assert (join.stage.upper, join.max_dropped) == (True, 0.5)  # type: ignore[attr-defined]


def test_the_including_file_chooses_the_stage(toys: Any) -> None:
    toys.file("steps: {a: {use: write}}", "base.yaml")
    pipeline = loaded(toys, "include: base.yaml\nsteps: {a: {use: grow, word: x}}\n")
    assert pipeline.step("a").stage.name == "grow"


@pytest.mark.usefixtures("base")
def test_set_works_on_merged_steps(toys: Any) -> None:
    pipeline = loaded(
        toys, "include: sub/base.yaml\nsteps: {write: {text: howl}}\n", "write.workers=7", "join.upper=false"
    )
    write = pipeline.step("write").stage
    assert (write.text, write.workers) == ("howl", 7)  # type: ignore[attr-defined]


def test_what_one_file_varies_and_the_other_sets_the_including_one_decides(toys: Any) -> None:
    toys.file("steps: {write: {workers: 3, matrix: {text: [a, b]}}}", "base.yaml")
    assert texts(loaded(toys, "include: base.yaml\nsteps: {write: {text: c}}\n")) == {"write": "c"}
    pipeline = loaded(toys, "include: base.yaml\nsteps: {write: {matrix: {workers: [1, 2]}}}\n")
    assert list(pipeline.steps) == ["write@workers=1", "write@workers=2"]


def test_paths_are_relative_to_the_file_in_which_they_are_written(toys: Any) -> None:
    (toys.folder / "sub").mkdir()
    for folder in (toys.folder, toys.folder / "sub"):
        (folder / "a.txt").write_text("a")
        (folder / "d").mkdir()
        (folder / "d" / "b.txt").write_text("b")
    toys.file(
        'vars: {own: a.txt, other: a.txt, d: d}\nsteps: {join: {texts: [a.txt, "${own}", "${other}", "${d}/b.txt"]}}',
        "sub/base.yaml",
    )
    text = "include: sub/base.yaml\nvars: {other: a.txt}\nsteps: {more: {use: join, texts: [a.txt, '${own}']}}\n"
    pipeline = loaded(toys, text)

    def places(step: str) -> list[str]:
        return [s.path.relative_to(toys.folder).as_posix() for s in pipeline.steps[step].sources["texts"] if s.path]

    assert places("join") == ["sub/a.txt", "sub/a.txt", "a.txt", "sub/d/b.txt"]
    assert places("more") == ["a.txt", "sub/a.txt"]


def test_a_shipped_pipeline_is_included_by_its_name(toys: Any) -> None:
    pipeline = loaded(toys, "include: demo\nsteps: {model: {kimg: 3}}\n")
    assert (pipeline.name, pipeline.step("model").stage.model_dump()["kimg"]) == ("top", 3)


def test_a_file_may_have_the_name_of_the_shipped_one_that_it_includes(toys: Any) -> None:
    path = toys.file("include: demo\n", "demo.yaml")
    assert "model" in load_pipeline(path).steps


def test_several_files_are_read_in_order_and_one_that_two_include_counts_once(toys: Any) -> None:
    toys.file("steps: {write: {text: first}}", "base.yaml")
    toys.file("include: base.yaml\nsteps: {write: {text: second}}", "b.yaml")
    toys.file("include: base.yaml\nsteps: {write: {workers: 5}}", "c.yaml")
    write = loaded(toys, "include: [b.yaml, c.yaml]\n").step("write").stage
    assert (write.text, write.workers) == ("second", 5)  # type: ignore[attr-defined]


BAD = [
    ("include: gone.yaml", "top.yaml:1:10: include: 'gone.yaml' is neither an existing file", "shipped: animals, demo"),
    ("include: dmo", "top.yaml:1:10: include: 'dmo' is neither", "(did you mean 'demo'?)"),
    ("include: .", "top.yaml:1:10: include: '.' is neither", ""),
    ('include: "a\\0b"', "top.yaml:1:10: include: 'a\\x00b' is neither", ""),
    (f"include: {'x' * 9999}", "top.yaml:1:10: include: 'xxx", ""),
    ("include: 5", "top.yaml:1:10: include is 5; write a path", ""),
    ("include: [{a: b}]", "top.yaml:1:11: include is [{'a': 'b'}]", ""),
    ("include:", "top.yaml:1:9: include is None", ""),
    ("include: top.yaml", "top.yaml:1:10: files include each other in a circle: top.yaml -> top.yaml; one", ""),
    ("include: mid.yaml", "mid.yaml:1:10: include: 'gone.yaml' is neither", "(included at top.yaml:1:10)"),
    ("include: round.yaml", "round.yaml:1:11: files include each other in a circle: top.yaml -> round.yaml -> top.yaml",
     "(included at top.yaml:1:10)"),
    ("include: broken.yaml", "broken.yaml:2:1: not valid YAML", "(included at top.yaml:1:10)"),
    ("include: list.yaml", "list.yaml:1:1: a pipeline file must be a mapping", ""),
    ("include: vars.yaml", "top.yaml:1:1: no steps", ""),
    ("include: step.yaml\nsteps: {write: {}}", "step.yaml:1:16: step write must be a mapping", "found 5"),
    ("include: wrong.yaml", "wrong.yaml:1:26: step write: workers is 'x'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "start", "words"), BAD)
def test_a_mistake_with_includes_is_told_with_its_place_and_the_way_there(
    toys: Any, text: str, start: str, words: str
) -> None:
    toys.file("include: gone.yaml", "mid.yaml")
    toys.file("include: [top.yaml]", "round.yaml")
    toys.file("steps: [\n", "broken.yaml")
    toys.file("[a]", "list.yaml")
    toys.file("vars: {a: 1}", "vars.yaml")
    toys.file("steps: {write: 5}", "step.yaml")
    toys.file("steps: {write: {workers: x}}", "wrong.yaml")
    message = refusal(toys, text)
    assert message.startswith(start)
    assert words in message


def test_too_many_and_too_deep_includes_are_refused(toys: Any) -> None:
    for i in range(MAX_FILES):
        toys.file("vars: {}", f"v{i}.yaml")
        toys.file(f"include: d{i + 1}.yaml", f"d{i}.yaml")
    names = ", ".join(f"v{i}.yaml" for i in range(MAX_FILES))
    assert f"more than {MAX_FILES} files" in refusal(toys, f"include: [{names}]")
    message = refusal(toys, "include: d0.yaml")
    assert message.startswith(
        f"d{MAX_LEVELS - 1}.yaml:1:10: files include each other more than {MAX_LEVELS} levels deep"
    )
    assert "(included at top.yaml:1:10, then d0.yaml:1:10, then" in message


def test_all_files_together_are_bounded(toys: Any) -> None:
    start = time.process_time()
    toys.file("# " + "x" * (MAX_BYTES - 200), "big.yaml")
    toys.file("vars: {l: [" + "0, " * 6000 + "0]}", "a.yaml")
    toys.file("vars: {m: [" + "0, " * 6000 + "0]}", "b.yaml")
    toys.file("steps: {write: {}}\n# " + "x" * 300, "small.yaml")
    message = refusal(toys, "include: [small.yaml, big.yaml]")
    assert message.startswith("big.yaml: ") and f"at most {MAX_BYTES}, with all that it includes" in message
    assert refusal(toys, "include: [a.yaml, b.yaml]").startswith("b.yaml:1:11")
    assert time.process_time() - start < 4


def test_an_included_pipeline_runs(toys: Any) -> None:
    toys.file("steps: {write: {text: fox}, join: {texts: write}}", "base.yaml")
    text = "include: base.yaml\nsteps: {join: {upper: true}}\n"
    report = toys.run(text)
    assert (report.folder("join") / "value.txt").read_text() == "FOX"
    assert toys.run(text).made == []
