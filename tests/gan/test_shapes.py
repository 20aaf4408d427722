"""Which sizes have a network, and what is offered in place of one that has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.errors import DataError
from foxgan.gan.shapes import grid_of, nearest_sizes

SIDES = st.integers(1, 700)


def fits(height: int, width: int) -> bool:
    """The rule as it is told to people: m x 2^n, m in 4..7, n at least 1; the larger side a multiple of 2^n."""
    small, large = sorted((height, width))
    steps = [2**n for n in range(1, 11)]
    return any(small % step == 0 and 4 <= small // step <= 7 and large % step == 0 for step in steps)


@given(SIDES, SIDES)
def test_a_grid_grows_to_its_size_or_is_refused(height, width):
    if not fits(height, width):
        with pytest.raises(DataError, match=f"no network makes {height}x{width} images"):
            grid_of(height, width)
        return
    grid = grid_of(height, width)
    assert (grid.height << grid.doublings, grid.width << grid.doublings) == (height, width)
    assert 4 <= min(grid.height, grid.width) <= 7 and grid.doublings >= 1


@given(SIDES, SIDES)
def test_what_is_offered_instead_fits_and_encloses_the_size(height, width):
    offered = nearest_sizes(height, width)
    assert offered and all(fits(*size) for size in offered)
    assert offered[-1][0] >= height and offered[-1][1] >= width
    if len(offered) == 2:
        assert offered[0][0] <= height and offered[0][1] <= width


@given(st.integers(8, 700))
def test_no_square_that_fits_lies_between_the_two_offered(side):
    below, above = (size[0] for size in nearest_sizes(side, side))
    assert not [s for s in range(below + 1, above) if fits(s, s) and s != side]


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((24, 24), (6, 6, 2)),
        ((28, 28), (7, 7, 2)),
        ((64, 128), (4, 8, 4)),
        ((128, 64), (8, 4, 4)),
        ((48, 80), (6, 10, 3)),
        ((80, 48), (10, 6, 3)),
        ((192, 256), (6, 8, 5)),
        ((1024, 1024), (4, 4, 8)),
    ],
)
def test_sizes_that_people_ask_for(size, grid):
    assert grid_of(*size) == grid
