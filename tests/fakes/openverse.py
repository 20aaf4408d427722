"""Openverse's API: a catalogue of other people's pictures, whose `url` leads to Flickr, Commons or a museum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.faults import refusal
from tests.fakes.holdings import flickr_id, page_id
from tests.fakes.licensing import LICENSES, License
from tests.fakes.pictures import Version
from tests.fakes.state import State
from tests.fakes.world import Photo, iso

ANONYMOUS, KNOWN = 20, 50  # the largest page
TOKEN, CLIENT_ID, CLIENT_SECRET = "fake-token", "fake-id", "fake-secret"
OLD_NAMES = {"li": "license", "lt": "license_type", "pagesize": "page_size", "provider": "source"}
KNOWN_LICENSES = {license.openverse for license in LICENSES.values()} | {"sampling+", "nc-sampling+"}


@dataclass(frozen=True)
class Entry:
    """A picture in the catalogue."""

    photo: Photo
    url: str
    source: str
    landing: str
    version: Version
    license: License
    dead: bool

    @property
    def mature(self) -> bool:
        return self.photo.number % 13 == 8

    @property
    def size(self) -> tuple[int, int]:
        return self.version.size(self.photo)


class Openverse:
    """The host api.openverse.org."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/images/", self.search),
            web.get("/v1/images/{id}/", self.detail),
            web.get("/v1/images/{id}/thumb/", self.thumb),
            web.get("/v1/images/{id}/related/", self.related),
            web.post("/v1/auth_tokens/register/", self.register),
            web.post("/v1/auth_tokens/token/", self.token),
            web.get("/v1/rate_limit/", self.rate_limit),
            web.get("/{rest:.*}", self.unknown),
        ]

    async def unknown(self, request: web.Request) -> web.Response:
        return web.json_response({"detail": "Not found."}, status=404)

    async def search(self, request: web.Request) -> web.Response:
        headers, busy = self._admit(request, "burst", self._state.settings.openverse_burst)
        wrong = busy or self._wrong(request)
        if wrong:
            wrong.headers.update(headers)
            return wrong
        query, depth = request.query, self._state.settings.openverse_depth
        size, page = int(query.get("page_size", 20)), int(query.get("page", 1))
        found = [entry for entry in self._entries() if _fits(entry, query)]
        pages = min(math.ceil(len(found) / size), depth // size)
        if page > max(pages, 1):
            text = f"page {page} is beyond the {depth} results that can be seen"
            return web.json_response({"detail": text}, status=400 if _is_known(request) else 401, headers=headers)
        rows = found[(page - 1) * size : page * size]
        if query.get("filter_dead", "true") != "false":
            rows = [entry for entry in rows if not entry.dead]  # pages get shorter
        facts = {"result_count": len(found), "page_count": pages, "page_size": size, "page": page}
        return web.json_response({**facts, "results": [self._form(entry) for entry in rows]}, headers=headers)

    async def detail(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        return web.json_response(self._form(entry)) if entry else await self.unknown(request)

    async def related(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        if entry is None:
            return await self.unknown(request)
        rows = [self._form(e) for e in self._entries() if e.photo.scene == entry.photo.scene and e != entry][:10]
        return web.json_response(
            {"result_count": len(rows), "page_count": 1, "page_size": 10, "page": 1, "results": rows}
        )

    async def thumb(self, request: web.Request) -> web.Response:
        headers, busy = self._admit(request, "thumbnail", self._state.settings.openverse_thumbnails)
        if busy:
            return busy
        entry = self._entry(request)
        if entry is None or entry.dead:
            return web.json_response({"detail": "Could not find image."}, status=424 if entry else 404)
        body = self._state.pictures.encoded(entry.photo, entry.version.at_most(600))
        return web.Response(body=body, content_type="image/jpeg", headers=headers)

    async def register(self, request: web.Request) -> web.Response:
        form = await request.json()
        missing = {name: ["This field is required."] for name in ("name", "description", "email") if not form.get(name)}
        if missing:
            return web.json_response({"detail": missing}, status=400)
        known = {"name": form["name"], "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return web.json_response({**known, "msg": "Check your email for a verification link."}, status=201)

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response(
            {"access_token": TOKEN, "scope": "read write", "expires_in": 36000, "token_type": "Bearer"}
        )

    async def rate_limit(self, request: web.Request) -> web.Response:
        if not _is_known(request):
            return web.json_response({"detail": "Forbidden"}, status=403)
        seen = len(self._state.log.visits("openverse"))
        facts = {"rate_limit_model": "standard", "verified": True}
        return web.json_response({"requests_this_minute": seen, "requests_today": seen, **facts})

    def _admit(self, request: web.Request, scope: str, limit: int) -> tuple[dict[str, str], web.Response | None]:
        """Rate-limit headers, and a 429 where they are used up. Clients with a token have five times as much."""
        known = _is_known(request)
        kind, factor = ("oauth2_client_credentials", 5) if known else ("anon", 1)
        scopes = {f"{kind}_{scope}": (limit * factor, 60.0)}
        if scope == "burst":
            scopes[f"{kind}_sustained"] = (self._state.settings.openverse_sustained * factor, 86400.0)
        left, wait = self._state.admit(request, scopes)
        words = {60.0: "min", 86400.0: "day"}
        headers = {f"X-RateLimit-Limit-{name}": f"{most}/{words[span]}" for name, (most, span) in scopes.items()}
        headers |= {f"X-RateLimit-Available-{name}": str(left[name]) for name in scopes}
        return headers, refusal(self._state, "openverse", 429, int(wait) + 1) if wait else None

    def _wrong(self, request: web.Request) -> web.Response | None:
        """A refusal of what was asked, if it is one to refuse."""
        query = request.query
        if "Authorization" in request.headers and not _is_known(request):
            return web.json_response({"detail": "Authentication credentials were not provided."}, status=401)
        detail: dict[str, list[str]] = {}
        for old, new in OLD_NAMES.items():
            if old in query:
                detail[old] = [f"Parameter '{old}' has been renamed to '{new}'."]
        for name in ("page", "page_size"):
            text = query.get(name, "1")
            if not text.isdigit() or int(text) < 1:
                detail[name] = [
                    "Ensure this value is greater than or equal to 1."
                    if text[1:].isdigit()
                    else "A valid integer is required."
                ]
        for license in filter(None, query.get("license", "").lower().split(",")):
            if license not in KNOWN_LICENSES:
                detail["license"] = [f"License '{license}' does not exist."]
        if "source" in query and "excluded_source" in query:
            detail["source"] = ["Cannot set both 'source' and 'excluded_source'."]
        if detail:
            return web.json_response({"detail": detail}, status=400)
        most, known = (KNOWN, True) if _is_known(request) else (ANONYMOUS, False)
        if int(query.get("page_size", 20)) > most:
            text = f"page_size may not exceed {most} for {'authenticated' if known else 'anonymous'} requests"
            return web.json_response({"detail": text}, status=400 if known else 401)
        return None

    def _entries(self) -> list[Entry]:
        return [entry for photo in self._state.world.photos if (entry := self._catalogued(photo))]

    def _entry(self, request: web.Request) -> Entry | None:
        return next((e for e in self._entries() if e.photo.uuid == request.match_info["id"]), None)

    def _catalogued(self, photo: Photo) -> Entry | None:
        """Where Openverse found a photo: at Flickr, at Commons or in a museum."""
        held = self._state.holdings
        code = held.license(photo)
        if not code:
            return None
        license, number = LICENSES[code], photo.number
        for size in "okhlczm" if number % 2 == 0 else "":
            if url := held.flickr_url(photo, size):
                shown = held.shown("farm", url.removeprefix(self._state.urls["farm"]))
                assert shown is not None
                landing = f"https://www.flickr.com/photos/{photo.person.nsid}/{flickr_id(photo)}"
                return Entry(photo, url, "flickr", landing, shown.version, license, False)
        if number % 3 == 1 and held.commons_names.get(number, "").endswith(".jpg"):
            landing = f"https://commons.wikimedia.org/w/index.php?curid={page_id(photo)}"
            return Entry(
                photo, held.commons_url(photo), "wikimedia", landing, held.version("commons", photo), license, False
            )
        if number % 3 == 1:
            return None
        landing = f"{self._state.urls['museum']}/objects/{number}"
        dead = number % 10 == 5
        return Entry(photo, held.museum_url(photo), "museum", landing, held.version("museum", photo), license, dead)

    def _form(self, entry: Entry) -> dict[str, Any]:
        photo, license = entry.photo, entry.license
        width, height = entry.size
        known = photo.number % 4 != 3  # every fourth has gaps
        name = photo.person.name if known else None
        here = f"{self._state.urls['openverse']}/v1/images/{photo.uuid}/"
        version = license.version if license.version == "1.0" else "2.0"
        url = license.url(version=version)
        title = photo.title if known else None
        words = (
            f"is licensed under CC {license.openverse.upper()} {version}. To view a copy of this license, visit {url}."
        )
        return {
            "id": photo.uuid,
            "title": title,
            "indexed_on": iso(photo.taken + 86400),
            "foreign_landing_url": entry.landing,
            "url": entry.url,
            "creator": name,
            "creator_url": f"https://example.org/people/{photo.person.login}" if known else None,
            "license": license.openverse,
            "license_version": version if known else None,
            "license_url": url,
            "provider": entry.source,
            "source": entry.source,
            "category": "photograph" if known else None,
            "filesize": len(self._state.pictures.encoded(photo, entry.version)) if photo.number % 4 == 0 else None,
            "filetype": "jpg" if known else None,
            "tags": [
                {"accuracy": None, "name": "fox", "unstable__provider": entry.source},
                {"accuracy": 0.97, "name": "animal", "unstable__provider": "clarifai"},
            ],
            "attribution": f'"{title}" by {name} {words}' if known else f"This work {words}",
            "fields_matched": ["title"],
            "mature": entry.mature,
            "height": height if known else None,
            "width": width if known else None,
            "thumbnail": f"{here}thumb/",
            "detail_url": here,
            "related_url": f"{here}related/",
            "unstable__sensitivity": ["user_reported_sensitivity"] if entry.mature else [],
        }


def _is_known(request: web.Request) -> bool:
    return request.headers.get("Authorization") == f"Bearer {TOKEN}"


def _fits(entry: Entry, query: Mapping[str, str]) -> bool:
    photo, license = entry.photo, entry.license
    width, height = entry.size
    about = f"{photo.title} {photo.taxon.name} fox animal".lower()
    words = query.get("q", "")[:200].lower().split()
    if not words:
        words = f"{query.get('title', '')} {query.get('tags', '')}".lower().replace(",", " ").split()
    ratio = "square" if width == height else "wide" if width > height else "tall"
    size = "small" if width * height < 480 * 640 else "medium" if width * height < 1_500_000 else "large"
    kinds = query.get("license_type", "all").split(",")
    return (
        all(word in about for word in words)
        and (not query.get("creator") or query["creator"].lower() in photo.person.name.lower())
        and _in(entry.source, query.get("source"))
        and not (query.get("excluded_source") and _in(entry.source, query["excluded_source"]))
        and _in(license.openverse, query.get("license", "").lower())
        and ("commercial" not in kinds or license.commercial)
        and ("modification" not in kinds or license.modifiable)
        and ("all-cc" not in kinds or license.code != "pd")
        and _in("jpg", query.get("extension"))
        and _in("photograph", query.get("category"))
        and _in(ratio, query.get("aspect_ratio"))
        and _in(size, query.get("size"))
        and (query.get("mature") == "true" or not entry.mature)
    )


def _in(value: str, wanted: str | None) -> bool:
    """Whether a comma list, if there is one, has `value`."""
    return not wanted or value in wanted.split(",")
