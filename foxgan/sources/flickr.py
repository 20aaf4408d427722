"""Flickr: photos that a search finds, in slices of the time when they were uploaded.

Of any search only the first 4,000 results are distinct, so a slice that has more is halved. The key comes from the environment alone and
goes nowhere but into requests.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from foxgan.errors import StageError, UsageError
from foxgan.licenses import UNKNOWN, Policy, allowed, license_url, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.frontier import Record
from foxgan.web import Failed

KEY = "FOXGAN_FLICKR_KEY"
FOUNDED = 1_072_915_200  # 2004-01-01: no photo is older
PER_PAGE = 500
DISTINCT = 4000  # results of a search; later pages repeat earlier ones
SIZES = (
    "o",
    "6k",
    "5k",
    "4k",
    "3k",
    "k",
    "h",
    "l",
    "c",
    "z",
    "m",
)  # the original; longest sides of 6144 ... 500 pixels
BUSY, REFUSED = (0, 105, 106), (98, 99, 100)
_SLICE = re.compile(r"(\d+)-(\d+)(?:/(\d+))?")


@dataclass
class Flickr:
    """Photos found by the words of `text`; `size`: the largest one wanted, one of SIZES; where there is none, the next smaller one."""

    text: str
    policy: Policy = "open"
    size: str = "o"

    name: ClassVar[str] = "flickr"
    base: ClassVar[str] = "https://api.flickr.com/services/rest"
    rate: ClassVar[float] = 1.0  # a second: 3,600 an hour are allowed
    wants_contact: ClassVar[bool] = False
    _key: str = field(default="", init=False, repr=False)
    _licenses: dict[str, str] = field(default_factory=dict, init=False, repr=False)  # allowed ones, by Flickr's numbers

    async def queries(self, api: Api) -> Sequence[str]:
        """The words, which lead to slices: `<first second>-<last second>`, or `.../<license>` where one second holds too many."""
        self._key = os.environ.get(KEY, "").strip()
        if not self._key:
            raise UsageError(
                f"scrape: flickr needs a key; set {KEY} to yours (https://www.flickr.com/services/api/keys)"
            )
        if self.size not in SIZES:
            raise UsageError(f"scrape: flickr has no size {self.size!r}; it has {', '.join(SIZES)}")
        answer = await self._ask(api, "flickr.photos.licenses.getInfo", {})
        table = {str(row.get("id")): _license(row) for row in _rows(answer, "licenses", "license")}
        self._licenses = {number: name for number, name in table.items() if allowed(name, self.policy)}
        if not self._licenses:
            raise StageError(f"scrape: flickr knows no license that the policy {self.policy!r} allows")
        return [self.text]

    def check(self, answer: Any, headers: Mapping[str, str]) -> None:
        """Errors come as HTTP 200."""
        if not isinstance(answer, dict):
            raise Failed("not_an_object", again=True)
        if answer.get("stat") == "ok":
            return
        code = _number(answer.get("code"))
        message = str(answer.get("message")).replace(self._key, "...") if self._key else ""
        if code in REFUSED:
            raise StageError(f"scrape: flickr does not accept the key in {KEY}: {message} (error {code})")
        raise Failed(f"error {code}: {message}", again=code in BUSY)

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`state` of the words: the last second that is in a slice; that of a slice: its next page."""
        found = _SLICE.fullmatch(query) if query != self.text else None
        if found is None:
            now, since = int(time.time()), state or FOUNDED
            return Page([], now, done=True, more=[f"{since}-{now}"])
        first, last, license = int(found[1]), int(found[2]), found[3]
        number = state or 1
        answer = await self._ask(api, "flickr.photos.search", self._search(first, last, license, number))
        photos = _rows(answer, "photos", "photo")
        records = [record for photo in photos if (record := self._record(photo))]
        total = _number(answer["photos"].get("total"))
        parts = self._parts(first, last, license) if total > DISTINCT else []
        done = bool(parts) or not photos or number * PER_PAGE >= min(total, DISTINCT)
        return Page(records, number if done else number + 1, done, parts)

    def _parts(self, first: int, last: int, license: str | None) -> list[str]:
        """Smaller slices; none where there are no smaller ones."""
        if first < last:
            middle = (first + last) // 2
            return [f"{first}-{middle}", f"{middle + 1}-{last}"]
        return [] if license else [f"{first}-{last}/{number}" for number in self._licenses]

    def _search(self, first: int, last: int, license: str | None, number: int) -> dict[str, str | int]:
        sizes = ",".join(f"url_{size}" for size in self._sizes())
        return {
            "text": self.text,
            "license": license or ",".join(self._licenses),
            "content_type": 1,  # photos, no screenshots
            "media": "photos",
            "safe_search": 1,
            "min_upload_date": first,
            "max_upload_date": last,
            "sort": "date-posted-asc",
            "extras": f"license,owner_name,{sizes}",
            "per_page": PER_PAGE,
            "page": number,
        }

    def _sizes(self) -> list[str]:
        """In the order of choice; a small original has no other size."""
        at = SIZES.index(self.size)
        return [*SIZES[at:], *SIZES[:1][:at]]

    async def _ask(self, api: Api, method: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        known = {"method": method, "api_key": self._key, "format": "json", "nojsoncallback": "1"}
        answer: dict[str, Any] = await api.get("", {**known, **params})
        return answer

    def _record(self, photo: Mapping[str, Any]) -> Record | None:
        """What to fetch; None for what must not be, or is not there."""
        license = self._licenses.get(str(photo.get("license")))
        url = next((photo[f"url_{size}"] for size in self._sizes() if photo.get(f"url_{size}")), None)
        if license is None or url is None or not photo.get("id"):
            return None
        creator = str(photo.get("ownername") or photo.get("owner"))
        return {
            "source_id": str(photo["id"]),
            "group": f"flickr:{photo['id']}",
            "image_url": str(url),
            "landing_url": f"https://www.flickr.com/photos/{photo.get('owner')}/{photo['id']}",
            "license": license,
            "license_url": license_url(license),
            "creator": creator,
            "attribution": f'"{photo["title"]}" by {creator}, {license}'
            if photo.get("title")
            else f"{creator}, {license}",
        }


def _license(row: Mapping[str, Any]) -> str:
    """By its address, or else by its name; Flickr's numbers grow, so they tell nothing by themselves."""
    told = (normalised(str(row.get(name) or "")) for name in ("url", "name"))
    return next((license for license in told if license != UNKNOWN), UNKNOWN)


def _rows(answer: Mapping[str, Any], name: str, inner: str) -> list[dict[str, Any]]:
    """A list of objects. Raises Failed where there is none."""
    outer = answer.get(name)
    rows = outer.get(inner) if isinstance(outer, dict) else None
    if not isinstance(rows, list):
        raise Failed(f"no {name}")
    return [row for row in rows if isinstance(row, dict)]


def _number(value: Any) -> int:
    """Numbers come as texts, too; 0 for what is none."""
    return int(value) if re.fullmatch(r"\d{1,15}", str(value)) else 0
