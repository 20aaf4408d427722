import os
import time
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import PipelineError, UsageError
from foxgan.pipeline.file.overrides import parse_override
from foxgan.pipeline.spec import Source, load_pipeline
from foxgan.shipped import shipped_names

pytestmark = pytest.mark.usefixtures("toys")


def refusal(toys: Any, text: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(toys.file(text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{toys.folder}{os.sep}")


BAD = [
    ("steps: {a: {use: wrte}}", "toys.yaml:1:18", "unknown stage 'wrte' (did you mean 'write'?)", "stages: scrape"),
    ("steps: {a: {}}", "toys.yaml:1:9", "unknown stage 'a'", "needs `use:`"),
    ("steps: {a: {use: [write]}}", "toys.yaml:1:18", "unknown stage ['write']", "stages: scrape"),
    ("steps: {a: {use: {b: c}}}", "toys.yaml:1:18", "unknown stage {'b': 'c'}", "stages: scrape"),
    ("steps:\n  write: {txt: a}", "toys.yaml:2:11", "no field 'txt' (did you mean 'text'?)", "it has: text, workers"),
    ("steps:\n  write: {workers: many}", "toys.yaml:2:20", "workers is 'many'", "valid integer"),
    ("steps:\n  write: {workers: 0}", "toys.yaml:2:20", "workers is 0", "greater than 0"),
    ("steps:\n  write: {workers: yes}", "toys.yaml:2:20", "workers is true", "yes or no"),
    ("steps:\n  write: {text: no}", "toys.yaml:2:17", "text is false", "yes or no"),
    ("steps:\n  write: {text: {a: b}}", "toys.yaml:2:17", "text is {'a': 'b'}", "valid string"),
    ("steps:\n  write: 5", "toys.yaml:2:10", "step write must be a mapping", "found 5"),
    ("steps:\n  write:", "toys.yaml:2:9", "step write must be a mapping", "or {}), found None"),
    ("steps: [write]", "toys.yaml:1:8", "steps must be a mapping", "found ['write']"),
    ("steps: {}", "toys.yaml:1:1", "no steps", "`steps:`"),
    ("just text", "toys.yaml:1:1", "a pipeline file must be a mapping", "found 'just text'"),
    ("stps: {write: {}}", "toys.yaml:1:1", "unknown key 'stps' (did you mean 'steps'?)", "name, include, vars, steps"),
    ("name: a/b\nsteps: {write: {}}", "toys.yaml:1:7", "name is 'a/b'", "letters, digits"),
    ("name: ..\nsteps: {write: {}}", "toys.yaml:1:7", "name is '..'", "letters, digits"),
    ("name: [a]\nsteps: {write: {}}", "toys.yaml:1:7", "name is ['a']", "letters, digits"),
    ("steps: {a/b: {use: write}}", "toys.yaml:1:9", "'a/b' cannot name a step", "letters, digits"),
    ("steps: {../a: {use: write}}", "toys.yaml:1:9", "cannot name a step", "letters, digits"),
    ("steps:\n  write: {}\n  write: {}", "toys.yaml:3:3", "'write' stands here a second time", "line 2"),
    ("steps:\n  join: {}", "toys.yaml:2:3", "field 'texts' of stage join is missing", "Outputs of `write`"),
    ("steps:\n  write: {}\n  join: {texts: wirte}", "toys.yaml:3:17", "(did you mean 'write'?)", "steps: write"),
    ("steps:\n  join: {texts: gone.txt}", "toys.yaml:2:17", "nor an existing path", "no others"),
    ("steps:\n  join: {texts: [1, 2]}", "toys.yaml:2:17", "texts is [1, 2]", "valid path"),
    ("steps:\n  join: {texts: 5}", "toys.yaml:2:17", "texts is 5", "valid tuple"),
    (f"steps:\n  join: {{texts: {'x' * 9999}}}", "toys.yaml:2:17", "nor an existing path", "no others"),
    ('steps:\n  join: {texts: "a\\0b"}', "toys.yaml:2:17", "nor an existing path", "no others"),
    ("steps:\n  join: {texts: join}", "toys.yaml:2:3", "in a circle: join -> join", ""),
    (
        "steps:\n  a: {use: join, texts: c}\n  b: {use: join, texts: a}\n  c: {use: join, texts: b}",
        "toys.yaml:2:3", "in a circle", "something else",
    ),
    ("steps:\n  write: {max_dropped: 3}", "toys.yaml:2:24", "max_dropped is 3", "from 0 to 1"),
    ("steps:\n  write: {max_dropped: [1]}", "toys.yaml:2:24", "max_dropped is [1]", "from 0 to 1"),
    ('steps:\n  write: {text: "${x}"}', "toys.yaml:2:17", "unknown variable 'x'", "nothing"),
    ("vars: [1]\nsteps: {write: {}}", "toys.yaml:1:7", "vars must be a mapping", "found [1]"),
    ("steps:\n  crop: {images: ., size: [a, b]}", "toys.yaml:2:27", "size is ['a', 'b']", "valid integer"),
    ("steps:\n  crop: {images: ., size: 0}", "toys.yaml:2:27", "0x0 is not a size", "from 1 to"),
    ("steps:\n  crop: {images: ., size: 32x}", "toys.yaml:2:27", "'32x' is not a size", "HxW"),
    ("steps:\n  crop: {images: ., margin: .nan}", "toys.yaml:2:29", "margin is nan", "finite"),
    ("steps:\n  crop: {images: ., fit: fill}", "toys.yaml:2:26", "fit is 'fill'", "'centre', 'pad' or 'stretch'"),
    ("steps:\n  crop: {size: 32}", "toys.yaml:2:3", "give either heads", "images"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "found", "advice"), BAD)
def test_a_mistake_is_told_in_one_line_with_place_finding_and_what_is_valid(
    toys: Any, text: str, place: str, found: str, advice: str
) -> None:
    message = refusal(toys, text)
    assert message.startswith(f"{place}: ")
    assert found in message
    assert advice in message
    assert len(message) < 1500


def test_a_step_may_read_one_that_stands_below_it(toys: Any) -> None:
    pipeline = load_pipeline(toys.file("steps:\n  join: {texts: [b, a]}\n  a: {use: write}\n  b: {use: write}\n"))
    assert list(pipeline.steps)[-1] == "join"
    assert pipeline.steps["join"].sources["texts"] == (Source(step="b"), Source(step="a"))
    assert pipeline.steps["join"].after == ["a", "b"]


def test_paths_are_relative_to_the_file_and_on_the_command_line_to_where_one_stands(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = toys.folder / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (toys.folder, here):
        (folder / "a.txt").write_text("a")
    path = toys.file("steps: {join: {texts: a.txt}}")
    assert load_pipeline(path).steps["join"].sources["texts"] == (Source(path=toys.folder / "a.txt"),)
    changed = load_pipeline(path, {"join.texts": "a.txt"})
    assert changed.steps["join"].sources["texts"] == (Source(path=here / "a.txt"),)


def test_a_variable_that_is_set_holds_a_path_from_where_one_stands(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = toys.folder / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (toys.folder, here):
        (folder / "sub").mkdir()
        for name in ("a.txt", "sub/a.txt"):
            (folder / name).write_text("a")
    path = toys.file(
        'vars: {x: a.txt, f: sub, y: "${f}/a.txt"}\nsteps: {join: {texts: ["${x}", "${y}", "./${x}", a.txt]}}'
    )

    def texts(**values: str) -> list[str]:
        sources = load_pipeline(path, {f"vars.{k}": v for k, v in values.items()}).steps["join"].sources["texts"]
        return [str(s.path.relative_to(toys.folder)) for s in sources if s.path]

    assert texts() == ["a.txt", "sub/a.txt", "a.txt", "a.txt"]
    assert texts(x="a.txt") == ["elsewhere/a.txt", "sub/a.txt", "a.txt", "a.txt"]
    assert texts(f="sub") == ["a.txt", "elsewhere/sub/a.txt", "a.txt", "a.txt"]


def test_a_path_from_the_environment_starts_where_one_stands_and_its_default_at_the_file(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = toys.folder / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (toys.folder, here):
        (folder / "a.txt").write_text("a")
    path = toys.file('vars: {x: "${env:FOX_TEST:-a.txt}"}\nsteps: {join: {texts: ["${x}", "${env:FOX_TEST:-a.txt}"]}}')

    def texts() -> list[Path | None]:
        return [s.path for s in load_pipeline(path).steps["join"].sources["texts"]]

    monkeypatch.delenv("FOX_TEST", raising=False)
    assert texts() == [toys.folder / "a.txt"] * 2
    monkeypatch.setenv("FOX_TEST", "a.txt")
    assert texts() == [here / "a.txt"] * 2


def test_variables_reach_the_steps_and_each_other_and_can_be_set(toys: Any) -> None:
    path = toys.file('vars: {n: 2, t: "no ${n}", l: [a, b]}\nsteps: {write: {text: "${t}!", workers: "${n}"}}')
    assert load_pipeline(path).steps["write"].stage.text == "no 2!"  # type: ignore[attr-defined]
    stage = load_pipeline(path, {"vars.n": 7}).steps["write"].stage
    assert (stage.text, stage.workers) == ("no 7!", 7)  # type: ignore[attr-defined]


def test_an_override_reaches_its_param_lists_too(toys: Any) -> None:
    path = toys.file("steps:\n  a: {use: write}\n  b: {use: write}\n  join: {texts: a}\n")
    pipeline = load_pipeline(path, {"join.texts": ["a", "b"], "join.upper": True, "a.max_dropped": 0.5})
    assert pipeline.steps["join"].after == ["a", "b"]
    assert pipeline.steps["join"].stage.upper is True  # type: ignore[attr-defined]
    assert pipeline.steps["a"].max_dropped == 0.5


@pytest.mark.parametrize(
    ("target", "value", "words"),
    [
        ("wrte.text", "x", "--set wrte.text: no step 'wrte' (did you mean 'write'?); steps: write"),
        ("write.txt", "x", "--set write.txt: step write: stage write has no field 'txt' (did you mean 'text'?)"),
        ("write.workers", "x", "--set write.workers: step write: workers is 'x'"),
        ("vars.x", 1, "--set vars.x: no such variable; `vars` has: n"),
        ("write.max_dropped", 2, "--set write.max_dropped: step write: max_dropped is 2"),
        ("write", 2, "--set write: found 2 for a whole step; write write.PARAM=VALUE, or 'write={use: STAGE"),
        ("wrte", {}, "--set wrte: no step 'wrte' (did you mean 'write'?); steps: write"),
        ("write", {"use": "wrte"}, "--set write: step write: unknown stage 'wrte' (did you mean 'write'?)"),
        ("write", {"txt": "x"}, "--set write: step write: stage write has no field 'txt' (did you mean 'text'?)"),
        ("write", {"text": "${m}"}, "--set write: unknown variable 'm'"),
    ],
)
def test_a_wrong_override_is_told_as_such(toys: Any, target: str, value: Any, words: str) -> None:
    assert refusal(toys, "vars: {n: 1}\nsteps: {write: {}}", {target: value}).startswith(words)


def test_a_step_can_be_replaced_as_a_whole_and_then_changed(toys: Any) -> None:
    path = toys.file(
        "vars: {n: 2}\nsteps:\n  a: {use: write, text: x, matrix: {workers: [1, 2]}}\n  join: {texts: [a]}\n"
    )
    pipeline = load_pipeline(path, {"a.max_dropped": 0.5, "a": {"use": "write", "workers": "${n}"}})
    stage = pipeline.steps["a"].stage
    assert (stage.text, stage.workers) == (type(stage)().text, 2)  # type: ignore[attr-defined]
    assert pipeline.steps["a"].max_dropped == 0.5 and pipeline.steps["join"].after == ["a"]
    assert parse_override(pipeline.typed[-1]) == ("a", {"use": "write", "workers": "${n}"})


def test_paths_of_a_replaced_step_begin_where_it_was_typed(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (here := toys.folder / "here").mkdir()
    monkeypatch.chdir(here)
    for folder in (toys.folder, here):
        (folder / "a.txt").write_text("a")
    path = toys.file("steps: {join: {texts: a.txt}}")
    for given, place in (({}, toys.folder), ({"join": {"use": "join", "texts": ["a.txt"]}}, here)):
        assert [s.path for s in load_pipeline(path, given).steps["join"].sources["texts"]] == [place / "a.txt"]


def test_set_is_split_at_the_first_equals_sign() -> None:
    assert parse_override("a.b=x=1") == ("a.b", "x=1")
    assert parse_override("a.b=[1, 2]") == ("a.b", [1, 2])
    assert parse_override("a={use: b, c: d=1}") == ("a", {"use": "b", "c": "d=1"})
    for wrong in ("a.b", "a=1", "a", "={}", "a.b.c=1", "a.b.c={}"):
        with pytest.raises(UsageError, match="step.param=value"):
            parse_override(wrong)


def test_a_pipeline_that_is_not_there_is_told_with_the_shipped_ones(toys: Any) -> None:
    with pytest.raises(PipelineError, match=r"dmo: no such file.*did you mean 'demo'.*demo, distil, emoji") as caught:
        load_pipeline("dmo")
    assert caught.value.exit_code == 3
    with pytest.raises(PipelineError, match="no such file"):
        load_pipeline(toys.folder)
    with pytest.raises(PipelineError, match="no such file"):
        load_pipeline("../pipelines/demo")
    with pytest.raises(PipelineError, match="no such file"):
        load_pipeline("x" * 9999)


def test_a_number_that_python_would_not_even_print_is_refused(toys: Any) -> None:
    assert "a number of 40000 bits" in refusal(toys, f"steps: {{write: {{workers: 0x{'f' * 10_000}}}}}")


def test_upstream_of_many_diamonds_is_found_at_once(toys: Any) -> None:
    lines = ["steps:", "  s0: {use: write}"]
    for i in range(1, 80, 2):
        lines += [f"  s{i}: {{use: join, texts: s{i - 1}}}", f"  s{i + 1}: {{use: join, texts: [s{i}, s{i - 1}]}}"]
    start = time.process_time()
    pipeline = load_pipeline(toys.file("\n".join(lines)))
    assert len(pipeline.upstream("s80")) == 81
    assert pipeline.downstream("s78") == {"s78", "s79", "s80"}
    assert time.process_time() - start < 5


NEEDS = {
    "animals": ".tar",
    "emoji": ".zip",
    "fashion-mnist": ".gz",
    "film": ".mp4",
}  # what their user must bring


@pytest.mark.parametrize("name", shipped_names("pipelines"))
def test_every_shipped_pipeline_loads(toys: Any, name: str) -> None:
    overrides = {}
    if name in NEEDS:
        path = toys.folder / f"photos{NEEDS[name]}"
        path.touch()
        overrides = {"photos.path": str(path)}
    pipeline = load_pipeline(name, overrides)
    assert pipeline.name == name


def test_every_pipeline_in_the_folder_is_shipped() -> None:
    folder = Path(__file__).parents[2] / "pipelines"
    assert (
        {"demo", "smoke", "foxes", *NEEDS} <= {p.stem for p in folder.glob("*.yaml")} <= set(shipped_names("pipelines"))
    )


@pytest.mark.parametrize("written", ["off", "'off'", "false"])
def test_off_is_a_choice_where_a_field_has_it(toys: Any, written: str) -> None:
    (toys.folder / "set").mkdir()
    text = "steps:\n  train: {dataset: set, ema_rampup: %s}"
    train = load_pipeline(toys.file(text % written)).step("train").stage
    assert train.model_dump()["ema_rampup"] == "off"
    overridden = load_pipeline(toys.file(text % 0.05), dict([parse_override(f"train.ema_rampup={written}")]))
    assert overridden.step("train").stage == train
    assert "yes or no" in refusal(toys, text % "on")
