"""The second look at large photos: where tiles lie, and what is made of their boxes."""

import numpy as np
import pytest

from foxgan.vision.tiles import OVERLAP, Tile, cut_tiles, united


@pytest.mark.parametrize("shape", [(3000, 4000), (4000, 3000), (500, 4000), (1000, 1000), (961, 700), (20_000, 30_000)])
@pytest.mark.parametrize("tiles", ["auto", 2, 5])
def test_tiles_cover_the_photo_and_overlap(shape: tuple[int, int], tiles: object) -> None:
    height, width = shape
    found = cut_tiles(height, width, 640, tiles)  # type: ignore[arg-type]
    assert len(found) > 1
    seen = np.zeros((-(-height // 10), -(-width // 10)), bool)
    for tile in found:
        assert 0 <= tile.left < tile.right <= width
        assert 0 <= tile.top < tile.bottom <= height
        seen[tile.top // 10 : -(-tile.bottom // 10), tile.left // 10 : -(-tile.right // 10)] = True
    assert seen.all()
    for side in {tile.right - tile.left for tile in found}:
        lefts = sorted({(tile.left, tile.right) for tile in found if tile.right - tile.left == side})
        for (_, right), (left, end) in zip(lefts, lefts[1:], strict=False):
            assert right - left >= OVERLAP * (end - left) - 1


def test_auto_goes_down_to_full_scale_and_a_number_is_that_of_tiles_along_the_longer_side() -> None:
    assert {tile.right - tile.left for tile in cut_tiles(3000, 4000, 640, "auto")} == {640, 1280, 2560}
    assert len({tile.left for tile in cut_tiles(3000, 4000, 640, 4)}) == 4
    assert len({tile.left for tile in cut_tiles(3000, 4000, 640, 2)}) == 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (640, 640), (900, 950), (1, 900)])
def test_a_photo_that_is_hardly_larger_than_what_the_network_sees_has_no_tiles(height: int, width: int) -> None:
    assert cut_tiles(height, width, 640, "auto") == []
    assert cut_tiles(3000, 4000, 640, "off") == []


def rows(*boxes: tuple[float, ...]) -> np.ndarray:
    return np.array(boxes, np.float64).reshape(-1, 6)


LEFT, RIGHT = Tile(0, 0, 640, 640), Tile(480, 0, 1120, 640)


def test_a_head_that_a_tile_cuts_off_comes_from_its_neighbour() -> None:
    cut, whole = (590, 100, 640, 200, 0.9, 0), (590, 100, 690, 200, 0.6, 0)
    found = united([rows(), rows(cut), rows(whole)], [LEFT, RIGHT], 640, 1120, 0.5)
    assert found.tolist() == [list(whole)]


def test_a_head_at_the_edge_of_the_photo_stays() -> None:
    at_edge = (0, 0, 50, 60, 0.9, 0)
    assert united([rows(), rows(at_edge), rows()], [LEFT, RIGHT], 640, 1120, 0.5).tolist() == [list(at_edge)]


def test_of_a_box_within_another_one_the_better_one_stays() -> None:
    whole, part = (100, 100, 500, 500, 0.6, 0), (150, 150, 300, 300, 0.4, 0)
    assert united([rows(whole), rows(part), rows()], [LEFT, RIGHT], 640, 1120, 0.5).tolist() == [list(whole)]
    coarse, fine = (100, 100, 200, 200, 0.6, 0), (110, 110, 160, 160, 0.9, 0)
    assert united([rows(coarse), rows(fine), rows()], [LEFT, RIGHT], 640, 1120, 0.5).tolist() == [list(fine)]
    beside = (300, 100, 360, 160, 0.5, 0)
    assert len(united([rows(coarse, beside), rows(fine), rows()], [LEFT, RIGHT], 640, 1120, 0.5)) == 2


def test_a_head_seen_twice_is_one_with_the_better_score() -> None:
    coarse, fine = (200, 200, 300, 300, 0.5, 0), (205, 202, 301, 298, 0.9, 0)
    assert united([rows(coarse), rows(fine), rows()], [LEFT, RIGHT], 640, 1120, 0.5).tolist() == [list(fine)]
