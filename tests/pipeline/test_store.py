import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import LockedError, StageError
from foxgan.pipeline.folder import MANIFEST, WORK, beside, carry_over, read_manifest, replaced
from foxgan.pipeline.keys import make_key
from foxgan.pipeline.locks import note
from foxgan.pipeline.store import Store
from foxgan.stages import stage_class
from foxgan.stages.base import Context, Stage


def stage(toys: Any, name: str, **params: Any) -> Stage:
    return stage_class(name)(**params)


@pytest.fixture
def store(toys: Any) -> Any:
    store = Store(toys.workspace)
    yield store
    store.close()


def make(store: Store, stage: Stage, folder: Path | None = None) -> Path:
    """Run a stage without inputs into its folder."""
    key = make_key(stage, {})
    folder = folder or store.folder(stage, key)
    store.begin(stage, key, folder)
    ctx = Context()
    with ctx.phase("total"):
        stage.run(folder, ctx)
    store.finish(stage, key, folder, {}, ctx, "step", 1)
    return folder


def test_params_at_their_default_and_machine_params_are_not_in_the_key(toys: Any) -> None:
    plain = make_key(stage(toys, "write"), {})
    assert plain == make_key(stage(toys, "write", text="fox", workers=8), {})
    assert plain != make_key(stage(toys, "write", text="owl"), {})


def test_the_digests_of_inputs_and_the_version_are_in_the_key(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    join = stage(toys, "join", texts=("a", "b"))
    key = make_key(join, {"texts": ["1", "2"]})
    assert key == make_key(
        stage(toys, "join", texts=("c", "d")), {"texts": ["1", "2"]}
    )  # where they lie does not count
    assert key != make_key(join, {"texts": ["2", "1"]})
    monkeypatch.setattr(type(join), "version", 2)
    assert key != make_key(join, {"texts": ["1", "2"]})


def test_horizon_params_are_in_the_key_but_not_in_the_lineage(toys: Any) -> None:
    short, long = (make_key(stage(toys, "grow", limit=n), {}) for n in (2, 9))
    assert short.full != long.full
    assert short.lineage == long.lineage
    assert short.lineage != make_key(stage(toys, "grow", limit=2, word="x"), {}).lineage


def test_the_manifest_says_what_made_the_artifact(toys: Any, store: Store) -> None:
    folder = make(store, stage(toys, "sort", kept=2, dropped=1))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest["params"] == {"kept": 2, "dropped": 1}
    assert manifest["counts"] == {"in": 3, "kept": 2, "dropped": {"blurry": 1}}
    assert {
        "stage",
        "version",
        "key",
        "inputs",
        "digest",
        "seconds",
        "libraries",
        "machine",
        "foxgan",
    } <= manifest.keys()
    assert store.ledger.manifest(manifest["key"]) == manifest
    assert not (folder / WORK).exists()
    assert all(oct(p.stat().st_mode)[-3:] == "444" for p in folder.iterdir())


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"key": "x"}', "\x00" * 9])
def test_a_damaged_manifest_is_told_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(StageError, match="delete the folder .* and run the step again"):
        read_manifest(tmp_path)


def test_a_folder_with_foreign_files_is_refused_and_left_alone(toys: Any, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    with pytest.raises(StageError, match="files that foxgan did not make; choose an empty folder"):
        make(store, stage(toys, "write"), out)
    assert [p.name for p in out.iterdir()] == ["letter.txt"]


def test_a_file_in_the_way_is_told(toys: Any, store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StageError, match="a file is in the way"):
        make(store, stage(toys, "write"), tmp_path / "out")


def test_a_folder_where_work_was_refused_at_once_takes_other_params(toys: Any, store: Store, tmp_path: Path) -> None:
    fox, owl = stage(toys, "write", text="fox"), stage(toys, "write", text="owl")
    store.begin(fox, make_key(fox, {}), tmp_path / "out")
    store.begin(owl, make_key(owl, {}), tmp_path / "out")
    (tmp_path / "out" / "owl.txt").write_text("half")
    store.begin(owl, make_key(owl, {}), tmp_path / "out")
    with pytest.raises(StageError, match="unfinished work with other params"):
        store.begin(fox, make_key(fox, {}), tmp_path / "out")


def test_unfinished_work_with_other_params_is_refused(toys: Any, store: Store, tmp_path: Path) -> None:
    fox, owl = stage(toys, "write", text="fox"), stage(toys, "write", text="owl")
    store.begin(fox, make_key(fox, {}), tmp_path / "out")
    store.begin(fox, make_key(fox, {}), tmp_path / "out")
    (tmp_path / "out" / "fox.txt").write_text("half")
    with pytest.raises(StageError, match="unfinished work with other params"):
        store.begin(owl, make_key(owl, {}), tmp_path / "out")


def test_a_finished_folder_with_other_params_is_refused(toys: Any, store: Store, tmp_path: Path) -> None:
    out = make(store, stage(toys, "write", text="fox"), tmp_path / "out")
    with pytest.raises(StageError, match="finished output of other params .* choose another --out"):
        store.finished(out, make_key(stage(toys, "write", text="owl"), {}))


def test_going_on_changes_nothing_in_the_shorter_run(toys: Any, store: Store) -> None:
    short = make(store, stage(toys, "grow", limit=2))
    before = toys.files()
    long = make(store, stage(toys, "grow", limit=4))
    assert toys.ran == ["grow 0", "grow 1", "grow 2", "grow 3"]
    assert (long / "lines.txt").read_text().count("line") == 4
    assert {k: v for k, v in toys.files().items() if short.name in k} == before


@pytest.mark.parametrize("suffix", [".txt", ".safetensors"])  # a copy, and a link
def test_carrying_over_again_after_a_kill_does_not_write_into_the_source(toys: Any, store: Store, suffix: str) -> None:
    short = make(store, stage(toys, "grow", limit=2))
    (short / f"extra{suffix}").write_bytes(b"kept")
    long = stage(toys, "grow", limit=4)
    key = make_key(long, {})
    folder = store.folder(long, key)
    assert store.begin(long, key, folder) == short.name
    work = json.loads((folder / WORK).read_text())
    (folder / WORK).write_text(json.dumps(work | {"ready": False}))  # as if killed before the end of it
    assert store.begin(long, key, folder) == short.name
    assert (short / f"extra{suffix}").read_bytes() == b"kept" == (folder / f"extra{suffix}").read_bytes()


def test_what_a_killed_carrying_over_had_brought_is_forgotten(toys: Any, store: Store) -> None:
    make(store, stage(toys, "grow", limit=2))
    long = stage(toys, "grow", limit=4)
    key = make_key(long, {})
    folder = store.folder(long, key)
    store.begin(long, key, folder)
    work = json.loads((folder / WORK).read_text())
    (folder / WORK).write_text(json.dumps(work | {"ready": False}))
    (folder / "sub").mkdir()
    for name in ("sub/of-another.txt", "of-another.txt"):
        (folder / name).write_text("a run that is gone by now")
    store.begin(long, key, folder)
    assert sorted(p.name for p in folder.iterdir()) == [WORK, "lines.txt"]


def test_what_killed_processes_left_half_written_is_neither_carried_nor_kept(toys: Any, store: Store) -> None:
    short, long = stage(toys, "grow", limit=2), stage(toys, "grow", limit=4)
    folder = store.folder(short, make_key(short, {}))
    store.begin(short, make_key(short, {}), folder)
    (folder / "sub").mkdir()
    for name in ("a.safetensors.77.tmp", "sub/b.png.78.tmp"):
        (folder / name).write_bytes(b"half")
    other = store.folder(long, make_key(long, {}))
    assert store.begin(long, make_key(long, {}), other) == folder.name
    assert not list(other.rglob("*.tmp"))
    make(store, short)
    assert not list(folder.rglob("*.tmp"))


def test_where_a_read_only_link_cannot_be_deleted_files_are_copied(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.safetensors").write_bytes(b"weights")
    for system, links in (("linux", 2), ("win32", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", system)
            carry_over(stage(toys, "grow"), tmp_path / "from", tmp_path / system)
        assert (tmp_path / system / "a.safetensors").read_bytes() == b"weights"
        assert (tmp_path / system / "a.safetensors").stat().st_nlink == links


def test_of_shorter_runs_the_longest_finished_one_is_taken(toys: Any, store: Store) -> None:
    for limit in (5, 2, 3):
        make(store, stage(toys, "grow", limit=limit))
    unfinished = stage(toys, "grow", limit=6)
    store.begin(unfinished, make_key(unfinished, {}), store.folder(unfinished, make_key(unfinished, {})))
    other = make(store, stage(toys, "grow", limit=7, word="other"))
    wanted = stage(toys, "grow", limit=8)
    expected = store.folder(stage(toys, "grow", limit=5), make_key(stage(toys, "grow", limit=5), {}))
    begun = store.begin(wanted, make_key(wanted, {}), store.folder(wanted, make_key(wanted, {})))
    assert begun == expected.name != other.name


def test_a_shorter_run_that_is_at_work_now_is_left_alone(toys: Any, store: Store) -> None:
    short, long = stage(toys, "grow", limit=2), stage(toys, "grow", limit=4)
    folder = store.folder(short, make_key(short, {}))
    store.begin(short, make_key(short, {}), folder)
    with store.lock(folder, wait=False):
        assert store.begin(long, make_key(long, {}), store.folder(long, make_key(long, {}))) is None


def test_a_damaged_neighbour_does_not_stop_a_run(toys: Any, store: Store) -> None:
    folder = make(store, stage(toys, "grow", limit=2))
    os.chmod(folder / MANIFEST, 0o644)
    (folder / MANIFEST).write_text("{")
    assert (make(store, stage(toys, "grow", limit=3)) / "lines.txt").read_text().count("line") == 3


def test_a_lock_is_free_again_after_an_error_and_names_its_holder(toys: Any, store: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), store.lock(tmp_path / "a", wait=False):
        raise RuntimeError
    with store.lock(tmp_path / "a", wait=False):
        other = Store(toys.workspace)
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()} on .* is working on it"),
            other.lock(tmp_path / "a", wait=False),
        ):
            pass
        other.close()


def test_workspaces_that_put_their_output_in_one_place_see_each_other(toys: Any, store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "another home")
    with (
        store.lock(tmp_path / "out", wait=False),
        pytest.raises(LockedError, match="is working on it"),
        other.lock(tmp_path / "out", wait=False),
    ):
        pass
    other.close()


def test_a_swap_that_was_killed_between_its_two_steps_is_ended(toys: Any, store: Store) -> None:
    write = stage(toys, "write")
    folder = make(store, write)
    make(store, write, beside(folder))
    os.replace(folder, folder.with_name(f"{folder.name}.old"))  # killed here
    store.recover(folder)
    assert store.finished(folder, make_key(write, {})) is not None
    assert [p.name for p in folder.parent.glob("write-*")] == [folder.name]


def leave(store: Store, folder: Path) -> None:
    """What a kill leaves right after the manifest was written: the notes of the lock and of the work, a file that can be written."""
    with store.lock(folder, wait=False):
        held = note(folder).read_text()
    note(folder).write_text(held)
    (folder / WORK).write_text("{}")
    os.chmod(folder / MANIFEST, 0o644)


def names(folder: Path) -> list[str]:
    """All that lies there, but for locks, which are files that stay."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != ".locks" and p.suffix != ".lock")


def test_what_a_kill_left_of_a_finished_step_is_cleaned_up(toys: Any, store: Store) -> None:
    folder = make(store, stage(toys, "write"))
    before = toys.files(), names(store.root)
    leave(store, folder)
    replaced(folder).mkdir()
    (replaced(folder) / "value.txt").write_text("half deleted")
    assert store.mend(folder) is False
    assert (toys.files(), names(store.root)) == before
    assert oct((folder / MANIFEST).stat().st_mode)[-3:] == "444"


@pytest.mark.parametrize("left", ["note", "work", "old"])  # Ctrl-C and errors take the lock's note away
def test_each_trace_alone_is_enough_to_clean_up(toys: Any, store: Store, left: str) -> None:
    folder = make(store, stage(toys, "write"))
    before = names(store.root)
    {
        "note": lambda: (note(folder).parent.mkdir(exist_ok=True), note(folder).write_text("{}")),
        "work": lambda: (folder / WORK).write_text("{}"),
        "old": lambda: replaced(folder).mkdir(),
    }[left]()
    store.mend(folder)
    assert names(store.root) == before


def test_nothing_is_cleaned_up_while_somebody_is_at_work(toys: Any, store: Store) -> None:
    folder = make(store, stage(toys, "write"))
    leave(store, folder)
    with store.lock(folder, wait=False):
        before = names(store.root)
        assert store.mend(folder) is False
        assert names(store.root) == before and f"data/{folder.name}/{WORK}" in before


def test_unfinished_work_stays_as_it_is(toys: Any, store: Store) -> None:
    write = stage(toys, "write")
    folder = store.folder(write, make_key(write, {}))
    store.begin(write, make_key(write, {}), folder)
    replaced(folder).mkdir()
    store.mend(folder)
    assert (folder / WORK).exists() and replaced(folder).exists()


def test_the_ledger_knows_what_a_killed_swap_brings(toys: Any, store: Store) -> None:
    write = stage(toys, "write")
    folder = make(store, write)
    new = make(store, write, beside(folder))
    made = read_manifest(new)
    assert made is not None
    os.chmod(new / MANIFEST, 0o644)
    (new / MANIFEST).write_text(json.dumps(made | {"digest": "another"}))  # killed before the ledger was told
    assert store.mend(folder) is True
    assert store.ledger.manifest(made["key"]) == read_manifest(folder) == made | {"digest": "another"}
    assert not new.exists()


def test_beside_a_chosen_folder_nothing_is_touched(toys: Any, store: Store, tmp_path: Path) -> None:
    fox, owl = stage(toys, "write", text="fox"), stage(toys, "write", text="owl")
    out = make(store, fox, tmp_path / "out")
    for name in ("out.new", "out.old"):
        make(store, owl, tmp_path / name)
    (out / WORK).write_text("{}")
    before = names(tmp_path)
    store.mend(out)
    assert [n for n in before if n not in names(tmp_path)] == [f"out/{WORK}"]
    assert (out / "value.txt").read_text() == "fox"


def test_a_workspace_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StageError, match="cannot write here .* --workspace or FOXGAN_HOME"):
        Store(tmp_path / "home")


def test_a_lock_whose_holder_was_killed_is_taken_over_with_a_message(store: Store, tmp_path: Path) -> None:
    folder = store.root / "data" / "write-0"
    with store.lock(folder, wait=False):
        note = folder.parent / ".locks" / "write-0.json"
        left = note.read_text()
    told: list[str] = []
    with store.lock(folder, wait=False, message=told.append):
        assert told == []
    note.write_text(left)  # as a kill leaves it: the system has freed the lock, nobody has taken the note away
    with store.lock(folder, wait=False, message=told.append):
        assert told == [
            f"write-0: taken over from process {os.getpid()} on {socket.gethostname()} (since {json.loads(left)['started']}), "
            "which ended without a word"
        ]
