"""What eyes and nose tell of a head, whatever is missing, crossed or doubtful; and where the window comes to lie by them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.vision.align import eyes_window, face_of, keypoints_in_crop, looks_right, points_of
from foxgan.vision.crop import Window, into_crop

NAN = math.nan
UPRIGHT = [40, 50, 60, 50, 50, 65]


def face(keypoints, side=60.0):
    return face_of(points_of(keypoints), side)


def turned(points, degrees, about=(50, 50)):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pairs = [(x - about[0], y - about[1]) for x, y in zip(points[::2], points[1::2], strict=True)]
    return [v for x, y in pairs for v in (about[0] + c * x - s * y, about[1] + s * x + c * y)]


@pytest.mark.parametrize(
    ("keypoints", "points"),
    [
        (None, [None, None, None]),
        ([], [None, None, None]),
        ([1, 2], [(1, 2), None, None]),
        ([1, 2, 3, 4], [(1, 2), (3, 4), None]),
        ([1, 2, 3], [(1, 2), None, None]),
        ([1, 2, NAN, 4, 5, math.inf], [(1, 2), None, None]),
        ([1, 2, None, None, 5, 6], [(1, 2), None, (5, 6)]),
        ([1, 2, 0.9, 3, 4, 0.2, 5, 6, NAN], [(1, 2), None, None]),
        ([1, 2, 0.9, 3, 4, 0.5, 5, 6, 1.0], [(1, 2), (3, 4), (5, 6)]),
    ],
)
def test_points_that_are_missing_no_numbers_or_doubtful_are_none(keypoints, points):
    assert points_of(keypoints, min_confidence=0.5) == points


@pytest.mark.parametrize("degrees", [-170.0, -90.0, -30.0, 0.0, 12.0, 95.0])
@pytest.mark.parametrize("nose_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("crossed", [False, True])
def test_roll_follows_the_head_all_around_whichever_eye_is_called_left(degrees, nose_weight, crossed):
    points = turned(UPRIGHT, degrees)
    if crossed:
        points = [*points[2:4], *points[:2], *points[4:]]
    assert face(points).roll(nose_weight) == pytest.approx(degrees)


def test_head_without_a_nose_is_more_upright_than_upside_down():
    assert (
        face([10, 10, 30, 20]).roll()
        == pytest.approx(face([30, 20, 10, 10]).roll())
        == pytest.approx(26.565, abs=0.001)
    )
    assert face([30, 20, 10, 10, None, None]).roll(1.0) == pytest.approx(26.565, abs=0.001)


def test_profile_has_no_face():
    assert face([10, 10, 12, 13, 30, 20]) is None  # eyes too close
    assert face([10, 10, 10, 10, 10, 10]) is None  # all points in one
    assert face([NAN, 10, 30, 20, 20, 40]) is None  # one eye hidden
    assert face(None) is None


def test_a_nose_that_points_aside_turns_the_head_as_far_as_its_weight_says():
    aside = face([40, 50, 60, 50, 60, 60])  # 45 degrees beside straight down
    assert aside.roll(0) == 0
    assert aside.roll(1) == pytest.approx(-45)
    assert -45 < aside.roll(0.5) < 0
    assert face([40, 50, 60, 50, 50, 50]).roll(0.5) == 0  # a nose between the eyes tells nothing


@given(
    st.floats(-60, 60), st.floats(0.2, 0.8), st.sampled_from([0.2, 0.4, None]), st.sampled_from([0.1, 0.3, None]),
    st.floats(200, 400), st.floats(200, 400),
)  # fmt: skip
def test_eyes_come_to_lie_where_they_are_asked_for(roll, eye_y, eye_distance, nose_distance, x, y):
    points = turned([x - 50, y, x + 50, y, x + 8, y + 60], roll, (x, y))
    size = (100, 80)
    window = eyes_window(face(points, 250), size, eye_y, roll, 3.0, eye_distance, nose_distance)
    left, right, nose = into_crop(window, size, points_of(points))
    slack = 2.5 / 3  # edges of windows lie between pixels; of large ones, at even ones
    assert (left[0] + right[0]) / 2 == pytest.approx(40, abs=slack)
    assert left[1] == pytest.approx(100 * eye_y, abs=slack) and right[1] == pytest.approx(100 * eye_y, abs=slack)
    apart, below = (right[0] - left[0]) / 80, (nose[1] - left[1]) / 80
    if eye_distance is None and nose_distance is None:
        assert window.width == pytest.approx(240, abs=1)
    else:
        shares = [value / wanted for value, wanted in ((apart, eye_distance), (below, nose_distance)) if wanted]
        assert max(shares) == pytest.approx(1, abs=0.03)


def test_the_side_that_a_head_looks_to_is_told_by_its_nose():
    for roll in (0.0, 25.0):
        assert looks_right(face(turned([40, 50, 60, 50, 55, 65], roll)), roll) is True
        assert looks_right(face(turned([40, 50, 60, 50, 45, 65], roll)), roll) is False
    assert looks_right(face([40, 50, 60, 50]), 0) is None
    assert looks_right(None, 0) is None


def test_keypoints_of_a_mirrored_crop_name_the_eyes_as_they_are_seen():
    window, size = Window(50, 50, 40, 40), (20, 20)
    points = points_of([40, 50, 60, 50, 55, 65])
    assert keypoints_in_crop(window, size, points, False) == [5, 10, 15, 10, 12.5, 17.5]
    assert keypoints_in_crop(window, size, points, True) == [5, 10, 15, 10, 7.5, 17.5]
    assert keypoints_in_crop(window, size, [None, (60, 50), None], True) == [5, 10, None, None, None, None]
    assert keypoints_in_crop(window, size, [None, None, None], False) is None
