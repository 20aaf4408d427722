"""Flickr's API: all errors come as HTTP 200, numbers come as they like."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.faults import refusal
from tests.fakes.holdings import FLICKR_SIZES, flickr_id, flickr_size, secret
from tests.fakes.licensing import LICENSES
from tests.fakes.state import State
from tests.fakes.world import BEGIN, Photo

KEY = "0123456789abcdef0123456789abcdef"
MOST = 500
NAMES = {
    "0": ("All Rights Reserved", ""),
    "4": ("Attribution License", "https://creativecommons.org/licenses/by/2.0/"),
    "5": ("Attribution-ShareAlike License", "https://creativecommons.org/licenses/by-sa/2.0/"),
    "2": ("Attribution-NonCommercial License", "https://creativecommons.org/licenses/by-nc/2.0/"),
    "6": ("Attribution-NoDerivs License", "https://creativecommons.org/licenses/by-nd/2.0/"),
    "1": ("Attribution-NonCommercial-ShareAlike License", "https://creativecommons.org/licenses/by-nc-sa/2.0/"),
    "3": ("Attribution-NonCommercial-NoDerivs License", "https://creativecommons.org/licenses/by-nc-nd/2.0/"),
    "7": ("No known copyright restrictions", "https://www.flickr.com/commons/usage/"),
    "8": ("United States Government Work", "http://www.usa.gov/copyright.shtml"),
    "9": ("Public Domain Dedication (CC0)", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "10": ("Public Domain Mark", "https://creativecommons.org/publicdomain/mark/1.0/"),
    "11": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "12": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
}
RARE = {16: "7", 36: "8", 56: "11", 76: "12"}  # licenses that no other service has, by the last of number % 80


class Flickr:
    """The host api.flickr.com."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/services/rest", self.rest), web.get("/services/rest/", self.rest)]

    async def rest(self, request: web.Request) -> web.Response:
        _, wait = self._state.admit(request, {"hour": (self._state.settings.flickr_per_hour, 3600.0)})
        if wait:
            return refusal(self._state, "flickr", 429, int(wait) + 1)
        query = request.query
        answer = self._answer(query)
        if query.get("format") != "json":
            code, message = answer.get("code", 111), answer.get("message", 'Format "rest" is not in this fake')
            xml = f'<?xml version="1.0"?><rsp stat="fail"><err code="{code}" msg="{message}"/></rsp>'
            return web.Response(text=xml, content_type="text/xml")
        text = json.dumps(answer)
        if query.get("nojsoncallback") != "1":
            return web.Response(text=f"jsonFlickrApi({text})", content_type="application/javascript")
        return web.Response(text=text, content_type="application/json")

    def _answer(self, query: Mapping[str, str]) -> dict[str, Any]:
        if self._state.switches.take("flickr_unavailable"):
            return _fail(105, "Service currently unavailable")
        if not re.fullmatch("[0-9a-f]{32}", query.get("api_key", "")):
            return _fail(100, "Invalid API Key (Key has invalid format)")
        if query["api_key"] != KEY:
            return _fail(100, "Invalid API Key (Key not found)")
        match query.get("method"):
            case "flickr.photos.search":
                return self._search(query)
            case "flickr.photos.licenses.getInfo":
                rows = [{"id": id, "name": name, "url": url} for id, (name, url) in NAMES.items()]
                return {"licenses": {"license": rows}, "stat": "ok"}
        return _fail(112, f'Method "{query.get("method", "")}" not found')

    def _search(self, query: Mapping[str, str]) -> dict[str, Any]:
        if not any(query.get(name) for name in ("text", "tags", "user_id", "min_upload_date", "license")):
            return _fail(3, "Parameterless searches have been disabled. Please use flickr.photos.getRecent instead.")
        per_page = min(_number(query.get("per_page")) or 100, MOST)
        page = _number(query.get("page")) or 1
        found = [p for p in self._state.holdings.flickr() if self._fits(p, query)]
        order = query.get("sort", "date-posted-desc")
        found.sort(key=uploaded if "posted" in order else lambda p: p.taken, reverse=order.endswith("desc"))
        first, distinct = (page - 1) * per_page, self._state.settings.flickr_distinct
        positions = range(first, min(first + per_page, len(found)))
        if first >= distinct:  # later pages show again what was shown before
            positions = range(first % distinct, first % distinct + len(positions))
        rows = [self._form(found[i], page, query) for i in positions if i < len(found)]
        total: int | str = str(len(found)) if page % 2 == 0 else len(found)
        pages = -(-len(found) // per_page)
        facts = {"page": page, "pages": pages, "perpage": per_page, "total": total}
        return {"photos": {**facts, "photo": rows}, "stat": "ok"}

    def _fits(self, photo: Photo, query: Mapping[str, str]) -> bool:
        words = f"{query.get('text', '')} {query.get('tags', '')}".lower().replace(",", " ").split()
        about = f"{photo.title} {photo.taxon.name} fox {photo.scene}".lower()
        licenses = {code for code in query.get("license", "").split(",") if code}
        return (
            all(word in about for word in words)
            and (not licenses or self.license(photo) in licenses)
            and uploaded(photo) >= (_moment(query.get("min_upload_date")) or 0)
            and uploaded(photo) <= (_moment(query.get("max_upload_date")) or 1 << 40)
            and query.get("user_id", photo.person.nsid) == photo.person.nsid
        )

    def license(self, photo: Photo) -> str:
        code = self._state.holdings.license(photo)
        return RARE.get(photo.number % 80) or (LICENSES[code].flickr if code else "0")

    def _form(self, photo: Photo, page: int, query: Mapping[str, str]) -> dict[str, Any]:
        extras = {extra for extra in query.get("extras", "").split(",") if extra}
        width, height = self._state.holdings.version("flickr", photo).size(photo)
        text = photo.number % 4 == 0  # whose numbers are texts
        license = self.license(photo)
        optional: dict[str, dict[str, Any]] = {
            "description": {"description": {"_content": f"<b>{photo.title}</b>" if text else ""}},
            "license": {"license": license if text else int(license)},
            "date_upload": {"dateupload": str(uploaded(photo))},
            "date_taken": {"datetaken": datetime.fromtimestamp(photo.taken, UTC).strftime("%Y-%m-%d %H:%M:%S")},
            "owner_name": {"ownername": photo.person.name},
            "tags": {"tags": f"fox {photo.scene}"},
            "views": {"views": "9"},
            "o_dims": {"o_width": str(width) if text else width, "o_height": str(height) if text else height},
        }
        form: dict[str, Any] = {
            "id": str(flickr_id(photo)),
            "owner": photo.person.nsid,
            "secret": secret(photo),
            "server": "65535",
            "farm": 66,
            "title": photo.title,
            "ispublic": 1,
            "isfriend": 0,
            "isfamily": 0,
        }
        for extra in sorted(extras & optional.keys()):
            form |= optional[extra]
        for size in ("o", *FLICKR_SIZES):
            url = self._state.holdings.flickr_url(photo, size) if f"url_{size}" in extras else None
            if url:
                w, h = flickr_size(width, height, size)
                form |= {
                    f"url_{size}": url,
                    f"width_{size}": str(w) if text else w,
                    f"height_{size}": str(h) if text else h,
                }
        return form


def uploaded(photo: Photo) -> int:
    """Seconds since 1970; several photos share one."""
    return BEGIN + photo.number // 6 * 3600


def _fail(code: int, message: str) -> dict[str, Any]:
    return {"stat": "fail", "code": code, "message": message}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _moment(text: str | None) -> int:
    """Seconds since 1970, given as such or as MySQL writes dates."""
    if not text or text.isdigit():
        return _number(text)
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
