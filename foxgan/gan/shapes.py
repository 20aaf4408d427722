"""Sizes of images and feature maps, without torch.

Sizes need not be square powers of two: the smaller side is m x 2^n with m in 4..7, the larger one a multiple of 2^n, and blocks are
named as if m were 4. So published weights keep their names, and 28x28 digits or 48x80 pictures train without padding.
"""

from itertools import product
from typing import NamedTuple

from foxgan.errors import DataError

MAX_SIDE = 8192  # pixels


class Block(NamedTuple):
    """One resolution of G or D. `resolution` is 4, 8, 16 ...: the number in its name, which also sets the channels."""

    resolution: int
    height: int
    width: int
    channels: int

    @property
    def name(self) -> str:
        return f"b{self.resolution}"


class Grid(NamedTuple):
    """The learned constant's size and how often it is doubled on the way to the image."""

    height: int
    width: int
    doublings: int


def grid_of(height: int, width: int) -> Grid:
    """The grid that grows to `height` x `width` pixels; DataError with the nearest sizes that have one if there is none."""
    grid = _grid(height, width)
    if grid is None:
        nearest = " or ".join(f"{h}x{w}" for h, w in nearest_sizes(height, width))
        raise DataError(
            f"no network makes {height}x{width} images: {_why(height, width)}; take {nearest}, the nearest that fit"
        )
    return grid


def _grid(height: int, width: int) -> Grid | None:
    doublings = min(height, width).bit_length() - 3  # leaves the smaller side at 4..7
    if doublings < 1 or max(height, width) > MAX_SIDE or height % 2**doublings or width % 2**doublings:
        return None
    return Grid(height >> doublings, width >> doublings, doublings)


def _why(height: int, width: int) -> str:
    smaller, larger = sorted((height, width))
    if smaller < 8:
        return f"its smaller side is {smaller}, below 8"
    if larger > MAX_SIDE:
        return f"its larger side is {larger}, above {MAX_SIDE}"
    step = 2 ** (smaller.bit_length() - 3)
    return f"the smaller side must be 4..7 times a power of two (here {step}), the larger one a multiple of that power"


def nearest_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes with a grid that differ least (both sides summed): of all, of those no larger, of those no smaller; nearest first."""

    def difference(size: tuple[int, int]) -> tuple[int, int]:
        return abs(size[0] - height) + abs(size[1] - width), -size[0] * size[1]  # of two that are as near, the larger

    steps = (2**n for n in range(1, MAX_SIDE.bit_length()))
    multiples = (product(_multiples(height, step), _multiples(width, step)) for step in steps)
    sizes = sorted({(h, w) for pairs in multiples for h, w in pairs if _grid(h, w)})
    no_larger = [size for size in sizes if size[0] <= height and size[1] <= width]
    no_smaller = [size for size in sizes if size[0] >= height and size[1] >= width]
    return sorted({min(some, key=difference) for some in (sizes, no_larger, no_smaller) if some}, key=difference)


def _multiples(side: int, step: int) -> set[int]:
    """What may become of `side` in a grid of this step: the multiples next to it, or the bounds of a smaller side."""
    side = min(side, MAX_SIDE)
    return {side // step * step, -(-side // step) * step, 4 * step, 7 * step}
