"""Rules of the code base that no single module can hold."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import foxgan
from foxgan.errors import FoxganError
from foxgan.stages import MODULES, SUMMARIES, stage_class
from foxgan.stages.base import Stage

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "defaults.json"
HEAVY = ("torch", "cv2", "ultralytics", "numpy", "polars", "PIL", "lmdb")
# modules that are loaded before work begins: they may import nothing heavy at their top
LIGHT = [
    "cli.py",
    "errors.py",
    "shipped.py",
    "public.py",
    "vision/known.py",
    "devices.py",
    "licenses.py",
    "__init__.py",
]
LIGHT += ["gan/config.py", "gan/backends.py", "gan/pretrained/catalog.py"]
LIGHT += [
    p.relative_to(ROOT / "foxgan").as_posix()
    for room in ("commands", "stages", "pipeline", "engine")
    for p in (ROOT / "foxgan" / room).rglob("*.py")
]
LIGHT += [f"{p.parent.name}/{p.name}" for p in (ROOT / "foxgan").glob("*/__init__.py")]


def errors(cls: type[FoxganError] = FoxganError) -> list[type[FoxganError]]:
    """All refusals, those of libraries too."""
    for path in (ROOT / "foxgan").rglob("*.py"):
        if re.search(r"^class \w+\(\w+Error\):", path.read_text(), re.MULTILINE):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return [cls, *(e for child in cls.__subclasses__() for e in errors(child))]


@pytest.mark.parametrize("name", foxgan.__all__)
def test_every_public_name_can_be_loaded(name: str) -> None:
    assert getattr(foxgan, name) is not None
    assert name in dir(foxgan)


def test_a_name_that_does_not_exist_is_told() -> None:
    with pytest.raises(AttributeError, match="it has FoxganError"):
        foxgan.load_modle  # noqa: B018


def test_every_refusal_says_what_it_is_and_ends_with_a_known_exit_code() -> None:
    found = errors()
    assert len(found) > 8
    for error in found:
        assert error.__doc__ and error.__doc__ != FoxganError.__doc__ or error is FoxganError, error
        assert error.exit_code in (1, 2, 3, 4, 5), error


def test_every_refusal_can_be_told_again_with_more_words_and_sent_between_processes() -> None:
    import pickle  # by multiprocessing, from our own workers

    for error in errors():
        assert str(error("where: what")) == "where: what"
        assert str(pickle.loads(pickle.dumps(error("where: what")))) == "where: what"


@pytest.mark.parametrize("name", MODULES)
def test_the_summary_of_a_stage_is_the_first_line_of_its_docstring(name: str) -> None:
    cls = stage_class(name)
    assert cls.name == name
    assert cls.__doc__
    assert SUMMARIES[name] == cls.__doc__.strip().splitlines()[0]


def test_stages_and_summaries_name_the_same() -> None:
    assert list(MODULES) == list(SUMMARIES)


@pytest.mark.parametrize("name", MODULES)
def test_every_field_of_a_stage_is_described(name: str) -> None:
    for field, info in stage_class(name).model_fields.items():
        assert info.description, f"{name}.{field}"
        assert len(info.description) > 3, f"{name}.{field}"


@pytest.mark.parametrize("name", MODULES)
def test_machine_and_horizon_params_are_fields(name: str) -> None:
    cls = stage_class(name)
    assert cls.machine_params <= cls.model_fields.keys()
    assert cls.horizon_params <= cls.model_fields.keys()
    assert not cls.machine_params & cls.horizon_params


def defaults(cls: type[Stage]) -> dict[str, Any]:
    """Defaults of the params that make the key."""
    fields = {n: i for n, i in cls.model_fields.items() if n not in cls.machine_params and not i.is_required()}
    return {name: json.loads(json.dumps(info.get_default(call_default_factory=True))) for name, info in fields.items()}


@pytest.mark.parametrize("name", MODULES)
def test_a_changed_default_has_a_new_version(name: str) -> None:
    """Params at their default are not in the key, so with another default the same key would name other work."""
    golden = json.loads(GOLDEN.read_text())
    cls = stage_class(name)
    known = golden.get(name)
    advice = f"then run `python {Path(__file__).relative_to(ROOT).as_posix()}` and commit {GOLDEN.relative_to(ROOT)}"
    assert known is not None, f"stage {name} is new: {advice}"
    now = defaults(cls)
    changed = {n: f"{v!r} -> {now[n]!r}" for n, v in known["defaults"].items() if n in now and now[n] != v}
    if changed and cls.version == known["version"]:
        pytest.fail(
            f"stage {name}: defaults changed ({changed}), but its version is still {cls.version}. Artifacts made with the old "
            f"defaults would be taken for new ones: raise `version` in {MODULES[name][0]}, {advice}"
        )
    assert {"version": cls.version, "defaults": now} == known, (
        f"stage {name} has other fields or a new version: {advice}"
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['foxgan', '--help']\nfrom foxgan.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)), 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] False"


@pytest.mark.parametrize("name", MODULES)
def test_the_help_of_a_stage_imports_nothing_heavy(name: str) -> None:
    code = (
        f"import sys; sys.argv = ['foxgan', {name!r}, '--help']\nfrom foxgan.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("name", LIGHT)
def test_modules_that_are_loaded_before_work_import_nothing_heavy_at_their_top(name: str) -> None:
    tree = ast.parse((ROOT / "foxgan" / name).read_text())
    found = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {f for f in found if f.split(".")[0] in HEAVY}


@pytest.mark.parametrize("path", sorted((ROOT / "foxgan").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_say_what_they_are_and_stay_short(path: Path) -> None:
    text = path.read_text()
    limit = 450 if path.stem in ("stylegan2", "augment") else 300
    assert text.count("\n") <= limit
    assert ast.get_docstring(ast.parse(text)), "a file opens with a sentence on what lives here"


if __name__ == "__main__":
    table = {name: {"version": stage_class(name).version, "defaults": defaults(stage_class(name))} for name in MODULES}
    GOLDEN.write_text(json.dumps(table, indent=1) + "\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
