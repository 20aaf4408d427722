"""Resampling, modulated convolution and minibatch statistics against published numbers and slow plain references."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foxgan.gan import ops

KERNEL = ops.fir_filter((1, 3, 3, 1))


def plain_upfirdn2d(x, kernel, up, down, padding):
    """One output pixel at a time, from the definition."""
    left, right, above, below = padding
    n, c, h, w = x.shape
    k = kernel.shape[0]
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, [left, right, above, below]).numpy()
    flipped = kernel.flip([0, 1]).numpy()
    rows, cols = (range(0, side - k + 1, down) for side in wide.shape[2:])
    y = [[(wide[:, :, i : i + k, j : j + k] * flipped).sum(axis=(2, 3)) for j in cols] for i in rows]
    return torch.tensor(np.array(y)).permute(2, 3, 0, 1)


def test_resampling_matches_the_published_values(golden):
    a = golden("upfirdn2d")
    for name in ("1331", "sym6"):
        torch.testing.assert_close(ops.upsample2d(a["x"], a[f"f_{name}"]), a[f"upsample2_{name}"])
        torch.testing.assert_close(ops.downsample2d(a["x"], a[f"f_{name}"]), a[f"downsample2_{name}"])
    torch.testing.assert_close(ops.filter2d(a["x"], a["f_1331"]), a["filter_1331"])
    odd = ops.upfirdn2d(a["x"], a["f_1331"], up=2, down=3, padding=(-1, 2, 3, -2), gain=2)
    torch.testing.assert_close(odd, a["pad_-1_2_3_-2_up2_down3_gain2"])


@pytest.mark.parametrize(("up", "down", "padding"), [(1, 1, (1, 1, 1, 1)), (2, 1, (2, 1, 2, 1)), (3, 2, (4, -1, 0, 2))])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_resampling_matches_its_definition_in_every_layout(up, down, padding, layout):
    torch.manual_seed(0)
    kernel = torch.randn(4, 4)
    x = torch.randn(2, 3, 6, 9)
    y = ops.upfirdn2d(x.to(memory_format=layout), kernel, up, down, padding)
    torch.testing.assert_close(y, plain_upfirdn2d(x, kernel, up, down, padding), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dims", [1, 2])
def test_resampling_can_be_differentiated_twice(dims):
    torch.manual_seed(0)
    kernel = torch.randn([4] * dims, dtype=torch.double)
    x = torch.randn(1, 2, 5, 6, dtype=torch.double, requires_grad=True)
    cases = itertools.product(
        [(1, 1, (2, 2, 2, 2)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 1, 1)), (2, 3, (-1, 2, 3, -2))], [0, 1]
    )
    for (up, down, padding), flip in cases:

        def resample(x, up=up, down=down, padding=padding, flip=flip):
            return ops.upfirdn2d(x, kernel, up, down, padding, bool(flip), gain=2)

        assert torch.autograd.gradcheck(resample, x)
        assert torch.autograd.gradgradcheck(resample, x)


def plain_modulated_conv2d(x, weight, styles, up):
    """A convolution per image whose weights are modulated and demodulated as in the paper."""
    images = []
    for image, style in zip(x, styles, strict=True):
        w = weight * style[None, :, None, None]
        w = w * (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        if up:
            y = F.conv_transpose2d(image[None], w.transpose(0, 1), stride=2)
            images.append(ops.upfirdn2d(y, KERNEL.to(x.dtype), padding=(1, 1, 1, 1), gain=4))
        else:
            images.append(F.conv2d(image[None], w, padding=1))
    return torch.cat(images)


def demodulated(x, weight, styles, up_kernel=None):
    y, norm = ops.modulated_conv2d(x, weight, styles, up_kernel=up_kernel)
    return y / norm[:, :, None, None]


@pytest.mark.parametrize("up", [False, True])
def test_unfused_modulation_equals_one_weight_per_image_in_value_and_gradients(up):
    torch.manual_seed(0)
    x, weight, styles = (
        torch.randn(s, dtype=torch.double).requires_grad_() for s in ((3, 4, 5, 6), (7, 4, 3, 3), (3, 4))
    )
    found = demodulated(x, weight, styles, up_kernel=KERNEL.double() if up else None)
    expected = plain_modulated_conv2d(x, weight, styles, up)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn_like(found)
    for a, b in zip(
        *(torch.autograd.grad((y * probe).sum(), (x, weight, styles)) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_demodulation_keeps_unit_variance_whatever_the_styles():
    torch.manual_seed(0)
    x, weight = torch.randn(8, 32, 24, 24), torch.randn(16, 32, 3, 3)
    y = demodulated(x, weight, torch.randn(8, 32) * 50)
    assert y[:, :, 2:-2, 2:-2].std() == pytest.approx(1, abs=0.05)


def test_half_precision_survives_styles_that_would_overflow_it():
    torch.manual_seed(0)
    x, weight, styles = torch.randn(2, 8, 6, 6), torch.randn(8, 8, 3, 3) * 1e4, torch.randn(2, 8) * 1e4
    half = demodulated(x.half(), weight, styles)
    torch.testing.assert_close(half.float(), demodulated(x, weight, styles), atol=0.02, rtol=0.02)


def test_what_is_left_to_scale_is_none_of_the_style():
    torch.manual_seed(0)
    x, weight, styles, scale = (
        torch.randn(2, 4, 5, 5),
        torch.randn(3, 4, 3, 3),
        torch.randn(2, 4),
        torch.rand(2, 4) + 0.5,
    )
    y, norm = ops.modulated_conv2d(x, weight, styles, scale)
    expected, norm_of_styles = ops.modulated_conv2d(x * scale[:, :, None, None], weight, styles)
    torch.testing.assert_close(y, expected)
    assert torch.equal(norm, norm_of_styles)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bias_and_noise_are_added_and_differentiated_as_plain_sums_are(layout):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.double).to(memory_format=layout).requires_grad_()
    bias, strength = (torch.randn(2, 3, dtype=torch.double).requires_grad_() for _ in range(2))
    for noise in (torch.randn(2, 1, 4, 5, dtype=torch.double), torch.randn(1, 1, 4, 5, dtype=torch.double), None):
        found = ops.add_maps_(x * 1, bias, noise, strength)
        expected = x + bias[:, :, None, None] + (0 if noise is None else noise * strength[:, :, None, None])
        torch.testing.assert_close(found, expected)
        inputs = (x, bias) if noise is None else (x, bias, strength)
        probe = torch.randn_like(expected)
        for a, b in zip(*(torch.autograd.grad((y * probe).sum(), inputs) for y in (found, expected)), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_mixing_channels_is_a_1x1_convolution_per_image_and_keeps_the_layout(layout):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 3, 5).to(memory_format=layout), torch.randn(2, 3, 4)
    y = ops.mix_channels(x, weight)
    torch.testing.assert_close(y, torch.cat([F.conv2d(x[i : i + 1], weight[i, :, :, None, None]) for i in range(2)]))
    assert y.is_contiguous(memory_format=layout)


def test_constant_maps_of_a_convolution_equal_maps_that_are_filled_with_them():
    torch.manual_seed(0)
    x, constants, weight, bias = torch.randn(2, 4, 3, 5), torch.randn(2, 2), torch.randn(6, 6, 3, 3), torch.randn(6)
    filled = torch.cat([x, constants[:, :, None, None].expand(-1, -1, 3, 5)], dim=1)
    found = ops.conv2d_with_constants(x, constants, weight, bias)
    torch.testing.assert_close(found, F.conv2d(filled, weight, bias, padding=1))


def test_minibatch_std_takes_every_nth_image_into_a_group():
    torch.manual_seed(0)
    x = torch.randn(8, 6, 3, 5)
    y = ops.minibatch_std(x, group_size=4, num_channels=2)
    assert y.shape == (8, 2)
    group = x[[1, 3, 5, 7]]  # images 1, 1 + 8 / 4, ...
    expected = (group.var(dim=0, correction=0) + 1e-8).sqrt()
    torch.testing.assert_close(y[3, 0], expected[:3].mean())
    torch.testing.assert_close(y[3, 1], expected[3:].mean())


def test_minibatch_std_of_a_batch_that_no_group_divides_uses_a_smaller_group():
    x = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ops.minibatch_std(x, 4, 1), ops.minibatch_std(x, 3, 1))
    assert torch.equal(ops.minibatch_std(x, None, 1), ops.minibatch_std(x, 6, 1))


def test_random_numbers_follow_their_generator_only():
    draw = [ops.randn([4], torch.device("cpu"), torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draw)
