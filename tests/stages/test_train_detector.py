"""Stage `train-detector`: real, tiny trainings on drawn photos."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.errors import DataError, StageError, UsageError
from foxgan.report.works import plots
from foxgan.stages.base import Context, Row
from foxgan.stages.train_detector import TrainDetector, split, usual_epochs
from foxgan.vision import detector_loop, detector_state, detector_training
from foxgan.vision.detector import Detector
from foxgan.vision.known import find_detector
from foxgan.vision.synthetic import draw_photo
from foxgan.vision.yolo import Net, build, describe, load_net, save_detector


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn photos of foxes and wolves, two of them to score on."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    rows, truth = [], []
    for number in range(8):
        species = "fox" if number % 2 else "wolf"
        drawn = draw_photo(5, number, species, 96, background="snow")
        images.write(folder / "images" / f"{number}.jpg", drawn.image)
        part = "val" if number >= 6 else "train"
        rows.append({"id": f"photo{number}", "path": f"images/{number}.jpg", "split": part})
        truth += [
            {
                "id": f"{number}-{i}",
                "parent": f"photo{number}",
                "box": list(map(float, a.box)),
                "keypoints": [float(v) for point in (a.left_eye, a.right_eye, a.nose) for v in point],
                "class": species,
                "split": part,
            }
            for i, a in enumerate(drawn.animals)
        ]
    write_index(folder, rows)
    write_index(folder, truth, "truth.parquet")
    return folder


class Heard:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.total, self.done, self.notes = 0.0, 0.0, [""]

    def start(self, description: str, total: float) -> None:
        self.total = total

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.notes.append(note)

    def finish(self) -> None:
        pass

    def message(self, level: str, text: str) -> None:
        pass


def train(photos: Path, out: Path, progress: Heard | None = None, **params: object) -> Context:
    out.mkdir(exist_ok=True)
    ctx = Context(progress=progress or Heard())
    settings = {"model": "yolo11p", "size": 64, "epochs": 2, "batch": 4, "device": "cpu", "threads": 1} | params
    TrainDetector(images=(photos,), **settings).run(out, ctx)  # type: ignore[arg-type]
    return ctx


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Context]:
    out = tmp_path_factory.mktemp("models") / "detector"
    return out, train(photos, out)


def test_training_leaves_a_detector_that_runs_and_its_score(trained: tuple[Path, Context]) -> None:
    out, ctx = trained
    net = load_net(out / "detector.safetensors")
    assert (net.names, net.imgsz) == (("fox", "wolf"), 64)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics | {"device": "cpu", "threads": 1, "model": "yolo11p", "epochs": 2} == ctx.facts
    assert (metrics["train_photos"], metrics["val_photos"]) == (6, 2)
    assert 0 <= metrics["map50_95"] <= metrics["map50"] <= 1
    assert len(Detector(out, conf=0.0, device="cpu").detect([draw_photo(1, 1, "fox", 96).image])[0]) > 0


def test_nothing_but_results_stays_behind(trained: tuple[Path, Context]) -> None:
    assert sorted(p.name for p in trained[0].iterdir()) == [
        "detector.safetensors",
        "epochs.csv",
        "metrics.json",
        "preview.jpg",
        "worst_misses.jpg",
    ]


def test_progress_counts_epochs_and_tells_the_score(trained: tuple[Path, Context]) -> None:
    progress = trained[1].progress
    assert isinstance(progress, Heard)
    assert progress.total == 2
    assert progress.done == pytest.approx(2)
    assert sum("mAP50" in note for note in progress.notes) == 2


def test_the_same_seed_gives_the_same_weights_also_after_an_interruption(
    photos: Path, trained: tuple[Path, Context], tmp_path: Path
) -> None:
    (tmp_path / "training" / "images" / "train").mkdir(parents=True)
    (tmp_path / "training" / "images" / "train" / "000099.jpg").write_bytes(b"half a photo")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    train(photos, tmp_path)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    first = load_net(trained[0] / "detector.safetensors").model.state_dict()
    again = load_net(tmp_path / "detector.safetensors").model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.are_deterministic_algorithms_enabled()


class Killed(Exception):
    """Stands for what ends a process."""


class Deadly(Heard):
    """Progress that ends the training in the middle of an epoch."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        super().advance(amount, note)
        if self.done > 1.2:
            raise Killed


@pytest.mark.parametrize("in_memory", [1 << 30, 0])
def test_an_interrupted_training_goes_on_from_its_last_epoch_and_ends_with_the_same_weights(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(detector_state, "SECONDS", 0.0)
    monkeypatch.setattr(detector_loop, "IN_MEMORY", in_memory)
    train(photos, tmp_path / "whole", epochs=4, batch=2)
    with pytest.raises(Killed):
        train(photos, tmp_path / "cut", Deadly(), epochs=4, batch=2)
    ctx = train(photos, tmp_path / "cut", epochs=4, batch=2)
    assert isinstance(ctx.progress, Heard) and ctx.progress.done == pytest.approx(4)
    assert sum("mAP50" in note for note in ctx.progress.notes) == 3  # the first epoch was not trained again
    whole, cut = (load_net(tmp_path / name / "detector.safetensors").model.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    logs = [pl.read_csv(tmp_path / name / "epochs.csv").drop("time") for name in ("whole", "cut")]
    assert logs[0].equals(logs[1]) and len(logs[0]) == 4


def test_a_training_that_was_killed_after_its_last_epoch_is_not_trained_again(
    photos: Path, trained: tuple[Path, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(TrainDetector, "_show", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(photos, tmp_path)
    ctx = train(photos, tmp_path)
    assert isinstance(ctx.progress, Heard) and not any(ctx.progress.notes)
    first, again = (load_net(p / "detector.safetensors").model.state_dict() for p in (trained[0], tmp_path))
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("damage", ["{", '{"format": 99}', "[]"])
def test_a_state_that_cannot_be_read_is_not_used(tmp_path: Path, damage: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text(damage)
    assert detector_state.load_state(tmp_path) is None


# Points


@pytest.fixture(scope="module")
def posed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Context]:
    out = tmp_path_factory.mktemp("models") / "pose"
    return out, train(photos, out, model="yolo11p-pose")


def test_a_pose_network_learns_boxes_and_points(posed: tuple[Path, Context]) -> None:
    net = load_net(posed[0] / "detector.safetensors")
    assert net.model.yaml["head"][-1][2] == "Pose" and net.model.yaml["kpt_shape"] == [3, 3]
    assert {"map50", "pose_map50", "pose_map50_95"} <= net.metrics.keys() == posed[1].facts.keys() & net.metrics.keys()
    output = net.model(torch.zeros(1, 3, 64, 64))
    assert (output[0] if isinstance(output, tuple) else output).shape[1] == 4 + 2 + 3 * 3
    log = pl.read_csv(posed[0] / "epochs.csv")
    assert {"train/pose_loss", "metrics/mAP50(P)"} <= set(log.columns) and (log["train/pose_loss"] > 0).all()


def test_an_interrupted_training_of_points_ends_with_the_same_weights(
    photos: Path, posed: tuple[Path, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_state, "SECONDS", 0.0)
    with pytest.raises(Killed):
        train(photos, tmp_path, Deadly(), model="yolo11p-pose")
    train(photos, tmp_path, model="yolo11p-pose")
    whole, cut = (load_net(p / "detector.safetensors").model.state_dict() for p in (posed[0], tmp_path))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_mirror_swaps_the_eyes_and_points_that_are_not_there_are_said_to_be_absent(
    photos: Path, tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    class Looking(Heard):
        def advance(self, amount: float = 1, note: str = "") -> None:
            labels = sorted((tmp_path / "out" / "training" / "labels" / "train").glob("*.txt"))
            seen.update({path.name: path.read_text() for path in labels})
            raise Killed

    frame = pl.read_parquet(photos / "truth.parquet")
    partly = [
        {**row, "keypoints": [*row["keypoints"][:4], None, None] if i else None}
        for i, row in enumerate(frame.to_dicts())
    ]
    images_of(photos, tmp_path / "partly")
    write_index(tmp_path / "partly", partly, "truth.parquet")
    with pytest.raises(Killed):
        train(tmp_path / "partly", tmp_path / "out", Looking(), model="yolo11p-pose")
    lines = [line.split() for text in seen.values() for line in str(text).splitlines()]
    assert {len(line) for line in lines} == {5 + 9}
    assert sorted({tuple(line[7::3]) for line in lines}) == [("0", "0", "0"), ("2", "2", "0")]
    task = detector_training.Task(("fox",), 3)
    training = detector_loop.training_class(True)(
        tmp_path / "else", task, detector_training.Recipe("yolo11p-pose"), None
    )
    assert training.data["flip_idx"] == [1, 0, 2]


@pytest.mark.parametrize(
    ("keypoints", "why"), [(None, "the labelled heads have no points"), ([1.0, 2.0], "have 1 and 3 points")]
)
def test_points_that_are_missing_or_not_of_one_number_are_told(
    photos: Path, tmp_path: Path, keypoints: list[float] | None, why: str
) -> None:
    rows = pl.read_parquet(photos / "truth.parquet").to_dicts()
    images_of(photos, tmp_path / "in")
    odd = [
        {**row, "keypoints": keypoints if keypoints is None or i == 0 else row["keypoints"]}
        for i, row in enumerate(rows)
    ]
    write_index(tmp_path / "in", odd, "truth.parquet")
    with pytest.raises(StageError, match=f"yolo11p-pose learns points, but .*{why}"):
        train(tmp_path / "in", tmp_path / "out", model="yolo11p-pose")


def test_weights_for_other_points_are_refused(photos: Path, posed: tuple[Path, Context], tmp_path: Path) -> None:
    rows = [{**row, "keypoints": row["keypoints"][:4]} for row in pl.read_parquet(photos / "truth.parquet").to_dicts()]
    images_of(photos, tmp_path / "in")
    write_index(tmp_path / "in", rows, "truth.parquet")
    with pytest.raises(StageError, match=r"knows points of shape \[3, 3\], the labelled heads have \[2, 3\]"):
        train(tmp_path / "in", tmp_path / "out", model=str(posed[0]))


def images_of(photos: Path, folder: Path) -> None:
    """Another artifact of the same photos, without their truth."""
    folder.mkdir()
    write_index(
        folder, [{**r, "path": str(photos / r["path"])} for r in pl.read_parquet(photos / "index.parquet").to_dicts()]
    )


# Given weights


def test_weights_of_another_task_are_refused(photos: Path, tmp_path: Path) -> None:
    described = {**describe("yolo11p", 1)}
    described["head"] = [*described["head"][:-1], [described["head"][-1][0], 1, "Segment", ["nc", 32, 64]]]
    save_detector(tmp_path / "masks.safetensors", Net(build(described).eval(), ("fox",), 64))
    with pytest.raises(DataError, match=r"masks\.safetensors: weights of another task, they end in Segment"):
        train(photos, tmp_path / "out", model=str(tmp_path / "masks.safetensors"))
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="ONNX files cannot be trained"):
        train(photos, tmp_path / "out", model=str(tmp_path / "net.onnx"))


def test_given_weights_are_gone_on_from_and_keep_what_they_know_of_a_class(
    photos: Path, trained: tuple[Path, Context], tmp_path: Path
) -> None:
    truth = pl.read_parquet(photos / "truth.parquet").filter(pl.col("class") == "wolf")
    (tmp_path / "wolves").mkdir()
    frame = pl.read_parquet(photos / "index.parquet")
    write_index(tmp_path / "wolves", [{**r, "path": str(photos / r["path"])} for r in frame.to_dicts()])
    write_index(tmp_path / "wolves", truth.to_dicts(), "truth.parquet")
    train(tmp_path / "wolves", tmp_path / "out", model=str(trained[0]), epochs=1)
    base, tuned = (load_net(p / "detector.safetensors") for p in (trained[0], tmp_path / "out"))
    assert tuned.names == ("wolf",)
    bias = [n.model.model[-1].cv3[0][-1].bias for n in (base, tuned)]
    assert (bias[0][1] - bias[1][0]).abs() < 0.05  # one gentle epoch away from where it started
    name = "model.0.conv.weight"
    assert (base.model.state_dict()[name] - tuned.model.state_dict()[name]).abs().max() < 0.05


def test_photos_without_labels_fail_and_say_how_to_give_them(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write_index(tmp_path / "plain", [{"id": "a", "path": "a.jpg"}])
    with pytest.raises(StageError, match=r"no labelled heads .*YOLO format"):
        train(tmp_path / "plain", tmp_path / "out")


def test_an_unknown_model_fails_before_training_and_names_the_networks(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"yolo99: no detector is called so.*from scratch: yolo11p, yolo11n"):
        train(photos, tmp_path, model="yolo99")
    assert list(tmp_path.iterdir()) == []


def test_labels_without_a_head_fail_with_a_message(photos: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(photos / "index.parquet")
    write_index(tmp_path, [{**r, "path": str(photos / r["path"])} for r in frame.to_dicts()])
    write_index(tmp_path, [{"id": "x", "parent": "photo0"}], "truth.parquet")
    with pytest.raises(StageError, match="no training photo has a labelled head"):
        train(tmp_path, tmp_path / "out")


# What is left to us


def test_few_photos_begin_from_what_knows_heads_and_get_more_epochs() -> None:
    stage = TrainDetector(images=(Path("x"),), device="cpu")  # type: ignore[arg-type]
    few, many = stage._recipe(20), stage._recipe(5000)
    assert (few.model, few.epochs, few.patience) == ("fox-heads", 150, 50)
    assert (many.model, many.epochs, many.patience) == ("yolo11p", 40, 30)
    assert [usual_epochs(n, 16) for n in (0, 200, 600, 1000)] == [150, 150, 64, 40]
    assert TrainDetector.find_weights("auto") is None and TrainDetector.find_weights("yolo11n-pose") is None


def test_the_default_starts_from_shipped_weights(photos: Path, tmp_path: Path) -> None:
    ctx = train(photos, tmp_path, model="auto", epochs=1)
    assert ctx.facts["model"] == "fox-heads"
    base, tuned = load_net(find_detector("fox-heads")), load_net(tmp_path / "detector.safetensors")
    name = "model.0.conv.weight"
    assert (base.model.state_dict()[name] - tuned.model.state_dict()[name]).abs().max() < 0.05


def test_the_worst_mistakes_are_counted_and_shown(trained: tuple[Path, Context]) -> None:
    facts = trained[1].facts
    assert facts["val_missed"] + facts["val_misplaced"] > 0  # after two epochs
    assert images.decode(trained[0] / "worst_misses.jpg").shape[1] >= 240
    sheet = plots(trained[0])  # in the report of a pipeline
    assert sheet is not None and [shot.caption for shot in sheet.shots] == ["preview", "worst misses"]


# Odd input


def test_tiny_photos_a_photo_with_500_heads_and_heads_outside_of_their_photo_do_no_harm(
    photos: Path, tmp_path: Path
) -> None:
    rows = [{**r, "path": str(photos / r["path"])} for r in pl.read_parquet(photos / "index.parquet").to_dicts()]
    images.write(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8))
    images.write(tmp_path / "line.png", np.zeros((2, 400, 3), np.uint8))
    odd = [{"id": f"odd{i}", "path": f"{name}.png", "split": part} for i, (name, part) in
           enumerate([("one", "train"), ("line", "train"), ("one", "val")])]  # fmt: skip
    truth = pl.read_parquet(photos / "truth.parquet").to_dicts()
    truth += [{"id": f"many{i}", "parent": "photo0", "box": [i % 25 * 3, i // 25 * 3, i % 25 * 3 + 4, i // 25 * 3 + 4], "class": "fox"}
              for i in range(500)]  # fmt: skip
    outside = {"odd0": [0, 0, 1, 1], "photo1": [500, 500, 600, 600], "photo2": [-50, -50, 0, 0]}
    truth += [{"id": f"at {parent}", "parent": parent, "box": box, "class": "fox"} for parent, box in outside.items()]
    write_index(tmp_path, [*rows, *odd])
    write_index(tmp_path, truth, "truth.parquet")
    ctx = train(tmp_path, tmp_path / "out", epochs=1)
    assert (ctx.facts["train_photos"], ctx.facts["val_photos"]) == (8, 3)


def test_photos_that_are_all_too_small_are_told(photos: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8))
    write_index(tmp_path, [{"id": f"{part}", "path": "one.png", "split": part} for part in ("train", "val")])
    write_index(tmp_path, [{"id": "h", "parent": "train", "box": [0, 0, 1, 1], "class": "fox"}], "truth.parquet")
    with pytest.raises(StageError, match="none of the 1 photos for train is readable, with 10 pixels or more"):
        train(tmp_path, tmp_path / "out")


# The split


def rows(count: int, **same: object) -> list[Row]:
    return [{"id": f"p{i}", "group": None, "split": None, **same} for i in range(count)]


def ids(part: list[Row]) -> set[str]:
    return {row["id"] for row in part}


def test_a_given_split_is_kept_and_test_photos_are_left_out() -> None:
    photos = rows(6)
    for row, name in zip(photos, ("train", "val", "test", "train", "val", None), strict=True):
        row["split"] = name
    train_part, val_part = split(photos, 0.5)
    assert ids(train_part) == {"p0", "p3", "p5"}
    assert ids(val_part) == {"p1", "p4"}


def test_without_a_split_photos_are_drawn_by_hash_and_more_photos_move_none() -> None:
    train_part, val_part = split(rows(200), 0.2)
    assert 20 <= len(val_part) <= 60
    more_train, more_val = split(rows(400), 0.2)
    assert ids(train_part) < ids(more_train)
    assert ids(val_part) < ids(more_val)


def test_photos_of_one_group_stay_together() -> None:
    photos = [{**row, "group": f"g{i // 5}"} for i, row in enumerate(rows(100))]
    train_part, val_part = split(photos, 0.3)
    assert {r["group"] for r in train_part}.isdisjoint({r["group"] for r in val_part})
    assert train_part
    assert val_part


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_either_side_of_a_split_has_a_photo(share: float) -> None:
    train_part, val_part = split(rows(3), share)
    assert len(train_part) + len(val_part) == 3
    assert train_part
    assert val_part


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(StageError, match="needs two"):
        split(rows(5, group="same"), 0.2)
