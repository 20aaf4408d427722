"""Which sizes have a network, and what is offered in place of one that has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.errors import DataError
from foxgan.gan.config import NetworkConfig, TrainConfig
from foxgan.gan.shapes import MAX_SIDE, grid_of, nearest_sizes

LARGE = st.integers(1, 2**14)
SMALL = st.integers(1, 70)


def fits(height: int, width: int) -> bool:
    """The rule as it is told to people: m x 2^n, m in 4..7, n at least 1; the larger side a multiple of 2^n, and not too large."""
    small, large = sorted((height, width))
    steps = [2**n for n in range(1, 14)]
    return large <= MAX_SIDE and any(small % s == 0 and 4 <= small // s <= 7 and large % s == 0 for s in steps)


FITTING = [(h, w) for h in range(1, 130) for w in range(1, 130) if fits(h, w)]


@given(LARGE, LARGE)
def test_a_grid_grows_to_its_size_or_is_refused(height, width):
    if not fits(height, width):
        with pytest.raises(DataError, match=f"no network makes {height}x{width} images"):
            grid_of(height, width)
        return
    grid = grid_of(height, width)
    assert (grid.height << grid.doublings, grid.width << grid.doublings) == (height, width)
    assert 4 <= min(grid.height, grid.width) <= 7 and grid.doublings >= 1


@given(st.integers(4, 7), st.integers(0, 40), st.integers(1, 6), st.booleans())
def test_every_size_of_the_rule_has_a_network_whose_blocks_are_named_by_powers_of_two(m, more, n, upright):
    size = (m << n, (m + more) << n)[:: 1 if upright else -1]
    config = NetworkConfig(height=size[0], width=size[1], channel_base=1024, channel_max=100)
    assert min(config.blocks[0][1:3]) == m and config.blocks[-1][1:3] == size
    assert [block.name for block in config.blocks] == [f"b{4 << i}" for i in range(n + 1)]
    assert [block.channels for block in config.blocks] == [min(1024 // (4 << i), 100) for i in range(n + 1)]


def test_square_powers_of_two_have_the_published_layout():
    blocks = NetworkConfig(height=1024, width=1024).blocks
    assert [(b.name, b.height, b.width) for b in blocks] == [(f"b{r}", r, r) for r in (4 << i for i in range(9))]
    assert [b.channels for b in blocks] == [512, 512, 512, 512, 512, 256, 128, 64, 32]


@given(LARGE, LARGE)
def test_what_is_offered_instead_fits(height, width):
    offered = nearest_sizes(height, width)
    assert 1 <= len(offered) <= 3
    assert all(fits(*size) for size in offered)
    if fits(height, width):
        assert offered == [(height, width)]


@given(SMALL, SMALL)
def test_nothing_that_fits_is_nearer_than_what_is_offered(height, width):
    """Of all sizes, of those that cropping makes, and of those that enlarging makes."""

    def difference(size: tuple[int, int]) -> int:
        return abs(size[0] - height) + abs(size[1] - width)

    def no_larger(size: tuple[int, int]) -> bool:
        return size[0] <= height and size[1] <= width

    def no_smaller(size: tuple[int, int]) -> bool:
        return size[0] >= height and size[1] >= width

    offered = nearest_sizes(height, width)
    assert [*map(difference, offered)] == sorted(map(difference, offered))
    assert difference(offered[0]) == min(map(difference, FITTING))
    for kind in (no_larger, no_smaller):
        nearest = min(map(difference, filter(kind, FITTING)), default=None)
        assert min(map(difference, filter(kind, offered)), default=None) == nearest


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((5, 5), "5x5 images: its smaller side is 5, below 8; take 8x8, the nearest"),
        ((7, 9), "7x9 images: its smaller side is 7, below 8; take 8x10, the nearest"),
        ((31, 33), r"must be 4..7 times a power of two \(here 4\).*take 32x32 or 28x32 or 32x40, the nearest"),
        ((16, 9000), "its larger side is 9000, above 8192; take 16x8192, the nearest"),
    ],
)
def test_a_size_that_does_not_fit_is_told_why_and_what_does(size, words):
    with pytest.raises(DataError, match=words):
        TrainConfig().resolved(*size)


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
