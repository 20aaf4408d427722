"""Heads that lean, lie aside or differ in size are brought into one position, from eyes or boxes; and what is in the way of it."""

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import counts, index_digest, item_id, read_index, write_index
from foxgan.errors import StageError
from foxgan.stages.align import Align, Looker
from foxgan.stages.base import Context
from foxgan.stages.crop import Crop
from foxgan.stages.scrape import Scrape


def run(stage, out, ctx=None):
    out.mkdir(exist_ok=True)
    stage.run(out, ctx or Context())
    return read_index(out, kept=False)


def write_heads(folder, photo, boxes, **columns):
    """Heads in one photo, a file beside them."""
    folder.mkdir(parents=True)
    images.write(folder / "photo.png", photo)
    parent = item_id((folder / "photo.png").read_bytes())
    rows = [
        {"id": item_id(parent, n), "parent": parent, "path": str(folder / "photo.png"), "box": box, **columns}
        for n, box in enumerate(boxes)
    ]
    write_index(folder, rows)
    return rows


@pytest.fixture(scope="module")
def foxes(tmp_path_factory):
    """Photos of drawn foxes, whose heads are known."""
    folder = tmp_path_factory.mktemp("foxes")
    run(Scrape(source="synthetic", limit=60, photo_size=192, seed=4, workers=0), folder)
    return folder


def errors(crops, size):
    """How far eyes lie from their mean place, in shares of the side, and by how much the eyes' line is tilted, in degrees; means."""
    points = np.array(crops["keypoints"].to_list()).reshape(-1, 3, 2)
    eyes = points[:, :2] / size
    aside = np.hypot(*(eyes - eyes.mean(axis=0)).transpose(2, 0, 1)).mean()
    across = eyes[:, 1] - eyes[:, 0]
    return aside, np.abs(np.degrees(np.arctan2(across[:, 1], across[:, 0]))).mean()


@pytest.fixture(scope="module")
def unaligned(foxes, tmp_path_factory):
    return errors(
        run(
            Crop(heads=foxes, align="box", max_outside=1, max_enlarge=9, size=64, workers=0),
            tmp_path_factory.mktemp("c"),
        ),
        64,
    )


def test_heads_are_aligned_from_their_boxes_alone(foxes, unaligned, tmp_path):
    heads = run(Align(heads=foxes, start="box", workers=0), tmp_path / "heads")
    assert set(heads["status"]) == {"kept"} and heads["roll"].abs().max() <= 30
    crops = run(Crop(heads=tmp_path / "heads", max_outside=1, max_enlarge=9, size=64, workers=0), tmp_path / "crops")
    aside, tilt = errors(crops, 64)
    assert unaligned[1] > 6 and tilt < 0.65 * unaligned[1]
    assert aside < unaligned[0]
    assert (tmp_path / "heads" / "sheets" / "means.jpg").is_file()


def test_doubtful_eye_points_are_made_better(foxes, tmp_path):
    rng = np.random.default_rng(0)

    def doubtful(row):
        x0, y0, x1, y1 = row["box"]
        sigma = 0.015 * max(x1 - x0, y1 - y0)
        return {"keypoints": [v + rng.normal(0, sigma) for v in row["keypoints"]]}

    rows = [row | doubtful(row) | {"path": str(path)} for row, path in with_paths(foxes)]
    true = {row["id"]: row["keypoints"] for row, _ in with_paths(foxes)}
    (tmp_path / "noisy").mkdir()
    write_index(tmp_path / "noisy", rows)
    run(Align(heads=tmp_path / "noisy", workers=0), tmp_path / "heads")
    before = tilts(read_index(tmp_path / "noisy"), true)
    aligned = read_index(tmp_path / "heads")
    after = tilts(
        aligned,
        dict(zip(aligned["id"], [true_of(row, rows, true) for row in aligned.iter_rows(named=True)], strict=True)),
    )
    assert after < 0.8 * before


def with_paths(foxes):
    paths = dict(read_index(foxes).select("id", "path").iter_rows())
    truth = read_index(foxes, name="truth.parquet")
    names = ("id", "parent", "box", "keypoints", "class")
    return [({n: row[n] for n in names}, paths[row["parent"]]) for row in truth.iter_rows(named=True)]


def true_of(row, rows, true):
    """The true points of the head that has these (noisy) ones."""
    [found] = [
        r for r in rows if r["parent"] == row["parent"] and np.allclose(r["keypoints"], row["keypoints"], atol=0.01)
    ]
    return true[found["id"]]


def tilts(heads, true):
    """By how much the true eyes are not level after turning by the roll, or by the eye points, of `heads`; the mean, in degrees."""
    found = []
    for row in heads.iter_rows(named=True):
        x0, y0, x1, y1 = true[row["id"]][:4]
        seen = row["keypoints"]
        roll = row["roll"] if row["roll"] is not None else np.degrees(np.arctan2(seen[3] - seen[1], seen[2] - seen[0]))
        found.append(abs(np.degrees(np.arctan2(y1 - y0, x1 - x0)) - roll))
    return np.mean(found)


def test_few_heads_stay_as_they_are_and_that_is_told(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    write_heads(tmp_path / "in", photo, [[10, 20, 50, 70], [60, 10, 100, 60]], score=0.5)
    ctx = Context()
    told = []
    ctx.warn = told.append
    index = run(Align(heads=tmp_path / "in", workers=0), tmp_path / "out", ctx)
    assert told and "2 heads are too few" in told[0]
    assert sorted(index["box"].to_list()) == [[5, 20, 55, 70], [55, 10, 105, 60]]  # square, around the same middle
    assert index["roll"].to_list() == [0, 0] and index["score"].to_list() == [0.5, 0.5]


def test_heads_that_cannot_be_looked_at_are_dropped_with_their_reason(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    write_heads(
        tmp_path / "good", photo, [[10, 20, 50, 70], [200, 10, 300, 60], [5, 5, 5.5, 6], [float("nan"), 0, 9, 9]]
    )
    write_heads(tmp_path / "pixel", photo[:1, :1], [[0, 0, 1, 1]])
    write_heads(tmp_path / "gone", photo[1:], [[10, 20, 50, 70]])
    (tmp_path / "gone" / "photo.png").unlink()
    write_heads(tmp_path / "torn", photo[2:], [[10, 20, 50, 70]])
    (tmp_path / "torn" / "photo.png").write_bytes(b"\x89PNG torn")
    run(Align(heads=[tmp_path / n for n in ("good", "pixel", "gone", "torn")], workers=0), tmp_path / "out")
    assert counts(tmp_path / "out") == {"in": 7, "kept": 2, "dropped": {"broken": 1, "missing": 1, "no_box": 3}}
    with pytest.raises(StageError, match=r"none of 1 heads can be looked at \(missing\)"):
        run(Align(heads=tmp_path / "gone", workers=0), tmp_path / "none")


def test_keypoints_that_are_missing_crossed_or_upside_down_are_no_hindrance(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    boxes = [[x, y, x + 50, y + 50] for x in (5, 55, 105, 145) for y in (5, 55, 105, 145)]
    kinds = [
        None,
        [20, 30, 40, 30, 30, 45],
        [40, 30, 20, 30, 30, 45],
        [None, None, 40, 30, 30, 45],
        [20, 30, 40, 30, 30, 5],
        [1, 2],
    ]
    rows = write_heads(tmp_path / "in", photo, boxes)
    rows = [row | {"keypoints": kinds[n % 6]} for n, row in enumerate(rows)]
    write_index(tmp_path / "in", rows)
    index = run(Align(heads=tmp_path / "in", workers=0), tmp_path / "out")
    assert set(index["status"]) == {"kept"} and len(index) == 16 and index["roll"].is_finite().all()


def test_photo_with_hundreds_of_heads_is_looked_at_once_for_all(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    rows = write_heads(
        tmp_path / "in", photo, [[x, y, x + 20, y + 20] for x in range(0, 180, 9) for y in range(0, 175, 7)]
    )
    look = Looker()
    [[first]] = look(rows[:1])
    (tmp_path / "in" / "photo.png").unlink()  # what was decoded is still there
    found = [first, *(row for [row] in look(rows[1:]))]
    assert len(found) == 500 and all("features" in row for row in found)


def test_the_same_heads_are_aligned_in_the_same_way_again(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    write_heads(tmp_path / "in", photo, [[x, y, x + 60, y + 60] for x in range(0, 130, 30) for y in range(0, 130, 30)])
    for name in ("one", "two"):
        run(Align(heads=tmp_path / "in", workers=0), tmp_path / name)
    assert index_digest(tmp_path / "one") == index_digest(tmp_path / "two")
