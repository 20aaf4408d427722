"""StyleGAN2 straight from the papers' equations: the slow reference that benchmarks compare with, and tests, too.

It shares our networks' weights and knows them by their names alone. Nothing is clever here: float32 with channels first, weights of
their own for every image, each equation a pass of its own, derivatives by autograd. Its convolutions are as strided as ours, so
both do the work that is counted: what a ratio tells is not made of multiplications by inserted zeros.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator
from foxgan.gan.trainer import Trainer

HALF = math.sqrt(0.5)  # gain of each branch of a residual sum


class Shared(nn.Module):
    """Has the parameters, buffers and children of `net`, under the same names."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        for name, param in net.named_parameters(recurse=False):
            self.register_parameter(name, param)
        for name, buffer in net.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, child in net.named_children():
            self.add_module(name, child)


def linear(layer: Any, x: Tensor, lr_multiplier: float = 1) -> Tensor:
    """Equalized learning rate: weights of deviation 1 / lr_multiplier are scaled when they are used (Karras et al. 2018, sec. 4.1)."""
    gain = lr_multiplier / math.sqrt(x.shape[1])
    return F.linear(x, layer.weight * gain, layer.bias * lr_multiplier)


def lrelu(x: Tensor, gain: float = 1, clamp: float | None = None) -> Tensor:
    x = F.leaky_relu(x, 0.2)
    x = x * (math.sqrt(2) * gain)
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def normalized(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def upfirdn(x: Tensor, kernel: Tensor, padding: tuple[int, int], up: int = 1, down: int = 1) -> Tensor:
    """Zeros between pixels, zeros around them, the whole filter [K, K] on every channel, every `down`-th pixel."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up - 1, 0, 0, 0, up - 1]).reshape(n, c, h * up, w * up)
    x = F.pad(x, [*padding, *padding])
    x = F.conv2d(x, kernel.flip([0, 1]).repeat(c, 1, 1, 1), groups=c)
    return x[:, :, ::down, ::down]


def upsampled(x: Tensor, kernel: Tensor) -> Tensor:
    return upfirdn(x, kernel * 4, (2, 1), up=2)


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, kernel: Tensor | None = None) -> Tensor:
    """Eq. 1 to 3 of StyleGAN2 (Karras et al. 2020a) on weights [N, O, I, k, k], then one convolution with a group per image.

    `kernel` doubles the size, as a filter after a transposed convolution.
    """
    n, _, h, w = x.shape
    out, inner, k, _ = weight.shape
    weights = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    x = x.reshape(1, n * inner, h, w)
    if kernel is None:
        x = F.conv2d(x, weights.reshape(n * out, inner, k, k), padding=k // 2, groups=n)
        return x.reshape(n, out, h, w)
    weights = weights.transpose(1, 2).reshape(n * inner, out, k, k)
    x = F.conv_transpose2d(x, weights, stride=2, groups=n)
    return upfirdn(x.reshape(n, out, *x.shape[2:]), kernel * 4, (1, 1))


def conv(layer: Any, x: Tensor, down: bool = False, gain: float = 1, clamp: float | None = None) -> Tensor:
    """A convolution of D; with a bias it is activated."""
    k = layer.weight.shape[-1]
    weight = layer.weight / math.sqrt(x.shape[1] * k * k)
    if down and k > 1:
        x = F.conv2d(upfirdn(x, layer.resample_filter, (2, 2)), weight, stride=2)
    elif down:
        x = F.conv2d(upfirdn(x, layer.resample_filter, (1, 1), down=2), weight)
    else:
        x = F.conv2d(x, weight, padding=k // 2)
    if layer.bias is None:
        return x * gain
    return lrelu(x + layer.bias[:, None, None], gain, clamp)


def minibatch_std(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """Deviation over a group of images, averaged over pixels and channels, as more channels (Karras et al. 2018, sec. 3)."""
    n, _, h, w = x.shape
    group = next(g for g in range(min(group_size or n, n), 0, -1) if n % g == 0)
    maps = []
    for first in range(n // group):  # images of a group lie n / group apart
        images = x[first :: n // group]
        std = ((images - images.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt()
        maps.append(std.reshape(num_channels, -1).mean(dim=1))
    y = torch.stack([maps[i % (n // group)] for i in range(n)])
    return torch.cat([x, y[:, :, None, None].expand(-1, -1, h, w)], dim=1)


class PlainMapping(Shared):
    """z and c to w; `lr_multiplier` is that of all layers but the label's embedding."""

    def __init__(self, net: Any, lr_multiplier: float) -> None:
        super().__init__(net)
        self.c_dim, self.num_layers, self.lr_multiplier = net.c_dim, net.num_layers, lr_multiplier

    def to_w(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        parts = [] if z is None else [normalized(z)]
        if self.c_dim and c is not None:
            parts.append(normalized(linear(self.embed, c)))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = lrelu(linear(self.get_submodule(f"fc{i}"), x, self.lr_multiplier))
        return x


class PlainGeneratorMapping(PlainMapping):
    w_avg: Tensor

    def __init__(self, net: Any, config: NetworkConfig) -> None:
        super().__init__(net, config.mapping_lr_multiplier)
        self.num_ws, self.w_avg_beta = config.num_ws, config.w_avg_beta

    def forward(self, z: Tensor, c: Tensor | None = None, update_w_avg: bool = False) -> Tensor:
        w = self.to_w(z, c)
        if update_w_avg:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        return w[:, None].repeat(1, self.num_ws, 1)


class PlainSynthesis(Shared):
    def __init__(self, net: nn.Module, config: NetworkConfig) -> None:
        super().__init__(net)
        self.config = config

    def forward(self, ws: Tensor, noise_mode: str = "random", generator: torch.Generator | None = None) -> Tensor:
        x = self.b4.const.repeat(len(ws), 1, 1, 1).contiguous()
        img, row = None, 0
        for block in self.config.blocks:
            layers: Any = self.get_submodule(block.name)
            y, resnet = x, self.config.g_architecture == "resnet" and row > 0
            if row:
                x = self.layer(layers.conv0, x, ws[:, row - 1], noise_mode, generator, up=True)
            x = self.layer(layers.conv1, x, ws[:, row], noise_mode, generator, gain=HALF if resnet else 1)
            if resnet:
                x = conv(layers.skip, upsampled(y, layers.skip.resample_filter), gain=HALF) + x
            if img is not None:
                img = upsampled(img, layers.resample_filter)
            if self.config.g_architecture == "skip" or block == self.config.blocks[-1]:
                y = self.to_rgb(layers.torgb, x, ws[:, row + 1])
                img = y if img is None else img + y
            row += 2
        assert img is not None  # the last block has a ToRGB
        return img

    def layer(
        self,
        layer: Any,
        x: Tensor,
        w: Tensor,
        noise_mode: str,
        generator: torch.Generator | None,
        up: bool = False,
        gain: float = 1,
    ) -> Tensor:
        kernel = layer.resample_filter if up else None
        x = modulated_conv(x, layer.weight, linear(layer.affine, w), demodulate=True, kernel=kernel)
        if self.config.use_noise and noise_mode == "random":
            noise = torch.randn(len(x), 1, *x.shape[2:], generator=generator, device=x.device)
            x = x + noise * layer.noise_strength
        elif self.config.use_noise and noise_mode == "const":
            x = x + layer.noise_const * layer.noise_strength
        return lrelu(x + layer.bias[:, None, None], gain, self.config.conv_clamp)

    def to_rgb(self, layer: Any, x: Tensor, w: Tensor) -> Tensor:
        styles = linear(layer.affine, w) / math.sqrt(x.shape[1])
        x = modulated_conv(x, layer.weight, styles, demodulate=False)
        x = x + layer.bias[:, None, None]
        return x if self.config.conv_clamp is None else x.clamp(-self.config.conv_clamp, self.config.conv_clamp)


class PlainGenerator(nn.Module):
    """What training asks of `G`, with its weights: `mapping`, `synthesis`, `num_ws`, `config`."""

    def __init__(self, G: Generator) -> None:
        super().__init__()
        self.config, self.num_ws = G.config, G.config.num_ws
        self.mapping = PlainGeneratorMapping(G.mapping, G.config)
        self.synthesis = PlainSynthesis(G.synthesis, G.config)


class PlainDiscriminator(Shared):
    """`D(img, c)` with the weights of `D`."""

    def __init__(self, D: Discriminator) -> None:
        super().__init__(D)
        self.config = D.config
        if self.config.c_dim:
            self.mapping = PlainMapping(D.mapping, D.config.d_mapping_lr_multiplier)

    def forward(self, img: Tensor, c: Tensor | None = None) -> Tensor:
        config, img, x = self.config, img.contiguous(), None
        for block in config.blocks[:0:-1]:
            layers: Any = self.get_submodule(block.name)
            if x is None or config.d_architecture == "skip":
                y = conv(layers.fromrgb, img, clamp=config.conv_clamp)
                x = y if x is None else x + y
            if config.d_architecture == "skip":
                img = upfirdn(img, layers.resample_filter, (1, 1), down=2)
            y, gain = x, HALF if config.d_architecture == "resnet" else 1
            x = conv(layers.conv0, x, clamp=config.conv_clamp)
            x = conv(layers.conv1, x, down=True, gain=gain, clamp=config.conv_clamp)
            if config.d_architecture == "resnet":
                x = conv(layers.skip, y, down=True, gain=gain) + x
        logits = self.epilogue(x, img)
        if not config.c_dim:
            return logits
        cmap = self.mapping.to_w(None, c)
        return (logits * cmap).sum(dim=1, keepdim=True) / math.sqrt(cmap.shape[1])

    def epilogue(self, x: Any, img: Tensor) -> Tensor:
        config, layers = self.config, self.b4
        if config.d_architecture == "skip":
            x = x + conv(layers.fromrgb, img)
        if config.mbstd_num_channels:
            x = minibatch_std(x, config.mbstd_group_size, config.mbstd_num_channels)
        x = conv(layers.conv, x, clamp=config.conv_clamp)
        return linear(layers.out, lrelu(linear(layers.fc, x.flatten(1))))


def make_plain(trainer: Trainer) -> None:
    """From now on `trainer` computes the plain way, in float32; its weights, optimizers and average stay as they are."""
    trainer.G, trainer.D = PlainGenerator(trainer.G), PlainDiscriminator(trainer.D)  # type: ignore[assignment]
