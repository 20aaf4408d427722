"""The image hosts: pictures with ETag, Last-Modified and Range, one host of iNaturalist's open photos, one of its others, Wikimedia's,
Flickr's, and a museum that other catalogues point to."""

from __future__ import annotations

import email.utils
import hashlib
import re
from urllib.parse import unquote

from aiohttp import web

from tests.fakes.agents import has_contact
from tests.fakes.faults import refusal
from tests.fakes.holdings import Shown
from tests.fakes.odd import KINDS, odd_picture
from tests.fakes.state import VISIT, State

PLACEHOLDER = re.compile(r"/assets/[a-z-]+-square\.png|/attachment_defaults/local_photos/square\.png")


class ImageHost:
    """One host of pictures."""

    def __init__(self, state: State, name: str) -> None:
        self._state, self._name = state, name

    def routes(self) -> list[web.RouteDef]:
        routes = [web.get("/{path:.*}", self.picture)]
        if self._name == "museum":
            routes = [web.get("/objects/{number}", self.landing), web.get("/odd/{kind}.jpg", self.odd), *routes]
        return routes

    async def picture(self, request: web.Request) -> web.Response:
        path = unquote(request.raw_path.partition("?")[0])
        if self._name == "upload" and not has_contact(request.headers.get("User-Agent", "")):
            return refusal(self._state, self._name, 403)
        if self._name == "static" and PLACEHOLDER.fullmatch(path):
            return self._send(request, odd_picture("one_bit"), "image/png", 0)
        shown = self._state.holdings.shown(self._name, path)
        if shown is None or self._moved(shown):
            return refusal(self._state, self._name, 403 if shown and self._name == "open-data" else 404)
        return self._send(request, *self._state.body(shown), shown.photo.taken)

    async def odd(self, request: web.Request) -> web.Response:
        """Any of the strange pictures, for a look."""
        kind = request.match_info["kind"]
        if kind not in KINDS:
            raise web.HTTPNotFound
        return self._send(request, odd_picture(kind), "image/jpeg", 0)

    async def landing(self, request: web.Request) -> web.Response:
        """A museum's page about an object."""
        number = request.match_info["number"]
        text = f'<html><body><h1>Object {number}</h1><img src="/media/{number}.jpg"></body></html>'
        return web.Response(text=text, content_type="text/html")

    def _moved(self, shown: Shown) -> bool:
        """iNaturalist keeps licensed photos at one host and the others at another one."""
        licensed = bool(self._state.holdings.license(shown.photo))
        return self._name == ("static" if licensed else "open-data")

    def _send(self, request: web.Request, body: bytes, mime: str, modified: int) -> web.Response:
        faults = VISIT.get().faults
        if request.headers.get("Range") and self._state.switches.take("changed"):
            body += b"\0"  # harmless behind the end of a JPEG
        headers = {"Content-Type": mime, "Accept-Ranges": "none" if "no_range" in faults else "bytes"}
        if "no_validators" not in faults:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
            headers["Last-Modified"] = email.utils.formatdate(modified, usegmt=True)
        if is_known(request, headers):
            return web.Response(status=304, headers={k: v for k, v in headers.items() if k != "Content-Type"})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if wanted is None or "no_range" in faults or not _still_fits(request, headers):
            return web.Response(body=body, headers=headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(body) - 1), len(body) - 1)
        if first >= len(body):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return web.Response(status=206, body=body[first : last + 1], headers=headers)


def is_known(request: web.Request, headers: dict[str, str]) -> bool:
    """Whether the client has this state of the file already (RFC 9110, 13.2.2: the ETag wins)."""
    if "If-None-Match" in request.headers:
        tags = [tag.strip().removeprefix("W/") for tag in request.headers["If-None-Match"].split(",")]
        return "*" in tags or headers.get("ETag") in tags
    since = request.headers.get("If-Modified-Since")
    if not since or "Last-Modified" not in headers:
        return False
    try:
        dates = [email.utils.parsedate_to_datetime(text) for text in (since, headers["Last-Modified"])]
    except ValueError:
        return False
    return dates[0] >= dates[1]


def _still_fits(request: web.Request, headers: dict[str, str]) -> bool:
    """Whether If-Range lets a part be sent."""
    return request.headers.get("If-Range") in (None, headers.get("ETag"), headers.get("Last-Modified"))
