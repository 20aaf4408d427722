"""The functions StyleGAN2 is made of: FIR resampling, modulated convolution, activation, minibatch statistics.

Only torch's own operators, so every function runs on any device and can be differentiated twice (R1, path length).
Convolutions are written unfused, scaling activations before and after: shared weights, and correct for path length.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.images import Pixels

LRELU_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2)  # keeps the variance of a standard normal input through lrelu


def to_uint8(img: Tensor) -> Pixels:
    """Network images [N, C, H, W] in [-1, 1] as pictures [N, H, W, C], by NVIDIA's rounding: x * 127.5 + 128, truncated."""
    pixels = (img.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def randn(shape: Sequence[int], device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers on `device`, drawn where `generator` lives: a CPU generator means the same on every device."""
    return torch.randn(*shape, generator=generator, device=generator.device if generator else device).to(device)


def rand(shape: Sequence[int], device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1); see `randn`."""
    return torch.rand(*shape, generator=generator, device=generator.device if generator else device).to(device)


def fir_filter(taps: Sequence[float]) -> Tensor:
    """The separable 2-D low-pass filter [K, K] of `taps`, summing to 1."""
    kernel = torch.tensor(taps, dtype=torch.float32)
    kernel = kernel / kernel.sum()
    return kernel[:, None] * kernel[None, :]


Padding = tuple[int, int, int, int]  # left, right, above, below; negative numbers crop


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    up: int = 1,
    down: int = 1,
    padding: Padding = (0, 0, 0, 0),
    flip: bool = False,
    gain: float = 1,
) -> Tensor:
    """Insert zeros (`up`), pad or crop, convolve with `kernel` [K] or [K, K], keep each `down`-th pixel.

    A true convolution; `flip` makes it a correlation. A one-dimensional kernel is applied along both axes.
    """
    kernel = kernel if flip else kernel.flip(list(range(kernel.ndim)))
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _resample(x, kernel, up, down, padding, gain)
    y: Tensor = _Resample.apply(x, kernel, up, down, padding, gain)
    return y


class _Resample(torch.autograd.Function):
    """`_resample` whose gradient is the adjoint resampling: several times faster than that of a depthwise convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, gain: float) -> Tensor:
        y = _resample(x, kernel, up, down, padding, gain)
        taps = kernel.shape[-1]
        left, _, above, _ = padding
        ctx.save_for_backward(kernel)
        ctx.adjoint = (down, up, (
            taps - 1 - left, x.shape[3] * up - y.shape[3] * down + left - up + 1,
            taps - 1 - above, x.shape[2] * up - y.shape[2] * down + above - up + 1,
        ), gain)  # fmt: skip
        return y

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        (kernel,) = ctx.saved_tensors
        up, down, padding, gain = ctx.adjoint
        return upfirdn2d(grad[0], kernel, up, down, padding, gain=gain), None, None, None, None, None


def _resample(x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, gain: float) -> Tensor:
    n, c, h, w = x.shape
    left, right, above, below = padding
    if up > 1:  # the positive part of the padding comes with the zeros in between
        x0, x1, y0, y1 = (max(side, 0) for side in padding)
        size = [n, c, h * up + y0 + y1, w * up + x0 + x1]
        zeros = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x)).zero_()
        zeros[:, :, y0 : y0 + h * up : up, x0 : x0 + w * up : up] = x
        x = zeros
        left, right, above, below = (min(side, 0) for side in padding)
    if left != right or above != below or left < 0 or above < 0:
        x = F.pad(x, [left, right, above, below])
        left = above = 0
    kernel = kernel.to(x.dtype)
    if kernel.ndim == 2:
        return F.conv2d(x, (kernel * gain).expand(c, 1, -1, -1), stride=down, padding=(above, left), groups=c)
    x = F.conv2d(x, (kernel * gain).expand(c, 1, 1, -1), stride=(1, down), padding=(0, left), groups=c)
    return F.conv2d(x, kernel[:, None].expand(c, 1, -1, -1), stride=(down, 1), padding=(above, 0), groups=c)


def memory_format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def upsample2d(x: Tensor, kernel: Tensor, flip: bool = False) -> Tensor:
    """Twice the size: zeros in between, then `kernel` at gain 4, centred so that nothing shifts."""
    low, high = (kernel.shape[-1] + 1) // 2, (kernel.shape[-1] - 2) // 2
    return upfirdn2d(x, kernel, up=2, padding=(low, high, low, high), flip=flip, gain=4)


def downsample2d(x: Tensor, kernel: Tensor, flip: bool = False) -> Tensor:
    """Half the size: `kernel`, then every second pixel."""
    low, high = (kernel.shape[-1] - 1) // 2, (kernel.shape[-1] - 2) // 2
    return upfirdn2d(x, kernel, down=2, padding=(low, high, low, high), flip=flip)


def filter2d(x: Tensor, kernel: Tensor) -> Tensor:
    """The same size: `kernel` alone, zeros outside."""
    low, high = kernel.shape[-1] // 2, (kernel.shape[-1] - 1) // 2
    return upfirdn2d(x, kernel, padding=(low, high, low, high))


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """`x` [N, D] scaled to mean square 1 per row."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def lrelu_(x: Tensor) -> Tensor:
    """Leaky ReLU in place. Its gain (ACTIVATION_GAIN) is for the caller to fold into what makes x or what reads it."""
    return F.leaky_relu_(x, LRELU_SLOPE)


def clamp(x: Tensor, limit: float | None) -> Tensor:
    """`x` in +-limit; None: as it is."""
    return x if limit is None else F.hardtanh(x, -limit, limit)  # its gradient is one pass, that of torch.clamp four


class _Energy(torch.autograd.Function):
    """Sum of squares [O, I] over the taps of a weight [O, I, k, k]; the gradient is one pass over the weight, not three."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return weight.square().sum(dim=(2, 3))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        weight: Tensor = ctx.saved_tensors[0]
        return weight * (2 * grads[0])[:, :, None, None]


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, scale: Tensor | None = None, up_kernel: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolution [O, I, k, k] of `x` with inputs multiplied by `styles` [N, I], and its `norm` [N, O] (StyleGAN2, eq. 1-3).

    Divided by `norm` the output would have the variance of the input. The division is left to the caller, who may have something
    cheaper to divide: norm^2 = styles^2 @ sum_k weight^2, so no image needs a weight of its own. `scale` [N, I] multiplies the
    inputs, too, but is none of the style. `up_kernel` doubles the size: a transposed convolution, then this low-pass filter.
    In float16 weight and styles are first brought to a largest value near 1, which the norm undoes.
    """
    out, inner, k, _ = weight.shape
    if x.dtype == torch.float16:
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * math.sqrt(inner * k * k))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    energy: Tensor = _Energy.apply(weight)
    norm = (styles.square() @ energy.t() + 1e-8).sqrt()
    x = x * (styles if scale is None else styles * scale).to(x.dtype)[:, :, None, None]
    weight = weight.to(x.dtype)
    if up_kernel is None:
        return F.conv2d(x, weight, padding=k // 2), norm
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return upfirdn2d(x, up_kernel, padding=(1, 1, 1, 1), gain=4), norm


def add_maps_(x: Tensor, bias: Tensor, noise: Tensor | None, strength: Tensor) -> Tensor:
    """`x` [N, C, H, W] plus `bias` [N, C] plus `noise` [N or 1, 1, H, W] times `strength` [N, C], in place.

    With noise it is one product of matrices, as is its gradient: fewer passes over x than sums that broadcast.
    """
    if noise is None:
        return x.add_(bias.to(x.dtype)[:, :, None, None])
    n, c, h, w = x.shape
    noise = noise.expand(n, -1, -1, -1).flatten(2)
    maps = torch.cat([torch.ones_like(noise), noise], dim=1).to(x.dtype)
    factors = torch.stack([bias, strength], dim=1).to(x.dtype)
    if memory_format(x) == torch.channels_last:
        x.permute(0, 2, 3, 1).view(n, h * w, c).baddbmm_(maps.mT.contiguous(), factors)
    else:
        x.view(n, c, h * w).baddbmm_(factors.mT, maps)
    return x


def mix_channels(x: Tensor, weight: Tensor) -> Tensor:
    """Each image's channels [C, H, W] mixed by a matrix of its own: weight [N, O, C], result [N, O, H, W] in x's memory layout."""
    if memory_format(x) == torch.channels_last:
        y = torch.bmm(x.permute(0, 2, 3, 1).flatten(1, 2), weight.mT)
        return y.reshape(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    return torch.bmm(weight, x.flatten(2)).reshape(len(x), -1, *x.shape[2:])


def scaled_smaller(x: Tensor, weight: Tensor, gain: float) -> tuple[Tensor, Tensor]:
    """`x` and `weight` of a convolution whose result shall be `gain` times as large; the one with fewer numbers is multiplied."""
    if x.numel() < weight.numel():
        return x * gain, weight.to(x.dtype)
    return x, (weight * gain).to(x.dtype)


def conv2d_down(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: Tensor) -> Tensor:
    """Half the size: low-pass `kernel`, then a convolution of stride 2."""
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2d(x, kernel), weight, bias)
    return F.conv2d(upfirdn2d(x, kernel, padding=(2, 2, 2, 2)), weight, bias, stride=2)


def conv2d_with_constants(x: Tensor, constants: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution of `x` [N, C, H, W] followed by maps that hold `constants` [N, F] everywhere; weight is [O, C + F, k, k]."""
    main, rest = torch.split(weight, [x.shape[1], constants.shape[1]], dim=1)
    maps = constants.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    pad = weight.shape[-1] // 2
    return F.conv2d(x, main, bias, padding=pad).add_(F.conv2d(maps, rest, padding=pad))


def minibatch_std(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """Standard deviation over groups of images, [N, num_channels], each the mean over a share of x (Karras et al. 2018, sec. 3).

    Groups have `group_size` images (None: all), or the largest number below that divides the batch.
    """
    n, c, h, w = x.shape
    group = next(g for g in range(min(group_size or n, n), 0, -1) if n % g == 0)
    y = x.float().reshape(group, n // group, num_channels, c // num_channels, h, w)
    y = (y - y.mean(dim=0)).square().mean(dim=0)  # `var` over the first axis is far slower
    return (y + 1e-8).sqrt().mean(dim=(2, 3, 4)).repeat(group, 1)
