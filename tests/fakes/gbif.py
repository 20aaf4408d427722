"""GBIF's API: records of sightings, whose media lie at iNaturalist or at a museum."""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from tests.fakes.holdings import inaturalist_id, observation_id
from tests.fakes.licensing import LICENSES
from tests.fakes.pictures import Version
from tests.fakes.state import State
from tests.fakes.world import TAXA, Photo, Sighting, iso, made_uuid

MULTIMEDIA = "http://rs.gbif.org/terms/1.0/Multimedia"
ENUMS = {"cc0": "CC0_1_0", "cc-by": "CC_BY_4_0", "cc-by-nc": "CC_BY_NC_4_0"}  # the licenses that a record may have
HEADERS = {"Cache-Control": "public, max-age=600"}
MOST = 300
THUMB = 1200
Record = tuple[Sighting, list[Photo]]


class Gbif:
    """The host api.gbif.org."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/species/match", self.match),
            web.get("/v1/occurrence/search", self.search),
            web.get("/v1/image/cache/occurrence/{key}/media/{digest}", self.cached),
            web.get("/v1/image/cache/{size}/occurrence/{key}/media/{digest}", self.cached),
        ]

    async def match(self, request: web.Request) -> web.Response:
        """EXACT for a species or genus, FUZZY for one wrong letter, HIGHERRANK for an unknown species of a known genus, else NONE."""
        name = request.query.get("name", "").strip()
        taxa = {taxon.name.lower(): taxon for taxon in TAXA if taxon.gbif}
        exact, genus = taxa.get(name.lower()), taxa.get(name.lower().partition(" ")[0])
        close = next((t for n, t in taxa.items() if _one_off(n, name.lower())), None)
        taxon, kind = next(
            ((t, k) for t, k in ((exact, "EXACT"), (close, "FUZZY"), (genus, "HIGHERRANK")) if t), (None, "NONE")
        )
        if taxon is None:
            return self._json({"confidence": 100, "matchType": kind, "synonym": False})
        return self._json(
            {
                "usageKey": taxon.gbif,
                "scientificName": f"{taxon.name} {taxon.author}".strip(),
                "canonicalName": taxon.name,
                "rank": taxon.rank.upper(),
                "status": "ACCEPTED",
                "confidence": 99 if kind == "EXACT" else 92,
                "matchType": kind,
                "synonym": False,
            }
        )

    async def search(self, request: web.Request) -> web.Response:
        query = request.query
        numbers = {name: query.get(name, default) for name, default in (("limit", "20"), ("offset", "0"))}
        wrong = next((name for name, text in numbers.items() if not text.isdigit()), None)
        if wrong:
            return web.Response(status=400, text=f"Invalid integer: {wrong}", headers=HEADERS)
        limit, offset = min(int(numbers["limit"]), MOST), int(numbers["offset"])
        depth = self._state.settings.gbif_depth
        if limit + offset > depth:
            text = f"Max offset of {depth} exceeded: {offset} + {limit}"
            return web.Response(status=400, text=text, headers=HEADERS)
        found = [record for record in self._records() if self._fits(record, query)]
        rows = [self._form(record) for record in found[offset : offset + limit]]
        ends = offset + limit >= len(found)
        facts = {"offset": offset, "limit": limit, "endOfRecords": ends, "count": len(found)}
        return self._json({**facts, "results": rows, "facets": []})

    async def cached(self, request: web.Request) -> web.Response:
        """GBIF's own thumbnail of a medium, found by the MD5 of its identifier."""
        longest = int(request.match_info.get("size", f"{THUMB}x").partition("x")[0] or THUMB)
        for record in self._records():
            if str(key(record[0])) == request.match_info["key"]:
                for photo in record[1]:
                    if hashlib.md5(self._identifier(photo).encode()).hexdigest() == request.match_info["digest"]:
                        version = Version(longest=min(longest, THUMB), quality=85)
                        body = self._state.pictures.encoded(photo, version)
                        return web.Response(body=body, content_type="image/jpeg", headers=HEADERS)
        return web.Response(status=404, text="Not Found", headers=HEADERS)

    def _json(self, data: Any) -> web.Response:
        return web.json_response(data, headers=HEADERS)

    def _records(self) -> list[Record]:
        """Research-grade sightings of iNaturalist, and specimens of a museum."""
        return [
            (sighting, list(sighting.photos))
            for sighting in self._state.world.sightings
            if sighting.grade == "research" or _is_specimen(sighting)
        ]

    def _fits(self, record: Record, query: MultiMapping[str]) -> bool:
        sighting, photos = record
        year = int(iso(sighting.seen)[:4])
        keys = {str(t.gbif) for t in TAXA if t.id in sighting.taxon.ancestors}
        facts = {
            "taxonKey": keys,
            "mediaType": {"StillImage"} if photos else set(),
            "license": {record_license(sighting)},
            "basisOfRecord": {basis(sighting)},
            "datasetKey": {dataset(sighting)},
            "country": {sighting.place[2]},
            "hasCoordinate": {"true"},
            "occurrenceStatus": {"PRESENT"},
        }
        for name, values in facts.items():
            wanted = query.getall(name, []) + query.getall(_snake(name), [])
            if wanted and not values & set(wanted):
                return False
        years = query.getall("year", [])
        return not years or any(_in_range(year, text) for text in years)

    def _identifier(self, photo: Photo) -> str:
        if not photo.on_inaturalist:
            return self._state.holdings.museum_url(photo)
        return self._state.holdings.inaturalist_url(photo, "original")

    def _form(self, record: Record) -> dict[str, Any]:
        sighting, photos = record
        number, taxon = key(sighting), sighting.taxon
        media = [self._medium(photo) for photo in photos]
        code = next(code for code, name in ENUMS.items() if name == record_license(sighting))
        name, location, country, _ = sighting.place
        latitude, longitude = (float(part) for part in location.split(","))
        return {
            "key": number,
            "gbifID": str(number),
            "datasetKey": dataset(sighting),
            "publishingOrgKey": made_uuid("organisation", int(_is_specimen(sighting))),
            "basisOfRecord": basis(sighting),
            "scientificName": f"{taxon.name} {taxon.author}",
            "taxonKey": taxon.gbif,
            "eventDate": iso(sighting.seen)[:19],
            "country": country,
            "locality": name,
            "decimalLatitude": latitude,
            "decimalLongitude": longitude,
            "references": f"https://www.inaturalist.org/observations/{observation_id(sighting)}",
            "license": LICENSES[code].url("http") + "legalcode",
            "rightsHolder": sighting.person.name,
            "recordedBy": sighting.person.name,
            "issues": ["COORDINATE_ROUNDED"],
            "media": media,
            "extensions": {MULTIMEDIA: [{_term(k): v for k, v in medium.items()} for medium in media]},
        }

    def _medium(self, photo: Photo) -> dict[str, Any]:
        """Every ninth has no identifier, and unlicensed ones have no license; its page is all that such photos have."""
        license, place = self._state.holdings.license(photo), "inaturalist" if photo.on_inaturalist else "museum"
        landing = f"https://www.inaturalist.org/photos/{inaturalist_id(photo)}"
        medium: dict[str, Any] = {
            "type": "StillImage",
            "format": "image/jpeg",
            "identifier": self._identifier(photo),
            "references": landing if place == "inaturalist" else f"{self._state.urls['museum']}/objects/{photo.number}",
            "created": iso(photo.taken).replace("+00:00", "Z"),
            "creator": photo.person.name,
            "publisher": "iNaturalist" if place == "inaturalist" else "A museum",
            "license": LICENSES[license].url("http") if license else "",
            "rightsHolder": photo.person.name,
        }
        absent = ("identifier",) if photo.number % 9 == 4 else ()
        return {k: v for k, v in medium.items() if v and k not in absent}


def key(sighting: Sighting) -> int:
    return 4_400_000_001 + 11 * sighting.number


def record_license(sighting: Sighting) -> str:
    """Not that of its media: who has chosen none of GBIF's three is listed as CC0 here."""
    return ENUMS.get(sighting.license, "CC0_1_0")


def dataset(sighting: Sighting) -> str:
    return made_uuid("dataset", int(_is_specimen(sighting)))


def basis(sighting: Sighting) -> str:
    return "PRESERVED_SPECIMEN" if _is_specimen(sighting) else "HUMAN_OBSERVATION"


def _is_specimen(sighting: Sighting) -> bool:
    return not any(photo.on_inaturalist for photo in sighting.photos)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _term(name: str) -> str:
    return f"http://purl.org/dc/terms/{name}"


def _in_range(year: int, text: str) -> bool:
    first, _, last = text.partition(",")
    return int(first or 0) <= year <= int(last or first or 9999)


def _one_off(a: str, b: str) -> bool:
    """Whether one letter makes the difference."""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[start + 1 :] in (b[start + 1 :], b[start:]) or b[start + 1 :] == a[start:]
