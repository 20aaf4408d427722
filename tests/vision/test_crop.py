"""Windows and cuts, against slow plain references: areas summed in numpy, and pictures whose every point is known by a formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foxgan import images
from foxgan.vision.crop import (
    REDUCTIONS,
    Window,
    clipped_box,
    cut,
    enlargement,
    head_window,
    into_crop,
    outside_share,
    reduction,
    scaled_window,
    whole_window,
)
from foxgan.vision.synthetic import draw_photo


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
        slack = max(
            0.02, 0.8 / min(h, w)
        )  # half a step of at most 8 pixels, where a side has at least 16 for each of the crop
        assert window.width / window.height == pytest.approx(w / h, rel=slack)


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
    step = reduction(window, (h, w), 10**4, 10**4)  # to this many pixels the edges of a large window are rounded
    assert window.height >= grown[0] - step / 2 - 0.01 and window.width >= grown[1] - step / 2 - 0.01
    assert window.height <= grown[0] + step / 2 + 0.01 or window.width <= grown[1] + step / 2 + 0.01
    assert (window.x, window.y) == pytest.approx((x + width / 2, y + height / 2), abs=step / 2 if step > 1 else 1e-9)


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


# Photos that are decoded at a part of their size


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def big_jpeg() -> bytes:
    return images.encode_jpeg(draw_photo(0, 3, size=1600).image, 88)


@pytest.mark.parametrize("decode", [images.decode, images.decode_examined])
@pytest.mark.parametrize("roll", [0.0, 13.0])
@pytest.mark.parametrize(("shrunk", "reduced"), [(3.0, 2), (5.3, 2), (6.1, 4), (8.0, 4), (12.3, 8), (16.0, 8)])
def test_photo_decoded_at_a_part_of_its_size_gives_the_same_crop_within_its_noise(
    big_jpeg, decode, roll, shrunk, reduced
):
    photo = images.decode(big_jpeg)
    height, width = photo.shape[:2]
    size = (round(1000 / shrunk),) * 2
    window = scaled_window(width * 0.4, height * 0.45, size, shrunk, roll)
    assert reduction(window, size, height - height % 8, width - width % 8) == reduced
    smaller = decode(big_jpeg, reduced=reduced)
    assert smaller.shape[:2] == (-(-height // reduced), -(-width // reduced))
    assert psnr(cut(photo, window, size), cut(smaller, window, size, reduced)) > 40


def test_crop_of_a_window_not_much_larger_is_made_of_all_pixels():
    for scale in (0.5, 1.0, 2.9):
        assert reduction(scaled_window(2000, 2000, (256, 256), scale), (256, 256), 4000, 4000) == 1


def test_photo_whose_sides_do_not_divide_is_not_decoded_smaller_where_the_window_leaves_it():
    window = scaled_window(100, 100, (64, 64), 8.0)
    assert reduction(window, (64, 64), 1000, 1000) == 4
    assert reduction(window, (64, 64), 1002, 1002) == 2
    assert reduction(window, (64, 64), 1001, 1001) == 1
    assert reduction(scaled_window(500, 500, (64, 64), 8.0), (64, 64), 1001, 1001) == 4


@given(st.floats(0.2, 40), st.floats(-50, 900), st.floats(-50, 900), st.sampled_from([0.0, 0.0, 20.0]))
def test_window_of_a_smaller_photo_covers_the_same_part(scale, x, y, roll):
    window = scaled_window(x, y, (48, 32), scale, roll)
    by = reduction(window, (48, 32), 8000, 8000)
    assert by in (1, *REDUCTIONS) and min(window.height / 48, window.width / 32) >= (1.5 * by if by > 1 else 0)
    small = window.reduced(by)
    assert (small.height * by, small.width * by) == (window.height, window.width)
    if not roll:
        assert (small.left * by, small.top * by) == (window.left, window.top)


@pytest.mark.parametrize("roll", [0.0, 35.0, -120.0])
def test_points_of_the_photo_are_found_in_the_crop(roll):
    photo = np.zeros((200, 240, 1), np.uint8)
    photo[88:92, 138:142] = 255
    window, size = Window(120, 100, 96, 120, roll), (48, 60)
    [point, none] = into_crop(window, size, [(140, 90), None])
    crop = cut(photo, window, size)[..., 0].astype(float)
    y, x = np.mgrid[:48, :60] + 0.5
    assert none is None and point == pytest.approx(
        ((x * crop).sum() / crop.sum(), (y * crop).sum() / crop.sum()), abs=0.1
    )


@pytest.mark.parametrize("roll", [0.0, 30.0])
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (1, 1, 4), (2, 5, 1)])
def test_window_much_larger_than_its_photo_can_be_cut(shape, roll):
    crop = cut(np.full(shape, 77, np.uint8), Window(0.5, 0.5, 64, 64, roll), (32, 32))
    assert crop.shape == (32, 32, shape[2])
    if shape[2] != 4:
        assert difference(crop, np.full(crop.shape, 77.0)) == 0
