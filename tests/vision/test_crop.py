"""Windows and cuts, against slow plain references: areas summed in numpy, and pictures whose every point is known by a formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foxgan.vision.crop import Window, clipped_box, cut, enlargement, eye_roll, head_window, outside_share, whole_window


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Three smooth channels at points in pixels; no period is under 40 pixels."""
    return 128 + 100 * np.stack(
        [np.sin(x / 8 + y / 14), np.cos(y / 10 - x / 12), np.sin(x / 15) * np.cos(y / 9)], axis=-1
    )


def photo_of_waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.round(waves(x, y)).astype(np.uint8)


def area_average(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel as the mean of the old ones it covers, by the share that it covers; a loop per pixel."""

    def weights(old: int, new: int) -> np.ndarray:
        matrix = np.zeros((new, old))
        for i in range(new):
            low, high = i * old / new, (i + 1) * old / new
            for j in range(math.floor(low), math.ceil(high)):
                matrix[i, j] = max(0.0, min(high, j + 1) - max(low, j)) / (high - low)
        return matrix

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum("ij,jkc,lk->ilc", rows, image.astype(float), columns)


def difference(image: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(image.astype(float) - reference).max())


def test_window_of_the_crops_own_size_is_copied_pixel_by_pixel():
    photo = noise(40, 60)
    assert np.array_equal(cut(photo, Window(30, 20, 16, 24), (16, 24)), photo[12:28, 18:42])
    assert np.array_equal(cut(photo, whole_window(40, 60, (40, 60), "centre"), (40, 60)), photo)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [Window(50, 40, 48, 48), Window(45, 41, 61, 77), Window(50, 40, 80, 100)])
def test_shrunk_crop_is_the_average_of_what_each_pixel_covers(window, channels):
    photo = noise(80, 100, channels)
    part = photo[window.top : window.top + window.height, window.left : window.left + window.width]
    assert difference(cut(photo, window, (16, 16)), area_average(part, 16, 16)) <= 1


@pytest.mark.parametrize("roll", [0.0, 17.0, -45.0])
@pytest.mark.parametrize("side", [64, 96])
def test_rolled_crop_shows_each_point_where_it_belongs(roll, side):
    window, size = Window(101.3, 90.6, side, side, roll), 32
    crop = cut(photo_of_waves(180, 200), window, (size, size))
    fine = (np.arange(size * 8) + 0.5) / (size * 8) * side - side / 2
    u, v = np.meshgrid(fine, fine)
    if roll == 0:  # upright windows begin at whole pixels
        window = Window(window.left + side / 2, window.top + side / 2, side, side)
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    points = waves(window.x + c * u - s * v, window.y + s * u + c * v)
    reference = points.reshape(size, 8, size, 8, 3).mean(axis=(1, 3))
    assert difference(crop, np.round(reference)) <= 1


def test_shrinking_with_a_roll_leaves_no_moire():
    y, x = np.mgrid[:300, :300]
    stripes = np.where((x + y) % 4 < 2, 255, 0).astype(np.uint8)[..., None]
    crop = cut(stripes, Window(150, 150, 180, 180, 27.0), (32, 32))
    assert crop.astype(float).std() < 4 and abs(crop.mean() - 127.5) < 2


def test_beyond_the_photos_edge_lies_its_blurred_mirror_image_without_a_seam():
    photo = photo_of_waves(100, 100)
    window = Window(20, 50, 100, 100)  # 30 columns on the left are outside
    crop = cut(photo, window, (100, 100)).astype(float)
    assert np.array_equal(crop[:, 30:], photo[:, :70])
    inside = np.abs(np.diff(crop[:, 31:], axis=1)).max()
    assert np.abs(np.diff(crop[:, 20:40], axis=1)).max() <= inside + 1
    assert difference(crop[:, 29], photo[:, 0]) < 4


def test_the_farther_outside_the_softer():
    crop = cut(noise(120, 120, 1), Window(20, 60, 120, 120), (120, 120)).astype(float)
    roughness = [np.abs(np.diff(crop[:, column, 0])).mean() for column in (39, 35, 28, 15, 2)]
    assert roughness == sorted(roughness, reverse=True)
    assert roughness[0] > 40 and roughness[-1] < 4


@pytest.mark.parametrize("roll", [0.0, 20.0])
def test_outside_of_a_picture_with_alpha_is_transparent(roll):
    photo = np.full((40, 40, 4), 255, np.uint8)
    photo[..., :3] = (200, 30, 60)
    crop = cut(photo, Window(0, 20, 40, 40, roll), (20, 20))
    assert crop[10, 1, 3] == 0 and crop[10, 18, 3] == 255
    seen = crop[crop[..., 3] > 8][:, :3].astype(int)
    assert np.abs(seen - (200, 30, 60)).max() <= 1  # nothing dark bleeds in from outside


@pytest.mark.parametrize("tilt", [-40.0, -8.0, 0.0, 25.0])
def test_eyes_come_out_level(tilt):
    photo = np.full((200, 200, 3), 90, np.uint8)
    c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    eyes = [(100 - 24 * c, 96 - 24 * s), (100 + 24 * c, 96 + 24 * s)]
    y, x = np.mgrid[:200, :200] + 0.5
    for channel, (ex, ey) in enumerate(eyes):
        photo[(x - ex) ** 2 + (y - ey) ** 2 < 16, channel] = 255
    window = head_window((50, 50, 150, 150), (128, 128), 0.2, [*eyes[0], *eyes[1], 100, 120])
    crop = cut(photo, window, (128, 128)).astype(float) - 90
    rows = [(crop[..., k].sum(axis=1) * np.arange(128)).sum() / crop[..., k].sum() for k in (0, 1)]
    columns = [(crop[..., k].sum(axis=0) * np.arange(128)).sum() / crop[..., k].sum() for k in (0, 1)]
    assert abs(rows[0] - rows[1]) < 0.4 and columns[1] > columns[0] + 40


def test_roll_does_not_ask_which_eye_is_left_and_ignores_points_that_tell_nothing():
    assert (
        eye_roll([10, 10, 30, 20], 50)
        == pytest.approx(eye_roll([30, 20, 10, 10], 50))
        == pytest.approx(26.565, abs=0.001)
    )
    assert eye_roll([10, 10, 12, 13], 60) == 0  # a profile
    assert eye_roll([math.nan, 10, 30, 20], 50) == 0
    assert eye_roll([10, 0, 20, 60], 50) == 45
    points = [10, 10, 30, 20, 20, 40]
    assert head_window((0, 0, 50, 50), (64, 64), 0, points, level=False).roll == 0


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(1, 600),
    st.integers(1, 600),
    st.sampled_from(["centre", "pad", "stretch"]),
)
def test_whole_windows_have_the_right_extent(height, width, h, w, fit):
    window = whole_window(height, width, (h, w), fit)
    inside = (
        window.top >= 0
        and window.top + window.height <= height
        and window.left >= 0
        and window.left + window.width <= width
    )
    covers = (
        window.top <= 0
        and window.top + window.height >= height
        and window.left <= 0
        and window.left + window.width >= width
    )
    assert inside if fit == "centre" else covers if fit == "pad" else inside and covers
    if fit != "stretch" and min(height, width) > 50 * max(h, w):
        assert window.width / window.height == pytest.approx(w / h, rel=0.02)


@given(
    st.floats(0, 90),
    st.floats(0, 90),
    st.floats(1, 100),
    st.floats(1, 100),
    st.floats(0, 2),
    st.integers(8, 64),
    st.integers(8, 64),
)
def test_head_window_is_the_smallest_of_its_aspect_that_holds_the_grown_box(x, y, width, height, margin, h, w):
    window = head_window((x, y, x + width, y + height), (h, w), margin)
    grown = (1 + margin) * height, (1 + margin) * width
    assert window.height >= grown[0] - 0.51 and window.width >= grown[1] - 0.51
    assert window.height <= grown[0] + 0.51 or window.width <= grown[1] + 0.51
    assert (window.x, window.y) == pytest.approx((x + width / 2, y + height / 2))


def test_share_outside_and_enlargement_are_told_before_anything_is_cut():
    assert outside_share(Window(50, 50, 40, 40), 100, 100) == 0
    assert outside_share(Window(0, 50, 40, 40), 100, 100) == pytest.approx(0.5, abs=0.01)
    assert outside_share(Window(0, 0, 40, 40, 30.0), 100, 100) == pytest.approx(0.75, abs=0.02)
    assert enlargement(Window(0, 0, 50, 100), (100, 100)) == 2
    assert enlargement(Window(0, 0, 200, 200), (100, 100)) == 0.5


def test_boxes_are_clipped_to_the_photo_and_nonsense_is_none():
    assert clipped_box([-5, 10, 50, 120], 100, 80) == (0, 10, 50, 100)
    for bad in (None, [1, 2, 3], [math.nan, 0, 1, 1], [90, 0, 120, 50], [10, 10, 10.5, 60], [30, 30, 10, 60]):
        assert clipped_box(bad, 100, 80) is None


def test_photo_of_one_pixel_can_be_padded():
    assert cut(noise(1, 1), Window(0.5, 0.5, 9, 9), (9, 9)).shape == (9, 9, 3)
