"""iNaturalist (API v1): photos of a taxon, walked by the ids of their observations, which never shifts and has no depth limit.

The license is a photo's own, not its observation's; pictures that stand in for removed or generated ones are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from foxgan.errors import StageError
from foxgan.licenses import Policy, allowed, license_url, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.frontier import Record

PER_PAGE = 200
SIZES = ("original", "large", "medium", "small")  # longest sides of 2048, 1024, 500 and 240 pixels
_PHOTO = re.compile(r"(?P<before>.*/photos/\d+/)square(?P<after>\.\w+)")


@dataclass(frozen=True)
class INaturalist:
    """Observations of `taxon` (a name or an id) with the given `quality_grade` (several with commas); `variant`: size of the photos."""

    taxon: str
    policy: Policy = "open"
    variant: str = "original"
    quality_grade: str = "research"

    name: ClassVar[str] = "inaturalist"
    base: ClassVar[str] = "https://api.inaturalist.org/v1"
    rate: ClassVar[float] = 1.0  # a second: 60 a minute are asked for, 100 enforced
    wants_contact: ClassVar[bool] = False

    async def queries(self, api: Api) -> Sequence[str]:
        return [str(self.taxon) if str(self.taxon).isdecimal() else await self._taxon_id(api)]

    async def _taxon_id(self, api: Api) -> str:
        answer = await api.get("taxa", {"q": self.taxon, "is_active": "true", "per_page": 30})
        found = [taxon for taxon in answer.get("results", []) if isinstance(taxon, dict)]
        wanted = self.taxon.casefold()
        for field in ("name", "matched_term"):
            exact = {t["id"]: t for t in found if str(t.get(field, "")).casefold() == wanted}
            if len(exact) == 1:
                return str(next(iter(exact)))
        named = ", ".join(f"{t.get('id')} ({t.get('name')}, {t.get('rank')})" for t in found[:8])
        raise StageError(
            f"scrape: inaturalist knows {'several' if found else 'no'} taxa called {self.taxon!r}"
            + (
                f": {named}; set `taxon` to the id of the one you mean"
                if found
                else "; give its scientific name or its id"
            )
        )

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`state`: the id of the last observation that was seen."""
        params = {
            "taxon_id": query,
            "photos": "true",
            "quality_grade": self.quality_grade,
            "order_by": "id",
            "order": "asc",
            "per_page": PER_PAGE,
            "id_above": state or 0,
        }
        answer = await api.get("observations", params)
        seen = [o for o in answer.get("results", []) if isinstance(o, dict) and isinstance(o.get("id"), int)]
        records = [record for observation in seen for record in self._records(observation)]
        return Page(records, max((o["id"] for o in seen), default=state), done=not seen)

    def _records(self, observation: Mapping[str, Any]) -> list[Record]:
        photos = [photo for photo in observation.get("photos") or [] if isinstance(photo, dict)]
        return [record for photo in photos if (record := self._record(photo, observation))]

    def _record(self, photo: Mapping[str, Any], observation: Mapping[str, Any]) -> Record | None:
        """What to fetch; None for what must not be, or is not a photo."""
        license = normalised(photo.get("license_code"))
        url = photo_url(str(photo.get("url")), self.variant)
        if url is None or photo.get("hidden") or _flagged(photo) or not allowed(license, self.policy):
            return None
        return {
            "source_id": str(photo["id"]),
            "group": f"inaturalist:{observation['id']}",
            "image_url": url,
            "landing_url": observation.get("uri"),
            "license": license,
            "license_url": license_url(license),
            "creator": (observation.get("user") or {}).get("name") or (observation.get("user") or {}).get("login"),
            "attribution": photo.get("attribution"),
        }


def photo_url(square: str, size: str) -> str | None:
    """The address of a photo in another size; None for what stands in for a photo (`/photos/<digits>/<size>.<ending>`)."""
    parts = urlsplit(square)
    found = _PHOTO.fullmatch(parts.path)
    return parts._replace(path=f"{found['before']}{size}{found['after']}").geturl() if found else None


def _flagged(photo: Mapping[str, Any]) -> bool:
    return any(not flag.get("resolved") for flag in photo.get("flags") or [] if isinstance(flag, dict))
