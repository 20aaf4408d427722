"""Pictures inside the page: small, as data URIs, so that the report is one file that asks nobody for anything."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from foxgan import images
from foxgan.errors import DataError

T = TypeVar("T")
PIXEL_ART = 48  # pictures up to this side are shown with their pixels visible


@dataclass(frozen=True)
class Picture:
    """A picture that the page can show; `width` and `height` are those of the original, in pixels."""

    uri: str
    width: int
    height: int
    pixelated: bool = False
    transparent: bool = False


def embed(image: images.Pixels, longest: int, quality: int = 82, pixel_art: int = PIXEL_ART) -> Picture:
    """`image` shrunk until its longer side is at most `longest` pixels; lossless where it is transparent or `pixel_art`."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    small = images.resize(image, max(1, round(height * scale)), max(1, round(width * scale))) if scale < 1 else image
    transparent = bool(image.shape[2] == 4 and image[..., 3].min() < 255)
    pixelated = max(height, width) <= pixel_art
    lossless = transparent or pixelated
    data = images.encode_png(small, 6) if lossless else images.encode_jpeg(small, quality)
    return Picture(data_uri(data, "image/png" if lossless else "image/jpeg"), width, height, pixelated, transparent)


def load(path: str | Path | None, longest: int, quality: int = 82, pixel_art: int = PIXEL_ART) -> Picture | None:
    """The picture at `path`, or None where there is none that can be read: a report never fails over a picture."""
    if path is None:
        return None
    try:
        return embed(images.decode(Path(path), mode="any"), longest, quality, pixel_art)
    except (OSError, DataError):
        return None


def data_uri(data: bytes, media_type: str) -> str:
    """`data` as a `data:` address."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[-1]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
