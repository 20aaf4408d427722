"""What each service has of the world's photos, in which version, and at which address. The image hosts read the addresses back."""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.fakes.licensing import LICENSES
from tests.fakes.pictures import COPIES, Version, fit
from tests.fakes.world import Photo, Sighting, World

INATURALIST_SIZES = {"original": 2048, "large": 1024, "medium": 500, "small": 240, "thumb": 100}
SQUARE = 75
FLICKR_SIZES = {"k": 2048, "h": 1600, "l": 1024, "c": 800, "z": 640, "m": 500}
FLICKR_LETTERS = {"o": "o", "k": "k", "h": "h", "l": "b", "c": "c", "z": "z", "m": ""}  # in file names
ENDINGS = {3: "jpeg", 5: "JPG", 7: "png", 9: "gif"}  # of iNaturalist's photos, by the last of number % 11
# What is wrong with a file at Commons, by its position in the list modulo 16
TRAPS = dict(enumerate(("no_info", "empty", "missing", "thumb_error", "hidden_user", "svg", "video", "gif", "tiff"), 2))
COMMONS_ENDINGS = {"svg": "svg", "video": "webm", "gif": "gif", "tiff": "tif"}
THUMBS = {"svg": ("", ".png"), "tif": ("lossy-page1-", ".jpg"), "webm": ("", ".jpg")}  # around a thumbnail's name
FLAGS = ("copyright", "ai", "hidden", "prefixless", "null")


@dataclass(frozen=True)
class Shown:
    """What is to be seen at an address of an image host."""

    photo: Photo
    version: Version
    ending: str = "jpg"
    square: int = 0


@dataclass
class Holdings:
    """`relicensed` holds licenses that changed since the world was made."""

    world: World
    urls: Mapping[str, str]
    relicensed: dict[int, str] = field(default_factory=dict)
    _versions: dict[str, Version] = field(default_factory=dict)

    def license(self, photo: Photo) -> str:
        return self.relicensed.get(photo.number, photo.license)

    def version(self, service: str, photo: Photo) -> Version:
        """What a service was given: often the camera's file, sometimes a smaller, mirrored, cropped or marked one."""
        key = f"{self.world.seed}/{service}/{photo.number}"
        if key not in self._versions:
            self._versions[key] = self._given(service, photo, random.Random(key))
        return self._versions[key]

    def _given(self, service: str, photo: Photo, rng: random.Random) -> Version:
        if service == "inaturalist":
            return Version(longest=2048)
        smaller = Version(longest=max(photo.width, photo.height) * 3 // 4, quality=80)
        kinds = (Version(quality=95), smaller, *(COPIES[name] for name in ("mirrored", "cropped", "watermarked")))
        return rng.choices(kinds, (60, 20, 7, 7, 6))[0]

    # iNaturalist

    def sightings(self) -> list[tuple[Sighting, list[Photo], str]]:
        """Observations with their photos there, and what is wrong with the first photo: one of FLAGS or nothing."""
        found = [(s, [p for p in s.photos if p.on_inaturalist]) for s in self.world.sightings]
        kept = [(s, photos) for s, photos in found if photos]
        return [(s, photos, FLAGS[i % 10 - 3] if 3 <= i % 10 <= 7 else "") for i, (s, photos) in enumerate(kept)]

    def inaturalist_url(self, photo: Photo, size: str) -> str:
        ending = ENDINGS.get(photo.number % 11, "jpg")
        path = f"/photos/{inaturalist_id(photo)}/{size}.{ending}"
        if self.license(photo):
            return self.urls["open-data"] + path
        return f"{self.urls['static']}{path}?{photo.taken}"

    # Others

    @functools.cached_property
    def commons(self) -> dict[str, tuple[Photo, str]]:
        """What Commons takes, free licenses only, by the names of files in the order of page ids; and what is wrong with a file."""
        photos = [p for p in self.world.photos if p.license and LICENSES[p.license].free]
        traps = [TRAPS.get(i % 16, "") for i in range(len(photos))]
        return {commons_name(p, trap): (p, trap) for p, trap in zip(photos, traps, strict=True)}

    @functools.cached_property
    def commons_names(self) -> dict[int, str]:
        """Names of files by the numbers of their photos."""
        return {photo.number: name for name, (photo, _) in self.commons.items()}

    def commons_url(self, photo: Photo, width: int | None = None) -> str:
        name = self.commons_names[photo.number]
        digest = hashlib.md5(name.encode()).hexdigest()
        place = f"{digest[0]}/{digest[:2]}/{quote(name)}"
        if width is None or width >= self.version("commons", photo).size(photo)[0]:
            return f"{self.urls['upload']}/wikipedia/commons/{place}"
        before, after = THUMBS.get(name.rpartition(".")[2], ("", ""))
        return f"{self.urls['upload']}/wikipedia/commons/thumb/{place}/{before}{width}px-{quote(name)}{after}"

    def flickr(self) -> list[Photo]:
        return [p for p in self.world.photos if p.number % 2 == 0]

    def flickr_url(self, photo: Photo, size: str) -> str | None:
        """None where Flickr has no such size; the original is public for every third photo."""
        width, height = self.version("flickr", photo).size(photo)
        if (size == "o" and photo.number % 3) or (size != "o" and FLICKR_SIZES[size] >= max(width, height)):
            return None
        letter = FLICKR_LETTERS[size]
        tail = f"_{letter}" if letter else ""
        return f"{self.urls['farm']}/65535/{flickr_id(photo)}_{secret(photo)}{tail}.jpg"

    def museum(self) -> list[Photo]:
        """Any institution's own site; its photos 5, 15, 25 ... are gone."""
        return [p for p in self.world.photos if p.number % 3 != 1]

    def museum_url(self, photo: Photo) -> str:
        return f"{self.urls['museum']}/media/{photo.number}.jpg"

    # The way back

    def shown(self, host: str, path: str) -> Shown | None:
        """What `path` (without its query, unquoted) shows at an image host; None for nothing."""
        reader = {
            "open-data": self._inaturalist,
            "static": self._inaturalist,
            "upload": self._commons,
            "farm": self._flickr,
            "museum": self._museum,
        }[host]
        return reader(path)

    def _photo(self, number: int) -> Photo | None:
        return self.world.photos[number] if 0 <= number < len(self.world.photos) else None

    def _inaturalist(self, path: str) -> Shown | None:
        found = re.fullmatch(r"/photos/(\d+)/([a-z]+)\.(\w+)", path)
        number, rest = divmod(int(found[1]) - 330_000_001, 7) if found else (-1, 0)
        photo = self._photo(number)
        if not found or photo is None or rest or found[3] != ENDINGS.get(number % 11, "jpg"):
            return None
        if found[2] == "square":
            return Shown(photo, Version(), found[3], SQUARE)
        longest = INATURALIST_SIZES.get(found[2])
        return Shown(photo, Version(longest=longest), found[3]) if longest else None

    def _commons(self, path: str) -> Shown | None:
        found = re.fullmatch(r"/wikipedia/commons/(thumb/)?\w/\w\w/([^/]+)(?:/(?:lossy-page1-)?(\d+)px-[^/]+)?", path)
        photo, trap = self.commons.get(found[2], (None, "")) if found else (None, "")
        if not found or photo is None or (found[3] and trap == "video"):
            return None
        version = self.version("commons", photo)
        width, height = version.size(photo)
        if found[3] is None:
            return Shown(photo, version, found[2].rpartition(".")[2])
        wide = min(int(found[3]), width)
        return Shown(photo, version.at_most(max(wide, round(wide * height / width))))

    def _flickr(self, path: str) -> Shown | None:
        found = re.fullmatch(r"/65535/(\d+)_(\w{10})(?:_(\w))?\.jpg", path)
        photo = self._photo(int(found[1]) - 49_000_000_001) if found else None
        sizes = {letter: size for size, letter in FLICKR_LETTERS.items()}
        size = sizes.get(found[3] or "") if found else None
        if not found or photo is None or photo.number % 2 or size is None or found[2] != secret(photo):
            return None
        if self.flickr_url(photo, size) is None:
            return None
        version = self.version("flickr", photo)
        return Shown(photo, version if size == "o" else version.at_most(FLICKR_SIZES[size]))

    def _museum(self, path: str) -> Shown | None:
        copy = re.fullmatch(r"/copies/(\d+)/(\w+)\.jpg", path)
        if copy and copy[2] in COPIES:
            photo = self._photo(int(copy[1]))
            return Shown(photo, COPIES[copy[2]]) if photo else None
        found = re.fullmatch(r"/media/(\d+)\.jpg", path)
        photo = self._photo(int(found[1])) if found else None
        if photo is None or photo.number % 3 == 1 or photo.number % 10 == 5:
            return None
        return Shown(photo, self.version("museum", photo))


def inaturalist_id(photo: Photo) -> int:
    return 330_000_001 + 7 * photo.number


def observation_id(sighting: Sighting) -> int:
    return 190_000_123 + 13 * sighting.number


def commons_name(photo: Photo, trap: str) -> str:
    return f"{photo.taxon.common.replace(' ', '_')}_in_{photo.scene}_{photo.number}.{COMMONS_ENDINGS.get(trap, 'jpg')}"


def page_id(photo: Photo) -> int:
    return 81_000_001 + 3 * photo.number


def flickr_id(photo: Photo) -> int:
    return 49_000_000_001 + photo.number


def secret(photo: Photo) -> str:
    return hashlib.sha256(f"secret/{photo.number}".encode()).hexdigest()[:10]


def flickr_size(width: int, height: int, size: str) -> tuple[int, int]:
    return (width, height) if size == "o" else fit(width, height, FLICKR_SIZES[size])
