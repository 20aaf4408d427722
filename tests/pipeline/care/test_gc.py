"""What `gc` deletes, what it leaves, and what a run makes of it afterwards. Ages are written into the times of files."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foxgan import stages
from foxgan.pipeline.care.gc import Collected, Rules, Survey, collect, survey
from foxgan.pipeline.care.inventory import Disk
from foxgan.pipeline.folder import MANIFEST, WORK, beside, read_manifest, write_json
from foxgan.pipeline.single import run_stage
from foxgan.pipeline.store import Store
from foxgan.stages.base import Context, Field, Input, Stage

CHAIN = "steps:\n  write: {text: fox}\n  first: {use: initial, texts: write}\n  last: {use: join, texts: first}\n"
DAY = 86_400.0


class Borrow(Stage):
    """Names a file of its input, as `detect` does."""

    name = "borrow"
    borrows = True

    texts: Input = Field(description="Output of `write`")
    note: str = Field("", description="Makes another artifact of it")

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import write_index

        write_index(out, [{"id": self.note, "path": str(self.texts[0] / "value.txt")}])


@pytest.fixture(autouse=True)
def borrow(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.MODULES, "borrow", (__name__, "Borrow"))
    real = stages.stage_class
    monkeypatch.setattr(
        "foxgan.pipeline.care.needs.stage_class", lambda name: Borrow if name == "borrow" else real(name)
    )
    monkeypatch.setattr(
        "foxgan.pipeline.file.steps.stage_class", lambda name: Borrow if name == "borrow" else real(name)
    )


@pytest.fixture
def store(toys: Any) -> Iterator[Store]:
    store = Store(toys.workspace)
    yield store
    store.close()


def gc(store: Store, **rules: Any) -> tuple[Survey, Collected]:
    """All that is not needed goes, unless `rules` say otherwise."""
    plan = survey(store, Rules(**{"keep_last": 0, **rules}))
    return plan, collect(store, plan)


def write(toys: Any, text: str, age: float = 0) -> Path:
    """An artifact of a stage that ran alone, so that no pipeline names it."""
    folder = run_stage("write", {"text": text}, workspace_folder=toys.workspace).folder
    assert folder is not None
    make_older(folder, age)
    return folder


def make_older(folder: Path, seconds: float) -> None:
    when = time.time() - seconds
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (when, when))


def begun(toys: Any, store: Store, text: str, age: float) -> Path:
    """Work that was killed."""
    stage = stages.stage_class("write")(text=text)
    from foxgan.pipeline.keys import make_key

    key = make_key(stage, {})
    folder = store.folder(stage, key)
    store.begin(stage, key, folder)
    (folder / "half.txt").write_text("half")
    make_older(folder, age)
    return folder


def why(plan: Survey, folder: Path) -> str:
    return next(entry.why for entry in [*plan.goes, *plan.stays] if entry.found.path == folder)


def names(entries: list[Any]) -> list[str]:
    return [entry.found.path.name for entry in entries]


def test_what_pipelines_stand_on_stays_and_what_they_have_left_goes(toys: Any, store: Store) -> None:
    old = toys.run(CHAIN)
    new = toys.run(CHAIN, {"write.text": "owl"})
    plan, _ = gc(store)
    assert {e.found.path for e in plan.goes} == {old.folder(step) for step in old.steps}
    assert not any(old.folder(step).exists() for step in old.steps)
    assert all(new.folder(step).exists() for step in new.steps)
    assert why(plan, new.folder("last")) == "toys: last"
    assert toys.run(CHAIN, {"write.text": "owl"}).made == []


def test_a_final_output_whose_inputs_were_deleted_is_still_up_to_date(toys: Any, store: Store) -> None:
    toys.run(CHAIN)
    toys.run(CHAIN, {"write.text": "ferret"})  # the same first letter, so `last` is the same artifact
    plan, _ = gc(store)
    assert sorted(e.found.step for e in plan.goes) == ["first", "write"]
    report = toys.run(CHAIN)
    assert (report.made, toys.ran) == ([], [])
    assert {name: entry.state for name, entry in report.steps.items()} == {
        "write": "gone",
        "first": "gone",
        "last": "kept",
    }
    plan, _ = gc(store)  # now the others are what no pipeline stands on
    assert sorted(e.found.step for e in plan.goes) == ["first", "write"]
    assert toys.run(CHAIN, {"last.upper": True}).made == ["write", "first", "last"]


def test_a_deleted_output_is_remembered_even_if_the_ledger_had_lost_it(toys: Any, store: Store) -> None:
    folder = write(toys, "fox")
    key = (read_manifest(folder) or {})["key"]
    store.ledger.db.execute("DELETE FROM artifacts")
    gc(store)
    assert not folder.exists() and (store.ledger.manifest(key) or {})["key"] == key


def test_without_a_ledger_the_links_tell_what_pipelines_stand_on(toys: Any) -> None:
    report = toys.run(CHAIN)
    alone = write(toys, "alone")
    for path in (toys.workspace / "data").glob(".ledger*"):
        path.unlink()
    store = Store(toys.workspace)
    plan, _ = gc(store)
    store.close()
    assert names(plan.goes) == [alone.name]
    assert all(report.folder(step).exists() for step in report.steps)


def test_an_artifact_that_a_pipeline_names_by_its_path_stays(toys: Any, store: Store) -> None:
    folder = write(toys, "fox")
    toys.run(f"steps: {{join: {{texts: {folder}}}}}")
    plan, _ = gc(store)
    assert (plan.goes, why(plan, folder)) == ([], "toys: join reads it")


@pytest.mark.parametrize(("keep", "left"), [(0, ""), (1, "c"), (2, "bc")])
def test_the_newest_of_each_step_stay(toys: Any, store: Store, keep: int, left: str) -> None:
    folders = {text: write(toys, text, age) for text, age in (("c", 0), ("a", 2 * DAY), ("b", DAY))}
    gc(store, keep_last=keep)
    assert "".join(sorted(text for text, folder in folders.items() if folder.exists())) == left


def test_what_is_younger_than_asked_stays(toys: Any, store: Store) -> None:
    old, young = write(toys, "old", 31 * DAY), write(toys, "young", 29 * DAY)
    plan, _ = gc(store, older_than=30 * DAY)
    assert (names(plan.goes), why(plan, young), old.exists()) == ([old.name], "young", False)


def test_what_a_kept_artifact_borrows_from_stays(toys: Any, store: Store) -> None:
    text = "steps:\n  write: {text: fox}\n  heads: {use: borrow, texts: write}\n"
    report = toys.run(text)
    store.ledger.use("toys", "write", "0" * 64)  # stands for something else now
    plan, _ = gc(store)
    assert plan.goes == []
    assert why(plan, report.folder("write")) == f"{report.folder('heads').name} names its files"


def test_what_is_borrowed_from_is_found_after_the_workspace_has_moved(toys: Any, store: Store) -> None:
    report = toys.run("steps:\n  write: {text: fox}\n  heads: {use: borrow, texts: write}\n")
    store.ledger.db.execute("DELETE FROM uses WHERE step = 'write'")
    shutil.rmtree(toys.workspace / "data" / "toys")
    moved = toys.workspace.with_name("moved")
    shutil.copytree(toys.workspace, moved)
    other = Store(moved)
    plan, _ = gc(other)
    other.close()
    assert plan.goes == [] and (moved / "data" / report.folder("write").name).exists()


def test_a_budget_is_met_with_the_oldest_and_nothing_more(toys: Any, store: Store) -> None:
    folders = [write(toys, "x" * 1000 + str(age), age * DAY) for age in (1, 3, 2)]
    disk = Disk(store.root)
    plan, _ = gc(store, budget=disk.total - disk.size(folders[1]) - 10)
    assert [folder.exists() for folder in folders] == [True, False, False]
    assert plan.fits and why(plan, folders[0]) == "within the budget"
    assert gc(store, budget=10**9)[0].goes == []


def test_a_budget_that_cannot_be_met_is_told(toys: Any, store: Store) -> None:
    report = toys.run(CHAIN)
    plan, _ = gc(store, budget=1)
    assert (plan.goes, plan.fits) == ([], False) and report.folder("last").exists()


def test_what_is_borrowed_from_goes_after_who_borrows(toys: Any, store: Store) -> None:
    source = write(toys, "fox", 9 * DAY)
    heads = [
        run_stage("borrow", {"texts": source, "note": note}, workspace_folder=toys.workspace).folder for note in "ab"
    ]
    for age, folder in enumerate(heads):
        assert folder is not None
        make_older(folder, age * DAY)
    between = write(toys, "between", 2 * DAY)
    plan, _ = gc(store)
    assert names(plan.goes) == [between.name, heads[1].name, heads[0].name, source.name]  # type: ignore[union-attr]


def test_who_lends_to_a_lender_goes_last(toys: Any, store: Store) -> None:
    source = write(toys, "fox", 9 * DAY)
    middle = run_stage("borrow", {"texts": source}, workspace_folder=toys.workspace).folder
    assert middle is not None
    (middle / "value.txt").write_text("fox")
    heads = run_stage("borrow", {"texts": middle, "note": "heads"}, workspace_folder=toys.workspace).folder
    make_older(middle, 8 * DAY)
    between = write(toys, "between", 2 * DAY)
    plan, _ = gc(store)
    assert heads is not None
    assert names(plan.goes) == [between.name, heads.name, middle.name, source.name]


def test_linked_files_count_once_and_are_free_with_their_last_name(toys: Any, store: Store) -> None:
    first, second, kept = (write(toys, text, age) for text, age in (("a", 3 * DAY), ("b", 2 * DAY), ("c", 0)))
    big = first / "big.png"
    big.write_bytes(bytes(100_000))
    os.link(big, second / "big.png")
    mine = first / "mine.png"
    mine.write_bytes(bytes(50_000))
    os.link(mine, kept / "mine.png")
    (toys.workspace / "data" / "letter.txt").write_bytes(bytes(7000))
    before = Disk(store.root)
    everything = sum(
        {
            p.stat().st_ino: p.stat().st_size for r in ("data",) for p in (store.root / r).rglob("*") if p.is_file()
        }.values()
    )
    assert before.total == everything
    plan, _ = gc(store, keep_last=1)
    assert names(plan.goes) == [first.name, second.name]
    small = sum(e.size for e in plan.goes) - 2 * 100_000 - 50_000
    assert plan.total - plan.left == 100_000 + small
    assert (kept / "mine.png").stat().st_size == 50_000


def test_a_name_outside_of_the_workspace_keeps_the_file(toys: Any, store: Store, tmp_path: Path) -> None:
    folder = write(toys, "a")
    os.link(folder / "value.txt", tmp_path / "elsewhere")
    plan, _ = gc(store)
    assert plan.total - plan.left == plan.goes[0].size - 1


@pytest.mark.parametrize(("age", "rules", "goes"), [(8, {}, True), (6, {}, False), (6, {"older_than": 5 * DAY}, True)])
def test_unfinished_work_goes_after_a_week_or_as_asked(
    toys: Any, store: Store, age: int, rules: dict[str, Any], goes: bool
) -> None:
    folder = begun(toys, store, "fox", age * DAY)
    plan, _ = gc(store, **rules)
    assert folder.exists() is not goes
    assert why(plan, folder) == (
        "unfinished, and nobody goes on with it" if goes else "young: the same command goes on with it"
    )


def test_what_is_at_work_and_all_that_it_may_read_stays(toys: Any, store: Store) -> None:
    other, working = write(toys, "other", 99 * DAY), begun(toys, store, "fox", 99 * DAY)
    with store.lock(working, wait=False):
        plan, _ = gc(store)
        assert plan.goes == []
        assert why(plan, working) == "at work now"
        assert why(plan, other) == f"{working.name} is at work, and may read it"
    assert {e.found.path for e in gc(store)[0].goes} == {other, working}


def test_work_that_tells_what_it_reads_protects_only_that(toys: Any, store: Store) -> None:
    read, other = write(toys, "read", 99 * DAY), write(toys, "other", 99 * DAY)
    working = begun(toys, store, "fox", 0)
    work = json.loads((working / WORK).read_text())
    write_json(working / WORK, work | {"inputs": {"texts": [{"path": str(read), "digest": "x"}]}})
    with store.lock(working, wait=False):
        assert names(gc(store)[0].goes) == [other.name]
    assert read.exists()


def test_what_is_taken_up_after_the_survey_is_spared(toys: Any, store: Store) -> None:
    locked, named, free = (write(toys, text) for text in ("locked", "named", "free"))
    plan = survey(store, Rules(keep_last=0))
    store.ledger.use("foxes", "photos", (read_manifest(named) or {})["key"])
    with store.lock(locked, wait=False):
        done = collect(store, plan)
    assert (names(done.gone), len(done.spared)) == ([free.name], 2)
    assert locked.exists() and named.exists()


def test_work_that_goes_on_after_the_survey_is_spared(toys: Any, store: Store) -> None:
    folder = begun(toys, store, "fox", 99 * DAY)
    plan = survey(store, Rules())
    (folder / "more.txt").write_text("more")
    assert (collect(store, plan).gone, folder.exists()) == ([], True)


def test_what_borrows_and_could_not_go_keeps_what_it_borrows_from(toys: Any, store: Store) -> None:
    source = write(toys, "fox")
    heads = run_stage("borrow", {"texts": source}, workspace_folder=toys.workspace).folder
    assert heads is not None
    plan = survey(store, Rules(keep_last=0))
    with store.lock(heads, wait=False):
        done = collect(store, plan)
    assert done.spared == [f"{heads} stays: at work now", f"{source} stays: {heads.name} names its files"]


def test_what_cannot_be_deleted_is_told(toys: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(toys, "fox")
    monkeypatch.setattr("foxgan.pipeline.care.gc.remove", lambda folder: None)  # as where files are somebody else's
    _, done = gc(store)
    assert done.gone == [] and "cannot be deleted as a whole" in done.problems[0]


def test_what_killed_runs_left_beside_goes_when_it_is_old(toys: Any, store: Store) -> None:
    folder = write(toys, "fox")
    for name in (f"{folder.name}.new", f"{folder.name}.old"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "half.txt").write_text("half")
        make_older(folder.parent / name, 8 * DAY)
    log = folder.with_name(f"{folder.name}.error.log")
    log.write_text("Traceback")
    assert len(gc(store, keep_last=1)[0].goes) == 2
    os.utime(log, (0, 0))
    assert names(gc(store, keep_last=1)[0].goes) == [log.name]
    assert [p.name for p in folder.parent.glob(f"{folder.name}*")] == [folder.name]


def test_a_finished_output_whose_swap_was_killed_takes_its_place(toys: Any, store: Store) -> None:
    folder = write(toys, "fox", 99 * DAY)
    os.replace(folder, beside(folder))
    gc(store)
    assert (folder / "value.txt").read_text() == "fox"


def test_a_killed_deletion_is_ended_by_the_next(toys: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write(toys, text, age) for text, age in (("a", DAY), ("b", 0))]

    def killed(folder: Path) -> None:
        next(folder.glob("*.txt")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("foxgan.pipeline.care.gc.remove", killed)
        gc(store)
    assert [folder.exists() for folder in folders] == [False, True]
    assert len(list(folders[0].parent.glob(".gone-*"))) == 1
    plan, _ = gc(store, keep_last=1)
    assert [e.why for e in plan.goes] == ["left by a killed deletion"]
    assert not list(folders[0].parent.glob(".gone-*")) and folders[1].exists()
    assert write(toys, "a") == folders[0]


def test_links_to_what_was_deleted_go_too(toys: Any, store: Store) -> None:
    report = toys.run(CHAIN)
    store.ledger.use("toys", "last", "0" * 64)  # stands for something else now, whose folder is not here
    toys.workspace.joinpath("data", "toys", "mine").symlink_to("nowhere")
    gc(store)
    assert not report.folder("last").exists()
    found = {p.name for p in (toys.workspace / "data" / "toys").iterdir()}
    assert {"write", "first", "mine"} <= found and "last" not in found


def test_lock_files_of_deleted_folders_go(toys: Any, store: Store) -> None:
    gone, kept = write(toys, "gone", DAY), write(toys, "kept")
    locks = gone.parent / ".locks"
    (locks / f"{gone.name}.json").write_text("{}")
    gc(store, keep_last=1)
    assert [p.name for p in locks.iterdir()] == [f"{kept.name}.lock"]


def test_what_is_not_foxgans_is_not_touched(toys: Any, store: Store, tmp_path: Path) -> None:
    data = toys.workspace / "data"
    (data / "write-0123456789ab").mkdir(parents=True)
    (data / "write-0123456789ab" / "diary.txt").write_text("mine")
    (data / "my-photos").mkdir()
    (data / "my-photos" / "fox.png").write_text("mine")
    damaged = write(toys, "damaged")
    (damaged / MANIFEST).unlink()
    (damaged / MANIFEST).write_text("{")
    outside = run_stage("write", {"text": "out"}, out=tmp_path / "write-0123456789ab", workspace_folder=toys.workspace)
    (data / "write-ba9876543210").symlink_to(tmp_path / "write-0123456789ab")
    plan, _ = gc(store)
    assert plan.goes == []
    assert sorted(e.why for e in plan.stays) == [
        "its manifest cannot be read; see `foxgan verify`",
        "not made by foxgan",
    ]
    assert (data / "my-photos" / "fox.png").exists() and outside.folder and (outside.folder / "value.txt").exists()


def test_an_empty_workspace_is_no_trouble(store: Store) -> None:
    plan, done = gc(store)
    assert (plan.goes, plan.stays, done.gone, done.problems) == ([], [], [], [])
