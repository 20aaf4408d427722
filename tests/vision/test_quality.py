"""Scores tell good pictures from bad ones, whatever their size."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from foxgan import images
from foxgan.images import Pixels, cv2
from foxgan.vision.quality import measure, measure_sharpness
from foxgan.vision.synthetic import draw_cutout, draw_photo


@pytest.fixture(scope="module")
def photo() -> Pixels:
    picture: Pixels = draw_photo(3, 4, size=640).image
    return picture


def written(picture: Pixels, size: int, tone: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    canvas = Image.fromarray(picture)
    place = (20, picture.shape[0] // 2)
    ImageDraw.Draw(canvas).text(place, "© Photo Agency 2019", fill=tone, font=ImageFont.load_default(size))
    return np.array(canvas)


def test_sharpness_falls_with_blur(photo: Pixels) -> None:
    values = [measure_sharpness(photo)] + [measure_sharpness(cv2.GaussianBlur(photo, (0, 0), s)) for s in (1.5, 3, 6)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.25 and values[3] < 0.1


def test_a_large_photo_that_is_soft_to_the_pixel_is_as_sharp_as_its_small_copy(photo: Pixels) -> None:
    large = images.resize(photo, photo.shape[0] * 3, photo.shape[1] * 3)
    assert measure_sharpness(large) == pytest.approx(measure_sharpness(photo), rel=0.15)


def test_a_small_photo_that_was_enlarged_is_not_sharp(photo: Pixels) -> None:
    small = images.resize(photo, photo.shape[0] // 6, photo.shape[1] // 6)
    assert measure_sharpness(images.resize(small, *photo.shape[:2])) < 0.5 * measure_sharpness(photo)


def test_a_blurred_background_leaves_the_photo_sharp(photo: Pixels) -> None:
    portrait = cv2.GaussianBlur(photo, (0, 0), 6)
    middle = (slice(photo.shape[0] // 4, 3 * photo.shape[0] // 4), slice(photo.shape[1] // 4, 3 * photo.shape[1] // 4))
    portrait[middle] = photo[middle]
    assert measure_sharpness(portrait) > 0.6 * measure_sharpness(photo)


def test_light_is_measured(photo: Pixels) -> None:
    assert measure(np.zeros_like(photo))["brightness"] == 0
    assert measure(np.full_like(photo, 255)) | {} == measure(np.full_like(photo, 255))
    assert measure(np.full_like(photo, 255))["clipped"] == 1
    burnt = np.clip(photo.astype(int) * 4, 0, 255).astype(np.uint8)
    assert measure(photo)["clipped"] < 0.1 < measure(burnt)["clipped"]
    assert measure(photo)["brightness"] < measure(burnt)["brightness"]


def test_grey_and_tinted_pictures_have_no_colour(photo: Pixels) -> None:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    sepia = np.clip(grey * np.array([1.0, 0.85, 0.65]) + 8, 0, 255).astype(np.uint8)
    as_jpeg = images.decode(images.encode_jpeg(np.repeat(grey, 3, 2), 60))
    for tinted in (grey, as_jpeg, sepia):
        assert measure(tinted)["colour"] < 0.005
    assert measure(photo)["colour"] > 0.01


@pytest.mark.parametrize(("tone", "share"), [(0, 0.1), (255, 0.05)])
def test_bars_and_frames_are_borders(photo: Pixels, tone: int, share: float) -> None:
    barred, framed = photo.copy(), photo.copy()
    rows, columns = round(photo.shape[0] * share), round(photo.shape[1] * share)
    barred[:rows] = barred[-rows:] = tone
    framed[:rows] = framed[-rows:] = framed[:, :columns] = framed[:, -columns:] = tone
    as_jpeg = images.decode(images.encode_jpeg(barred, 80))
    assert measure(barred)["border"] == pytest.approx(2 * share, abs=0.02)
    assert measure(as_jpeg)["border"] == pytest.approx(2 * share, abs=0.03)
    assert measure(framed)["border"] == pytest.approx(1 - (1 - 2 * share) ** 2, abs=0.03)


def test_sky_on_one_side_and_an_object_on_white_are_no_borders(photo: Pixels) -> None:
    sky = photo.copy()
    sky[: photo.shape[0] // 4] = 250
    y, x = np.mgrid[:400, :400]
    disc = np.where((y - 200) ** 2 + (x - 200) ** 2 < 120**2, 60, 255)[..., None].astype(np.uint8)
    for picture in (photo, sky, np.repeat(disc, 3, 2)):
        assert measure(picture)["border"] == 0


@pytest.mark.parametrize(("size", "tone"), [(40, (255, 255, 255)), (28, (0, 0, 0)), (60, (255, 255, 255))])
def test_a_line_of_text_is_an_overlay(size: int, tone: tuple[int, int, int]) -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, (480, 640, 3), np.uint8), (0, 0), 8)
    assert measure(ground)["overlay"] == 0
    assert measure(written(ground, size, tone))["overlay"] > 0.004


@pytest.mark.parametrize("angle", [-45, -30, 30, 38, 45])
def test_a_slanted_half_transparent_watermark_is_an_overlay(angle: int) -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, (480, 640, 3), np.uint8), (0, 0), 8)
    height, width = ground.shape[:2]
    layer = Image.new("L", (2 * width, 2 * height))
    for y in range(0, 2 * height, height // 4):
        for x in range(0, 2 * width, width // 2):
            ImageDraw.Draw(layer).text((x, y), "stock photo", fill=90, font=ImageFont.load_default(width // 18))
    half = (width // 2, height // 2, width // 2 + width, height // 2 + height)
    shine = np.array(layer.rotate(angle).crop(half))[..., None] / 255
    marked = (ground * (1 - shine) + 255 * shine).astype(np.uint8)
    assert measure(ground)["overlay"] < 0.004 < measure(marked)["overlay"]


def test_grass_is_no_text() -> None:
    rng = np.random.default_rng(0)
    grass = np.full((480, 640, 3), (40, 90, 30), np.uint8)
    for x, y, lean in rng.integers(0, (640, 480, 20), (3000, 3)).tolist():
        tone = tuple(rng.integers(40, 220, 3).tolist())
        cv2.line(grass, (x, y), (x + lean - 10, y - 30), tone, 2, cv2.LINE_AA)
    assert measure(grass)["overlay"] < 0.004


def test_of_a_cut_out_only_the_animal_counts() -> None:
    cut = draw_cutout(3, 4, size=256).image
    assert cut.shape[2] == 4
    around = np.zeros((600, 600, 4), np.uint8)
    around[150 : 150 + cut.shape[0], 200 : 200 + cut.shape[1]] = cut
    assert measure(around)["brightness"] == pytest.approx(measure(cut)["brightness"], abs=0.02)
    assert measure(around)["border"] == 0
    assert measure(around)["clipped"] < 0.3


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 1), (30, 30, 4)])
def test_every_shape_has_scores(shape: tuple[int, int, int]) -> None:
    assert all(np.isfinite(v) for v in measure(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).values())
