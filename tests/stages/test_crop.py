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


@pytest.mark.parametrize(("align", "rows_apart"), [("level", 0), ("eyes", 0), ("box", 10)])
def test_eye_points_of_the_index_level_the_crop(tmp_path, align, rows_apart):
    photo = np.zeros((80, 80, 3), np.uint8)
    eyes = [(27, 33), (53, 43)]
    for channel, (x, y) in enumerate(eyes):
        photo[y - 2 : y + 2, x - 2 : x + 2, channel] = 255
    photos = write_photos(tmp_path / "photos", [photo])
    write_heads(tmp_path / "heads", photos, [[10, 10, 70, 70]], keypoints=[*eyes[0], *eyes[1], 40, 55])
    index = run(Crop(heads=tmp_path / "heads", size=60, margin=0, align=align, workers=0), tmp_path / "crops")
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


FACE = [120, 140, 180, 140, 150, 190]  # left eye, right eye, nose of a head in the box below
BOX = [90, 80, 210, 220]


def turned_face(degrees, about=(150, 150)):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    offsets = np.array(FACE, float).reshape(3, 2) - about
    return [float(v) for v in (offsets @ np.array([[c, s], [-s, c]]) + about).ravel()]


def crop_of(tmp_path, keypoints, box=BOX, **params):
    """The index row of one head's crop, and its pixels (None if it was dropped)."""
    photos = write_photos(tmp_path / "photos", [noise(300, 300), noise(300, 300, seed=1)])
    heads = write_heads(tmp_path / "heads", photos, [box, [100, 100, 200, 200]])
    rows = [head | {"keypoints": points} for head, points in zip(heads, (keypoints, None), strict=True)]
    write_index(tmp_path / "heads", rows)
    params = {"size": 48, "margin": 0.2, "workers": 0, **params}
    index = run(Crop(heads=tmp_path / "heads", **params), tmp_path / "crops")
    [row] = [r for r in index.iter_rows(named=True) if r["parent"] == heads[0]["id"]]
    picture = images.decode(tmp_path / "crops" / row["path"], mode="any") if row["status"] == "kept" else None
    return row, picture


@pytest.mark.parametrize(
    ("keypoints", "params", "status", "roll"),
    [
        (turned_face(20), {}, "kept", 20),
        (turned_face(60), {}, "tilted", None),
        (turned_face(60), {"max_roll": 70}, "kept", 60),
        (turned_face(60), {"align": "box"}, "kept", 0),
        (turned_face(180), {"align": "eyes"}, "tilted", None),
        ([*FACE[2:4], *FACE[:2], *FACE[4:]], {"align": "eyes"}, "kept", 0),  # crossed
        (None, {"align": "eyes", "profiles": "drop"}, "kept", 0),  # without points it is not a profile
        ([150, 140, 152, 140, 190, 170], {"align": "eyes"}, "kept", 0),
        ([150, 140, 152, 140, 190, 170], {"align": "eyes", "profiles": "drop"}, "profile", None),
        ([None, None, 152, 140, 190, 170], {"profiles": "drop"}, "profile", None),
        ([120, 140, 0.9, 180, 160, 0.1, 150, 190, 0.9], {}, "kept", 0),  # one eye is doubtful
        ([120, 140, 0.9, 180, 160, 0.1, 150, 190, 0.9], {"min_confidence": 0.1}, "kept", 18.43),
    ],
)
def test_heads_are_turned_by_their_eyes_or_fall_back_or_are_dropped_with_the_reason(
    tmp_path, keypoints, params, status, roll
):
    row, _ = crop_of(tmp_path, keypoints, **params)
    assert row["status"] == status
    assert row["roll"] == (roll if roll is None else pytest.approx(roll, abs=0.01))


def test_index_says_where_eyes_and_nose_lie_in_the_crop(tmp_path):
    row, _ = crop_of(tmp_path, turned_face(20), align="eyes", eye_y=0.4, eye_distance=0.3)
    x0, y0, x1, y1, nose_x, nose_y = row["keypoints"]
    assert ((x0 + x1) / 2, y0, y1) == pytest.approx((24, 0.4 * 48, 0.4 * 48), abs=0.3)
    assert (x1 - x0, nose_x, nose_y - y0) == pytest.approx((0.3 * 48, 24, 0.25 * 48), abs=0.3)


@pytest.mark.parametrize(
    ("side", "nose_x", "mirrored"),
    [("right", 140, True), ("right", 160, False), ("left", 160, True), ("left", 140, False)],
)
def test_heads_are_mirrored_so_that_all_look_to_one_side(tmp_path, side, nose_x, mirrored):
    keypoints = [*FACE[:4], nose_x, 190]
    row, picture = crop_of(tmp_path / "one", keypoints, mirror=side)
    plain, original = crop_of(tmp_path / "other", keypoints)
    assert row["mirrored"] is mirrored and plain["mirrored"] is None
    assert np.array_equal(picture, original[:, ::-1] if mirrored else original)
    left, nose, right = row["keypoints"][0], row["keypoints"][4], row["keypoints"][2]
    assert left < right and (nose > 24) == (side == "right")


def test_head_whose_nose_is_not_known_is_not_mirrored(tmp_path):
    row, _ = crop_of(tmp_path, FACE[:4], mirror="left")
    assert row["status"] == "kept" and row["mirrored"] is False


def test_crop_of_a_jpeg_is_the_same_whether_its_bytes_were_examined_before(tmp_path):
    from foxgan.vision.synthetic import draw_photo

    photo = draw_photo(0, 5, size=900)
    rows = []
    for folder, known in (("examined", True), ("changed", False)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "photo.jpg"
        images.write(path, photo.image, 88)
        photo_id = item_id(path.read_bytes() if known else "another")
        heads = [
            {"id": item_id(b), "parent": photo_id, "path": str(path), "box": b}
            for b in ([200, 200, 600, 600], [50, 60, 500, 300])
        ]
        write_index(tmp_path / folder, heads)
        index = run(Crop(heads=tmp_path / folder, size=64, workers=0), tmp_path / f"{folder}-crops")
        rows.append(sorted(index["id"]))
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_photos_with_hundreds_of_heads_and_photos_of_one_pixel(tmp_path):
    photos = write_photos(tmp_path / "photos", [noise(200, 200), noise(1, 1)])
    boxes = [[x, y, x + 20, y + 20] for x in range(0, 180, 9) for y in range(0, 175, 7)]
    assert len(boxes) == 500
    heads = write_heads(tmp_path / "heads", [photos[0]] * 500 + [photos[1]] * 2, [*boxes, [0, 0, 1, 1], [-4, -4, 5, 5]])
    index = run(Crop(heads=tmp_path / "heads", size=16, workers=0), tmp_path / "crops")
    status = dict(zip(index["parent"], index["status"], strict=True))
    assert [status[head["id"]] for head in heads[-2:]] == ["too_small"] * 2
    assert sum(s == "kept" for s in status.values()) == 500


def test_box_with_a_roll_of_its_own_may_reach_over_the_edge(tmp_path):
    photos = write_photos(tmp_path / "photos", [noise(100, 100)])
    [head] = write_heads(tmp_path / "heads", photos, [[-10, 20, 50, 80]], roll=90.0)
    index = run(Crop(heads=tmp_path / "heads", size=60, margin=0, max_roll=90, workers=0), tmp_path / "crops")
    crop = images.decode(tmp_path / "crops" / index["path"][0]).astype(int)
    photo = images.decode(tmp_path / "photos" / "images" / "0.png").astype(int)
    expected = np.rot90(
        photo[20:80, 0:50], 1
    )  # the head leans to the right, so the crop is the photo turned to the left
    assert np.abs(crop[:50] - expected).max() <= 1
