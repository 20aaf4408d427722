import shutil
from typing import Any

from foxgan.pipeline.plan import plan
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store

TWO = """
steps:
  write: {text: fox}
  first: {use: initial, texts: write}
  last: {use: initial, texts: first}
"""


def states(toys: Any, wanted: set[str] | None = None, forced: tuple[str, ...] = ()) -> dict[str, str]:
    pipeline, store = load_pipeline(toys.file(TWO)), Store(toys.workspace)
    planned = plan(pipeline, store, wanted or set(pipeline.steps), dict.fromkeys(forced, "force"))
    store.close()
    return {name: entry.state for name, entry in planned.items()}


def test_what_depends_on_a_step_that_runs_is_not_known_yet(toys: Any) -> None:
    assert states(toys) == {"write": "run", "first": "unknown", "last": "unknown"}
    toys.run(TWO)
    assert states(toys) == {"write": "kept", "first": "kept", "last": "kept"}
    assert states(toys, forced=("first",)) == {"write": "kept", "first": "run", "last": "unknown"}


def test_a_deleted_folder_is_made_again_only_where_it_is_needed(toys: Any) -> None:
    report = toys.run(TWO)
    shutil.rmtree(report.folder("write"))
    assert states(toys) == {"write": "gone", "first": "kept", "last": "kept"}
    assert states(toys, wanted={"write"}) == {"write": "run", "first": "kept", "last": "kept"}
    assert states(toys, forced=("first",)) == {"write": "run", "first": "run", "last": "unknown"}


def test_a_deleted_final_folder_needs_the_deleted_folders_before_it(toys: Any) -> None:
    report = toys.run(TWO)
    for step in report.steps:
        shutil.rmtree(report.folder(step))
    assert states(toys) == {"write": "run", "first": "run", "last": "run"}


def test_looking_makes_no_folders(toys: Any) -> None:
    states(toys)
    assert not list(toys.workspace.glob("data/*-*"))
