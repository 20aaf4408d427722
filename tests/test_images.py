"""Pictures in all the shapes in which strangers send them, made here with Pillow."""

import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foxgan import images
from foxgan.errors import DataError
from foxgan.images import ImageError


def photo(height=48, width=64, channels=3, seed=0):
    """A smooth picture, so that JPEG keeps it."""
    y, x = np.mgrid[:height, :width]
    phase = np.random.default_rng(seed).uniform(0, 3, channels)
    waves = [127 + 100 * np.sin(x / 17 + p) * np.cos(y / 13 + p) for p in phase]
    return np.stack(waves, 2).astype(np.uint8)


def saved(picture, format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def png_claiming(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def reason(data, **options):
    with pytest.raises(ImageError) as caught:
        images.decode(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP", "PPM", "TGA"])
def test_lossless_formats_come_back_exactly(format):
    pixels = photo()
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(images.decode(saved(Image.fromarray(pixels), format, **options)), pixels)


@pytest.mark.parametrize("format", ["JPEG", "HEIF", "AVIF", "JPEG2000"])
def test_lossy_formats_of_cameras_and_phones_are_read(format):
    pixels = photo()
    decoded = images.decode(saved(Image.fromarray(pixels), format, quality=90) if format != "JPEG2000" else saved(
        Image.fromarray(pixels), format))  # fmt: skip
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_puts_the_photo_upright(orientation):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 255  # one corner tells all eight apart ... with the sides
    upright[16:, 16:32] = 90
    inverse = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
               7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    stored = Image.fromarray(upright)
    if orientation in inverse:
        stored = stored.transpose(Image.Transpose[inverse[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored, "PNG", exif=exif)
    assert np.array_equal(images.decode(data), upright)
    assert images.probe(data) == (48, 32, "PNG")


def test_an_unknown_or_broken_exif_leaves_the_photo_as_it_is():
    pixels = photo()
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0garbage that is no TIFF"):
        decoded = images.decode(saved(Image.fromarray(pixels), "JPEG", exif=exif))
        assert decoded.shape == pixels.shape


def test_palette_becomes_rgb_and_with_transparency_rgba():
    palette = Image.fromarray(photo()).quantize(16)
    assert images.decode(saved(palette), mode="any").shape == (48, 64, 3)
    transparent = saved(palette, transparency=palette.getpixel((0, 0)))
    decoded = images.decode(transparent, mode="any")
    assert decoded.shape == (48, 64, 4) and decoded[0, 0, 3] == 0 and decoded[..., 3].max() == 255
    assert tuple(images.decode(transparent)[0, 0]) == (255, 255, 255), "transparent parts lie on white"


def test_any_keeps_what_the_file_means():
    grey, colour, alpha = photo(channels=1), photo(), photo(channels=4)
    assert np.array_equal(images.decode(saved(Image.fromarray(grey[..., 0])), mode="any"), grey)
    assert np.array_equal(images.decode(saved(Image.fromarray(colour)), mode="any"), colour)
    assert np.array_equal(images.decode(saved(Image.fromarray(alpha, "RGBA")), mode="any"), alpha)
    assert images.decode(saved(Image.fromarray(alpha[..., :2], "LA")), mode="any").shape == (48, 64, 4)


def test_every_mode_gives_its_number_of_channels():
    for source in (photo(channels=1)[..., 0], photo(), photo(channels=4)):
        data = saved(Image.fromarray(source))
        for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
            decoded = images.decode(data, mode=mode)
            assert decoded.shape == (48, 64, channels) and decoded.dtype == np.uint8


def test_one_bit_pictures_are_black_and_white():
    decoded = images.decode(saved(Image.fromarray(photo()).convert("1")), mode="any")
    assert decoded.shape == (48, 64, 1) and set(np.unique(decoded)) == {0, 255}


def test_16_bit_grey_is_scaled_not_cut():
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    for format in ("PNG", "TIFF"):
        decoded = images.decode(saved(Image.fromarray(values), format), mode="any")
        assert np.abs(decoded[..., 0] - values / 257).max() <= 0.5


def test_float_pictures_are_scaled_from_one_or_from_their_own_range():
    ramp = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    for scale in (1, 255, 4000):
        decoded = images.decode(saved(Image.fromarray(ramp * scale), "TIFF"))
        assert np.abs(decoded[..., 0] - ramp * 255).max() <= 1
    broken = ramp.copy()
    broken[0, :8] = np.nan
    assert images.decode(saved(Image.fromarray(broken), "TIFF"))[0, 0, 0] == 0


def test_cmyk_as_adobe_writes_it_keeps_its_colours():
    red = Image.new("RGB", (64, 48), (250, 20, 20)).convert("CMYK")
    for format in ("JPEG", "TIFF"):
        decoded = images.decode(saved(red, format), mode="any")
        assert decoded.shape == (48, 64, 3)
        assert np.abs(decoded[10, 10].astype(int) - (250, 20, 20)).max() < 12


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(format):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert np.abs(images.decode(data)[0, 0].astype(int) - (250, 0, 0)).max() < 12


def test_a_header_that_claims_a_giant_is_refused_before_memory_is_spent():
    assert reason(png_claiming(60000, 60000)) == "too_large"
    assert reason(png_claiming(12000, 12000)) == "too_large"
    assert reason(saved(Image.fromarray(photo())), max_pixels=1000) == "too_large"
    with pytest.raises(ImageError, match="3072|64x48"):
        images.probe(saved(Image.fromarray(photo())), max_pixels=1000)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "HEIF", "TIFF"])
def test_truncated_files_are_broken(format):
    data = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), format)
    assert reason(data[: len(data) * 2 // 3]) == "broken"


def test_garbage_behind_a_good_signature_is_broken():
    assert reason(b"\xff\xd8\xff" + bytes(200)) == "broken"
    assert reason(b"\x89PNG\r\n\x1a\n" + b"garbage" * 9) == "broken"


def test_other_files_are_not_images(tmp_path):
    text = tmp_path / "fox.jpg"
    text.write_text("The quick brown fox")
    assert reason(text) == "not_an_image"
    assert reason(b"") == "not_an_image"
    assert reason(b"<html><body>404</body></html>") == "not_an_image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n") == "not_an_image", "EPS would run Ghostscript"


def test_random_damage_gives_pixels_or_an_image_error_and_no_warning():
    rng = np.random.default_rng(0)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF"):
        data = bytearray(saved(Image.fromarray(photo()), format))
        for _ in range(30):
            damaged = bytearray(data)
            for position in rng.integers(0, len(data), 8):
                damaged[position] = rng.integers(256)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    images.decode(bytes(damaged), max_pixels=10**6)
                except ImageError as error:
                    assert error.reason in ("broken", "too_large", "not_an_image")


def judged(data):
    """What `examine` says of a picture, beside what decoding it whole shows."""
    verdicts = []
    for look in (
        lambda: images.examine(data, 10**6)[:3],
        lambda: images.decode(data, mode="any", max_pixels=10**6).shape,
    ):
        try:
            verdicts.append(look())
        except ImageError as error:
            verdicts.append(error.reason)
    return verdicts


def test_examine_sees_what_decoding_the_whole_picture_would_show():
    rng = np.random.default_rng(0)
    colour, grey = Image.fromarray(photo(93, 131)), Image.fromarray(photo(93, 131, 1)[..., 0])
    alpha, odd = Image.fromarray(photo(93, 131, 4), "RGBA"), Image.fromarray(photo(3, 5))
    turned = Image.Exif()
    turned[0x0112] = 6
    whole = [saved(p, "JPEG", progressive=way) for p in (colour, grey, odd, colour.convert("CMYK")) for way in (0, 1)]
    whole += [saved(colour, "JPEG", exif=turned), saved(colour, "MPO", save_all=True, append_images=[colour])]
    whole += [saved(p) for p in (colour, grey, alpha, colour.convert("P"), colour.convert("1"), grey.convert("LA"))]
    for data in whole:
        seen, decoded = judged(data)
        assert seen == decoded and isinstance(seen, tuple)
    broken = 0
    for data in whole:
        for _ in range(30):
            damaged = bytearray(data[: rng.integers(len(data) // 2, len(data) + 1)])
            for position in rng.integers(0, len(damaged), 3):
                damaged[position] = rng.integers(256)
            seen, decoded = judged(bytes(damaged))
            assert seen == decoded
            broken += seen == "broken"
    assert broken > 100


KINDS = {
    "colour": lambda p: saved(p, "JPEG", quality=88),
    "grey": lambda p: saved(p.convert("L"), "JPEG", quality=88),
    "no subsampling, progressive": lambda p: saved(p, "JPEG", quality=60, subsampling=0, progressive=True),
    "cmyk": lambda p: saved(p.convert("CMYK"), "JPEG"),
    "turned": lambda p: saved(p, "JPEG", exif=oriented(6)),
    "png": lambda p: saved(p),
    "palette": lambda p: saved(p.quantize(16)),
}


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduced", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "any"])
def test_examined_bytes_give_the_same_pixels_by_the_faster_way(kind, reduced, mode):
    data = KINDS[kind](Image.fromarray(photo(91, 147)))
    images.examine(data)
    slow = images.decode(data, mode=mode, reduced=reduced)
    assert np.array_equal(images.decode_examined(data, mode=mode, reduced=reduced), slow)
    whole = images.decode(data, mode=mode)
    assert slow.shape == (-(-whole.shape[0] // reduced), -(-whole.shape[1] // reduced), whole.shape[2])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(96, 160), (91, 147)])
def test_picture_at_a_part_of_its_size_begins_where_the_whole_does(orientation, size):
    data = saved(Image.fromarray(photo(*size)), "JPEG", quality=95, exif=oriented(orientation))
    whole, half = images.decode(data).astype(float), images.decode(data, reduced=2).astype(float)
    height, width = (side // 2 for side in whole.shape[:2])
    means = whole[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    assert np.abs(half[:height, :width] - means).max() < 6 and np.abs(half[:height, :width] - means).mean() < 1


def test_broken_jpeg_is_broken_at_a_part_of_its_size_too():
    data = saved(Image.fromarray(photo(200, 200)), "JPEG", quality=95)
    assert reason(data[: len(data) // 2], reduced=4) == "broken"


def test_an_error_keeps_its_reason_on_the_way_from_a_worker():
    error = pickle.loads(pickle.dumps(ImageError("a.png: 9x9 pixels", "too_large")))
    assert (error.reason, str(error)) == ("too_large", "a.png: 9x9 pixels")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_lossless(channels):
    pixels = photo(channels=channels)
    assert np.array_equal(images.decode(images.encode_png(pixels), mode="any"), pixels)


def test_jpeg_is_close_and_lays_transparency_on_white():
    pixels = photo()
    assert np.abs(images.decode(images.encode_jpeg(pixels, 95)).astype(int) - pixels).mean() < 2
    assert images.decode(images.encode_jpeg(np.zeros((16, 16, 4), np.uint8), 95)).min() > 250


def test_write_leaves_a_whole_file_or_none(tmp_path):
    pixels = photo()
    images.write(tmp_path / "a.png", pixels)
    assert np.array_equal(images.decode(tmp_path / "a.png"), pixels)
    with pytest.raises(DataError, match="bmp"):
        images.write(tmp_path / "a.bmp", pixels)
    with pytest.raises(OSError):
        images.write(tmp_path / "missing" / "a.png", pixels)
    os.mkdir(tmp_path / "b.png")
    with pytest.raises(OSError):
        images.write(tmp_path / "b.png", pixels)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(12, 16), (96, 128), (24, 128), (96, 10), (48, 64), (1, 1)])
def test_resize_keeps_the_mean_and_the_channels(channels, size):
    pixels = photo(channels=channels)
    if channels == 4:
        pixels[..., 3] = 255
    small = images.resize(pixels, *size)
    assert small.shape == (*size, channels) and small.dtype == np.uint8
    assert np.abs(small.mean((0, 1)) - pixels.mean((0, 1))).max() < 3


def test_shrinking_is_anti_aliased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(images.resize(stripes, 16, 16).astype(int) - 127).max() <= 1


def test_the_colour_of_transparent_pixels_does_not_bleed():
    sticker = np.zeros((64, 64, 4), np.uint8)
    sticker[..., 1] = 255  # invisible green all around
    sticker[20:44, 20:44] = (200, 0, 0, 255)
    for side in (27, 150):
        small = images.resize(sticker, side, side)
        seen = small[small[..., 3] > 8]
        assert seen[:, 1].max() <= 4 and np.abs(seen[:, 0].astype(int) - 200).max() <= 12


def test_grid_places_pictures_row_by_row():
    tiles = [np.full((4, 6, 3), i * 20, np.uint8) for i in range(5)]
    sheet = images.grid(tiles, columns=3, background=255, gap=2)
    assert sheet.shape == (2 * 4 + 2, 3 * 6 + 4, 3)
    assert (sheet[0, 0, 0], sheet[0, 8, 0], sheet[6, 0, 0]) == (0, 20, 60)
    assert (sheet[4] == 255).all() and (sheet[6:, 16:] == 255).all()


def test_grid_takes_arrays_of_each_channel_count(tmp_path):
    assert images.grid(np.zeros((9, 8, 8, 1), np.uint8)).shape == (24, 24, 1)
    board = images.grid(np.zeros((4, 16, 16, 4), np.uint8))
    assert board.shape == (32, 32, 3) and len(np.unique(board)) == 2, "transparency shows as a checkerboard"
    images.save_grid(tmp_path / "g.png", np.zeros((2, 8, 8, 3), np.uint8), columns=2)
    assert images.probe(tmp_path / "g.png") == (16, 8, "PNG")


def test_grid_refuses_none_and_two_sizes():
    with pytest.raises(DataError, match="at least one"):
        images.grid([])
    with pytest.raises(DataError, match="8x8"):
        images.grid([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)])


def test_draw_boxes_marks_the_outline_and_leaves_the_original_alone():
    pixels = np.zeros((100, 120, 1), np.uint8)
    drawn = images.draw_boxes(pixels, [(20, 30, 80, 90)], ["fox 0.9"])
    assert pixels.max() == 0 and drawn.shape == (100, 120, 3)
    assert drawn[60, 20].max() > 200 and drawn[60, 79].max() > 200 and drawn[75, 50].max() == 0
    assert drawn[60, 14].max() == 0 and (drawn[32:42, 22:60].min(2) > 200).any(), (
        "a white text inside the top left corner"
    )


def test_contact_sheet_fits_pictures_of_all_sizes_with_labels():
    pictures = [photo(30, 90), photo(90, 30, channels=4), photo(20, 20, channels=1)]
    boxes = [[(10, 10, 40, 20)], [], [(2, 2, 18, 18), (4, 4, 9, 9)]]
    sheet = images.contact_sheet(pictures, ["one", "two" * 40, ""], boxes, tile=96, columns=2)
    assert sheet.shape[1] == 2 * 96 + 6 and sheet.shape[2] == 3
    assert images.contact_sheet(pictures, tile=96).shape == (96, 3 * 96 + 12, 3)


def test_pixel_digest_knows_pixels_and_shape():
    pixels = photo()
    assert images.pixel_digest(pixels) == images.pixel_digest(images.decode(images.encode_png(pixels)))
    assert images.pixel_digest(pixels) != images.pixel_digest(pixels.reshape(64, 48, 3))
    assert images.pixel_digest(pixels) != images.pixel_digest(pixels ^ 1)
    assert images.pixel_digest(pixels[:, ::-1]) == images.pixel_digest(pixels[:, ::-1].copy())


def test_a_system_without_libgl_is_told_which_package_is_missing(tmp_path):
    Path(tmp_path, "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    code = "import foxgan.errors\ntry:\n import foxgan.images\nexcept foxgan.errors.FoxganError as e: print(e)"
    path = os.pathsep.join([str(tmp_path), str(Path(images.__file__).parents[1])])
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert "libgl1" in result.stdout, result.stderr


def test_a_small_jpeg_of_thousands_of_scans_is_refused_before_hours_are_spent():
    data = saved(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert images.decode(data[:-2] + last * 100 + data[-2:]).shape == (64, 64, 3)
    assert reason(data[:-2] + last * 1000 + data[-2:]) == "broken"
    plain = saved(Image.fromarray(photo()), "JPEG")
    assert images.decode(plain + b"\xff\xda" * 1000).shape == (48, 64, 3), "of one scan; what comes behind is not read"
