"""Generator and discriminator of StyleGAN2-ADA (Karras et al. 2020a, 2020b) in their three architectures.

Attribute names and shapes are the published file format, so weights load by name; what varies is in `NetworkConfig`.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foxgan.errors import UsageError
from foxgan.gan import ops
from foxgan.gan.config import NetworkConfig
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


class FullyConnected(nn.Module):
    """Linear layer with equalized learning rate: weights are stored at standard deviation 1 / lr_multiplier."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lrelu: bool = False,
        lr_multiplier: float = 1,
        bias_init: float = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lrelu = lrelu
        self.weight = nn.Parameter(torch.randn(out_features, in_features, generator=generator) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return ops.lrelu_(x) * ops.ACTIVATION_GAIN if self.lrelu else x


class Mapping(nn.Module):
    """Normalized z [N, z_dim] and embedded label c [N, c_dim] through `num_layers` layers to w [N, w_dim].

    The label's embedding and the layers but the last are w_dim wide, unless `embed_features` and `layer_features` say otherwise.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_layers: int,
        lr_multiplier: float,
        generator: torch.Generator | None = None,
        embed_features: int | None = None,
        layer_features: int | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_layers = z_dim, c_dim, num_layers
        embed_features = (embed_features or w_dim) if c_dim else 0
        if c_dim:
            self.embed = FullyConnected(c_dim, embed_features, generator=generator)
        widths = [z_dim + embed_features, *[layer_features or w_dim] * (num_layers - 1), w_dim]
        for i in range(num_layers):
            layer = FullyConnected(
                widths[i], widths[i + 1], lrelu=True, lr_multiplier=lr_multiplier, generator=generator
            )
            self.add_module(f"fc{i}", layer)

    def to_w(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        parts = [] if z is None else [ops.normalize_2nd_moment(z.float())]
        if self.c_dim:
            if c is None or c.shape[-1] != self.c_dim:
                found = "none" if c is None else f"shape {list(c.shape)}"
                raise UsageError(
                    f"this network has {self.c_dim} classes and needs labels c [N, {self.c_dim}]; found {found}"
                )
            parts.append(ops.normalize_2nd_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


class GeneratorMapping(Mapping):
    """z to one w per layer of the synthesis network, with the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            config.mapping_layers,
            config.mapping_lr_multiplier,
            generator,
            config.embed_features,
            config.layer_features,
        )
        self.num_ws = config.num_ws
        self.w_avg_beta = config.w_avg_beta
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """`ws` [N, num_ws, w_dim]; the first `truncation_cutoff` rows (None: all) are w_avg + psi * (w - w_avg)."""
        w = self.to_w(z, c)
        if update_w_avg:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if truncation_psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws, truncation_psi)
        if truncation_cutoff is None:
            return truncated
        return torch.cat([truncated[:, :truncation_cutoff], ws[:, truncation_cutoff:]], dim=1)


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

    def forward(
        self, x: Tensor, w: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None, gain: float = 1
    ) -> Tensor:
        noise = None
        if self.use_noise and noise_mode == "random":
            noise = ops.randn([len(x), 1, *self.noise_const.shape], x.device, generator) * self.noise_strength
        elif self.use_noise and noise_mode == "const":
            noise = self.noise_const * self.noise_strength
        up_kernel = self.resample_filter if self.up else None
        act_gain = gain * ops.ACTIVATION_GAIN
        x = ops.modulated_conv2d(x, self.weight, self.affine(w), noise, up_kernel, act_gain)
        x = x.add_((self.bias * act_gain).to(x.dtype)[:, None, None])
        return ops.lrelu_(x, self.conv_clamp and self.conv_clamp * gain)


class ToRGB(nn.Module):
    """Style-modulated 1x1 convolution from features to image channels, neither demodulated nor activated."""

    def __init__(self, block: Block, config: NetworkConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.conv_clamp = config.conv_clamp
        self.affine = FullyConnected(config.w_dim, block.channels, bias_init=1, generator=generator)
        self.weight = nn.Parameter(torch.randn(config.img_channels, block.channels, 1, 1, generator=generator))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))
        self.weight_gain = 1 / math.sqrt(block.channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        x = F.conv2d(x * styles.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype)).float()
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

    def forward(self, x: Tensor, gain: float = 1) -> Tensor:
        act_gain = gain if self.bias is None else gain * ops.ACTIVATION_GAIN
        weight = (self.weight * (self.weight_gain * act_gain)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * act_gain).to(x.dtype)
        if self.resample == "down":
            x = ops.conv2d_down(x, weight, bias, self.resample_filter)
        elif self.resample == "up":  # a 1x1 convolution and a filter may change places: fewer pixels this way
            x = ops.upsample2d(F.conv2d(x, weight, bias), self.resample_filter)
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return x if bias is None else ops.lrelu_(x, self.conv_clamp and self.conv_clamp * gain)


class SynthesisBlock(nn.Module):
    """All layers of one resolution of G."""

    resample_filter: Tensor

    def __init__(
        self, block: Block, in_channels: int, is_last: bool, config: NetworkConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.architecture, self.in_half = config.g_architecture, config.in_half(block.resolution)
        self.is_first, self.has_torgb = in_channels == 0, is_last or config.g_architecture == "skip"
        self.register_buffer("resample_filter", ops.fir_filter(TAPS))
        if self.is_first:
            self.const = nn.Parameter(torch.randn(block.channels, block.height, block.width, generator=generator))
        else:
            self.conv0 = SynthesisLayer(in_channels, block, config, up=True, generator=generator)
        self.conv1 = SynthesisLayer(block.channels, block, config, up=False, generator=generator)
        if self.has_torgb:
            self.torgb = ToRGB(block, config, generator)
        if not self.is_first and self.architecture == "resnet":
            self.skip = Conv2d(in_channels, block.channels, 1, activated=False, resample="up", generator=generator)

    def forward(
        self,
        x: Tensor | None,
        img: Tensor | None,
        ws: Tensor,
        noise_mode: NoiseMode,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Features [N, C, H, W] and image so far, at this block's size; `ws` [N, 2 or 3, w_dim] are this block's rows."""
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        x = as_features(x, self.in_half)
        if self.is_first:
            x = self.conv1(x, ws[:, 0], noise_mode, generator)
        elif self.architecture == "resnet":
            y = self.skip(x, gain=HALF_GAIN)
            x = self.conv0(x, ws[:, 0], noise_mode, generator)
            x = y + self.conv1(x, ws[:, 1], noise_mode, generator, gain=HALF_GAIN)
        else:
            x = self.conv0(x, ws[:, 0], noise_mode, generator)
            x = self.conv1(x, ws[:, 1], noise_mode, generator)
        if img is not None:
            img = ops.upsample2d(img, self.resample_filter)
        if self.has_torgb:
            y = self.torgb(x, ws[:, -1])
            img = y if img is None else img + y
        return x, img


class Synthesis(nn.Module):
    """The learned constant grown, doubling by doubling, to an image."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.num_ws = config.num_ws
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
        ws = ws.float()
        x: Tensor | None = None
        img: Tensor | None = None
        start = 0
        for name in self.block_names:
            num_convs = 1 if x is None else 2
            block_ws = ws[:, start : start + num_convs + 1]  # its ToRGB reads the row that the next block starts with
            x, img = self.get_submodule(name)(x, img, block_ws, noise_mode, generator)
            start += num_convs
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
        if self.mbstd_num_channels:
            x = ops.minibatch_std(x, self.mbstd_group_size, self.mbstd_num_channels)
        out: Tensor = self.out(self.fc(self.conv(x).flatten(1)))
        return out


class Discriminator(nn.Module):
    """Images [N, C, H, W] and labels to logits [N, 1], high for real ones; labels enter by projection."""

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
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
            x, img = self.get_submodule(name)(x, img)
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
