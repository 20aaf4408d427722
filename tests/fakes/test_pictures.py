"""Pictures of the small world, and strange ones, as Pillow sees them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps

from foxgan import images
from foxgan.decoding import ImageError
from tests.fakes import Fakes
from tests.fakes.odd import KINDS, odd_picture, plain
from tests.fakes.pictures import COPIES

SAME = (
    "jpeg",
    "progressive",
    "cmyk",
    "ycck",
    "gif",
    "animated_gif",
    "webp",
    "animated_webp",
    "apng",
    "tiff",
    "multi_tiff",
    "trailing_junk",
    "heic",
    "avif",
    *(f"exif{o}" for o in range(1, 9)),
)


def opened(kind: str) -> Image.Image:
    return Image.open(BytesIO(odd_picture(kind)))


def distance(a: Image.Image, b: Image.Image) -> float:
    """Mean difference in grey levels."""
    return float(np.asarray(ImageChops.difference(a.convert("RGB"), b.convert("RGB"))).mean())


@pytest.mark.parametrize("kind", SAME)
def test_pictures_of_every_kind_show_the_same(kind: str) -> None:
    try:
        pixels = images.decode(odd_picture(kind))
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow cannot write it: {error}")
    assert distance(Image.fromarray(pixels), plain()) < 4


@pytest.mark.parametrize(
    "kind, mode",
    [("cmyk", "CMYK"), ("ycck", "CMYK"), ("la", "LA"), ("one_bit", "1"), ("palette", "P"), ("png16", "I;16")],
)
def test_modes_are_what_they_are_called(kind: str, mode: str) -> None:
    assert opened(kind).mode == mode


@pytest.mark.parametrize("kind, frames", [("animated_gif", 3), ("animated_webp", 3), ("apng", 3), ("multi_tiff", 3)])
def test_some_have_frames(kind: str, frames: int) -> None:
    assert getattr(opened(kind), "n_frames", 1) == frames


def test_orientations_differ_as_stored_and_agree_upright() -> None:
    stored = {opened(f"exif{o}").tobytes() for o in range(1, 9)}
    assert len(stored) == 8
    assert opened("exif6").size == (48, 64) and ImageOps.exif_transpose(opened("exif6")).size == (64, 48)


@pytest.mark.parametrize("kind", ["display_p3", "adobe_rgb"])
def test_profiles_make_colours_stronger(kind: str) -> None:
    picture = opened(kind)
    profile = ImageCms.ImageCmsProfile(BytesIO(picture.info["icc_profile"]))
    one = Image.new("RGB", (1, 1), (60, 200, 60))
    converted = ImageCms.profileToProfile(one, profile, ImageCms.createProfile("sRGB"))
    red, green, _ = np.asarray(converted)[0, 0]
    assert red < 60 and green >= 200


@pytest.mark.parametrize("kind", ["truncated_jpeg", "jpeg12", "bomb", "huge_header", "svg", "html", "text", "nothing"])
def test_hostile_ones_are_refused_by_the_decoder(kind: str) -> None:
    with pytest.raises(ImageError):
        images.decode(odd_picture(kind))
    assert len(odd_picture(kind)) < 100_000


def test_an_unknown_kind_names_the_known() -> None:
    with pytest.raises(KeyError, match="there are jpeg, progressive"):
        odd_picture("painting")
    assert len(KINDS) > 35


def test_no_two_photos_look_alike_and_copies_do(fakes: Fakes) -> None:
    pictures, photos = fakes.state.pictures, fakes.world.photos
    thumbs = [pictures.image(p, COPIES["original"]).resize((32, 32)) for p in photos[:20]]
    nearest = min(distance(a, b) for i, a in enumerate(thumbs) for b in thumbs[:i])
    for name in ("resized", "recompressed", "watermarked"):
        copy = Image.open(BytesIO(pictures.encoded(photos[0], COPIES[name]))).resize((32, 32))
        assert distance(copy, thumbs[0]) < nearest / 2, name
    mirrored = ImageOps.mirror(Image.open(BytesIO(pictures.encoded(photos[0], COPIES["mirrored"])))).resize((32, 32))
    assert distance(mirrored, thumbs[0]) < nearest / 2


def test_the_size_of_every_copy_is_known_before_it_is_drawn(fakes: Fakes) -> None:
    for photo in fakes.world.photos[:5]:
        for version in COPIES.values():
            assert fakes.state.pictures.image(photo, version).size == version.size(photo)
