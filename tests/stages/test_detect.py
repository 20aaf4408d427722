"""Stage `detect`: from photos to an index of heads."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from foxgan import images
from foxgan.dataset.index import index_digest, item_id, read_index, write_index
from foxgan.errors import DataError, StageError, UsageError
from foxgan.images import Pixels
from foxgan.stages.base import Context
from foxgan.stages.crop import Crop
from foxgan.stages.detect import Detect
from foxgan.vision.backends import choose_backend
from foxgan.vision.contained import ultralytics
from foxgan.vision.yolo import Net, build, save_detector

SIDE = 64
TINY = {
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[2], 1, "Detect", ["nc"]]],
}


def blocks(seed: int) -> Pixels:
    return images.resize(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8), 64, 128)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not trained: without biases before its head, it sees something in coloured blocks and nothing in a black picture."""
    folder = tmp_path_factory.mktemp("net")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = build(TINY | {"nc": 2}).eval()
        head = model.model[-1]
        torch.nn.init.normal_(head.cv3[0][-1].weight, std=1000.0)  # untrained layers shrink the signal
        head.cv3[0][-1].bias.fill_(-2.0)
        head.cv2[0][-1].bias.copy_(-2.0 * (torch.arange(16.0) - 1).abs().repeat(4))  # about a stride to each side
    model.names = {0: "fox", 1: "wolf"}
    save_detector(folder / "detector.safetensors", Net(model, ("fox", "wolf"), SIDE))
    return folder


def photo(folder: Path, name: str, seed: int | None) -> dict[str, object]:
    (folder / "images").mkdir(exist_ok=True)
    images.write(folder / "images" / name, np.zeros((64, 128, 3), np.uint8) if seed is None else blocks(seed))
    return {
        "id": item_id(name),
        "path": f"images/{name}",
        "width": 128,
        "height": 64,
        "group": f"group of {name}",
        "split": "train",
        "label": 3,
        "source": "folder",
        "source_id": name,
        "license": "CC0-1.0",
        "keypoints": [1.0, 2.0],
        "class": "truth",
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = [photo(folder, f"{n}.png", n) for n in range(3)]
    rows.append(photo(folder, "black.png", None))
    rows.append({"id": item_id("broken"), "path": "images/broken.png", "source": "folder"})
    (folder / "images" / "broken.png").write_bytes(b"\x89PNG but no more")
    rows.append({"id": item_id("gone"), "path": "images/gone.png", "source": "folder"})
    rows.append({"id": item_id("dropped"), "path": "images/0.png", "status": "too_small"})
    write_index(folder, rows)
    return folder


def detect(photos: Path, out: Path, weights: Path, **params: object) -> tuple[pl.DataFrame, Context]:
    out.mkdir(exist_ok=True)
    ctx = Context()
    Detect(images=(photos,), model=str(weights), device="cpu", **params).run(out, ctx)  # type: ignore[arg-type]
    return read_index(out, kept=False), ctx


def test_there_is_one_row_per_head_with_the_origin_of_its_photo(tmp_path: Path, photos: Path, weights: Path) -> None:
    frame, ctx = detect(photos, tmp_path / "out", weights)
    heads = frame.filter(pl.col("status") == "kept")
    assert heads["parent"].n_unique() == 3
    assert len(heads) > 3
    for row in heads.iter_rows(named=True):
        name = row["source_id"]
        assert row["parent"] == item_id(name)
        assert row["id"] == item_id(row["parent"], row["box"], None)
        assert Path(row["path"]) == photos / "images" / name
        assert (row["width"], row["height"], row["group"], row["split"]) == (128, 64, f"group of {name}", "train")
        assert (row["label"], row["license"], row["keypoints"]) == (3, "CC0-1.0", None)
        assert row["class"] in ("fox", "wolf")
        assert 0.25 < row["score"] <= 1
        x0, y0, x1, y1 = row["box"]
        assert 0 <= x0 < x1 <= 128
        assert 0 <= y0 < y1 <= 64
    machine = {"device": "cpu", "backend": choose_backend("auto", "cpu", "")[0], "threads": torch.get_num_threads()}
    assert ctx.facts == machine | {"photos": 6, "heads": len(heads), "heads_per_photo": round(len(heads) / 6, 3)}


def test_photos_without_a_head_are_kept_in_the_index_with_the_reason(
    tmp_path: Path, photos: Path, weights: Path
) -> None:
    frame, _ = detect(photos, tmp_path / "out", weights)
    dropped = {row["parent"]: row for row in frame.filter(pl.col("status") != "kept").iter_rows(named=True)}
    assert {parent: row["status"] for parent, row in dropped.items()} == {
        item_id("black.png"): "no_head",
        item_id("broken"): "broken",
        item_id("gone"): "missing",
    }
    assert all(row["id"] == item_id(parent, None) for parent, row in dropped.items())


def test_points_of_a_pose_network_are_part_of_a_head(tmp_path: Path, photos: Path) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        layers = [[[2], 1, "Pose", ["nc", "kpt_shape"]]]
        model = ultralytics("nn.tasks").PoseModel(
            {**TINY, "head": layers, "nc": 1, "kpt_shape": [3, 3]}, ch=3, verbose=False
        )
        head = model.eval().model[-1]
        torch.nn.init.normal_(head.cv3[0][-1].weight, std=1000.0)
        head.cv3[0][-1].bias.fill_(-2.0)
        head.cv2[0][-1].bias.copy_(-2.0 * (torch.arange(16.0) - 1).abs().repeat(4))
        head.cv4[0][-1].weight.zero_()
        head.cv4[0][-1].bias.copy_(torch.tensor([0.1, 0.2, 9.0, 0.3, 0.2, -9.0, 0.2, 0.4, 9.0]))
    model.names = {0: "fox"}
    save_detector(tmp_path / "pose.safetensors", Net(model, ("fox",), SIDE))
    frame, _ = detect(photos, tmp_path / "out", tmp_path / "pose.safetensors")
    heads = frame.filter(pl.col("status") == "kept")
    assert len(heads) > 3
    for row in heads.iter_rows(named=True):
        assert len(row["keypoints"]) == 6
        assert [v is None for v in row["keypoints"]] == [False, False, True, True, False, False]
        assert row["id"] == item_id(row["parent"], row["box"], row["keypoints"])
    again, _ = detect(photos, tmp_path / "out", tmp_path / "pose.safetensors")
    assert again.equals(frame), "from its journal"
    (tmp_path / "crops").mkdir()
    Crop(heads=(tmp_path / "out",), size=16, max_enlarge=9, max_outside=1).run(tmp_path / "crops", Context())
    assert len(read_index(tmp_path / "crops")) > 3


def film(folder: Path, name: str, frames: list[Pixels]) -> list[dict[str, object]]:
    """Rows of frames as the source `video` gives them, one a second."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for second, picture in enumerate(frames):
        path = f"images/{name}-{second}.png"
        images.write(folder / path, picture)
        row = {"id": item_id(name, second), "path": path, "source": "video", "source_id": f"{name}#{second}"}
        rows.append(row | {"group": name, "license": "CC0-1.0"})
    return rows


def groups(frame: pl.DataFrame) -> dict[str, set[str]]:
    """The source ids of each group."""
    return {group: set(rows["source_id"]) for (group,), rows in frame.group_by("group")}


def test_scenes_of_a_film_are_groups_of_their_own_and_a_film_of_one_scene_stays_one(
    tmp_path: Path, weights: Path
) -> None:
    noise = np.random.default_rng(0)

    def shot(seed: int) -> Pixels:
        moved = blocks(seed).astype(int) + noise.integers(-5, 6, (64, 128, 1))
        return moved.clip(0, 255).astype(np.uint8)

    black = np.zeros((64, 128, 3), np.uint8)  # without heads
    rows = film(tmp_path / "films", "two", [shot(1), shot(1), black, shot(2), shot(2), shot(1)])
    rows += film(tmp_path / "films", "one", [shot(3), shot(3)])
    rows += [{**photo(tmp_path / "films", "4.png", 4), "group": "a photo"}]
    write_index(tmp_path / "films", rows)
    for place in ("out", "out", "other"):  # from nothing, from its journal, in other portions
        found, _ = detect(tmp_path / "films", tmp_path / place, weights, batch=64 if place == "out" else 3)
        assert groups(found) == {
            "two#1": {"two#0", "two#1", "two#5"},
            "two#2": {"two#2"},
            "two#3": {"two#3", "two#4"},
            "one": {"one#0", "one#1"},
            "a photo": {"4.png"},
        }
    assert index_digest(tmp_path / "out") == index_digest(tmp_path / "other")


def test_yaml_may_write_off_for_tiles_and_nonsense_is_refused() -> None:
    assert Detect(images=("a",), tiles=False).tiles == "off"  # type: ignore[arg-type]
    assert Detect(images=("a",), tiles=3).tiles == 3
    for value in (1, 17, "on", True):
        with pytest.raises(ValidationError):
            Detect(images=("a",), tiles=value)  # type: ignore[arg-type]


def test_a_class_that_does_not_exist_is_told_before_any_photo_is_read(
    tmp_path: Path, photos: Path, weights: Path
) -> None:
    with pytest.raises(UsageError, match="knows no class 'cat', only fox, wolf"):
        detect(photos, tmp_path / "out", weights, classes=["fox", "cat"])


def test_an_interrupted_run_ends_like_an_undisturbed_one_whatever_the_batch(
    tmp_path: Path, photos: Path, weights: Path
) -> None:
    detect(photos, tmp_path / "whole", weights)
    digest = index_digest(tmp_path / "whole")
    journal = (tmp_path / "whole" / "items.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "items.jsonl").write_bytes(b"".join(journal[:2]) + journal[2][:20])
    detect(photos, tmp_path / "cut", weights, batch=2)
    assert index_digest(tmp_path / "cut") == digest
    assert (tmp_path / "cut" / "items.jsonl").read_bytes() == b"".join(journal)


def test_processes_find_the_same_as_this_one(tmp_path: Path, photos: Path, weights: Path) -> None:
    detect(photos, tmp_path / "a", weights)
    detect(photos, tmp_path / "b", weights, workers=1, batch=3)
    assert index_digest(tmp_path / "a") == index_digest(tmp_path / "b")


def test_small_heads_are_dropped_as_too_small_and_the_best_are_kept(
    tmp_path: Path, photos: Path, weights: Path
) -> None:
    every, _ = detect(photos, tmp_path / "every", weights)
    sides = every["box"].drop_nulls().map_elements(lambda b: min(b[2] - b[0], b[3] - b[1]), pl.Float64)
    limit = int(sides.max())  # type: ignore[arg-type]  (those at the border are cut and smaller)
    some, _ = detect(photos, tmp_path / "some", weights, min_head=limit)
    assert some.filter(pl.col("status") == "too_small").height == (sides < limit).sum() > 0
    best, _ = detect(photos, tmp_path / "best", weights, max_heads=1)
    tops = every.filter(pl.col("status") == "kept").group_by("parent").agg(pl.col("score").max()).sort("parent")
    assert best.filter(pl.col("status") == "kept").select("parent", "score").sort("parent").equals(tops)


def test_no_head_anywhere_fails_with_advice(tmp_path: Path, photos: Path, weights: Path) -> None:
    with pytest.raises(StageError, match=r"no head in any of 6 photos .*no_head.* lower conf \(now 1.0\)"):
        detect(photos, tmp_path / "out", weights, conf=1.0)
    assert set(read_index(tmp_path / "out", kept=False)["status"]) == {"no_head", "broken", "missing"}, (
        "to be looked at"
    )


def test_an_input_without_photos_fails_with_a_message(tmp_path: Path, weights: Path) -> None:
    write_index(tmp_path, [{"id": "a", "status": "broken"}])
    with pytest.raises(StageError, match="no photo to look at"):
        detect(tmp_path, tmp_path / "out", weights)


def test_weights_that_are_none_fail_before_any_photo_is_read(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match=r"x\.safetensors"):
        detect(photos, tmp_path / "out", tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="no such-detector|such-detector: no detector is called so"):
        detect(photos, tmp_path / "out", Path("such-detector"))
