import errno
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import (
    DataError,
    LockedError,
    PipelineError,
    StageError,
    TooManyDropped,
    UnsafeFileError,
    UsageError,
)
from foxgan.pipeline.folder import beside, point, replaced
from foxgan.pipeline.run import Runner, Selection, run
from foxgan.pipeline.single import run_stage
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages import stage_class
from foxgan.stages.context import Silent

CHAIN = """
steps:
  write: {text: fox}
  middle: {use: join, texts: [write, write]}
  last: {use: join, texts: middle, upper: true}
"""


def value(report: Any, step: str) -> str:
    return str((report.folder(step) / "value.txt").read_text())


def fail(error: BaseException) -> Any:
    def trouble(out: Path) -> None:
        raise error

    return trouble


def test_each_stage_runs_once(toys: Any) -> None:
    report = toys.run(CHAIN)
    assert toys.ran == ["write", "join", "join"]
    assert (report.made, value(report, "last")) == (["write", "middle", "last"], "FOX+FOX")
    before = toys.files()
    assert toys.run(CHAIN).made == toys.ran == []
    assert toys.files() == before


def test_a_changed_param_runs_its_step_and_what_follows(toys: Any) -> None:
    toys.run(CHAIN)
    before = toys.files()
    report = toys.run(CHAIN, {"middle.upper": True})
    assert report.made == ["middle", "last"]
    assert toys.ran == ["join", "join"]
    assert value(report, "middle") == "FOX+FOX"
    assert before.items() <= toys.files().items()


def test_a_change_in_the_first_step_runs_all_and_going_back_runs_nothing(toys: Any) -> None:
    toys.run(CHAIN)
    assert toys.run(CHAIN, {"write.text": "owl"}).made == ["write", "middle", "last"]
    report = toys.run(CHAIN)
    assert (report.made, value(report, "last")) == ([], "FOX+FOX")


def test_an_equal_output_stops_the_change(toys: Any) -> None:
    text = "steps:\n  write: {text: fox}\n  first: {use: initial, texts: write}\n  last: {use: join, texts: first}\n"
    toys.run(text)
    report = toys.run(text, {"write.text": "ferret"})
    assert (report.made, toys.ran) == (["write", "first"], ["write", "initial"])
    assert value(report, "last") == "f"


def test_machine_params_run_nothing_again(toys: Any) -> None:
    toys.run(CHAIN)
    assert toys.run(CHAIN, {"write.workers": 9}).made == []


def test_an_outside_file_counts_by_content(toys: Any) -> None:
    text = "steps: {join: {texts: note.txt}}"
    (toys.folder / "note.txt").write_text("fox")
    toys.run(text)
    os.utime(toys.folder / "note.txt", (1, 1))
    assert toys.run(text).made == []
    (toys.folder / "note.txt").write_text("owl")
    report = toys.run(text)
    assert (report.made, value(report, "join")) == (["join"], "owl")


def test_a_longer_run_goes_on_from_the_shorter(toys: Any) -> None:
    toys.run("steps: {grow: {limit: 3}}")
    before = toys.files()
    report = toys.run("steps: {grow: {limit: 5}}")
    assert toys.ran == ["grow 3", "grow 4"]
    straight = toys.run("steps: {grow: {limit: 5}}", force=("grow",))
    assert straight.steps["grow"].manifest["digest"] == report.steps["grow"].manifest["digest"]
    assert before.items() <= toys.files().items()


def test_a_longer_run_goes_on_from_an_unfinished_shorter_one(toys: Any) -> None:
    def stop_at_2(out: Path) -> None:
        if (out / "lines.txt").read_text().count("line") == 2:
            raise KeyboardInterrupt

    toys.trouble["grow"] = stop_at_2
    with pytest.raises(KeyboardInterrupt):
        toys.run("steps: {grow: {limit: 3}}")
    toys.trouble.clear()
    toys.run("steps: {grow: {limit: 4}}")
    assert toys.ran == ["grow 2", "grow 3"]


def test_a_shorter_run_never_goes_on_from_a_longer_one(toys: Any) -> None:
    toys.run("steps: {grow: {limit: null}}")  # no limit is the farthest
    toys.run("steps: {grow: {limit: 3}}")
    assert toys.ran == ["grow 0", "grow 1", "grow 2"]


def test_without_a_limit_a_run_goes_on_from_any(toys: Any) -> None:
    toys.run("steps: {grow: {limit: 8}}")
    toys.run("steps: {grow: {limit: null}}")
    assert toys.ran == ["grow 8", "grow 9"]


def test_an_interrupted_step_goes_on_in_its_folder(toys: Any) -> None:
    toys.trouble["grow"] = fail(OSError(errno.EIO, "broken cable"))
    with pytest.raises(StageError, match="step grow: .*broken cable"):
        toys.run("steps: {grow: {limit: 2}}")
    toys.trouble.clear()
    toys.run("steps: {grow: {limit: 2}}")
    assert toys.ran == ["grow 1"]


def test_a_failure_in_the_middle_reruns_only_the_rest(toys: Any) -> None:
    toys.trouble["initial"] = fail(StageError("no letter; write one"))
    text = CHAIN.replace("middle: {use: join", "middle: {use: initial")
    with pytest.raises(StageError, match=r"^step middle: no letter; write one \(report: .*report.html\)$"):
        toys.run(text)
    assert toys.ran == ["write", "initial"]
    before = toys.files()
    toys.trouble.clear()
    report = toys.run(text)
    assert toys.ran == ["initial", "join"]
    assert value(report, "last") == "F"
    assert before.items() <= toys.files().items()


def test_force_builds_beside_and_swaps_at_the_end(toys: Any) -> None:
    toys.run(CHAIN)
    before = toys.files()
    toys.trouble["write"] = fail(StageError("no ink"))
    with pytest.raises(StageError, match="no ink"):
        toys.run(CHAIN, force=("write",))
    assert toys.files() == before
    toys.trouble.clear()
    report = toys.run(CHAIN, force=("write",))
    assert report.made == ["write"]  # the same output: nothing follows
    manifest = str((report.folder("write") / "foxgan.json").relative_to(toys.workspace))
    assert toys.files()[manifest] != before[manifest]
    assert not [p for p in toys.workspace.glob("data/*-*") if p.suffix]


def test_force_can_be_repeated_after_a_kill_just_before_the_swap(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.run(CHAIN)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "swap", lambda store, folder: fail(KeyboardInterrupt())(folder))
        with pytest.raises(KeyboardInterrupt):
            toys.run(CHAIN, force=("write",))
    assert toys.run(CHAIN, force=("write",)).made == ["write"]
    assert not [p for p in toys.workspace.glob("data/*-*") if p.suffix]


def test_a_forced_step_starts_from_nothing(toys: Any) -> None:
    toys.run("steps: {grow: {limit: 2}}")
    toys.run("steps: {grow: {limit: 3}}")
    toys.run("steps: {grow: {limit: 3}}", force=("grow",))
    assert toys.ran == ["grow 0", "grow 1", "grow 2"]


def test_from_runs_a_step_and_what_follows(toys: Any) -> None:
    toys.run(CHAIN)
    assert toys.run(CHAIN, from_step="middle").made == ["middle", "last"]


def test_until_runs_a_step_and_what_it_needs(toys: Any) -> None:
    assert toys.run(CHAIN, until="middle").made == ["write", "middle"]
    assert toys.run(CHAIN, until="last", from_step="middle").made == ["middle", "last"]
    assert toys.run(CHAIN, until="middle", from_step="middle").made == ["middle"]


def test_only_runs_one_step_on_finished_inputs(toys: Any) -> None:
    with pytest.raises(StageError, match="inputs are not finished; run it without --only, or with --until middle"):
        toys.run(CHAIN, only="middle")
    toys.run(CHAIN, until="write")
    assert toys.run(CHAIN, only="middle").made == ["middle"]
    assert toys.run(CHAIN, only="middle", force=("middle",)).made == ["middle"]


def test_only_on_deleted_inputs_is_told(toys: Any) -> None:
    report = toys.run(CHAIN, until="write")
    shutil.rmtree(report.folder("write"))
    with pytest.raises(StageError, match="its input write is not finished"):
        toys.run(CHAIN, only="middle")


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"only": "lst"}, r"no step 'lst' \(did you mean 'last'\?\); steps: write, middle, last"),
        ({"only": "last", "until": "last"}, "leave out --until and --from"),
        ({"until": "write", "from_step": "last"}, "--until write does not run last"),
        ({"until": "write", "force": ("write", "last")}, "--until write does not run last"),
        ({"only": "write", "force": ("last",)}, "--only write does not run last"),
        ({"force": ("nothing",)}, "no step 'nothing'"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(toys: Any, selection: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        toys.run(CHAIN, **selection)
    assert toys.ran == []


def test_a_final_step_whose_inputs_are_gone_is_up_to_date(toys: Any) -> None:
    report = toys.run(CHAIN)
    for step in ("write", "middle"):
        shutil.rmtree(report.folder(step))
    assert toys.run(CHAIN).made == []
    assert value(toys.run(CHAIN, {"last.upper": False}), "last") == "fox+fox"
    assert toys.ran == ["write", "join", "join"]  # what a changed step reads is made again, as it needs the files


def test_how_long_it_will_take_is_told_from_earlier_runs_even_if_inputs_are_gone(toys: Any) -> None:
    text = "steps:\n  grow: {limit: 5}\n  join: {texts: note.txt}\n  last: {use: join, texts: [join, join]}\n"
    (toys.folder / "note.txt").write_text("fox")
    report = toys.run(text)
    for step in report.steps:
        shutil.rmtree(report.folder(step))
    store = Store(toys.workspace)
    runner = Runner(load_pipeline(toys.file(text)), store, Selection(), Silent(), wait=False)
    planned = runner.plan()
    assert [entry.state for entry in planned.values()] == ["run"] * 3
    estimates = {name: runner.maker.work(entry, planned) for name, entry in planned.items()}
    assert str(estimates["grow"]).startswith("about ")
    assert str(estimates["last"]) == ""  # nothing is known of its size
    store.close()


def rate(toys: Any) -> tuple[float, float]:
    """Seconds and units that the ledger holds of the last artifact."""
    store = Store(toys.workspace)
    row = store.ledger.db.execute("SELECT seconds, units FROM artifacts ORDER BY finished DESC LIMIT 1").fetchone()
    store.close()
    return row[0], row[1]


def slowly_failing(error: BaseException) -> Any:
    def trouble(out: Path) -> None:
        time.sleep(0.2)
        raise error

    return trouble


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StageError("no ink")])
def test_time_is_counted_over_all_sessions(toys: Any, error: BaseException) -> None:
    toys.trouble["grow"] = slowly_failing(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            toys.run("steps: {grow: {limit: 3}}")
    toys.trouble.clear()
    manifest = toys.run("steps: {grow: {limit: 3}}").steps["grow"].manifest
    assert 0.4 < manifest["seconds"]["total"] < 5
    assert rate(toys) == (manifest["seconds"]["total"], 3)


def test_a_killed_session_leaves_no_rate(toys: Any) -> None:
    def stop(out: Path) -> None:
        toys.killed = (out / ".work.json").read_bytes()
        raise StageError("no ink")

    toys.trouble["grow"] = stop
    with pytest.raises(StageError):
        toys.run("steps: {grow: {limit: 3}}")
    toys.trouble.clear()
    (work,) = toys.workspace.glob("data/grow-*/.work.json")
    work.write_bytes(toys.killed)  # what SIGKILL would have left
    toys.run("steps: {grow: {limit: 3}}")
    assert rate(toys)[1] == 0


def test_a_run_that_goes_on_from_a_shorter_one_gives_no_rate(toys: Any) -> None:
    toys.run("steps: {grow: {limit: 3}}")
    assert rate(toys)[1] == 3
    toys.run("steps: {grow: {limit: 5}}")
    assert rate(toys)[1] == 0


def test_the_disk_of_the_output_must_have_room(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_class("write"), "disk_bytes", lambda stage, counts: 5 * 10**14)
    out = toys.folder / "mine" / "out"
    with pytest.raises(StageError, match=re.escape(f"needs about 500 TB, {out.parent} has")):
        run_stage("write", {}, out=out, workspace_folder=toys.workspace)
    assert toys.ran == []


def test_a_small_need_of_disk_is_told_in_megabytes(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for need, words in ((60_000_000, "about 60 MB of disk"), (1_250_000_000, "about 1.25 GB of disk")):
        monkeypatch.setattr(stage_class("write"), "disk_bytes", lambda stage, counts, need=need: need)
        listener = Listener()
        run_stage("write", {"text": words}, workspace_folder=toys.workspace, progress=listener)
        assert any(text.endswith(words) for _, text in listener.told), listener.told


class Listener(Silent):
    """Keeps what it is told; stops the run at the first item if so asked."""

    def __init__(self, stop: bool = False) -> None:
        self.told: list[tuple[str, str]] = []
        self.stop = stop

    def message(self, level: str, text: str) -> None:
        self.told.append((level, text))

    def advance(self, amount: float = 1, note: str = "") -> None:
        if self.stop and amount:
            raise KeyboardInterrupt


def test_the_curious_hear_of_keys_inputs_params_and_times(toys: Any) -> None:
    listener = Listener()
    report = toys.run(CHAIN, {"middle.upper": True}, until="middle", progress=listener)
    debug = [text for level, text in listener.told if level == "debug"]
    assert f"write: key {report.steps['write'].key.full}" in "".join(debug)
    assert "write: all params at their default" in debug
    folder = str(report.folder("write"))
    assert f"middle: texts={[folder] * 2}, upper=True" in debug
    assert [text.partition(" {'total': ")[0] for text in debug if "seconds" in text] == [
        "write: seconds",
        "middle: seconds",
    ]


def test_no_worker_outlives_an_interrupted_step(toys: Any) -> None:
    photos = toys.folder / "photos"
    photos.mkdir()
    for i in range(64):
        (photos / f"{i}.ppm").write_bytes(b"P6 16 16 255\n" + bytes([i]) * 768)
    with pytest.raises(KeyboardInterrupt) as caught:
        params = {"source": "folder", "path": (str(photos),), "workers": "2"}
        run_stage("scrape", params, workspace_folder=toys.workspace, progress=Listener(stop=True))
    assert caught.tb is not None  # holds all frames, and what is in them
    assert active_children() == []


def test_deleting_the_ledger_is_harmless(toys: Any) -> None:
    report = toys.run(CHAIN)
    for path in (toys.workspace / "data").glob(".ledger*"):
        path.unlink()
    assert toys.run(CHAIN).made == []
    shutil.rmtree(report.folder("write"))  # known again from its manifest
    assert toys.run(CHAIN).made == []


def test_more_dropped_than_allowed_is_told_when_all_is_done(toys: Any) -> None:
    text = "steps:\n  sort: {kept: 2, dropped: 2, max_dropped: 0.4}\n  write: {}\n"
    with pytest.raises(
        TooManyDropped, match=r"step sort: done, but 2 of 4 items .*\(2 blurry\); max_dropped is 40%"
    ) as caught:
        toys.run(text)
    assert caught.value.exit_code == 4
    assert toys.ran == ["sort", "write"]
    assert (toys.workspace / "data" / "toys" / "report.html").exists()
    with pytest.raises(TooManyDropped):  # still true the next time
        toys.run(text)
    assert toys.run(text, {"sort.max_dropped": 0.5}).made == []


def test_exactly_the_allowed_share_may_be_dropped(toys: Any) -> None:
    report = toys.run("steps: {sort: {kept: 7, dropped: 3, max_dropped: 0.3}}")
    assert report.made == ["sort"] and report.steps["sort"].manifest["counts"]["kept"] == 7


ERRORS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk of .* is full; free some space"),
    (RuntimeError(f"writer: {os.strerror(errno.ENOSPC)} (os error 28)"), "the disk of .* is full; free some space"),
    (PermissionError(errno.EACCES, "Permission denied", "/photos/a"), "/photos/a: no right to read or write it"),
    (OSError(errno.EROFS, "Read-only file system", "/photos"), "/photos: no right to read or write it"),
    (MemoryError(), "out of memory; use smaller batches"),
    (
        ZeroDivisionError("division by zero"),
        "unexpected ZeroDivisionError: division by zero. This is a defect of foxgan",
    ),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_what_a_stage_raises_is_told_in_words(toys: Any, error: Exception, words: str) -> None:
    toys.trouble["write"] = fail(error)
    with pytest.raises(StageError, match=f"^step write: .*{words}") as caught:
        toys.run(CHAIN)
    assert caught.value.exit_code == 1
    toys.trouble.clear()
    assert toys.run(CHAIN).made == ["write", "middle", "last"]


@pytest.mark.parametrize("error", [UsageError("no such device; use cpu"), PipelineError("no such name")])
def test_what_a_library_calls_wrong_usage_is_a_failed_stage_once_it_is_at_work(toys: Any, error: Exception) -> None:
    toys.trouble["write"] = fail(error)
    with pytest.raises(StageError, match=f"^step write: {error}") as caught:
        toys.run(CHAIN)
    assert caught.value.exit_code == 1


def test_a_defect_leaves_its_traceback_in_a_file_that_goes_when_all_is_well(toys: Any) -> None:
    toys.trouble["write"] = fail(ZeroDivisionError("division by zero"))
    with pytest.raises(StageError) as caught:
        toys.run(CHAIN)
    log = Path(str(caught.value).partition("report it with ")[2].partition(" ")[0])
    assert "test_run.py" in log.read_text()
    toys.trouble.clear()
    toys.run(CHAIN)
    assert not log.exists()


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a disk")
def test_a_disk_that_is_really_full_is_told_and_the_run_goes_on_when_there_is_room(toys: Any) -> None:
    toys.workspace.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", toys.workspace], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount")
    try:
        toys.run(CHAIN, until="write")
        before = {k: v for k, v in toys.files().items() if "write-" in k}
        filler = toys.workspace / "filler"

        def fill(out: Path) -> None:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)

        toys.trouble["join"] = fill
        with pytest.raises(StageError, match="is full; free some space and run the same command again"):
            toys.run(CHAIN)
        assert {k: v for k, v in toys.files().items() if "write-" in k} == before
        with pytest.raises(StageError):
            toys.run(CHAIN)  # still full: told again, whatever could not be written first
        filler.unlink()
        toys.trouble.clear()
        assert toys.run(CHAIN).made == ["middle", "last"]
    finally:
        subprocess.run(["umount", toys.workspace], check=True)


def test_a_step_that_another_run_holds_is_not_waited_for_if_so_asked(toys: Any) -> None:
    report = toys.run(CHAIN, until="write")
    store = Store(toys.workspace)
    with (
        store.lock(report.folder("write"), wait=False),
        pytest.raises(LockedError, match="step write: .*is working on it"),
    ):
        toys.run(CHAIN, force=("write",), wait=False)
    store.close()


def test_what_a_kill_left_of_a_finished_step_goes_with_the_next_run(toys: Any) -> None:
    folder = toys.run(CHAIN).folder("write")
    place = toys.workspace / "data"
    before = sorted(place.rglob("*"))
    (folder / ".work.json").write_text("{}")
    (place / ".locks" / f"{folder.name}.json").write_text("{}")
    replaced(folder).mkdir()
    assert toys.run(CHAIN).made == []
    assert [p for p in sorted(place.rglob("*")) if "runs" not in p.parts] == [
        p for p in before if "runs" not in p.parts
    ]


def test_what_a_killed_force_had_made_counts_at_once(toys: Any) -> None:
    folder = toys.run(CHAIN).folder("write")
    shutil.copytree(folder, beside(folder))
    for name, change in (("value.txt", "owl"), ("foxgan.json", json.dumps(_manifest(folder) | {"digest": "owl's"}))):
        os.chmod(beside(folder) / name, 0o644)
        (beside(folder) / name).write_text(change)
    report = toys.run(CHAIN)
    assert (report.made, value(report, "last")) == (["middle", "last"], "OWL+OWL")


def _manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "foxgan.json").read_text()))


def test_links_and_pages_that_killed_runs_left_halfway_are_deleted_when_they_are_old(toys: Any) -> None:
    toys.run(CHAIN)
    place = toys.workspace / "data" / "toys"
    for number in (1, 2):
        (place / f"report.html.{number}.tmp").write_text("<html>")
        (place / f".write.{number}").symlink_to("nowhere")
    (place / ".notes.1").write_text("mine")
    for old in (place / "report.html.1.tmp", place / ".write.1", place / ".notes.1", place / "report.html"):
        os.utime(old, (1, 1), follow_symlinks=False)
    toys.run(CHAIN)
    found = {path.name for path in place.iterdir()} - {"write", "middle", "last", "runs"}
    assert found == {"report.html", "report.html.2.tmp", ".write.2", ".notes.1"}


def test_links_lead_to_the_current_artifacts_and_the_report_follows_them(toys: Any) -> None:
    first = toys.run(CHAIN)
    link, report = toys.workspace / "data" / "toys" / "write", toys.workspace / "data" / "toys" / "report.html"
    assert link.resolve() == first.folder("write")
    toys.run(CHAIN, {"write.text": "owl"})
    assert link.resolve() != first.folder("write")
    owl = report.read_text()
    toys.run(CHAIN)  # makes nothing, but shows something else
    assert link.resolve() == first.folder("write")
    fox = report.read_text()
    assert fox != owl
    toys.run(CHAIN)
    assert report.read_text() == fox


@pytest.mark.parametrize("error", [StageError("no ink"), DataError("no ink"), UnsafeFileError("no ink")])
def test_after_a_failure_the_report_tells_of_it_until_all_is_well(toys: Any, error: Exception) -> None:
    toys.run(CHAIN)
    page = toys.workspace / "data" / "toys" / "report.html"
    well = page.read_text()
    toys.trouble["write"] = fail(error)
    for _ in range(2):
        with pytest.raises(type(error), match=re.escape(f"no ink (report: {page})")):
            toys.run(CHAIN, {"write.text": "owl"})
        assert "no ink" in page.read_text() and "no ink" not in well
    assert toys.run(CHAIN).made == []  # all is there, and no link has changed
    assert '<p class="message">' not in page.read_text(), "only the list of runs still tells of it"
    before = page.stat().st_mtime_ns
    toys.run(CHAIN)
    assert page.stat().st_mtime_ns == before


def test_the_report_says_what_was_typed(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toys.folder)
    path, choice = toys.file(CHAIN), Selection(until="middle", force=("write",))
    changes = {"write.text": "a fox", "middle.upper": True, "last.texts": ["write", "middle"]}
    run(path.name, changes, selection=choice, workspace_folder=toys.workspace)
    page = html.unescape((toys.workspace / "data" / "toys" / "report.html").read_text())
    line = "foxgan run toys.yaml --set 'write.text=a fox' --set middle.upper=true "
    assert line + """--set 'last.texts=["write", "middle"]' --until middle --force write""" in page
    run(path, workspace_folder=toys.workspace)
    page = html.unescape((toys.workspace / "data" / "toys" / "report.html").read_text())
    assert "foxgan run toys.yaml" in page  # not where it lies


def test_without_links_a_text_file_says_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "symlink_to", lambda *a, **k: fail(OSError("no right"))(tmp_path))
    assert point(tmp_path / "link", tmp_path / "a") is True
    assert (tmp_path / "link.txt").read_text().strip() == str(tmp_path / "a")
    assert point(tmp_path / "link", tmp_path / "a") is False


def test_a_stage_alone_and_in_a_pipeline_share_one_artifact(toys: Any) -> None:
    report = toys.run(CHAIN)
    toys.ran.clear()
    entry = run_stage("write", {"text": "fox"}, workspace_folder=toys.workspace)
    assert (toys.ran, entry.folder) == ([], report.folder("write"))
    entry = run_stage("join", {"texts": (str(entry.folder),) * 2}, workspace_folder=toys.workspace)
    assert (toys.ran, entry.folder) == ([], report.folder("middle"))


def test_out_puts_the_artifact_there_and_refuses_other_params(toys: Any) -> None:
    out = toys.folder / "mine"
    run_stage("write", {"text": "fox"}, out=out, workspace_folder=toys.workspace)
    assert (out / "value.txt").read_text() == "fox"
    run_stage("write", {"text": "fox", "workers": "3"}, out=out, workspace_folder=toys.workspace)
    assert toys.ran == ["write"]
    with pytest.raises(StageError, match="finished output of other params"):
        run_stage("write", {"text": "owl"}, out=out, workspace_folder=toys.workspace)
    assert (out / "value.txt").read_text() == "fox"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"workers": "many"}, "--workers: step write: workers is 'many'"),
        ({"text": "[1"}, "--text:1:3: not valid YAML"),
        ({"text": "yes"}, "--text: step write: text is true"),
    ],
)
def test_a_wrong_option_of_a_stage_is_a_usage_error(toys: Any, params: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_stage("write", params, workspace_folder=toys.workspace)
    assert str(caught.value).startswith(words)


def test_the_manifest_names_inputs_with_their_digests(toys: Any) -> None:
    report = toys.run(CHAIN)
    manifest = json.loads((report.folder("middle") / "foxgan.json").read_text())
    digest = report.steps["write"].manifest["digest"]
    assert manifest["inputs"] == {"texts": [{"path": str(report.folder("write")), "digest": digest}] * 2}


def test_the_home_of_foxgan_is_an_environment_variable(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from foxgan import run

    monkeypatch.setenv("FOXGAN_HOME", str(toys.folder / "there"))
    report = run(toys.file(CHAIN))
    assert report.folder("write").parent == toys.folder / "there" / "data"


def test_a_folder_of_a_run_that_is_not_finished_is_told(toys: Any) -> None:
    report = toys.run(CHAIN, until="write")
    with pytest.raises(StageError, match="step last has no finished output"):
        report.folder("last")
