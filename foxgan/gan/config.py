"""What shapes the networks and their training, without torch, so that a command line can offer it at once.

Sizes need not be square powers of two: the smaller side is m x 2^n with m in 4..7, the larger one a multiple of 2^n, and blocks are
named as if m were 4. So published weights keep their names, and 28x28 digits or 48x80 pictures train without padding.
"""

from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foxgan.errors import DataError

Architecture = Literal["skip", "resnet", "orig"]


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


class NetworkConfig(BaseModel):
    """Everything that shapes G and D; stored as JSON in every snapshot, and enough to rebuild both (specs: weights §2, §3).

    A size without a grid is refused with a DataError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(gt=0, le=8192)
    width: int = Field(gt=0, le=8192)
    img_channels: int = Field(3, ge=1, le=64)
    c_dim: int = Field(0, ge=0, le=100_000)
    z_dim: int = Field(512, ge=1, le=8192)
    w_dim: int = Field(512, ge=1, le=8192)
    mapping_layers: int = Field(8, ge=1, le=64)
    mapping_lr_multiplier: float = Field(0.01, gt=0)
    w_avg_beta: float = Field(0.995, ge=0, le=1)
    channel_base: int = Field(32768, ge=1)
    channel_max: int = Field(512, ge=1, le=8192)
    g_architecture: Architecture = "skip"
    d_architecture: Architecture = "resnet"
    use_noise: bool = True
    num_fp16_res: int = Field(0, ge=0, description="How many of the highest resolutions compute in half precision")
    conv_clamp: float | None = Field(None, gt=0)
    mbstd_group_size: int | None = Field(4, ge=1)
    mbstd_num_channels: int = Field(1, ge=0)
    d_mapping_layers: int = Field(8, ge=0, le=64, description="Layers of D's label mapping; without labels there is none")
    d_mapping_lr_multiplier: float = Field(0.01, gt=0)
    cmap_dim: int | None = Field(None, ge=1, le=8192, description="Width of D's label mapping; None: channels of its last block")

    @model_validator(mode="after")
    def _has_a_grid(self) -> Self:
        grid_of(self.height, self.width)
        return self

    @property
    def grid(self) -> Grid:
        return grid_of(self.height, self.width)

    @property
    def blocks(self) -> list[Block]:
        """The resolutions from b4 (the constant's grid) to the image."""
        height, width, doublings = self.grid
        return [Block(4 << i, height << i, width << i, self.channels(4 << i)) for i in range(doublings + 1)]

    @property
    def num_ws(self) -> int:
        """Rows of `ws`: one per conv and one for the last ToRGB; the other ToRGBs share the next conv's row."""
        return 2 * self.grid.doublings + 2

    def channels(self, resolution: int) -> int:
        """Feature maps at the block b{resolution}."""
        return max(1, min(self.channel_base // resolution, self.channel_max))

    def in_half(self, resolution: int) -> bool:
        """Whether b{resolution} computes in half precision; b4 never does."""
        top = 4 << self.grid.doublings
        return resolution >= 8 and resolution > top >> self.num_fp16_res
