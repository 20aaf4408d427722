"""The pipelines without a label drawn by hand: a teacher's findings teach a student, and prompts take the place of a trained detector."""

import json
from pathlib import Path

import pytest

from foxgan.dataset.index import TRUTH, read_index
from foxgan.pipeline.run import Selection, run
from foxgan.pipeline.spec import load_pipeline
from foxgan.vision import known
from foxgan.vision.embeddings import save_vectors
from foxgan.vision.yolo import load_net
from tests.vision.open_nets import open_net, save, vector

TINY = {"photos.limit": 24, "student.size": 64, "student.epochs": 1, "student.threads": 1, "student.batch": 8}


def test_distil_goes_from_photos_to_what_the_student_found(tmp_path: Path) -> None:
    overrides = TINY | {"found.conf": 0.001}
    first = run("distil", overrides, selection=Selection(until="like_teacher"), workspace_folder=tmp_path)
    second = run("distil", overrides, selection=Selection(until="like_truth"), workspace_folder=tmp_path)
    assert set(first.made) == {"photos", "teacher", "labels", "student", "found", "like_teacher"}
    assert second.made == ["like_truth"]
    photos, labelled = second.folder("photos"), second.folder("labels")
    labels, truth = read_index(labelled, name=TRUTH), read_index(photos, name=TRUTH)
    assert 0.5 * len(truth) < len(labels) <= len(truth)  # the teacher is sure of most heads
    assert load_net(second.folder("student") / "detector.safetensors").names == tuple(set(labels["class"]))
    for folder in (first.folder("like_teacher"), second.folder("like_truth")):
        facts = json.loads((folder / "metrics.json").read_text())
        assert facts["photos"] == (read_index(labelled)["split"] == "val").sum() > 0
        assert 0 <= facts["map50"] <= 1


def test_a_prompt_is_part_of_the_key_and_what_a_text_says_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path / "public"))
    (tmp_path / "public").mkdir()
    save(tmp_path / "public" / "yoloe-11s-seg.pt", open_net("yoloe-seg"))
    save_vectors(tmp_path / "texts.safetensors", {"fox head": vector(1), "head of a fox": vector(2)})
    text = """
name: prompted
steps:
  photos: {use: scrape, source: synthetic, limit: 4, photo_size: 96}
  heads: {use: detect, images: photos, model: yoloe-11s-seg.pt, encoder: texts.safetensors, conf: 0.01, prompts: [%s]}
"""
    folders = []
    for prompts in ("fox head", "fox=fox head", "fox=fox head, fox=head of a fox", "fox head"):
        (tmp_path / "prompted.yaml").write_text(text % prompts)
        report = run(tmp_path / "prompted.yaml", workspace_folder=tmp_path)
        folders.append(report.folder("heads"))
        classes = set(read_index(folders[-1])["class"])
        assert classes == {prompts.partition("=")[0]}
    assert folders[0] == folders[3]
    assert len(set(folders)) == 3


def test_foxes_needs_no_detector_of_the_users_own() -> None:
    heads = load_pipeline("foxes").step("heads").stage
    assert heads.model in known.PUBLIC  # type: ignore[attr-defined]
    assert heads.prompts == ["fox head"]  # type: ignore[attr-defined]
    own = load_pipeline("foxes", {"heads.model": "fox-heads", "heads.prompts": None}).step("heads").stage
    assert (own.prompts, own.encoder) == (None, None)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_student_learns_what_its_teacher_knows(tmp_path: Path) -> None:
    overrides = {"photos.limit": 300, "student.size": 160, "student.epochs": 20}
    report = run("distil", overrides, workspace_folder=tmp_path)
    for step in ("like_teacher", "like_truth"):
        assert json.loads((report.folder(step) / "metrics.json").read_text())["map50"] > 0.8, step
