"""GBIF: pictures of sightings and of specimens in collections, of which many are photos of iNaturalist.

The license is a picture's own, never its record's. No query goes deeper than 10,000 records, so one that has more is split by years, and
a year by the countries that its first 10,000 come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from foxgan import web
from foxgan.errors import StageError
from foxgan.licenses import Policy, allowed, license_url, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.frontier import Record
from foxgan.sources.shared import shared_group, shared_id

EVER = (1500, 2100)  # years that a record may be of


@dataclass(frozen=True)
class Gbif:
    """Records of `taxon` (a scientific name or GBIF's key) that have pictures; of some kinds (several with commas)."""

    taxon: str
    policy: Policy = "open"
    basis_of_record: str = "HUMAN_OBSERVATION,MACHINE_OBSERVATION"

    name: ClassVar[str] = "gbif"
    base: ClassVar[str] = "https://api.gbif.org/v1"
    rate: ClassVar[float] = 1.0  # a second; no limit is told
    wants_contact: ClassVar[bool] = False
    per_page: ClassVar[int] = 300
    depth: ClassVar[int] = 10_000  # records of a query; deeper ones are restricted

    async def queries(self, api: Api) -> Sequence[str]:
        key = str(self.taxon) if str(self.taxon).isdecimal() else await self._taxon_key(api)
        return [urlencode({"taxonKey": key})]

    async def _taxon_key(self, api: Api) -> str:
        """The key of the accepted name, which finds records under its synonyms, too."""
        answer = await api.get("species/match", {"name": self.taxon, "strict": "false", "verbose": "true"})
        key = answer.get("acceptedUsageKey") or answer.get("usageKey")
        if answer.get("matchType") == "EXACT" and key:
            return str(key)
        found = [f for f in [answer, *(answer.get("alternatives") or [])] if isinstance(f, dict) and f.get("usageKey")]
        named = ", ".join(
            f"{f['usageKey']} ({f.get('scientificName')}, {str(f.get('rank')).lower()})" for f in found[:8]
        )
        raise StageError(
            f"scrape: gbif knows no taxon that is called {self.taxon!r} exactly"
            + (
                f"; it found {named}: set `taxon` to the key of the one you mean"
                if named
                else "; give its scientific name"
            )
        )

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`state`: how many records were passed, and the countries that they are from; None at the end, as new ones come anywhere."""
        offset, countries = state or (0, [])
        asked = dict(parse_qsl(query))
        page = {"limit": min(self.per_page, self.depth - offset), "offset": offset}
        always = {"mediaType": "StillImage", "basisOfRecord": self.basis_of_record.split(",")}
        answer = await api.get("occurrence/search", {**asked, **always, **page})
        rows = [row for row in answer.get("results") or [] if isinstance(row, dict) and row.get("key")]
        records = [record for row in rows for record in self._records(row)]
        countries = sorted({*countries, *(row["country"] for row in rows if row.get("country"))})
        passed = offset + max(1, int(answer.get("limit") or page["limit"]))
        ends = answer.get("endOfRecords", not rows)
        # Halves of a span of years are all of it; other parts miss what has no year or country, so that the whole is asked first.
        too_many = "," in asked.get("year", "") and int(answer.get("count") or 0) > self.depth
        deep = not ends and (too_many or passed >= self.depth)
        if ends or deep:
            return Page(records, done=True, more=_parts(asked, countries) if deep else ())
        return Page(records, [passed, countries])

    def _records(self, row: Mapping[str, Any]) -> list[Record]:
        """Of one record; its extensions tell the same again."""
        media = enumerate(row.get("media") or [])
        return [r for index, medium in media if isinstance(medium, dict) and (r := self._record(medium, index, row))]

    def _record(self, medium: Mapping[str, Any], index: int, row: Mapping[str, Any]) -> Record | None:
        """What to fetch; None for what must not be, is no picture, or has no address but a page's."""
        license, url = normalised(medium.get("license")), medium.get("identifier")
        if not allowed(license, self.policy) or medium.get("type", "StillImage") != "StillImage":
            return None
        if not isinstance(url, str) or web.http_host(url) is None:
            return None
        pages = (medium.get("references"), row.get("references"), f"https://www.gbif.org/occurrence/{row['key']}")
        holder = medium.get("rightsHolder") or row.get("rightsHolder")
        return {
            "source_id": shared_id(url, *pages, medium.get("publisher")) or f"{row['key']}#{index}",
            "group": shared_group(row.get("references")) or f"gbif:{row['key']}",
            "image_url": url,
            "landing_url": next(page for page in pages if web.http_host(str(page))),
            "license": license,
            "license_url": license_url(license),
            "creator": medium.get("creator") or holder or row.get("recordedBy"),
            "attribution": f"(c) {holder}" if holder else None,
        }


def _parts(asked: Mapping[str, Any], countries: Sequence[str]) -> list[str]:
    """What a query that has too many records is split into, later years first; nothing where it cannot be."""
    if "year" not in asked:
        years = [EVER]
    elif "," in asked["year"]:
        first, last = map(int, asked["year"].split(","))
        middle = (first + last) // 2
        years = [(middle + 1, last), (first, middle)]
    else:
        named = countries if "country" not in asked else ()
        return [urlencode({**asked, "country": country}) for country in named]
    spans = [str(first) if first == last else f"{first},{last}" for first, last in years]
    return [urlencode({**asked, "year": span}) for span in spans]
