"""Frames of films in groups: by the heads that go on in them, and by their views."""

import numpy as np
import pytest

from foxgan.vision.synthetic import draw_photo
from foxgan.vision.tracks import Frame, frame_of, glance, parted


def look(level: float, size: int = 192) -> np.ndarray:
    return np.full(size, level, np.float32)


def frame(second: float, view: float, *heads: tuple[float, float]) -> Frame:
    """A frame of one grey level with heads of (x, grey level)."""
    boxes = tuple((x, 0.4, x + 0.2, 0.6) for x, _ in heads)
    return Frame(second, look(view), boxes, tuple(look(level, 48) for _, level in heads))


def test_frames_of_one_view_are_one_group_with_or_without_heads() -> None:
    assert parted([frame(0, 100, (0.1, 90)), frame(1, 104), frame(9, 98, (0.7, 200))]) == [1, 1, 1]


def test_a_cut_to_another_animal_begins_another_group() -> None:
    assert parted([frame(0, 50, (0.4, 90)), frame(1, 51, (0.4, 90)), frame(2, 150, (0.4, 95))]) == [1, 1, 2]


def test_a_cut_back_finds_its_group_again() -> None:
    views = [50, 150, 51, 151, 250]
    assert parted([frame(i, view) for i, view in enumerate(views)]) == [1, 2, 1, 2, 3]


def test_a_head_is_followed_while_the_camera_pans() -> None:
    frames = [frame(i, 50 + 20 * i, (0.1 + 0.1 * i, 90)) for i in range(6)]
    assert parted(frames) == [1] * 6
    without = [frame(i, 50 + 20 * i) for i in range(6)]
    assert parted(without) == [1, 2, 3, 4, 5, 6]


def test_a_head_is_expected_where_its_speed_takes_it() -> None:
    steps = [0.0, 0.12, 0.24, 0.48, 0.6]  # one frame is missing: without its speed it would be too far away
    seconds = [0, 1, 2, 4, 5]
    frames = [frame(s, 20 + 20 * i, (x, 90)) for i, (s, x) in enumerate(zip(seconds, steps, strict=True))]
    assert parted(frames) == [1] * 5


def test_a_head_that_looks_different_is_another_one() -> None:
    assert parted([frame(0, 50, (0.4, 20)), frame(1, 70, (0.4, 200))]) == [1, 2]


def test_a_head_is_not_waited_for_longer_than_some_seconds() -> None:
    assert parted([frame(0, 50, (0.4, 90)), frame(2, 70, (0.4, 90))]) == [1, 1]
    assert parted([frame(0, 50, (0.4, 90)), frame(9, 70, (0.4, 90))]) == [1, 2]


def test_two_animals_in_one_frame_are_one_group_with_all_frames_of_both() -> None:
    frames = [frame(0, 50, (0.1, 20)), frame(1, 70, (0.1, 20), (0.7, 200)), frame(2, 90, (0.7, 200))]
    assert parted(frames) == [1, 1, 1]


def test_no_frames_are_no_groups() -> None:
    assert parted([]) == []


@pytest.mark.parametrize("boxes", [[], [(3, 4, 20, 30), (0, 0, 1, 1), (39, 29, 40.5, 30)]])
def test_what_a_frame_looks_like_survives_as_text(boxes: list[tuple[float, ...]]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    found = frame_of(2.5, glance(picture, boxes), [(0, 0, 1, 1)] * len(boxes))
    assert (found.second, found.look.shape, len(found.head_looks)) == (2.5, (192,), len(boxes))
    assert abs(found.look.mean() - picture.mean()) < 3


def test_drawn_places_are_told_apart_and_a_noisy_copy_is_not() -> None:
    photos = [draw_photo(3, i, "fox", 160).image for i in range(8)]
    rng = np.random.default_rng(0)
    noisy = [np.clip(p + rng.normal(0, 8, p.shape), 0, 255).astype(np.uint8) for p in photos]
    frames = [frame_of(i, glance(p, []), []) for i, p in enumerate([*photos, *noisy])]
    assert parted(frames) == [*range(1, 9), *range(1, 9)]
