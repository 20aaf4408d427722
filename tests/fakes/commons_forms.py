"""Files of the fake Commons, their categories (which have cycles), and `imageinfo` with all its gaps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.holdings import Shown, page_id
from tests.fakes.licensing import LICENSES, License
from tests.fakes.state import State
from tests.fakes.world import Photo, iso

ROOT = "Category:Vulpes vulpes"
CATEGORIES = {  # category -> its subcategories
    ROOT: ["Category:Vulpes vulpes by scene", "Category:Vulpes vulpes in art"],
    "Category:Vulpes vulpes by scene": [f"Category:Vulpes vulpes in {s}" for s in ("snow", "meadow", "forest")],
    "Category:Vulpes vulpes in snow": [ROOT],  # a cycle
    "Category:Vulpes vulpes in meadow": ["Category:Vulpes vulpes in meadow"],  # and a shorter one
    "Category:Vulpes vulpes in forest": [],
    "Category:Vulpes vulpes in art": ["Category:Vulpes vulpes by scene"],  # two ways to the same place
}
MIMES = {"svg": "image/svg+xml", "video": "video/webm", "gif": "image/gif", "tiff": "image/tiff"}
MEDIATYPES = {"svg": "DRAWING", "video": "VIDEO"}


@dataclass(frozen=True)
class File:
    """A page of the namespace File. `name` has underscores, `title` has spaces; `stamp` is the timestamp of 14 digits."""

    photo: Photo
    position: int
    name: str
    trap: str

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    @property
    def pageid(self) -> int:
        return page_id(self.photo)

    @property
    def timestamp(self) -> str:
        return iso(self.photo.taken + 86400).replace("+00:00", "Z")

    @property
    def stamp(self) -> str:
        return "".join(c for c in self.timestamp if c.isdigit())

    @property
    def mime(self) -> str:
        return MIMES.get(self.trap, "image/jpeg")

    @property
    def mediatype(self) -> str:
        return MEDIATYPES.get(self.trap, "BITMAP")

    @property
    def words(self) -> str:
        return f"{self.title} {self.photo.taxon.name} fox".lower()

    @property
    def rank(self) -> str:
        """The order of search results: no other order that a client knows."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def sort_key(self) -> str:
        return f"file|{self.title.upper().encode().hex()}|{self.pageid}"

    @property
    def categories(self) -> list[str]:
        """That of its scene, or none but the root; every third file is in both."""
        if self.photo.taxon.name != "Vulpes vulpes":
            return ["Category:Canidae"]
        scene = f"Category:Vulpes vulpes in {self.photo.scene}"
        known = [scene] if scene in CATEGORIES else []
        return known if known and self.position % 3 else [ROOT, *known]


def make_files(state: State) -> list[File]:
    held = state.holdings.commons
    return [File(photo, i, name, trap) for i, (name, (photo, trap)) in enumerate(held.items())]


def subcategories(title: str) -> list[str]:
    return CATEGORIES.get(title, [])


def info(state: State, file: File, query: Mapping[str, str]) -> dict[str, Any]:
    """One `imageinfo`, with what `iiprop` asks for."""
    if file.trap == "missing":
        return {"filemissing": True}
    wanted = set(query.get("iiprop", "timestamp|user").split("|"))
    photo, held = file.photo, state.holdings
    version = held.version("commons", photo)
    width, height = version.size(photo)
    data: dict[str, Any] = {}
    if "timestamp" in wanted:
        data["timestamp"] = file.timestamp
    if "user" in wanted:
        data |= {"userhidden": True} if file.trap == "hidden_user" else {"user": photo.person.name}
    if "canonicaltitle" in wanted:
        data["canonicaltitle"] = f"File:{file.title}"
    if "size" in wanted:
        data |= {"size": len(_original(state, file)), "width": width, "height": height}
    if "url" in wanted:
        page = f"https://commons.wikimedia.org/wiki/File:{file.name}"
        data |= _thumb(state, file, query.get("iiurlwidth"))
        data |= {"url": held.commons_url(photo), "descriptionurl": page}
        data["descriptionshorturl"] = f"https://commons.wikimedia.org/w/index.php?curid={file.pageid}"
    if "sha1" in wanted:
        data["sha1"] = hashlib.sha1(_original(state, file)).hexdigest()
    if "mime" in wanted:
        data["mime"] = file.mime
    if "mediatype" in wanted:
        data["mediatype"] = file.mediatype
    if "extmetadata" in wanted:
        data["extmetadata"] = _metadata(file, LICENSES[photo.license], query.get("iiextmetadatafilter"))
    return data


def _original(state: State, file: File) -> bytes:
    version = state.holdings.version("commons", file.photo)
    return state.body(Shown(file.photo, version, file.name.rpartition(".")[2]))[0]


def _thumb(state: State, file: File, asked: str | None) -> dict[str, Any]:
    if asked is None:
        return {}
    if file.trap == "thumb_error":
        return {"thumburl": "", "thumberror": "There was a problem creating the thumbnail."}
    photo = file.photo
    width, height = state.holdings.version("commons", photo).size(photo)
    wide = min(int(asked), width)
    url = state.holdings.commons_url(photo, int(asked))
    return {"thumburl": url, "thumbwidth": wide, "thumbheight": max(1, round(wide * height / width))}


def _metadata(file: File, license: License, wanted: str | None) -> dict[str, Any] | list[Any]:
    if file.trap == "empty":
        return []
    photo = file.photo
    link = f"//commons.wikimedia.org/wiki/User:{photo.person.login}"
    name = photo.person.name.replace("&", "&amp;")
    values: dict[str, Any] = {
        "LicenseShortName": license.short,
        "License": license.commons,
        "LicenseUrl": license.url().rstrip("/") if license.code != "pd" else None,
        "UsageTerms": "Public domain" if license.code == "pd" else f"Creative Commons {license.short}",
        "Artist": f'<a href="{link}" title="User:{photo.person.login}">{name}</a>' if file.position % 5 else name,
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "AttributionRequired": str(license.code.startswith("cc-")).lower(),
        "Copyrighted": str(license.code.startswith("cc-")),
        "Restrictions": "",
        "ImageDescription": f"<p>{photo.title} &mdash; <i>{photo.taxon.name}</i></p>",
        "ObjectName": photo.number,  # a number where a text is expected
        "Categories": "|".join(c.removeprefix("Category:") for c in file.categories) + "|Self-published work",
        "DateTimeOriginal": f'<time class="dtstart" datetime="{iso(photo.taken)[:10]}">{iso(photo.taken)[:10]}</time>',
        "CommonsMetadataExtension": 1.2,
    }
    keys = wanted.split("|") if wanted else values
    found = {k: values[k] for k in keys if values.get(k) is not None}
    return {k: {"value": v, "source": "commons-desc-page", "hidden": ""} for k, v in found.items()}
