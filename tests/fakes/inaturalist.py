"""iNaturalist's API, v1 and v2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fakes.faults import refusal
from tests.fakes.holdings import observation_id
from tests.fakes.inaturalist_forms import Found, observation, taxon_result
from tests.fakes.rison import Fields, parse, pick
from tests.fakes.state import State
from tests.fakes.world import TAXA, iso

WINDOW = (
    "Result window is too large, page x size must be less than or equal to [10000]. Please narrow your search, or use a sliding "
    "window approach with id_above or id_below params."
)
INTEGERS = ("per_page", "page", "id_above", "id_below")


class INaturalist:
    """The host api.inaturalist.org."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/observations", self.v1),
            web.get("/v1/taxa", self.taxa),
            web.get("/v1/taxa/autocomplete", self.autocomplete),
            web.get("/v1/{rest:.*}", self.unknown),
            web.get("/v2/observations", self.v2),
            web.post("/v2/observations", self.v2),
        ]

    async def unknown(self, request: web.Request) -> web.Response:
        return web.json_response({"error": "Not Found", "status": 404}, status=404)

    async def v1(self, request: web.Request) -> web.Response:
        if busy := self._busy(request):
            return busy
        page, per_page = _page(request.query), _per_page(request.query, 30, 200)
        if page * per_page > self._state.settings.inaturalist_window:
            return web.json_response({"error": WINDOW, "status": 403}, status=403)
        found, total = self._search(request.query, page, per_page)
        only_id = request.query.get("only_id") == "true"
        results = [{"id": observation_id(f[0])} if only_id else observation(self._state, f) for f in found]
        answer = {"page": page, "per_page": per_page, "results": results}
        if "true" not in (request.query.get("no_total_hits"), request.query.get("skip_total_hits")):
            answer["total_results"] = total
        return web.json_response(answer)

    async def v2(self, request: web.Request) -> web.Response:
        """Only the fields that were asked for; `uuid` alone if none were."""
        if busy := self._busy(request):
            return busy
        if request.method == "POST" and request.headers.get("X-HTTP-Method-Override") != "GET":
            return web.json_response(
                {"status": "401", "errors": [{"errorCode": "401", "message": "Unauthorized"}]}, status=401
            )
        wrong = [name for name in INTEGERS if name in request.query and not _is_integer(request.query[name])]
        if wrong:
            errors = [{"path": name, "message": "must be integer"} for name in wrong]
            return web.json_response({"status": 422, "errors": errors}, status=422)
        page, per_page = _page(request.query), _per_page(request.query, 30, 200)
        if page * per_page > self._state.settings.inaturalist_window:
            errors = [{"errorCode": "500", "message": WINDOW}]
            return web.json_response({"status": "500", "errors": errors}, status=500)
        try:
            fields = await _fields(request)
        except ValueError as error:
            errors = [{"path": "fields", "message": str(error)}]
            return web.json_response({"status": 422, "errors": errors}, status=422)
        found, total = self._search(request.query, page, per_page)
        results = [pick(observation(self._state, f), fields) for f in found]
        return web.json_response({"total_results": total, "page": page, "per_page": per_page, "results": results})

    async def taxa(self, request: web.Request) -> web.Response:
        return self._busy(request) or self._taxa(request.query, _per_page(request.query, 30, 500))

    async def autocomplete(self, request: web.Request) -> web.Response:
        return self._busy(request) or self._taxa(request.query, _per_page(request.query, 10, 30))

    def _taxa(self, query: Mapping[str, str], per_page: int) -> web.Response:
        asked, active = query.get("q", "").lower(), query.get("is_active", "true")
        found = []
        for taxon in TAXA:
            names = (taxon.name, taxon.common, *taxon.terms)
            term = next((n for n in names if n.lower() == asked), None) or next(
                (n for n in names if any(w.startswith(asked) for w in (n.lower(), *n.lower().split()))), None
            )
            ranks = query.get("rank", taxon.rank).split(",")
            if term and taxon.rank in ranks and active in ("any", str(taxon.active).lower()):
                found.append(taxon_result(self._state, taxon, term))
        found.sort(key=lambda taxon: -taxon["observations_count"])
        rows = found[:per_page]
        return web.json_response({"total_results": len(found), "page": 1, "per_page": per_page, "results": rows})

    def _search(self, query: Mapping[str, str], page: int, per_page: int) -> tuple[list[Found], int]:
        found = [f for f in self._state.holdings.sightings() if self._fits(f, query)]
        order = query.get("order_by", "created_at")

        def key(item: Found) -> Any:
            sighting = item[0]
            match order:
                case "id":
                    return observation_id(sighting)
                case "observed_on":
                    return sighting.seen
                case "updated_at":
                    return sighting.changed
                case "random":
                    return hashlib.sha256(str(sighting.number).encode()).hexdigest()
                case "species_guess":
                    return sighting.taxon.common
            return sighting.added

        found.sort(key=key, reverse=query.get("order", "desc") == "desc")
        return found[(page - 1) * per_page : page * per_page], len(found)

    def _fits(self, found: Found, query: Mapping[str, str]) -> bool:
        sighting, photos, flag = found
        number, taxon = observation_id(sighting), sighting.taxon
        licenses = {self._state.holdings.license(photo) for photo in photos} - {""}
        wanted = {code for code in query.get("photo_license", "").lower().split(",") if code}
        ids = {int(i) for i in query.get("taxon_id", "").split(",") if i.isdigit()}
        name = query.get("taxon_name", "").lower()
        named = {t.id for t in TAXA if name in (t.name.lower(), t.common.lower(), *(e.lower() for e in t.terms))}
        places = {int(i) for i in query.get("place_id", "").split(",") if i.isdigit()}
        grades = query.get("quality_grade", sighting.grade).split(",")
        return (
            (not ids or bool(ids & set(taxon.ancestors)))
            and (not name or bool(named & set(taxon.ancestors)))
            and (not wanted or bool(wanted & licenses))
            and (query.get("photo_licensed") != "true" or bool(licenses))
            and (query.get("photos") != "false")
            and sighting.grade in grades
            and query.get("captive", str(sighting.captive).lower()) == str(sighting.captive).lower()
            and number > int(query.get("id_above", 0))
            and number < int(query.get("id_below", 1 << 62))
            and (not places or sighting.place[3] in places)
            and _annotated(sighting.dead, query)
            and _dated(found, query)
        )

    def _busy(self, request: web.Request) -> web.Response | None:
        limit = self._state.settings.inaturalist_per_minute
        _, wait = self._state.admit(request, {"minute": (limit, 60.0)})
        return refusal(self._state, "inaturalist", 429, int(wait) + 1) if wait else None


def _annotated(dead: bool, query: Mapping[str, str]) -> bool:
    """Term 17 is "alive or dead", 18 alive and 19 dead."""
    if "term_id" not in query:
        return True
    value = "19" if dead else "18"
    if query["term_id"] != "17" or query.get("without_term_value_id") == value:
        return False
    return query.get("term_value_id", value) == value


def _dated(found: Found, query: Mapping[str, str]) -> bool:
    sighting = found[0]
    seen, added, changed = iso(sighting.seen), iso(sighting.added), iso(sighting.changed)
    return (
        query.get("d1", "") <= seen[: len(query.get("d1", ""))]
        and seen[: len(query.get("d2", seen))] <= query.get("d2", seen)
        and query.get("created_d1", "") <= added[: len(query.get("created_d1", ""))]
        and query.get("updated_since", "") <= changed[: len(query.get("updated_since", ""))]
    )


async def _fields(request: web.Request) -> Fields:
    if request.method == "POST":
        wanted: Fields = json.loads(await request.text()).get("fields", {})
        return wanted
    return parse(request.query.get("fields", "uuid"))


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _page(query: Mapping[str, str]) -> int:
    text = query.get("page", "1")
    return max(1, int(text)) if _is_integer(text) else 1


def _per_page(query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get("per_page", "")
    if not _is_integer(text) or int(text) < 0:
        return default
    return min(int(text), most)
