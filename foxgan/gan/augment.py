"""Adaptive discriminator augmentation (Karras et al. 2020b, app. B): what D sees of reals and fakes alike, at strength `p`.

Parameters are drawn and matrices built on the CPU, pixels change where the images are. Only images that some op really
changes are touched, which at p = 0 is none; every op can be differentiated twice, as R1 needs.
"""

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foxgan.errors import UsageError
from foxgan.gan import ops
from foxgan.gan.augpipes import COLOR, OPS, parse_augpipe

XINT_MAX = 0.125  # of a side
SCALE_STD = 0.2  # in octaves, as every scale below
ANISO_STD = 0.2
XFRAC_STD = 0.125  # of a side
BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5
SATURATION_STD = 1.0
IMGFILTER_STD = 1.0
NOISE_STD = 0.1
CUTOUT_SIZE = 0.5  # of a side

# Scaling filters of the symlet wavelets sym6 (geometry, orthogonal) and sym2 (filter bank), as PyWavelets orders them.
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466),
    *(0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578),
    *(0.0017677118642428036, -0.007800708325034148),
)
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
SPAN = len(SYM6) // 4  # pixels that half of the filter covers
WARP_BATCH = 8
BAND_ENERGY = torch.tensor([10, 1, 1, 1]) / 13  # of natural images (1/f), so that a filter keeps the overall contrast


class Draws:
    """Random numbers [N] for a batch of `n` images, or, with `percentile`, that point of each op's distribution, gates open."""

    def __init__(self, n: int, p: float, generator: torch.Generator | None, percentile: float | None) -> None:
        self.n, self.p, self.generator, self.percentile = n, p, generator, percentile
        self.cpu = torch.device("cpu")

    def uniform(self, low: float = 0, high: float = 1) -> Tensor:
        if self.percentile is None:
            return low + (high - low) * ops.rand([self.n], self.cpu, self.generator)
        return torch.full([self.n], low + (high - low) * self.percentile)

    def integer(self, choices: int) -> Tensor:
        return (self.uniform() * choices).floor()

    def normal(self, std: float) -> Tensor:
        if self.percentile is None:
            return std * ops.randn([self.n], self.cpu, self.generator)
        return std * torch.full([self.n], 2 * self.percentile - 1).erfinv()

    def half_normal(self, std: float) -> Tensor:
        if self.percentile is None:
            return self.normal(std).abs()
        return std * torch.full([self.n], self.percentile).erfinv()

    def gate(self, value: Tensor, prob: float, off: float = 0) -> Tensor:
        """`value` where the op is active, which it is with probability `prob`, else `off`."""
        if self.percentile is not None:
            return value
        return value.where(ops.rand([self.n], self.cpu, self.generator) < prob, torch.tensor(float(off)))


# Homogeneous matrices [N, k + 1, k + 1] of parameters [N].


def _matrix(rows: list[list[Tensor | float]]) -> Tensor:
    n = next(x for row in rows for x in row if isinstance(x, Tensor)).shape
    return torch.stack([torch.stack([torch.as_tensor(x).expand(n) for x in row], dim=-1) for row in rows], dim=-2)


def translation(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def diagonal(x: Tensor) -> Tensor:
    """[N, 4, 4] that multiplies r, g and b by `x`."""
    return torch.diag_embed(torch.stack([x, x, x, torch.ones_like(x)], dim=-1))


def wavelet_filter_bank() -> Tensor:
    """Four band-pass filters [4, 43], the lowest band first, that sum to a unit impulse (paper, app. B)."""
    lo = torch.tensor(SYM2, dtype=torch.float64)
    hi = lo * torch.tensor([1, -1, 1, -1])
    lo2, hi2 = (F.conv1d(f[None, None], f[None, None], padding=3)[0, 0] / 2 for f in (lo, hi))  # autocorrelations
    bank = torch.eye(4, 1, dtype=torch.float64)
    for i in range(1, 4):
        bank = torch.stack([bank, torch.zeros_like(bank)], dim=2).flatten(1)[:, :-1]
        bank = F.conv1d(bank[:, None], lo2.flip(0)[None, None], padding=6)[:, 0]
        middle = bank.shape[1] // 2
        bank[i, middle - 3 : middle + 4] += hi2
    return bank.float()


class AugmentPipe(nn.Module):
    """18 invertible transforms, each active per image with probability its multiplier times `p`.

    1 or 3 color channels, optionally followed by alpha. Color ops change the color channels as they are stored (straight, not
    multiplied by alpha) and leave alpha alone; all other ops treat every channel alike, so alpha moves with the picture.
    Straight, because D judges the channels as they are stored, and an augmentation leaks unless it can be undone: every op is affine
    in the channels, whatever alpha is. Premultiplied, the color under alpha 0 would be lost, and the way back divides by alpha: no
    bounded second derivative for R1, and fakes may have alphas below 0. The price is that unseen color changes with the seen and is
    mixed into edges that move: alike in reals and fakes, so nobody learns from it.
    """

    p: Tensor
    Hz_geom: Tensor
    Hz_fbank: Tensor

    def __init__(self, img_channels: int = 3, **multipliers: float) -> None:
        super().__init__()
        unknown = sorted(set(multipliers) - set(OPS))
        if unknown:
            raise UsageError(f"augmentation {', '.join(unknown)} does not exist; there are {', '.join(OPS)}")
        if img_channels > 4 and any(multipliers.get(op) for op in COLOR):
            raise UsageError(
                f"color augmentation knows 1 or 3 color channels and alpha, these images have {img_channels} channels; "
                "choose the augpipe bg or blit"
            )
        self.multipliers = {op: float(multipliers.get(op, 0)) for op in OPS}
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("Hz_geom", torch.tensor(SYM6) / sum(SYM6))
        self.register_buffer("Hz_fbank", wavelet_filter_bank())

    @classmethod
    def from_text(cls, text: str, img_channels: int = 3) -> Self:
        """What `parse_augpipe` reads: one of the published sets (blit, geom ... bgcfnc), single transforms, multipliers."""
        return cls(img_channels, **parse_augpipe(text))

    def forward(self, img: Tensor, generator: torch.Generator | None = None, percentile: float | None = None) -> Tensor:
        """`img` [N, C, H, W] augmented; `percentile` (0..1) replaces all draws, for tests."""
        p = self.p.item()
        if p <= 0 and percentile is None:
            return img
        draws = Draws(len(img), p, generator, percentile)
        img = _on_changed(img, self._geometry(draws, *img.shape[2:]), torch.eye(3), self._warp)
        img = _on_changed(img, self._color(draws, img.shape[1] > 2), torch.eye(4), _recolor)
        img = _on_changed(img, self._band_gains(draws), torch.ones(4), self._filter)
        img = self._noise(img, draws)
        return self._cutout(img, draws)

    def _geometry(self, draws: Draws, height: int, width: int) -> Tensor:
        """[N, 3, 3] from output to input pixels, the origin at the image's center."""
        m, p = self.multipliers, draws.p
        inverse = torch.eye(3).repeat(draws.n, 1, 1)
        ones = torch.ones(draws.n)
        if m["xflip"]:
            flip = draws.gate(draws.integer(2), m["xflip"] * p)
            inverse = inverse @ scaling(1 - 2 * flip, ones)
        if m["rotate90"]:
            turns = draws.gate(draws.integer(4), m["rotate90"] * p)
            inverse = inverse @ rotation(turns * (math.pi / 2)).round()
        if m["xint"]:
            active = draws.gate(ones, m["xint"] * p)
            x, y = (draws.uniform(-XINT_MAX, XINT_MAX) * active for _ in range(2))
            inverse = inverse @ translation(-(x * width).round(), -(y * height).round())
        if m["scale"]:
            s = draws.gate(draws.normal(SCALE_STD).exp2(), m["scale"] * p, off=1)
            inverse = inverse @ scaling(1 / s, 1 / s)
        prob = 1 - math.sqrt(max(1 - m["rotate"] * p, 0))  # P(before or after) = rotate * p
        if m["rotate"]:
            inverse = inverse @ rotation(draws.gate(draws.uniform(-math.pi, math.pi), prob))
        if m["aniso"]:
            s = draws.gate(draws.normal(ANISO_STD).exp2(), m["aniso"] * p, off=1)
            inverse = inverse @ scaling(1 / s, s)
        if m["rotate"] and draws.percentile is None:
            inverse = inverse @ rotation(draws.gate(draws.uniform(-math.pi, math.pi), prob))
        if m["xfrac"]:
            active = draws.gate(ones, m["xfrac"] * p)
            x, y = (draws.normal(XFRAC_STD) * active for _ in range(2))
            inverse = inverse @ translation(-x * width, -y * height)
        return inverse

    def _color(self, draws: Draws, is_rgb: bool) -> Tensor:
        """[N, 4, 4] acting on (r, g, b, 1)."""
        m, p = self.multipliers, draws.p
        matrix = torch.eye(4).repeat(draws.n, 1, 1)
        luma = torch.tensor([1, 1, 1, 0]) / math.sqrt(3)
        along = luma.outer(luma)
        if m["brightness"]:
            b = draws.gate(draws.normal(BRIGHTNESS_STD), m["brightness"] * p)
            matrix[:, :3, 3] += b[:, None]
        if m["contrast"]:
            matrix = diagonal(draws.gate(draws.normal(CONTRAST_STD).exp2(), m["contrast"] * p, off=1)) @ matrix
        if m["lumaflip"]:
            flip = draws.gate(draws.integer(2), m["lumaflip"] * p)
            matrix = (torch.eye(4) - 2 * along * flip[:, None, None]) @ matrix
        if m["hue"] and is_rgb:
            angle = draws.gate(draws.uniform(-math.pi, math.pi), m["hue"] * p)[:, None, None]
            x, y, z, _ = luma.tolist()
            cross = torch.tensor([[0, -z, y, 0], [z, 0, -x, 0], [-y, x, 0, 0], [0, 0, 0, 0]])
            rest = torch.diag(torch.tensor([1.0, 1, 1, 0])) - along
            turn = torch.eye(4) + angle.sin() * cross + (angle.cos() - 1) * rest  # Rodrigues' formula
            matrix = turn @ matrix
        if m["saturation"] and is_rgb:
            s = draws.gate(draws.normal(SATURATION_STD).exp2(), m["saturation"] * p, off=1)[:, None, None]
            matrix = (torch.eye(4) + (torch.diag(torch.tensor([1.0, 1, 1, 0])) - along) * (s - 1)) @ matrix
        return matrix

    def _band_gains(self, draws: Draws) -> Tensor:
        """[N, 4] amplification of each frequency band; after each change all are brought back to unit energy."""
        gains = torch.ones(draws.n, 4)
        if self.multipliers["imgfilter"]:
            for band in range(4):
                t = torch.ones(draws.n, 4)
                t[:, band] = draws.gate(
                    draws.normal(IMGFILTER_STD).exp2(), self.multipliers["imgfilter"] * draws.p, off=1
                )
                changed = t[:, band : band + 1] != 1
                gains = torch.where(
                    changed, gains * t / (BAND_ENERGY * t.square()).sum(dim=1, keepdim=True).sqrt(), gains
                )
        return gains

    def _warp(self, img: Tensor, inverse: Tensor) -> Tensor:
        """Resample at twice the resolution, where bilinear interpolation is good enough, between orthogonal sym6 filters.

        Both filterings are products with a banded matrix per axis, mirrored edges included: on a CPU that is far faster
        than convolutions of three channels. Images of like reach go together, so that one extreme one pads few others.
        """
        height, width = img.shape[2:]
        margins = _margins(inverse, height, width, extra=2 * SPAN)
        order = margins.sum(dim=1).argsort()
        parts = [
            self._warp_alike(img[i.to(img.device)], inverse[i], margins[i]) for i in torch.split(order, WARP_BATCH)
        ]
        return torch.cat(parts)[order.argsort().to(img.device)]

    def _warp_alike(self, img: Tensor, inverse: Tensor, margins: Tensor) -> Tensor:
        height, width = img.shape[2:]
        x0, x1, y0, y1 = margins.amax(dim=0).tolist()
        img = _upsampling(self.Hz_geom, height, y0, y1) @ img @ _upsampling(self.Hz_geom, width, x0, x1).t()
        # grid_sample wants both sides in units from -1 to 1; the filters shift the upsampled pixels by half of one
        out_height, out_width = (height + 2 * SPAN) * 2, (width + 2 * SPAN) * 2
        to_input = torch.tensor([[2, 0, x0 - x1 - 0.5], [0, 2, y0 - y1 - 0.5], [0, 0, 1]])
        from_output = torch.tensor([[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]])
        to_unit = torch.diag(torch.tensor([2 / img.shape[3], 2 / img.shape[2], 1]))
        from_unit = torch.diag(torch.tensor([out_width / 2, out_height / 2, 1]))
        theta = (to_unit @ to_input @ inverse @ from_output @ from_unit)[:, :2].to(img.device)
        grid = F.affine_grid(theta, [len(img), 1, out_height, out_width], align_corners=False)
        img = F.grid_sample(img, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return _downsampling(self.Hz_geom, height) @ img @ _downsampling(self.Hz_geom, width).t()

    def _filter(self, img: Tensor, gains: Tensor) -> Tensor:
        n, c, h, w = img.shape
        kernels = (gains.to(img.device) @ self.Hz_fbank).repeat_interleave(c, dim=0)[:, None]
        pad = kernels.shape[-1] // 2
        img = _reflect_pad(img, pad).reshape(1, n * c, h + 2 * pad, w + 2 * pad)
        img = F.conv2d(img, kernels[:, :, None, :], groups=n * c)
        return F.conv2d(img, kernels[:, :, :, None], groups=n * c).reshape(n, c, h, w)

    def _noise(self, img: Tensor, draws: Draws) -> Tensor:
        if not self.multipliers["noise"]:
            return img
        sigma = draws.gate(draws.half_normal(NOISE_STD), self.multipliers["noise"] * draws.p)

        def add(img: Tensor, sigma: Tensor) -> Tensor:
            noise = ops.randn(img.shape, img.device, draws.generator)
            return img + noise * sigma.to(img.device)[:, None, None, None]

        return _on_changed(img, sigma, torch.tensor(0.0), add)

    def _cutout(self, img: Tensor, draws: Draws) -> Tensor:
        if not self.multipliers["cutout"]:
            return img
        half = draws.gate(torch.full([draws.n], CUTOUT_SIZE), self.multipliers["cutout"] * draws.p) / 2
        kept = []
        for side in (img.shape[3], img.shape[2]):
            place = (torch.arange(side) + 0.5) / side
            kept.append((place - draws.uniform()[:, None]).abs() >= half[:, None])
        mask = kept[0][:, None, None, :] | kept[1][:, None, :, None]
        return img * mask.to(img.device, img.dtype)


def _on_changed(img: Tensor, params: Tensor, identity: Tensor, op: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`op(img, params)` for the images whose params [N, ...] differ from `identity`; the others as they are."""
    changed = (params != identity).reshape(len(img), -1).any(dim=1)
    if not changed.any():
        return img
    if changed.all():
        return op(img, params)
    where = changed.nonzero()[:, 0].to(img.device)
    return img.index_copy(0, where, op(img.index_select(0, where), params[changed]))


def _margins(inverse: Tensor, height: int, width: int, extra: int) -> Tensor:
    """Pixels [N, 4] to add left, right, above and below so that all that the warp reads exists, and memory stays bounded.

    The limit is the longer side minus 1, in the reference that of each axis: the ends of an oblong image stay filled when it turns.
    """
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-cx, cx, cx, -cx], [-cy, -cy, cy, cy], [1, 1, 1, 1]])
    x, y, _ = (inverse @ corners).unbind(dim=1)
    reach = torch.stack([(-x).amax(1) - cx, x.amax(1) - cx, (-y).amax(1) - cy, y.amax(1) - cy], dim=1)
    return (reach + 2 * extra).ceil().long().clamp(min=0, max=max(height, width) - 1)


def _recolor(img: Tensor, matrix: Tensor) -> Tensor:
    n, c, h, w = img.shape
    num_colors = 3 if c > 2 else 1
    matrix = matrix[:, :3].to(img.device)
    if num_colors == 1:  # grey: what the mean of three equal channels becomes
        mean = matrix.mean(dim=1, keepdim=True)
        matrix = torch.cat([mean[:, :, :3].sum(dim=2, keepdim=True), mean[:, :, 3:]], dim=2)
    color = img[:, :num_colors].reshape(n, num_colors, h * w)
    color = torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], color).reshape(n, num_colors, h, w)
    return color if c == num_colors else torch.cat([color, img[:, num_colors:]], dim=1)


def _upsampling(taps: Tensor, side: int, before: int, after: int) -> Tensor:
    """[2 * (before + side + after), side]: mirrored edges, then zeros in between, then the filter `taps` at gain 2."""
    place = torch.arange(-before, side + after, device=taps.device)
    fine = torch.arange(2 * len(place), device=taps.device)[:, None]
    spread = _taps_at(taps, fine + len(taps) // 2 - 1 - 2 * torch.arange(len(place), device=taps.device))
    return 2 * spread @ torch.eye(side, device=taps.device)[_mirrored(place, side)]


def _downsampling(taps: Tensor, side: int) -> Tensor:
    """[side, 2 * (side + 2 * SPAN)]: the adjoint of `taps`, then every second pixel, without what the filter lacks at the ends."""
    fine = torch.arange(2 * (side + 2 * SPAN), device=taps.device)
    return _taps_at(taps, fine - 2 * torch.arange(side, device=taps.device)[:, None] - 1)


def _taps_at(taps: Tensor, place: Tensor) -> Tensor:
    return taps[place.clamp(0, len(taps) - 1)] * ((place >= 0) & (place < len(taps)))


def _mirrored(place: Tensor, side: int) -> Tensor:
    """The pixels 0..side - 1 that stand at `place` when the edges are mirrors, however far out."""
    period = 2 * (side - 1)
    place = place % period
    return torch.minimum(place, period - place)


def _reflect_pad(img: Tensor, pad: int) -> Tensor:
    """`pad` pixels of reflection on each side, in several bounces where the image is smaller than that."""
    for dim in (2, 3):
        side = img.shape[dim]
        img = img.index_select(dim, _mirrored(torch.arange(-pad, side + pad, device=img.device), side))
    return img
