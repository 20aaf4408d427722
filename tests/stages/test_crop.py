"""From heads, or whole images, to crops: what is kept, what is dropped and why, and what a crop inherits."""

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import counts, index_digest, item_id, read_index, write_index
from foxgan.errors import StageError, UsageError
from foxgan.stages.base import Context
from foxgan.stages.crop import Crop


def write_photos(folder, pictures, **columns):
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, picture in enumerate(pictures):
        path = folder / "images" / f"{number}.png"
        images.write(path, picture)
        rows.append(
            {"id": item_id(path.read_bytes()), "path": str(path), "source": "test", "source_id": str(number), **columns}
        )
    write_index(folder, rows)
    return rows


def write_heads(folder, photos, boxes, **columns):
    folder.mkdir()
    rows = []
    for photo, box in zip(photos, boxes, strict=True):
        row = {"id": item_id(photo["id"], box), "parent": photo["id"], "box": box, **columns}
        rows.append({**{k: photo[k] for k in ("path", "source", "source_id")}, **row})
    write_index(folder, rows)
    return rows


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def run(stage, out):
    out.mkdir(exist_ok=True)
    stage.run(out, Context())
    return read_index(out, kept=False)


def test_every_head_becomes_a_crop_with_its_origin(tmp_path):
    photos = write_photos(tmp_path / "photos", [noise(90, 120)])
    heads = write_heads(
        tmp_path / "heads", photos * 2, [[10, 10, 50, 50], [60, 20, 100, 70]], license="CC0", group="fox 7", label=3
    )
    index = run(Crop(heads=tmp_path / "heads", size=32, workers=0), tmp_path / "crops")
    assert index["status"].to_list() == ["kept"] * 2
    assert set(index["parent"]) == {head["id"] for head in heads}
    for row in index.iter_rows(named=True):
        picture = images.decode(tmp_path / "crops" / row["path"], mode="any")
        assert picture.shape == (32, 32, 3) == (row["height"], row["width"], row["channels"])
        assert row["id"] == images.pixel_digest(picture) and row["path"].endswith(
            f"images/{row['id'][:2]}/{row['id']}.png"
        )
        assert (row["license"], row["group"], row["label"], row["source"]) == ("CC0", "fox 7", 3, "test")


def test_crop_shows_the_middle_of_its_box(tmp_path):
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[40:60, 60:80] = 255
    photos = write_photos(tmp_path / "photos", [photo])
    write_heads(tmp_path / "heads", photos, [[60, 40, 80, 60]])
    index = run(Crop(heads=tmp_path / "heads", size=20, margin=1, workers=0), tmp_path / "crops")
    assert np.array_equal(
        images.decode(tmp_path / "crops" / index["path"][0], mode="L")[..., 0] > 127, np.pad(np.ones((10, 10)), 5)
    )


@pytest.mark.parametrize(("level", "rows_apart"), [(True, 0), (False, 10)])
def test_eye_points_of_the_index_level_the_crop(tmp_path, level, rows_apart):
    photo = np.zeros((80, 80, 3), np.uint8)
    eyes = [(27, 33), (53, 43)]
    for channel, (x, y) in enumerate(eyes):
        photo[y - 2 : y + 2, x - 2 : x + 2, channel] = 255
    photos = write_photos(tmp_path / "photos", [photo])
    write_heads(tmp_path / "heads", photos, [[10, 10, 70, 70]], keypoints=[*eyes[0], *eyes[1], 40, 55])
    index = run(Crop(heads=tmp_path / "heads", size=60, margin=0, level=level, workers=0), tmp_path / "crops")
    crop = images.decode(tmp_path / "crops" / index["path"][0]).astype(float)
    rows = [np.average(np.arange(60), weights=crop[..., channel].sum(axis=1)) for channel in (0, 1)]
    assert rows[1] - rows[0] == pytest.approx(rows_apart, abs=0.3)


@pytest.mark.parametrize(
    ("box", "params", "status"),
    [
        ([10, 10, 30, 30], {"size": 64}, "too_small"),
        ([10, 10, 30, 30], {"size": 64, "max_enlarge": 3}, "kept"),
        ([60, 60, 79, 79], {"size": 16, "margin": 3}, "outside"),
        ([60, 60, 79, 79], {"size": 16, "margin": 3, "max_outside": 0.9}, "kept"),
        ([100, 10, 130, 30], {"size": 16}, "no_box"),
        (None, {"size": 16}, "no_box"),
    ],
)
def test_what_cannot_be_cropped_well_is_dropped_with_its_reason(tmp_path, box, params, status):
    photos = write_photos(tmp_path / "photos", [noise(80, 80), noise(320, 320)])
    heads = write_heads(tmp_path / "heads", photos, [box, [120, 120, 200, 200]])
    index = run(Crop(heads=tmp_path / "heads", workers=0, **{"margin": 0.3, **params}), tmp_path / "crops")
    assert dict(zip(index["parent"], index["status"], strict=True))[heads[0]["id"]] == status


def test_broken_and_missing_photos_are_dropped_and_stop_nothing(tmp_path):
    rows = write_photos(tmp_path / "photos", [noise(32, 32, seed=s) for s in range(3)])
    (tmp_path / "photos" / "images" / "0.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "photos" / "images" / "1.png").unlink()
    index = run(Crop(images=tmp_path / "photos", size=16, workers=0), tmp_path / "crops")
    status = dict(zip(index["parent"], index["status"], strict=True))
    assert [status[row["id"]] for row in rows] == ["broken", "missing", "kept"]


def test_no_crop_at_all_is_a_failure_that_says_why(tmp_path):
    write_photos(tmp_path / "photos", [noise(16, 16)])
    with pytest.raises(StageError, match=r"none of 1 .*too_small: 1.*max_enlarge"):
        run(Crop(images=tmp_path / "photos", size=64, workers=0), tmp_path / "crops")


@pytest.mark.parametrize("fit", ["centre", "pad", "stretch"])
def test_whole_images_come_to_any_size(tmp_path, fit):
    photo = np.zeros((60, 90, 3), np.uint8)
    photo[:, :30, 0], photo[:, 30:60, 1], photo[:, 60:, 2] = 200, 200, 200
    write_photos(tmp_path / "photos", [photo])
    index = run(Crop(images=tmp_path / "photos", size="30x30", fit=fit, workers=0), tmp_path / "crops")
    crop = images.decode(tmp_path / "crops" / index["path"][0])
    assert crop.shape == (30, 30, 3)
    green = {"centre": slice(8, 22), "pad": slice(11, 19), "stretch": slice(11, 19)}[fit]
    assert (crop[15, green] == (0, 200, 0)).all()
    assert (crop[15, 1] == (200, 0, 0)).all() and (crop[15, 28] == (0, 0, 200)).all()
    outside = fit == "pad"  # the blurred mirror image begins above row 5
    assert (crop[0, 15] == crop[15, 15]).all() or outside


def test_images_of_the_right_size_pass_unchanged_and_fast_enough_to_be_many(tmp_path):
    pictures = [noise(28, 28, 1, seed) for seed in range(50)]
    write_photos(tmp_path / "photos", pictures)
    index = run(Crop(images=tmp_path / "photos", size=28, channels="L", workers=0), tmp_path / "crops")
    assert set(index["id"]) == {images.pixel_digest(picture) for picture in pictures}


@pytest.mark.parametrize(("channels", "expected"), [("RGB", {3}), ("L", {1}), ("RGBA", {4}), ("any", {1, 3, 4})])
def test_channels_are_made_alike_unless_any_is_asked_for(tmp_path, channels, expected):
    write_photos(tmp_path / "photos", [noise(16, 16, c, seed=c) for c in (1, 3, 4)])
    index = run(Crop(images=tmp_path / "photos", size=16, channels=channels, workers=0), tmp_path / "crops")
    assert set(index["channels"]) == expected


def test_interrupted_cropping_goes_on_and_ends_the_same(tmp_path):
    write_photos(tmp_path / "photos", [noise(20, 20, seed=s) for s in range(40)])
    crop = Crop(images=tmp_path / "photos", size=16, workers=0)
    run(crop, tmp_path / "straight")
    out = tmp_path / "killed"
    run(crop, out)
    (out / "index.parquet").unlink()
    journal = (out / "items.jsonl").read_bytes()
    (out / "items.jsonl").write_bytes(journal[: len(journal) // 2])  # torn in the middle of a line
    times = {path: path.stat().st_mtime_ns for path in out.glob("images/*/*.png")}
    run(crop, out)
    assert index_digest(out) == index_digest(tmp_path / "straight")
    untouched = sum(path.stat().st_mtime_ns == time for path, time in times.items())
    assert 0 < untouched < 40


def test_workers_make_the_same_crops(tmp_path):
    write_photos(tmp_path / "photos", [noise(20, 20, seed=s) for s in range(70)])
    for workers in (0, 2):
        run(Crop(images=tmp_path / "photos", size=16, workers=workers), tmp_path / str(workers))
    assert index_digest(tmp_path / "0") == index_digest(tmp_path / "2")
    assert counts(tmp_path / "2") == {"in": 70, "kept": 70, "dropped": {}}


def test_either_heads_or_images_are_wanted(tmp_path):
    for params in ({}, {"heads": tmp_path, "images": tmp_path}):
        with pytest.raises(UsageError, match="either heads .* or images"):
            Crop(**params).check()
