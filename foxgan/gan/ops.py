"""The functions StyleGAN2 is made of: FIR resampling, modulated convolution, activation, minibatch statistics.

Only torch's own operators, so every function runs on any device and can be differentiated twice (R1, path length).
Convolutions are written unfused, scaling activations before and after: shared weights, and correct for path length.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LRELU_SLOPE = 0.2
SQRT2 = math.sqrt(2)


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


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    up: int = 1,
    down: int = 1,
    padding: Sequence[int] = (0, 0, 0, 0),
    flip: bool = False,
    gain: float = 1,
) -> Tensor:
    """Insert zeros (`up`), pad or crop (x0, x1, y0, y1), convolve with `kernel` [K] or [K, K], keep each `down`-th pixel.

    A true convolution; `flip` makes it a correlation. A one-dimensional kernel is applied along both axes.
    """
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, list(padding))  # negative numbers crop
    kernel = kernel.to(x.dtype) if flip else kernel.to(x.dtype).flip(list(range(kernel.ndim)))
    if kernel.ndim == 2:
        return F.conv2d(x, (kernel * gain).expand(c, 1, -1, -1), stride=down, groups=c)
    x = F.conv2d(x, (kernel * gain).expand(c, 1, 1, -1), stride=(1, down), groups=c)
    return F.conv2d(x, kernel[:, None].expand(c, 1, -1, -1), stride=(down, 1), groups=c)


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


def lrelu(x: Tensor, bias: Tensor | None = None, gain: float = 1, clamp: float | None = None) -> Tensor:
    """lrelu(x + bias) * sqrt(2) * gain, clamped to +-clamp * gain; sqrt(2) keeps the variance of normal input."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
    x = F.leaky_relu(x, LRELU_SLOPE) * (SQRT2 * gain)
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    up_kernel: Tensor | None = None,
    demodulate: bool = True,
) -> Tensor:
    """Convolution [O, I, k, k] with inputs scaled by `styles` [N, I], outputs back to unit variance (StyleGAN2, eq. 1-3).

    `up_kernel` doubles the size: a transposed convolution, then this low-pass filter. `noise` is added at the end.
    In half precision weight and styles are first brought to a largest value near 1, which demodulation undoes.
    """
    out, inner, k, _ = weight.shape
    if demodulate and x.dtype != torch.float32:
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * math.sqrt(inner * k * k))
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    x = x * styles.to(x.dtype)[:, :, None, None]
    w = weight.to(x.dtype)
    if up_kernel is None:
        x = F.conv2d(x, w, padding=k // 2)
    else:
        x = F.conv_transpose2d(x, w.transpose(0, 1), stride=2)
        x = upfirdn2d(x, up_kernel, padding=(1, 1, 1, 1), gain=4)
    if demodulate:
        dcoefs = (styles.square() @ weight.square().sum(dim=(2, 3)).t() + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]
        return x * dcoefs if noise is None else torch.addcmul(noise.to(x.dtype), x, dcoefs)
    return x if noise is None else x + noise.to(x.dtype)


def conv2d_down(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Half the size: low-pass `kernel`, then a convolution of stride 2."""
    if weight.shape[-1] == 1:
        return F.conv2d(downsample2d(x, kernel), weight)
    return F.conv2d(upfirdn2d(x, kernel, padding=(2, 2, 2, 2)), weight, stride=2)


def minibatch_std(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """`x` with `num_channels` maps of the standard deviation over groups of images (Karras et al. 2018, sec. 3).

    Groups have `group_size` images (None: all), or the largest number below that divides the batch.
    """
    n, c, h, w = x.shape
    group = next(g for g in range(min(group_size or n, n), 0, -1) if n % g == 0)
    y = x.float().reshape(group, -1, num_channels, c // num_channels, h, w)
    y = (y.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    y = y[..., None, None].repeat(group, 1, h, w)
    return torch.cat([x, y.to(x.dtype)], dim=1)
