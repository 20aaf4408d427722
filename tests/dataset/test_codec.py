"""Every encoding of a picture: there and back, and values that are not what the dataset needs."""

import struct
from io import BytesIO
from typing import get_args

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from foxgan import images
from foxgan.dataset.codec import Encoding, decode, decode_into, encode, is_plain_png, png_shape, restore, webp_shape
from foxgan.errors import DataError

ENCODINGS = get_args(Encoding)
SHAPE = (8, 8, 3)


def picture(shape=SHAPE, seed=0, levels=256):
    return np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8)


def saved(image, kind, **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# There and back


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    levels=st.sampled_from([1, 2, 20, 256]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_every_picture_comes_back_bit_by_bit(encoding, height, width, channels, levels, seed):
    image = picture((height, width, channels), seed, levels)
    assert np.array_equal(decode(encode(image, encoding), image.shape, encoding), image)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("alpha", [0, 255])
def test_colours_stay_where_alpha_is_the_same_everywhere(encoding, alpha):
    image = picture((6, 5, 4))
    image[..., 3] = alpha
    assert np.array_equal(decode(encode(image, encoding), image.shape, encoding), image)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_part_of_a_larger_array_is_encoded_as_its_copy(encoding):
    part = picture((20, 30, 3))[3:12, 5:25][::-1]
    assert encode(part, encoding) == encode(part.copy(), encoding)


def test_pictures_of_a_batch_are_restored_each_by_itself():
    pictures = [picture((9, 7, 3), seed) for seed in range(3)]
    batch = np.empty((3, 3, 9, 7), np.uint8)
    for planes, image in zip(batch, pictures, strict=True):
        decode_into(planes, encode(image, "zstd"), "zstd")
    restore(batch, "zstd")
    assert np.array_equal(batch.transpose(0, 2, 3, 1), pictures)


def test_webp_is_smaller_than_png_and_raw_is_as_large_as_its_pixels():
    smooth = images.resize(picture((8, 8, 3)), 64, 64)
    sizes = {encoding: len(encode(smooth, encoding)) for encoding in ENCODINGS}
    assert sizes["webp"] < sizes["png"] < sizes["raw"] == smooth.nbytes and sizes["zstd"] < sizes["raw"]


def test_picture_too_large_for_webp_is_refused_with_advice():
    with pytest.raises(DataError, match="2x16384 RGB: WebP holds.*16383.*zstd"):
        encode(np.zeros((2, 16384, 3), np.uint8), "webp")


# Values that are something else


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("held", "asked"), [((8, 9, 3), SHAPE), ((8, 8, 4), SHAPE), (SHAPE, (8, 8, 1)), (SHAPE, (4, 4, 3))]
)
def test_picture_of_another_shape_is_refused_naming_the_datasets(encoding, held, asked):
    with pytest.raises(ValueError, match=f"{asked[0]}x{asked[1]} {'L' if asked[2] == 1 else 'RGB'}"):
        decode(encode(picture(held), encoding), asked, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("other", ENCODINGS)
def test_value_of_another_encoding_is_refused(encoding, other):
    if encoding != other:
        with pytest.raises(ValueError, match="8x8 RGB|no whole zstd"):
            decode(encode(picture(), other), SHAPE, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_value_that_breaks_off_is_refused(encoding, share):
    value = encode(picture((32, 32, 3)), encoding)
    with pytest.raises(ValueError, match="32x32 RGB|broken|no whole zstd"):
        decode(value[: int(share * len(value))], (32, 32, 3), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_damaged_value_is_a_value_error_or_a_picture_of_the_shape(encoding, places):
    value = bytearray(encode(picture((12, 10, 3)), encoding))
    for place, byte in places:
        value[int(place * len(value))] = byte
    try:
        assert decode(bytes(value), (12, 10, 3), encoding).shape == (12, 10, 3)
    except ValueError as error:
        assert str(error)


def test_png_of_enormous_size_in_few_bytes_is_not_decoded():
    small = encode(picture(), "png")
    huge = small[:16] + (16384).to_bytes(4, "big") * 2 + small[24:]
    assert png_shape(small) == SHAPE and png_shape(huge) is None
    with pytest.raises(ValueError, match="no 8-bit PNG"):
        decode(huge, (16384, 16384, 3), "png")
    with pytest.raises(ValueError, match="broken PNG"):
        decode(small[:40] + b"\xff" * (len(small) - 40), SHAPE, "png")


def zstd_frame(size: int, data: bytes = b"") -> bytes:
    """A frame that says it holds `size` bytes, in one segment, and then `data`."""
    return struct.pack("<IBQ", zstandard.MAGIC_NUMBER, 0xE0, size) + data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (zstd_frame(1 << 40), f"zstd of {1 << 40} bytes where 8x8 RGB has 192"),
        (zstandard.compress(bytes(1 << 26)), f"zstd of {1 << 26} bytes where"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(192)), "zstd of -1 bytes where"),
        (zstandard.compress(bytes(192)) + b"more", "no whole zstd"),
        (zstd_frame(192, zstandard.compress(bytes(400))[6:]), "no whole zstd"),
        (zstd_frame(192), "no whole zstd"),
        (struct.pack("<II", 0x184D2A50, 192) + bytes(192), "zstd of 0 bytes|no whole zstd"),
    ],
    ids=["terabyte", "bomb", "size unknown", "more behind it", "more inside", "empty", "frame to skip"],
)
def test_zstd_that_is_not_one_frame_of_the_pictures_size_is_refused(value, expected):
    with pytest.raises(ValueError, match=expected):
        decode(value, SHAPE, "zstd")


def test_webp_of_enormous_size_is_not_decoded():
    small = encode(picture(), "webp")
    huge = small[:21] + ((16383 | 16383 << 14).to_bytes(4, "little")) + small[25:]
    assert webp_shape(small) == SHAPE and webp_shape(huge) == (16384, 16384, 3)
    with pytest.raises(ValueError, match="16384x16384 RGB where the dataset is 8x8 RGB"):
        decode(huge, SHAPE, "webp")
    with pytest.raises(ValueError, match="broken WebP"):
        decode(small[:25] + b"\xff" * (len(small) - 25), SHAPE, "webp")


def test_only_lossless_webp_without_side_notes_is_taken():
    image = Image.fromarray(picture())
    for value in (
        saved(image, "WEBP", quality=90),
        saved(image, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
        saved(image, "WEBP", lossless=True, save_all=True, append_images=[image.rotate(90)]),
        encode(picture(), "webp") + bytes(2),
    ):
        assert webp_shape(value) is None
        with pytest.raises(ValueError, match="no lossless WebP where the dataset is 8x8 RGB"):
            decode(value, SHAPE, "webp")


def test_only_pngs_without_side_notes_are_plain():
    grey = Image.new("L", (4, 4))
    assert is_plain_png(saved(grey, "PNG")) and is_plain_png(encode(np.zeros((4, 4, 4), np.uint8), "png"))
    note = PngImagePlugin.PngInfo()
    note.add_text("key", "value")
    for other in (
        saved(grey, "PNG", pnginfo=note),
        saved(grey, "PNG", transparency=0),
        saved(grey.convert("P"), "PNG"),
        saved(grey, "PNG") + b"x",
        b"",
    ):
        assert not is_plain_png(other)
