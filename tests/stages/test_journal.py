"""What becomes of items that an earlier artifact has: taken over by link or copy, or asked for again."""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from foxgan.stages.context import Context
from foxgan.stages.journal import JOURNAL, Journal, Linker, journalled, look_up


def earlier(folder: Path, **rows: list[dict[str, Any]]) -> Path:
    """An artifact with these rows by item, and a file for every path."""
    journal = Journal(folder)
    for entries in rows.values():
        for row in entries:
            if "path" in row and ".." not in row["path"]:
                (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
                (folder / row["path"]).write_text(row["path"])
    journal.write(rows)
    journal.close()
    return folder


def taken(folder: Path, out: Path, *keys: str, kept_only: bool = False) -> list[str]:
    journal = Journal(out)
    journal.take_over(look_up(folder, pl.DataFrame({"key": keys}), kept_only), folder, out)
    journal.close()
    return journalled(out)["key"].sort().to_list()


def test_wanted_items_come_with_their_files_and_are_known_from_then_on(tmp_path: Path) -> None:
    old = earlier(tmp_path / "old", a=[{"status": "kept", "path": "images/a.png"}], b=[], c=[{"status": "blurry"}])
    assert taken(old, tmp_path / "new", "a", "c", "z") == ["a", "c"]
    assert os.path.samefile(old / "images" / "a.png", tmp_path / "new" / "images" / "a.png")
    assert journalled(tmp_path / "new")["key"].to_list() == ["a", "c"]
    assert taken(tmp_path / "new", tmp_path / "third", "a", "b") == ["a"]


def test_what_may_have_passed_is_asked_for_again_and_with_refresh_all_that_was_dropped(tmp_path: Path) -> None:
    rows = {"a": [{"status": "http_503"}], "b": [{"status": "http_404"}], "c": [{"status": "kept"}]}
    old = earlier(tmp_path / "old", **rows)
    assert taken(old, tmp_path / "new", *rows) == ["b", "c"]
    assert taken(old, tmp_path / "again", *rows, kept_only=True) == ["c"]
    assert Context(earlier=[old]).known(tmp_path / "none", list(rows)).sort().to_list() == ["b", "c"]
    assert Context(earlier=[old], again=True).known(tmp_path / "none", list(rows)).to_list() == ["c"]


def test_a_word_like_a_status_within_a_text_decides_nothing(tmp_path: Path) -> None:
    old = earlier(tmp_path / "old", a=[{"status": "kept", "creator": 'says "status": "timeout" and "path": "/etc/x"'}])
    assert taken(old, tmp_path / "new", "a") == ["a"]


@pytest.mark.parametrize("path", ["../outside.png", "images/../../outside.png", "/etc/passwd", "\\\\host\\x", "c:x"])
def test_a_path_that_leads_out_of_the_artifact_is_not_followed(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.png").write_text("mine")
    old = tmp_path / "old"
    old.mkdir()
    line = json.dumps({"key": "a", "rows": [{"status": "kept", "path": path}]})
    (old / JOURNAL).write_text(f"{line}\n")
    assert taken(old, tmp_path / "deep" / "new", "a") == []
    assert not list((tmp_path / "deep").rglob("*.png"))


def test_a_lost_file_means_that_the_item_is_made_again(tmp_path: Path) -> None:
    old = earlier(tmp_path / "old", a=[{"status": "kept", "path": "a.png"}], b=[{"status": "kept", "path": "b.png"}])
    (old / "a.png").unlink()
    assert taken(old, tmp_path / "new", "a", "b") == ["b"]


def test_where_links_are_not_possible_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    old = earlier(tmp_path / "old", a=[{"status": "kept", "path": "images/a.png"}])
    assert taken(old, tmp_path / "new", "a") == ["a"]
    copy = tmp_path / "new" / "images" / "a.png"
    assert copy.read_text() == "images/a.png"
    assert not os.path.samefile(copy, old / "images" / "a.png")


def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    old = earlier(tmp_path / "old", a=[{"status": "kept", "path": "a.png"}])
    (tmp_path / "new").mkdir()
    assert Linker(old, tmp_path / "new")("a.png")
    assert Linker(old, tmp_path / "new")("a.png")
