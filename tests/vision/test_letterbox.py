"""Photos as networks see them, and the way back."""

import cv2
import numpy as np
import pytest

from foxgan.images import scaled_plainly
from foxgan.vision.contained import ultralytics
from foxgan.vision.letterbox import GREY, padded, scaled_shape


def seen(image, imgsz, fixed=None):
    height, width = image.shape[:2]
    return padded(
        scaled_plainly(image, *scaled_shape(height, width, *(fixed or (imgsz, imgsz)))), (height, width), fixed
    )


def test_proportions_are_kept_and_the_rest_is_grey() -> None:
    boxed = seen(np.full((50, 100, 3), 255, np.uint8), 64).picture
    assert boxed.shape == (32, 64, 3)
    assert (boxed == 255).all()
    tall = seen(np.full((100, 20, 3), 255, np.uint8), 64).picture
    assert tall.shape == (64, 32, 3)
    assert (tall[0, :, 0] == GREY).sum() == 32 - 13
    assert seen(np.zeros((10, 10, 3), np.uint8), 64, fixed=(96, 64)).picture.shape == (96, 64, 3)


@pytest.mark.parametrize(
    "shape", [(480, 640), (97, 33), (33, 97), (1000, 301), (20, 30), (1, 1), (1200, 1500), (1, 5000), (5000, 1)]
)
def test_a_picture_is_that_of_ultralytics_within_a_grey_level(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 1)
    theirs = ultralytics("data.augment").LetterBox(160, auto=True, stride=32)(image=image)
    ours = seen(image, 160)
    assert ours.picture.shape == theirs.shape
    assert np.abs(ours.picture.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("shape", [(480, 640), (97, 33), (1, 5000)])
def test_corners_of_what_is_seen_are_corners_of_the_photo(shape: tuple[int, int]) -> None:
    view = seen(np.zeros((*shape, 3), np.uint8), 160)
    rows, columns = np.nonzero(view.picture[..., 0] == 0)
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
    np.testing.assert_allclose(view.to_photo(corners), [[0, 0], [shape[1], shape[0]]], atol=1e-6)
    part = padded(view.picture, (50, 40), corner=(7, 9))
    np.testing.assert_allclose(part.to_photo(np.array([0, 0])), [7, 9])
