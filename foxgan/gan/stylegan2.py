"""Generator and discriminator of StyleGAN2-ADA (Karras et al. 2020a, 2020b) in their three architectures.

Attribute names and shapes are the published file format, so weights load by name; what varies is in `NetworkConfig`.
"""

import math
from functools import partial
from typing import Literal, NamedTuple, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foxgan.errors import UsageError
from foxgan.gan import ops
from foxgan.gan.config import NetworkConfig
from foxgan.gan.mapping import FullyConnected, GeneratorMapping, Mapping
from foxgan.gan.recompute import recomputed
from foxgan.gan.shapes import Block

NoiseMode = Literal["random", "const", "none"]
TAPS = (1, 3, 3, 1)  # the low-pass filter of every resampling
HALF_GAIN = math.sqrt(0.5)  # of each branch of a residual sum


def as_features(x: Tensor, half: bool) -> Tensor:
    """`x` in the precision and memory layout its block computes in.

    Half precision is bfloat16 on a CPU, float16 elsewhere. Channels last is what convolutions are fastest in, except for
    those of a GPU in float32.
    """
    is_cpu = x.device.type == "cpu"
    dtype = torch.float32 if not half else torch.bfloat16 if is_cpu else torch.float16
    layout = torch.channels_last if is_cpu or half else torch.contiguous_format
    return x.to(dtype=dtype, memory_format=layout)


class Features(NamedTuple):
    """Feature maps `x` [N, C, H, W] times `scale` [N, C] (None: 1); who reads them multiplies, along with styles of its own."""

    x: Tensor
    scale: Tensor | None = None

    def scaled(self) -> Tensor:
        return self.x if self.scale is None else self.x * self.scale.to(self.x.dtype)[:, :, None, None]


class SynthesisLayer(nn.Module):
    """Style-modulated 3x3 convolution, noise, bias, leaky ReLU; `up` doubles the size first."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int, block: Block, config: NetworkConfig, up: bool, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.up, self.use_noise, self.conv_clamp = up, config.use_noise, config.conv_clamp
        self.affine = FullyConnected(config.w_dim, in_channels, bias_init=1, generator=generator)
        self.weight = nn.Parameter(torch.randn(block.channels, in_channels, 3, 3, generator=generator))
        self.bias = nn.Parameter(torch.zeros(block.channels))
        self.register_buffer("resample_filter", ops.fir_filter(TAPS))
        if config.use_noise:
            self.register_buffer("noise_const", torch.randn(block.height, block.width, generator=generator))
            self.noise_strength = nn.Parameter(torch.zeros([]))

    def noise(self, n: int, mode: NoiseMode, generator: torch.Generator | None) -> Tensor | None:
        """What this layer adds to its maps, before `noise_strength`: [n or 1, 1, H, W], or None."""
        if not self.use_noise or mode == "none":
            return None
        if mode == "const":
            return self.noise_const[None, None]
        return ops.randn([n, 1, *self.noise_const.shape], self.noise_const.device, generator)

    def forward(self, features: Features, w: Tensor, noise: Tensor | None, gain: float = 1) -> Features:
        up_kernel = self.resample_filter if self.up else None
        x, norm = ops.modulated_conv2d(features.x, self.weight, self.affine(w), features.scale, up_kernel)
        # leaky ReLU of x / norm + b is that of x + b * norm, divided by norm: two passes over the maps less
        strength = norm if noise is None else norm * self.noise_strength
        x = ops.lrelu_(ops.add_maps_(x, norm * self.bias, noise, strength))
        features = Features(x, gain * ops.ACTIVATION_GAIN / norm)
        return features if self.conv_clamp is None else Features(ops.clamp(features.scaled(), self.conv_clamp * gain))


class ToRGB(nn.Module):
    """Style-modulated 1x1 convolution from features to image channels, neither demodulated nor activated."""

    def __init__(self, block: Block, config: NetworkConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.conv_clamp = config.conv_clamp
        self.affine = FullyConnected(config.w_dim, block.channels, bias_init=1, generator=generator)
        self.weight = nn.Parameter(torch.randn(config.img_channels, block.channels, 1, 1, generator=generator))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))
        self.weight_gain = 1 / math.sqrt(block.channels)

    def forward(self, features: Features, w: Tensor) -> Tensor:
        """Image [N, C, H, W], float32. So few rows come out that a weight per image is cheaper than to multiply all of x."""
        x, scale = features
        styles = self.affine(w) * self.weight_gain
        weight = self.weight[:, :, 0, 0] * (styles if scale is None else styles * scale)[:, None, :]
        x = ops.mix_channels(x, weight.to(x.dtype)).float()
        x = x + self.bias[:, None, None]
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class Conv2d(nn.Module):
    """Convolution with equalized learning rate, optional halving or doubling, bias and leaky ReLU."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        activated: bool = True,
        resample: Literal["up", "down"] | None = None,
        conv_clamp: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.resample, self.conv_clamp = resample, conv_clamp
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, kernel_size, kernel_size, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activated else None
        self.register_buffer("resample_filter", ops.fir_filter(TAPS))
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1, constants: Tensor | None = None) -> Tensor:
        """`constants` [N, F] are further input maps that hold one value each."""
        act_gain = gain if self.bias is None else gain * ops.ACTIVATION_GAIN
        bias = None if self.bias is None else (self.bias * act_gain).to(x.dtype)
        gain_to_weight = self.weight_gain * act_gain
        if constants is not None:  # few pixels, many weights
            x = ops.conv2d_with_constants(x * gain_to_weight, constants * gain_to_weight, self.weight, bias)
            return ops.clamp(ops.lrelu_(x), self.conv_clamp)
        x, weight = ops.scaled_smaller(x, self.weight, gain_to_weight)
        if self.resample == "down":
            x = ops.conv2d_down(x, weight, bias, self.resample_filter)
        elif self.resample == "up":  # a 1x1 convolution and a filter may change places: fewer pixels this way
            x = ops.upsample2d(F.conv2d(x, weight, bias), self.resample_filter)
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return x if bias is None else ops.clamp(ops.lrelu_(x), self.conv_clamp and self.conv_clamp * gain)


class SynthesisBlock(nn.Module):
    """All layers of one resolution of G."""

    resample_filter: Tensor

    def __init__(
        self, block: Block, in_channels: int, is_last: bool, config: NetworkConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.in_half = config.in_half(block.resolution)
        self.is_first, self.has_torgb = in_channels == 0, is_last or config.g_architecture == "skip"
        self.has_skip = not self.is_first and config.g_architecture == "resnet"
        self.register_buffer("resample_filter", ops.fir_filter(TAPS))
        if self.is_first:
            self.const = nn.Parameter(torch.randn(block.channels, block.height, block.width, generator=generator))
        else:
            self.conv0 = SynthesisLayer(in_channels, block, config, up=True, generator=generator)
        self.conv1 = SynthesisLayer(block.channels, block, config, up=False, generator=generator)
        if self.has_torgb:
            self.torgb = ToRGB(block, config, generator)
        if self.has_skip:
            self.skip = Conv2d(in_channels, block.channels, 1, activated=False, resample="up", generator=generator)

    @property
    def layers(self) -> list[SynthesisLayer]:
        return [self.conv1] if self.is_first else [self.conv0, self.conv1]

    def forward(
        self, x: Tensor | None, scale: Tensor | None, img: Tensor | None, ws: Tensor, *noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`x` and `scale` (see `Features`) and the image so far, at this block's size.

        `ws` [N, 2 or 3, w_dim] are this block's rows, `noise` that of its layers.
        """
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        before = features = Features(as_features(x, self.in_half), scale)
        for i, (layer, layer_noise) in enumerate(zip(self.layers, noise, strict=True)):
            gain = HALF_GAIN if self.has_skip and layer is self.conv1 else 1
            features = layer(features, ws[:, i], layer_noise, gain)
        if self.has_skip:
            features = Features(self.skip(before.scaled(), gain=HALF_GAIN) + features.scaled())
        if img is not None:
            img = ops.upsample2d(img, self.resample_filter)
        if self.has_torgb:
            y = self.torgb(features, ws[:, -1])
            img = y if img is None else img + y
        return *features, img


class Synthesis(nn.Module):
    """The learned constant grown, doubling by doubling, to an image."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.num_ws = config.num_ws
        self.checkpointing = False
        self.block_names = [block.name for block in config.blocks]
        in_channels = 0
        for block in config.blocks:
            is_last = block == config.blocks[-1]
            self.add_module(block.name, SynthesisBlock(block, in_channels, is_last, config, generator))
            in_channels = block.channels

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None) -> Tensor:
        """Image [N, C, H, W], float32, about -1..1, of `ws` [N, num_ws, w_dim]; `generator` draws random noise."""
        if noise_mode not in get_args(NoiseMode):
            raise UsageError(
                f"noise_mode {noise_mode!r} does not exist; choose one of {', '.join(get_args(NoiseMode))}"
            )
        noise = [layer.noise(len(ws), noise_mode, generator) for block in self.blocks for layer in block.layers]
        return self.render(ws.float(), noise)

    @property
    def blocks(self) -> list[SynthesisBlock]:
        return [cast(SynthesisBlock, self.get_submodule(name)) for name in self.block_names]

    def render(self, ws: Tensor, noise: list[Tensor | None]) -> Tensor:
        """`forward` with the noise of every layer given: the part that draws no random numbers."""
        x: Tensor | None = None
        scale: Tensor | None = None
        img: Tensor | None = None
        start = 0
        for block in self.blocks:
            end = start + len(block.layers)  # its ToRGB reads the row that the next block starts with
            run = partial(recomputed, block) if self.checkpointing else block
            x, scale, img = run(x, scale, img, ws[:, start : end + 1], *noise[start:end])
            start = end
        assert img is not None  # the last block has a ToRGB in every architecture
        return img


class Generator(nn.Module):
    """z [N, z_dim] and label c [N, c_dim] to images [N, C, H, W]; `generator` draws the initial weights."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.num_ws = config, config.num_ws
        self.mapping = GeneratorMapping(config, generator)
        self.synthesis = Synthesis(config, generator)

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
        generator: torch.Generator | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Images, float32, about -1..1; see `mapping` and `synthesis`, which this chains."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_w_avg)
        img: Tensor = self.synthesis(ws, noise_mode, generator)
        return img


class DiscriminatorBlock(nn.Module):
    """One resolution of D: two convolutions, the second of which halves the size."""

    resample_filter: Tensor

    def __init__(
        self, block: Block, out_channels: int, is_top: bool, config: NetworkConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.architecture, self.in_half = config.d_architecture, config.in_half(block.resolution)
        clamp = config.conv_clamp
        self.register_buffer("resample_filter", ops.fir_filter(TAPS))
        self.has_fromrgb = is_top or self.architecture == "skip"
        if self.has_fromrgb:
            self.fromrgb = Conv2d(config.img_channels, block.channels, 1, conv_clamp=clamp, generator=generator)
        self.conv0 = Conv2d(block.channels, block.channels, 3, conv_clamp=clamp, generator=generator)
        self.conv1 = Conv2d(block.channels, out_channels, 3, resample="down", conv_clamp=clamp, generator=generator)
        if self.architecture == "resnet":
            self.skip = Conv2d(block.channels, out_channels, 1, activated=False, resample="down", generator=generator)

    def forward(self, x: Tensor | None, img: Tensor) -> tuple[Tensor, Tensor]:
        """Features at half this block's size, and the image its successor sees (half the size in "skip")."""
        x = None if x is None else as_features(x, self.in_half)
        if self.has_fromrgb:
            y = self.fromrgb(as_features(img, self.in_half))
            x = y if x is None else x + y
        if self.architecture == "skip":
            img = ops.downsample2d(img, self.resample_filter)
        if self.architecture == "resnet":
            y = self.skip(x, gain=HALF_GAIN)
            return y + self.conv1(self.conv0(x), gain=HALF_GAIN), img
        return self.conv1(self.conv0(x)), img


class DiscriminatorEpilogue(nn.Module):
    """The end of D: minibatch statistics, one convolution, two linear layers."""

    def __init__(self, block: Block, cmap_dim: int, config: NetworkConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.mbstd_group_size, self.mbstd_num_channels = config.mbstd_group_size, config.mbstd_num_channels
        channels, clamp = block.channels, config.conv_clamp
        self.has_fromrgb = config.d_architecture == "skip"
        if self.has_fromrgb:
            self.fromrgb = Conv2d(config.img_channels, channels, 1, generator=generator)
        self.conv = Conv2d(channels + config.mbstd_num_channels, channels, 3, conv_clamp=clamp, generator=generator)
        self.fc = FullyConnected(channels * block.height * block.width, channels, lrelu=True, generator=generator)
        self.out = FullyConnected(channels, max(cmap_dim, 1), generator=generator)

    def forward(self, x: Tensor, img: Tensor) -> Tensor:
        x = as_features(x, half=False)
        if self.has_fromrgb:
            x = x + self.fromrgb(as_features(img, half=False))
        std = None
        if self.mbstd_num_channels:
            std = ops.minibatch_std(x, self.mbstd_group_size, self.mbstd_num_channels)
        out: Tensor = self.out(self.fc(self.conv(x, constants=std).flatten(1)))
        return out


class Discriminator(nn.Module):
    """Images [N, C, H, W] and labels to logits [N, 1], high for real ones; labels enter by projection."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.checkpointing = config, False
        blocks = config.blocks[::-1]
        self.block_names = [block.name for block in blocks[:-1]]
        for block, smaller in zip(blocks, blocks[1:], strict=False):
            is_top = block == blocks[0]
            self.add_module(block.name, DiscriminatorBlock(block, smaller.channels, is_top, config, generator))
        cmap_dim = (config.cmap_dim or blocks[-1].channels) if config.c_dim else 0
        if config.c_dim:
            layers, lr_multiplier = config.d_mapping_layers, config.d_mapping_lr_multiplier
            self.mapping = Mapping(0, config.c_dim, cmap_dim, layers, lr_multiplier, generator)
        self.b4 = DiscriminatorEpilogue(blocks[-1], cmap_dim, config, generator)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits [N, 1], float32."""
        x = None
        for name in self.block_names:
            block = self.get_submodule(name)
            x, img = recomputed(block, x, img) if self.checkpointing else block(x, img)
        logits: Tensor = self.b4(x, img)
        if not self.config.c_dim:
            return logits
        cmap = self.mapping.to_w(None, c)
        return (logits * cmap).sum(dim=1, keepdim=True) / math.sqrt(cmap.shape[1])

    def freeze(self, num_layers: int) -> None:
        """Stop training the first `num_layers` convolutions seen from the image (FreezeD, Mo et al. 2020); never b4."""
        layers = [layer for name in self.block_names for layer in self.get_submodule(name).children()]
        for layer in layers[:num_layers]:
            layer.requires_grad_(False)
