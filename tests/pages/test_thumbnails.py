import base64
from pathlib import Path

import numpy as np

from foxgan import images
from foxgan.images import decode
from foxgan.pages.thumbnails import SIDE, Thumbnail, thumbnails


def half_red(path: Path, height: int = 200, width: int = 400) -> str:
    """A picture whose right half is red, the left one black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :, 0] = 255
    images.write(path, pixels)
    return str(path)


def pixels_of(found: Thumbnail | None) -> images.Pixels:
    assert found is not None
    return decode(base64.b64decode(found.picture.uri.partition(",")[2]))


def test_a_photo_is_made_small_and_tells_its_size(tmp_path: Path) -> None:
    (found,) = thumbnails([(half_red(tmp_path / "a.png"), None)])
    assert pixels_of(found).shape == (SIDE // 2, SIDE, 3)
    assert found is not None and (found.width, found.height) == (400, 200)
    assert found.picture.uri.startswith("data:image/jpeg;")


def test_boxes_of_a_photo_are_cut_out_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    a, b = half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 100, 100)
    wanted = [(a, [300, 50, 360, 110]), (b, None), (None, None), (a, [20, 50, 80, 110])]
    right, whole, none, left = thumbnails(wanted)
    assert pixels_of(right)[..., 0].mean() > 240 and pixels_of(left)[..., 0].mean() < 10
    assert pixels_of(whole).shape == (100, 100, 3) and none is None
    assert right is not None and (right.width, right.height) == (400, 200)


def test_a_box_that_lies_outside_or_is_upside_down_shows_the_whole_photo(tmp_path: Path) -> None:
    path = half_red(tmp_path / "a.png")
    for box in ([900, 900, 950, 950], [300, 300, 10, 10], [-500, -500, -400, -400], [0, 0, 1e30, 1e30]):
        (found,) = thumbnails([(path, box)])
        assert pixels_of(found).shape == (SIDE // 2, SIDE, 3)


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    assert list(thumbnails([(str(tmp_path / "text.png"), None), (str(tmp_path / "nowhere.png"), None)])) == [None, None]
    assert list(thumbnails([])) == []
