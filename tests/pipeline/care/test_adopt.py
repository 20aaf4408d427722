"""Folders made or edited by hand become inputs: what their index says, what is refused, and what real stages make of them."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import INDEX, KEPT, counts, read_index
from foxgan.errors import DataError, StageError, UnsafeFileError, UsageError
from foxgan.pipeline.care.adopt import MAX_FILES, adopt, refuse_changed
from foxgan.pipeline.care.verify import verify
from foxgan.pipeline.digest import file_sha256
from foxgan.pipeline.folder import MANIFEST, read_manifest
from foxgan.pipeline.single import run_stage
from foxgan.pipeline.store import Store
from foxgan.stages.context import Silent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of one's own."""
    folder = tmp_path / "mine"
    for number, name in enumerate(("a.png", "sub/b.jpg")):
        draw(folder / name, number)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with drawn photos and crops of them; copied by the tests that change it."""
    home = tmp_path_factory.mktemp("made")
    photos = tool("scrape", home, source="synthetic", limit=4, photo_size=64, class_name="fox", workers=0)
    tool("crop", home, images=photos, size=16, workers=0)
    return home


def tool(name: str, home: Path, **params: Any) -> Path:
    folder = run_stage(
        name, {k: v if isinstance(v, Path) else str(v) for k, v in params.items()}, workspace_folder=home
    )
    assert folder.folder is not None
    return folder.folder


def draw(path: Path, seed: int, side: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def take_in(folder: Path, home: Path, license: str | None = None, creator: str | None = None) -> dict[str, Any]:
    store = Store(home)
    try:
        return adopt(store, folder, license, creator, Silent())
    finally:
        store.close()


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Index rows by the names of their files, or by their ids."""
    found = read_index(folder, kept=False).to_dicts()
    return {os.path.relpath(r["path"], folder) if r["path"] else r["id"]: r for r in found}


def copy_of(home: Path, stage: str, target: Path) -> Path:
    shutil.copytree(next(home.glob(f"data/{stage}-*")), target)
    return target


def pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg"))


def is_unchanged(folder: Path, home: Path) -> bool:
    store = Store(home)
    try:
        refuse_changed(store.ledger, folder, read_manifest(folder) or {})
    except StageError as error:
        assert f"run `foxgan adopt {folder}` again" in str(error)
        return False
    finally:
        store.close()
    return True


def test_a_hand_made_folder_is_indexed_as_a_scrape_would(folder: Path, home: Path) -> None:
    manifest = take_in(folder, home, license="CC0-1.0", creator="Me")
    assert manifest == read_manifest(folder)
    assert manifest["counts"] == {"in": 2, "kept": 2, "dropped": {}}
    row = rows(folder)["sub/b.jpg"]
    assert row["id"] == file_sha256(folder / "sub" / "b.jpg")
    assert (row["height"], row["width"], row["channels"]) == (24, 24, 3)
    assert (row["source_id"], row["license"], row["creator"]) == ("sub/b.jpg", "CC0-1.0", "Me")


def test_what_nobody_has_said_is_unknown_and_what_was_said_once_stays(folder: Path, home: Path) -> None:
    take_in(folder, home)
    assert rows(folder)["a.png"]["license"] == "unknown"
    take_in(folder, home, license="MIT")
    draw(folder / "c.png", 3)
    take_in(folder, home)
    assert {row["license"] for row in rows(folder).values()} == {"MIT"}


def test_files_that_are_no_pictures_are_rows_with_a_reason(folder: Path, home: Path) -> None:
    (folder / "half.png").write_bytes((folder / "a.png").read_bytes()[:40])
    (folder / "film.mp4").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no candidate at all")
    (folder / ".hidden.png").write_bytes(b"x")
    assert take_in(folder, home)["counts"]["dropped"] == {"broken": 1, "not_an_image": 1}
    (folder / "half.png").unlink()
    assert take_in(folder, home)["counts"]["dropped"] == {"not_an_image": 1}


def test_equal_pictures_are_one_item(folder: Path, home: Path) -> None:
    shutil.copy(folder / "a.png", folder / "z.png")
    for _ in range(2):
        assert take_in(folder, home)["counts"] == {"in": 3, "kept": 2, "dropped": {"duplicate": 1}}


def test_adopting_again_changes_nothing_but_the_time(folder: Path, home: Path) -> None:
    first, second = take_in(folder, home), take_in(folder, home)
    assert first | {"finished": ""} == second | {"finished": ""}


def test_names_of_folders_are_classes_and_follow_a_move(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "sorted"
    for number, name in enumerate(("red/a.png", "red/b.png", "arctic/c.png")):
        draw(folder / name, number)
    assert take_in(folder, home)["facts"]["classes"] == ["arctic", "red"]
    assert {n: (r["class"], r["label"]) for n, r in rows(folder).items()} == {
        "red/a.png": ("red", 1),
        "red/b.png": ("red", 1),
        "arctic/c.png": ("arctic", 0),
    }
    (folder / "red" / "b.png").rename(folder / "arctic" / "b.png")
    take_in(folder, home)
    assert rows(folder)["arctic/b.png"]["class"] == "arctic"
    assert len(rows(folder)) == 3


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("one/a.png", "one/b.png"), ("train/a.png", "val/b.png")])
def test_one_folder_and_names_of_splits_are_no_classes(tmp_path: Path, home: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        draw(tmp_path / "mine" / name, number)
    assert take_in(tmp_path / "mine", home)["facts"]["classes"] == []
    assert {r["class"] for r in rows(tmp_path / "mine").values()} == {None}
    if names[0].startswith("train"):
        assert [r["split"] for r in rows(tmp_path / "mine").values()] == ["train", "val"]


@pytest.mark.parametrize("stage", ["scrape", "crop"])
def test_an_edited_copy_keeps_what_is_known_and_marks_what_was_removed(made: Path, tmp_path: Path, stage: str) -> None:
    copy = copy_of(made, stage, tmp_path / "copy")
    before = {row["id"]: row for row in read_index(copy).to_dicts()}
    gone, moved = pictures(copy)[:2]
    gone.unlink()
    moved.rename(copy / "moved.png")
    draw(copy / "new.png", 1, side=16)
    manifest = take_in(copy, made)
    assert manifest["counts"] == {"in": 5, "kept": 4, "dropped": {"removed_by_hand": 1}}
    assert manifest["facts"]["known"] == 3
    after = {row["id"]: row for row in read_index(copy, kept=False).to_dicts()}
    for item, row in before.items():
        volatile = ("path", "status")
        assert {k: v for k, v in after[item].items() if k not in volatile} == {
            k: v for k, v in row.items() if k not in volatile
        }
    assert (after[gone.stem]["status"], after[gone.stem]["path"]) == ("removed_by_hand", None)
    assert rows(copy)["moved.png"]["id"] == moved.stem
    assert rows(copy)["new.png"]["id"] == file_sha256(copy / "new.png")


def test_a_picture_that_comes_back_is_kept_again(made: Path, tmp_path: Path) -> None:
    copy = copy_of(made, "crop", tmp_path / "copy")
    first = pictures(copy)[0]
    first.rename(tmp_path / "aside.png")
    assert take_in(copy, made)["counts"]["dropped"] == {"removed_by_hand": 1}
    (tmp_path / "aside.png").rename(copy / "back.png")
    assert take_in(copy, made)["counts"] == {"in": 4, "kept": 4, "dropped": {}}
    assert rows(copy)["back.png"]["license"] == "CC0-1.0"


@pytest.mark.parametrize("stage", ["scrape", "crop"])
def test_pictures_taken_from_the_workspace_keep_their_origin(made: Path, tmp_path: Path, stage: str) -> None:
    [source] = made.glob(f"data/{stage}-*")
    known = {row["id"]: row for row in read_index(source).to_dicts()}
    (tmp_path / "picked").mkdir()
    chosen = pictures(source)[1]
    shutil.copy(chosen, tmp_path / "picked" / "best.png")
    draw(tmp_path / "picked" / "mine.png", 5)
    take_in(tmp_path / "picked", made, license="MIT")
    row, row_of_mine = rows(tmp_path / "picked")["best.png"], rows(tmp_path / "picked")["mine.png"]
    assert row == known[chosen.stem] | {"path": row["path"]}
    assert (row["license"], row_of_mine["license"]) == ("CC0-1.0", "MIT")


def test_a_crop_saved_anew_is_known_by_its_pixels(made: Path, tmp_path: Path) -> None:
    [source] = made.glob("data/crop-*")
    chosen = pictures(source)[0]
    (tmp_path / "picked").mkdir()
    (tmp_path / "picked" / "x.webp").write_bytes(images.encode_webp(images.decode(chosen)))
    assert take_in(tmp_path / "picked", made)["facts"]["known"] == 1
    assert rows(tmp_path / "picked")["x.webp"]["id"] == chosen.stem


def test_spread_files_are_no_classes_and_classes_of_the_index_win(made: Path, tmp_path: Path) -> None:
    copy = copy_of(made, "crop", tmp_path / "copy")
    for number, path in enumerate(pictures(copy)):
        (copy / f"sorted{number % 2}").mkdir(exist_ok=True)
        path.rename(copy / f"sorted{number % 2}" / path.name)
    assert take_in(copy, made)["facts"]["classes"] == []
    assert {r["class"] for r in rows(copy).values()} == {"fox"}
    spread = tmp_path / "spread"
    for name in ("images/ab/ab12.png", "images/cd/cd34.png", "images/e.png"):
        draw(spread / name, len(name) + ord(name[7]))
    assert take_in(spread, made)["facts"]["classes"] == []


def test_changes_are_noticed_and_foxgans_own_files_are_none(folder: Path, home: Path) -> None:
    take_in(folder, home)
    assert is_unchanged(folder, home)
    os.utime(folder / INDEX, (1, 1))
    assert is_unchanged(folder, home)
    draw(folder / "c.png", 9)
    assert not is_unchanged(folder, home)
    take_in(folder, home)
    (folder / "c.png").rename(folder / "d.png")
    assert not is_unchanged(folder, home)
    take_in(folder, home)
    (folder / "d.png").unlink()
    assert not is_unchanged(folder, home)


def test_thousands_of_unchanged_files_cost_a_moment(folder: Path, home: Path) -> None:
    then = time.time() - 3600
    for number in range(2000):
        path = folder / f"{number % 20}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        os.utime(path, (then, then))
    take_in(folder, home)
    start = time.process_time()
    assert is_unchanged(folder, home)
    assert time.process_time() - start < 0.5


def test_the_users_files_stay_as_they_are(folder: Path, home: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode) for p in pictures(folder)}
    take_in(folder, home)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode) for p in pictures(folder)}
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", MANIFEST, INDEX, "sub"]
    assert os.access(folder / INDEX, os.W_OK)


def test_outputs_of_foxgan_are_refused_with_the_way_out(made: Path, tmp_path: Path) -> None:
    [crops] = made.glob("data/crop-*")
    (tmp_path / "link").symlink_to(crops)
    for path in (crops, crops / "images", tmp_path / "link"):
        with pytest.raises(UsageError, match="copy it under another name and adopt the copy"):
            take_in(path, made)
    assert (read_manifest(crops) or {})["stage"] == "crop"


def test_folders_without_pictures_are_refused_and_left_alone(tmp_path: Path, home: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "film.mp4").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no pictures in it \(not_an_image\)"):
        take_in(tmp_path / "none", home)
    assert [p.name for p in (tmp_path / "none").iterdir()] == ["film.mp4"]
    with pytest.raises(UsageError, match="no such folder"):
        take_in(tmp_path / "nowhere", home)


@pytest.mark.parametrize("target", ["letter.png", "."])
def test_links_that_lead_out_are_refused(folder: Path, home: Path, tmp_path: Path, target: str) -> None:
    draw(tmp_path / "letter.png", 7)
    (folder / "sub" / "link").symlink_to(tmp_path / target)
    with pytest.raises(UnsafeFileError, match="a link that leads out of the folder"):
        take_in(folder, home)
    assert not (folder / INDEX).exists()


def test_too_many_files_are_refused(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foxgan.pipeline.care.adopt.MAX_FILES", 1)
    assert MAX_FILES == 1_000_000
    with pytest.raises(DataError, match="more than 1 files"):
        take_in(folder, home)


def test_a_huge_file_is_not_read(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foxgan.pipeline.care.adopt.MAX_FILE_BYTES", (folder / "a.png").stat().st_size - 1)
    assert rows_status(folder, home)["a.png"] == "too_large"


def rows_status(folder: Path, home: Path) -> dict[str, str]:
    take_in(folder, home)
    return {name: row["status"] for name, row in rows(folder).items()}


def test_a_damaged_index_is_told_with_the_way_out(folder: Path, home: Path) -> None:
    (folder / INDEX).write_bytes(b"no table")
    with pytest.raises(DataError, match="delete both, if what they say of the pictures may be forgotten"):
        take_in(folder, home)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_no_valid_text_is_a_row_with_a_reason(folder: Path, home: Path) -> None:
    with open(os.fsencode(folder) + b"/f\xff.png", "wb") as file:
        file.write(b"fox" + (folder / "a.png").read_bytes())
    assert take_in(folder, home)["counts"]["dropped"] == {"unreadable": 1}


def test_verify_knows_adopted_folders(folder: Path, home: Path) -> None:
    def problems() -> list[str]:
        store = Store(home)
        try:
            return [text for result in verify(store, [folder], Silent()) for text in result.problems]
        finally:
            store.close()

    (folder / "sub" / "notes.txt").touch()
    take_in(folder, home)
    assert problems() == []
    images.write(folder / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert [text for text in problems() if "hold something else than their id says" in text]
    assert [text for text in problems() if "changed after it was adopted" in text]


def test_crop_and_pack_read_an_adopted_folder(made: Path, tmp_path: Path) -> None:
    from foxgan import open_dataset

    copy = copy_of(made, "scrape", tmp_path / "copy")
    pictures(copy)[0].unlink()
    draw(copy / "mine.png", 4, side=32)
    take_in(copy, made)
    crops = tool("crop", tmp_path / "home", images=copy, size=16, workers=0)
    assert counts(crops)["kept"] == 4
    assert {r["license"] for r in rows(crops).values()} == {"CC0-1.0", "unknown"}
    edited = tmp_path / "edited"
    shutil.copytree(crops, edited)
    pictures(edited)[0].unlink()
    take_in(edited, tmp_path / "home")
    dataset = open_dataset(tool("pack", tmp_path / "home", images=edited, workers=0))
    kept = read_index(edited)
    assert dataset.ids == sorted(kept.filter(kept["status"] == KEPT)["id"]) and len(dataset) == 3


def test_detect_reads_an_adopted_folder(made: Path, tmp_path: Path) -> None:
    copy = copy_of(made, "scrape", tmp_path / "copy")
    pictures(copy)[0].unlink()
    take_in(copy, made)
    heads = tool("detect", tmp_path / "home", images=copy, conf=0.01)
    assert set(read_index(heads)["path"]) <= set(map(str, pictures(copy)))


def test_known_heads_go_on_with_the_photos_that_are_left(made: Path, tmp_path: Path) -> None:
    copy = copy_of(made, "scrape", tmp_path / "copy")
    pictures(copy)[0].unlink()
    take_in(copy, made)
    crops = tool("crop", tmp_path / "home", heads=copy, size=16, max_enlarge=9, max_outside=1, workers=0)
    assert counts(crops)["kept"] >= 3
