"""Pictures of the small world: each photo looks like no other one, and like itself in every version. Drawn when first asked for."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.fakes.world import Photo

FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}
MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "TIFF": "image/tiff"}
CROP = 0.8  # of both sides


@dataclass(frozen=True)
class Version:
    """What somebody did to a photo before it was put up somewhere, in this order."""

    cropped: bool = False
    mirrored: bool = False
    watermarked: bool = False
    longest: int = 100_000  # pixels
    quality: int = 90

    def size(self, photo: Photo) -> tuple[int, int]:
        """Width and height, known before it is drawn."""
        share = CROP if self.cropped else 1.0
        return fit(max(1, round(photo.width * share)), max(1, round(photo.height * share)), self.longest)

    def at_most(self, longest: int) -> Version:
        return replace(self, longest=min(longest, self.longest))


COPIES = {
    "original": Version(),
    "resized": Version(longest=200),
    "recompressed": Version(quality=40),
    "mirrored": Version(mirrored=True),
    "cropped": Version(cropped=True),
    "watermarked": Version(watermarked=True),
}


class Pictures:
    """Draws photos; `foxes` asks for foxgan's own drawn animals, which a detector finds (slower)."""

    def __init__(self, seed: int, foxes: bool = False) -> None:
        self._seed, self._foxes = seed, foxes
        self._drawn = functools.lru_cache(16)(self._draw)
        self.encoded = functools.lru_cache(1024)(self._encoded)

    def image(self, photo: Photo, version: Version) -> Image.Image:
        picture = self._drawn(photo.number, photo.width, photo.height)
        if version.cropped:
            x, y = round(photo.width * (1 - CROP) / 3), round(photo.height * (1 - CROP) / 2)
            width, height = replace(version, longest=100_000).size(photo)
            picture = picture.crop((x, y, x + width, y + height))
        if version.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if version.watermarked:
            picture = _watermarked(picture)
        size = version.size(photo)
        return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)

    def _encoded(self, photo: Photo, version: Version, ending: str = "jpg", square: int = 0) -> bytes:
        """The bytes of a file; `square` cuts out a thumbnail of so many pixels."""
        picture = self.image(photo, version)
        if square:
            side = min(picture.size)
            x, y = (picture.width - side) // 2, (picture.height - side) // 2
            picture = picture.crop((x, y, x + side, y + side)).resize((square, square))
        file = BytesIO()
        picture.save(file, FORMATS[ending.lower()], quality=version.quality)
        return file.getvalue()

    def _draw(self, number: int, width: int, height: int) -> Image.Image:
        if self._foxes:
            from foxgan.vision.synthetic import draw_photo

            drawn = draw_photo(self._seed, number, size=max(width, height)).image
            return Image.fromarray(drawn).resize((width, height), Image.Resampling.LANCZOS)
        return _shapes(np.random.default_rng((self._seed, number)), width, height)


def fit(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size of a picture shrunk until no side is longer than `longest`; small ones stay as they are."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shapes(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A soft ground with a dozen ellipses and a fine grain."""
    ground = Image.fromarray(rng.integers(30, 226, (4, 4, 3), np.uint8))
    picture = ground.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.uniform(-0.1, 0.9, 2)
        w, h = rng.uniform(0.08, 0.4, 2)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x * width, y * height, (x + w) * width, (y + h) * height), fill=colour)
    tile = rng.integers(0, 16, (64, 64, 1), np.uint8)
    grain = np.tile(tile, (-(-height // 64), -(-width // 64), 1))[:height, :width]
    return Image.fromarray((np.asarray(picture, np.uint16) * 15 // 16 + grain).astype(np.uint8))


def _watermarked(picture: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    size = max(10, picture.width // 12)
    draw, font = ImageDraw.Draw(layer), ImageFont.load_default(size)
    for y in range(size, picture.height, size * 4):
        draw.text((size, y), "© example.org", fill=(255, 255, 255, 110), font=font)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
