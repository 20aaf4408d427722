"""A labelling session without a browser: photos of artifacts and folders, saving, suggestions."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.errors import DataError, LockedError, UsageError
from foxgan.pages.label import Labelling
from foxgan.pages.label_photos import photos_of
from foxgan.pages.label_suggest import proposed
from foxgan.vision.detector import Head
from foxgan.vision.synthetic import draw_photo

Open = Callable[..., Labelling]


def write(path: Path, height: int = 60, width: int = 90, grey: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.full((height, width, 3), grey, np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "far/c.png"):
        write(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def opened() -> Iterator[Open]:
    sessions: list[Labelling] = []

    def made(*args: Any, **more: Any) -> Labelling:
        sessions.append(Labelling(*args, **more))
        return sessions[-1]

    yield made
    for session in sessions:
        session.close()


def state(photo: int, *boxes: list[float], labelled: bool = True, points: Any = ()) -> dict[str, Any]:
    return {"photo": photo, "labelled": labelled, "marks": [{"class": 0, "box": b, "points": points} for b in boxes]}


# Which photos


def test_a_plain_folder_is_labelled_beside_it_with_names_of_its_own(folder: Path, opened: Open) -> None:
    session = opened(folder)
    assert [p.name for p in session.photos] == ["a", "b", "far/c"]
    assert session.labels.folder == folder.with_name("photos-labelled") and session.labels.names.classes == ("head",)


def test_photos_that_differ_in_their_ending_only_do_not_share_labels(folder: Path) -> None:
    write(folder / "a.jpg")
    assert [p.name for p in photos_of(folder).photos] == ["b", "far/c", "a-jpg", "a-png"]


def test_a_folder_in_yolo_format_is_labelled_where_it_is(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "set" / "images" / "train" / "a.png")
    write(tmp_path / "set" / "images" / "train" / "b.png")
    (tmp_path / "set" / "data.yaml").write_text("names: [fox]")
    (tmp_path / "set" / "labels" / "train").mkdir(parents=True)
    (tmp_path / "set" / "labels" / "train" / "b.txt").write_text("0 .5 .5 .2 .5\n")
    session = opened(tmp_path / "set")
    assert session.labels.folder == tmp_path / "set" and session.done == {1}
    assert session.photo(0)["marks"] == [{"class": 0, "box": [36, 15, 54, 45], "points": []}]
    session.save(state(0, [0, 0, 9, 6]))
    assert (tmp_path / "set" / "labels" / "train" / "a.txt").read_text() == "0 0.050000 0.050000 0.100000 0.100000\n"


def test_photos_of_an_artifact_are_called_by_their_ids_and_groups_stay_on_one_side(tmp_path: Path) -> None:
    rows = [{"id": f"p{i}", "path": f"{i}.png", "group": f"g{i // 10}"} for i in range(200)]
    rows += [{"id": "bad", "path": "bad.png", "status": "broken"}, {"id": "lost", "path": "lost.png"}]
    for i in range(200):
        (tmp_path / f"{i}.png").touch()
    write_index(tmp_path, rows)
    photos = photos_of(tmp_path).photos
    assert len(photos) == 200
    sides = {(photo.group, photo.name.partition("/")[0]) for photo in photos}
    assert len(sides) == 20 and {side for _, side in sides} == {"train", "val"}
    write_index(tmp_path, [{"id": "p1", "path": "1.png"}, {"id": "p2", "path": "2.png"}])
    assert [photo.name for photo in photos_of(tmp_path).photos] == ["p1", "p2"]


def test_known_heads_and_those_that_detect_has_found_are_proposed(tmp_path: Path, opened: Open) -> None:
    photos, heads = tmp_path / "photos", tmp_path / "heads"
    path = write(photos / "images" / "a.png")
    write_index(photos, [{"id": "a", "path": "images/a.png"}])
    write_index(photos, [{"id": "h", "parent": "a", "box": [1, 2, 30, 40], "class": "wolf"}], "truth.parquet")
    session = opened(photos, tmp_path / "l1")
    assert session.labels.names.classes == ("wolf",)
    assert session.photo(0)["hints"] == [{"class": 0, "box": [1, 2, 30, 40], "score": 1.0, "points": []}]
    heads.mkdir()
    empty = write(photos / "images" / "b.png")
    found = {"parent": "a", "path": str(path), "box": [3, 3, 9, 9], "score": 0.5, "class": "fox"}
    write_index(heads, [{"id": "x", **found}, {"id": "y", **found, "box": [4, 4, 8, 8]},
                        {"id": "z", "parent": "b", "path": str(empty), "status": "no_head"}])  # fmt: skip
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "heads").symlink_to(heads)  # as for people in data/<pipeline>/
    session = opened(tmp_path / "links" / "heads", tmp_path / "l2")
    assert [photo.name for photo in session.photos] == ["a", "b"]
    assert len(session.photo(0)["hints"]) == 2 and session.photo(1)["hints"] == []


@pytest.mark.parametrize("place", ["nowhere", "a.png", "empty"])
def test_a_place_without_photos_is_refused(folder: Path, place: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match=place):
        Labelling(folder / place)


def test_known_points_are_proposed_with_their_head_if_there_are_as_many(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "photos" / "a.png")
    write_index(tmp_path / "photos", [{"id": "a", "path": "a.png"}])
    head = {"id": "h", "parent": "a", "box": [1, 2, 30, 40], "class": "fox", "keypoints": [5, 6, None, None, 7, 8]}
    write_index(tmp_path / "photos", [head], "truth.parquet")
    (hint,) = opened(tmp_path / "photos", tmp_path / "three", None, ["left_eye", "right_eye", "nose"]).photo(0)["hints"]
    assert hint["points"] == [[5, 6, 2], [0, 0, 0], [7, 8, 2]]
    (hint,) = opened(tmp_path / "photos", tmp_path / "one", None, ["nose"]).photo(0)["hints"]
    assert hint["points"] == [[0, 0, 0]]


def test_labels_of_an_artifact_go_to_the_current_folder(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "photos" / "a.png")
    write_index(tmp_path / "data" / "photos", [{"id": "a", "path": "a.png"}])
    monkeypatch.chdir(tmp_path)
    opened(Path("data/photos"))
    assert (tmp_path / "photos-labelled" / "data.yaml").is_file()


# Saving


def test_every_change_is_on_the_disk_and_another_session_goes_on(folder: Path, opened: Open) -> None:
    session = opened(folder, None, ["fox"], ["nose"])
    assert session.save(state(1, [10, 10, 40, 50], points=[[20, 30, 2]]))["done"] == 1
    assert session.save(state(2))["done"] == 2  # no heads
    with pytest.raises(LockedError):
        Labelling(folder)
    session.close()
    again = opened(folder)
    assert (again.done, again.queue.order, again.queue.start(again.done)) == ({1, 2}, [1, 2, 0], 2)
    assert again.photo(0)["marks"] == [{"class": 0, "box": [10, 10, 40, 50], "points": [[20, 30, 2]]}]
    assert again.photo(1)["labelled"] is True and again.photo(1)["marks"] == []
    assert again.save(state(1, labelled=False))["done"] == 1 and again.photo(0)["labelled"] is False


def test_a_session_that_was_killed_before_a_photo_was_brought_in_brings_it_in_later(folder: Path, opened: Open) -> None:
    session = opened(folder)
    session.save(state(2))
    photo = folder.with_name("photos-labelled") / "images" / "far" / "c.png"
    photo.unlink()
    session.close()
    opened(folder)
    assert photo.is_file()


def test_boxes_are_clipped_to_the_photo_and_points_outside_are_not_there(folder: Path, opened: Open) -> None:
    session = opened(folder, None, None, ["nose", "tip"])
    session.save(state(0, [50, -10, -5, 30], points=[[95, 10, 2], [5, 5, 1]]))
    (mark,) = session.photo(0)["marks"]
    assert mark == {"class": 0, "box": [0, 0, 50, 30], "points": [[0, 0, 0], [5, 5, 1]]}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (None, "not what the page sends"),
        ({"photo": 0}, "not what the page sends"),
        (state(9), "no photo has the number 9"),
        (state(True), "no photo has the number True"),
        (state(0, [1, 2, 3]), "not what the page sends"),
        (state(0, [0, 0, float("nan"), 9]), "4 numbers"),
        (state(0, [200, 200, 300, 300]), "outside of the photo"),
        (state(0, [5, 5, 5.5, 50]), "too small"),
        (state(0, [0, 0, 9, 9], labelled=False), "none where a photo is not labelled"),
        (state(0, *[[0, 0, 9, 9]] * 1001), "at most 1000"),
        (state(0, [0, 0, 9, 9], points=[[1, 1, 2]]), "as many points"),
        ({**state(0), "marks": [{"class": 3, "box": [0, 0, 9, 9], "points": []}]}, "no class has the number 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(folder: Path, opened: Open, bad: Any, why: str) -> None:
    session = opened(folder)
    session.save(state(0, [10, 10, 40, 50]))
    with pytest.raises(UsageError, match=why):
        session.save(json.loads(json.dumps(bad)))
    assert len(session.photo(0)["marks"]) == 1 and session.done == {0}


def test_a_photo_with_500_heads_comes_back_whole(folder: Path, opened: Open) -> None:
    session = opened(folder, None, None, ["a", "b", "c"])
    boxes = [[float(i % 50), i / 10, i % 50 + 5.0, i / 10 + 5] for i in range(500)]
    session.save(state(0, *boxes, points=[[1, 1, 2]] * 3))
    assert len(session.photo(0)["marks"]) == 500


# Pictures


def test_pictures_are_upright_and_small_and_boxes_are_in_pixels_of_the_upright_photo(
    tmp_path: Path, opened: Open
) -> None:
    photo = Image.new("RGB", (6000, 4000), (200, 0, 0))
    photo.paste((0, 0, 200), (0, 0, 3000, 4000))  # the left half; upright it is the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "p").mkdir()
    photo.save(tmp_path / "p" / "big.jpg", exif=exif)
    session = opened(tmp_path / "p")
    answer = session.photo(0)
    assert (answer["width"], answer["height"]) == (4000, 6000)
    pixels = images.decode(session.picture(0, 1600))
    assert pixels.shape == (1600, 1067, 3) and pixels[100, 500, 2] > 150 and pixels[1500, 500, 0] > 150
    session.save(state(0, [1000, 0, 3000, 3000]))
    assert session.labels.file("big").read_text() == "0 0.500000 0.250000 0.500000 0.500000\n"


def test_a_photo_of_one_pixel_and_one_that_is_none(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "p" / "one.png", 1, 1)
    (tmp_path / "p" / "text.jpg").write_text("no photo")
    session = opened(tmp_path / "p")
    assert images.decode(session.picture(0, 1600)).shape == (1, 1, 3)
    session.save(state(0, [0, 0, 1, 1]))
    assert session.photo(0)["marks"][0]["box"] == [0, 0, 1, 1]
    assert "not a picture" in session.photo(1)["unreadable"]
    with pytest.raises(DataError, match="not a picture"):
        session.picture(1, 1600)
    for number, side in ((0, 20_000), (7, 1600)):
        with pytest.raises(UsageError, match="no such picture"):
            session.picture(number, side)


# Suggestions


def test_a_detector_proposes_heads_and_its_doubts_decide_what_comes_next(tmp_path: Path, opened: Open) -> None:
    for number in range(5):
        path = tmp_path / "p" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        images.write(path, draw_photo(3, number, "fox", 320).image)
    (tmp_path / "p" / "5.jpg").write_text("no photo")
    session = opened(tmp_path / "p", None, None, None, "fox-heads")
    session.save(state(3, [0, 0, 9, 9]))
    assert session.queue.at(0) == (0, 0)
    assert session.suggester is not None
    assert session.photo(0)["waiting"] is True
    session.suggester.run()
    assert session.progress()["looked_at"] == 5 and session.messages == []  # one is labelled
    assert session.progress()["busy"] is False
    heads = [hint for n in range(5) for hint in session._hints(n, session.photos[n])["hints"]]
    assert len(heads) >= 3 and all(h["score"] >= 0.2 for h in heads)
    assert session.queue.order[0] == 0 and session.queue.order[-1] == 5
    doubts = session.queue.doubts
    assert doubts[session.queue.order[1]] == max(doubts[n] for n in (1, 2, 4, 5))


def test_trouble_with_the_detector_is_told_and_ends_nothing_else(folder: Path, opened: Open) -> None:
    session = opened(folder, None, None, None, "fox-heads")
    assert session.suggester is not None
    session.suggester.detector.detect = lambda photos: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    session.suggester.start()
    session.suggester.join(30)
    assert session.progress()["messages"] == ["no more suggestions: division by zero"]
    assert session.save(state(0))["done"] == 1


def test_a_model_that_does_not_exist_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(UsageError, match="fox-hads: no detector is called so"):
        Labelling(folder, model="fox-hads")
    assert not folder.with_name("photos-labelled").exists()


def test_of_several_proposals_over_one_head_the_best_is_shown() -> None:
    heads = [Head((0, 0, 10, 10), 0.5, "a"), Head((0, 0, 10, 9), 0.8, "b"), Head((50, 0, 60, 9), 0.1, "a")]
    assert [head.score for head in proposed(heads)] == [0.8]
