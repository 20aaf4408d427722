"""Sizes of images and feature maps, without torch.

Sizes need not be square powers of two: the smaller side is m x 2^n with m in 4..7, the larger one a multiple of 2^n, and blocks are
named as if m were 4. So published weights keep their names, and 28x28 digits or 48x80 pictures train without padding.
"""

from typing import NamedTuple

from foxgan.errors import DataError


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
    doublings = min(height, width).bit_length() - 3  # leaves the smaller side at 4..7
    step = 2 ** max(doublings, 0)
    if doublings < 1 or height % step or width % step:
        nearest = " or ".join(f"{h}x{w}" for h, w in nearest_sizes(height, width))
        raise DataError(
            f"no network makes {height}x{width} images: the smaller side must be 4..7 times a power of two from 2 on, "
            f"the larger one a multiple of that power; the nearest sizes are {nearest}"
        )
    return Grid(height // step, width // step, doublings)


def nearest_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The next size with a grid below (where there is one) and above `height` x `width`."""
    smaller = min(height, width)
    step = 2 ** (smaller.bit_length() - 3) if smaller >= 8 else 2
    below = (height // step * step, width // step * step)
    above = (max(8, -(-height // step) * step), max(8, -(-width // step) * step))
    while min(above) >= 8 * step:  # rounding up left the octave of `smaller`
        step *= 2
        above = (-(-above[0] // step) * step, -(-above[1] // step) * step)
    return [below, above] if smaller >= 8 else [above]
