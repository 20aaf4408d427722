import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import stages
from foxgan.dataset.index import write_index
from foxgan.errors import StageError
from foxgan.images import write
from foxgan.pipeline.care.adopt import adopt
from foxgan.pipeline.plan import plan
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.base import Context, Field, Input, Stage
from foxgan.stages.context import Silent

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


class Point(Stage):
    """An index whose files are those of its input."""

    name = "point"
    borrows = True

    texts: Input = Field(description="Output of `write`")

    def run(self, out: Path, ctx: Context) -> None:
        write_index(out, [{"id": "1", "path": str(self.texts[0] / "value.txt")}])


def test_a_step_that_runs_needs_what_its_input_borrows(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.MODULES, "point", (__name__, "Point"))
    text = "steps:\n  write: {}\n  point: {texts: write}\n  end: {use: initial, texts: point}\n"
    report = toys.run(text, until="point")
    shutil.rmtree(report.folder("write"))
    store, pipeline = Store(toys.workspace), load_pipeline(toys.file(text))
    found = {name: entry.state for name, entry in plan(pipeline, store, pipeline.steps).items()}
    alone = {name: entry.state for name, entry in plan(pipeline, store, {"point"}).items()}
    store.close()
    assert found == {"write": "run", "point": "kept", "end": "run"}
    assert alone["write"] == "gone", "nobody reads it now"


def test_an_adopted_folder_that_was_changed_since_is_refused(toys: Any) -> None:
    folder = toys.folder / "mine"
    folder.mkdir()
    for number in range(2):
        write(folder / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    text = "steps:\n  crop: {images: mine, size: 8, workers: 0}\n"

    def adopted() -> None:
        store = Store(toys.workspace)
        adopt(store, folder, None, None, Silent())
        store.close()

    adopted()
    assert toys.run(text).made == ["crop"]
    assert toys.run(text).made == []
    (folder / "1.png").unlink()
    with pytest.raises(StageError, match="changed after it was adopted"):
        toys.run(text)
    adopted()
    report = toys.run(text)
    assert report.made == ["crop"]
    assert report.steps["crop"].manifest["counts"]["kept"] == 1
