"""Artifacts of real stages, each damaged in one way: `verify` tells it, and leaves everything as it is."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from foxgan.dataset.index import INDEX, read_index
from foxgan.pipeline.care.verify import Checked, finished_folders, folders_of, verify
from foxgan.pipeline.folder import MANIFEST, read_manifest, write_json
from foxgan.pipeline.plan import plan
from foxgan.pipeline.run import run
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.context import Silent

PIPELINE = """
name: tiny
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96, workers: 0}
  crops: {use: crop, images: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.yaml").write_text(PIPELINE)
    run(folder / "tiny.yaml", workspace_folder=folder / "home")
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, for one test to damage."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "home"


def folder_of(home: Path, stage: str) -> Path:
    return next(home.glob(f"data/{stage}-*"))


def checked(home: Path) -> list[Checked]:
    store = Store(home)
    try:
        return list(verify(store, finished_folders(store.root), Silent()))
    finally:
        store.close()


def problems(home: Path, stage: str) -> list[str]:
    """The problems of one artifact; the others must have none."""
    found = {result.folder: result for result in checked(home) if result.problems}
    assert list(found) == [folder_of(home, stage)]
    return found[folder_of(home, stage)].problems


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("images/*/*"))


def state(home: Path) -> dict[str, tuple[bytes, int]]:
    paths = [p for p in home.rglob("*") if p.is_file() and not p.name.startswith(".ledger")]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in paths}


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_a_run_left_is_as_it_was_written_and_stays_so(home: Path) -> None:
    before = state(home)
    results = checked(home)
    assert [(r.step, r.problems) for r in results] == [("crops", []), ("dataset", []), ("photos", [])]
    assert state(home) == before


def test_only_the_current_outputs_of_a_pipeline_are_checked(home: Path) -> None:
    run(home.parent / "tiny.yaml", {"crops.size": 8}, workspace_folder=home)
    store = Store(home)
    pipeline = load_pipeline(home.parent / "tiny.yaml")
    folders = folders_of(plan(pipeline, store, pipeline.steps))
    store.close()
    assert len(folders) == 3 and len(finished_folders(home)) == 5


def test_a_changed_photo_is_told_with_what_to_do(home: Path) -> None:
    photo = pictures(folder_of(home, "scrape"))[0]
    overwrite(photo, photo.read_bytes() + b"x")
    [text] = problems(home, "scrape")
    assert text.endswith(f"hold something else than their id says: {photo}")
    [result] = [r for r in checked(home) if r.problems]
    assert result.advice == f"delete {result.folder} and run tiny again, or run it with --force photos"


def test_a_changed_crop_is_told(home: Path) -> None:
    first, second = pictures(folder_of(home, "crop"))[:2]
    overwrite(first, second.read_bytes())
    assert [t for t in problems(home, "crop") if str(first) in t and "than their id says" in t]


def test_a_crop_that_does_not_decode_is_told(home: Path) -> None:
    first = pictures(folder_of(home, "crop"))[0]
    overwrite(first, b"\x89PNG, but no more")
    assert [t for t in problems(home, "crop") if str(first) in t and "than their id says" in t]


def test_a_missing_file_and_one_too_many_are_told_together(home: Path) -> None:
    gone = pictures(folder_of(home, "scrape"))[0]
    gone.rename(gone.with_name("other.png"))
    found = problems(home, "scrape")
    assert [t for t in found if "are missing" in t and str(gone) in t]
    assert [t for t in found if "does not name" in t and "other.png" in t]


def test_many_files_are_counted(home: Path) -> None:
    for number in range(9):
        (folder_of(home, "crop") / "images" / f"{number}.txt").write_text("x")
    [text] = problems(home, "crop")
    assert text.endswith(" and 4 more")


def test_a_damaged_index_is_told(home: Path) -> None:
    overwrite(folder_of(home, "crop") / INDEX, b"PAR1 and then nothing")
    assert problems(home, "crop")


def test_an_index_with_other_rows_is_told(home: Path) -> None:
    index = folder_of(home, "crop") / INDEX
    shorter = read_index(index.parent)[:2].drop("path")
    index.unlink()
    shorter.write_parquet(index)
    found = problems(home, "crop")
    assert [t for t in found if "its content is not what was written" in t]
    assert [t for t in found if "its counts are not those of the manifest" in t]


def test_all_damaged_pictures_of_a_dataset_are_told(home: Path) -> None:
    path = folder_of(home, "pack") / "data.mdb"
    data = bytearray(path.read_bytes())
    magic = b"\x28\xb5\x2f\xfd"  # begins a zstd value
    places = [at for at in range(len(data)) if data.startswith(magic, at)]
    assert len(places) == 6  # LMDB writes values twice: as they come, and where they stay
    for at in (*places[:2], *places[3:5]):
        data[at + 20] ^= 0xFF
    overwrite(path, bytes(data))
    assert [t for t in problems(home, "pack") if "damaged pictures" in t and t.count(",") == 1]


def test_a_damaged_structure_of_a_dataset_is_told(home: Path) -> None:
    path = folder_of(home, "pack") / "data.mdb"
    overwrite(path, path.read_bytes()[:9000])
    assert problems(home, "pack")


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "x"}'])
def test_a_damaged_manifest_is_told_beside_all_other_problems(home: Path, content: str) -> None:
    overwrite(folder_of(home, "crop") / MANIFEST, content.encode())
    photo = pictures(folder_of(home, "scrape"))[0]
    overwrite(photo, b"x")
    found = {r.folder.name.split("-")[0]: r for r in checked(home) if r.problems}
    assert sorted(found) == ["crop", "scrape"]
    assert "delete the folder" in found["crop"].problems[0]


def test_a_ledger_that_says_something_else_is_told(home: Path) -> None:
    store = Store(home)
    manifest = read_manifest(folder_of(home, "crop")) or {}
    store.ledger.add({**manifest, "digest": "0" * 64}, units=0)
    store.close()
    [text] = problems(home, "crop")
    assert text.endswith("tells other digest than the manifest")


def test_a_deleted_ledger_is_no_problem(home: Path) -> None:
    for path in (home / "data").glob(".ledger*"):
        path.unlink()
    assert not any(r.problems for r in checked(home))


def test_a_renamed_manifest_is_told(home: Path) -> None:
    folder = folder_of(home, "crop")
    manifest = json.loads((folder / MANIFEST).read_text())
    write_json(folder / MANIFEST, manifest | {"key": "f" * 64})
    assert [t for t in problems(home, "crop") if "which is not the folder's name" in t]


def test_a_stage_that_this_foxgan_does_not_have_is_told(home: Path) -> None:
    folder = folder_of(home, "crop")
    other = folder.with_name(folder.name.replace("crop", "carve"))
    os.rename(folder, other)
    manifest = json.loads((other / MANIFEST).read_text())
    write_json(other / MANIFEST, manifest | {"stage": "carve", "key": "0" * 12 + manifest["key"][12:]})
    os.rename(other, other.with_name("carve-000000000000"))
    [text] = problems(home, "carve")
    assert "stage carve is not known to this foxgan" in text


def test_heads_whose_photos_are_gone_are_told(home: Path, tmp_path: Path) -> None:
    from foxgan.dataset.index import write_index

    photos, heads = folder_of(home, "scrape"), home / "data" / "detect-000000000000"
    heads.mkdir()
    rows: list[dict[str, Any]] = [{"id": str(n), "path": str(p)} for n, p in enumerate(pictures(photos))]
    write_index(heads, rows)
    manifest = {"stage": "detect", "key": "0" * 64, "lineage": "0" * 64, "seconds": {"total": 1}, "digest": "?"}
    write_json(heads / MANIFEST, manifest)
    pictures(photos)[0].unlink()
    found = {r.folder: r.problems for r in checked(home)}
    assert [t for t in found[heads] if "are missing" in t]


def test_weights_that_were_changed_are_told(home: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from foxgan.pipeline.digest import output_digest

    folder = home / "models" / "export-000000000000"
    folder.mkdir(parents=True)
    save_file({"a": torch.zeros(4)}, folder / "model.safetensors")
    facts = {"stage": "export", "key": "0" * 64, "lineage": "0" * 64, "seconds": {"total": 1}}
    write_json(folder / MANIFEST, facts | {"digest": output_digest(folder, ("model.safetensors",))})
    assert not any(r.problems for r in checked(home))
    save_file({"a": torch.ones(4)}, folder / "model.safetensors")
    [text] = [t for r in checked(home) for t in r.problems]
    assert "its content is not what was written" in text
