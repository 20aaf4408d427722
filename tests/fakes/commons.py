"""Wikimedia Commons: the part of MediaWiki's action API that finds files. All errors come as HTTP 200."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.agents import has_contact
from tests.fakes.commons_forms import CATEGORIES, File, info, make_files, subcategories
from tests.fakes.state import State

MOST, MOST_THUMBNAILS = 500, 50
PREFIXES = {"search": "gsr", "categorymembers": "gcm", "allimages": "gai"}


class ApiError(Exception):
    """What the API calls an error."""

    def __init__(self, code: str, text: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(text)
        self.body = {"code": code, "info": text, **more}
        self.headers = headers or {}


@dataclass
class Batch:
    """What a generator found: files (or categories by their titles), the continuation after them, and search ranks from `first`."""

    files: list[File]
    categories: list[str]
    more: dict[str, Any]
    here: dict[str, Any]  # what leads to this same batch again
    first: int | None = None


class Commons:
    """The host commons.wikimedia.org."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._files = make_files(state)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/w/api.php", self.api), web.post("/w/api.php", self.api)]

    async def api(self, request: web.Request) -> web.Response:
        if not has_contact(request.headers.get("User-Agent", "")):
            text = "Please set a user-agent and respect our robot policy https://w.wiki/4wJS. See also T400119.\n"
            return web.Response(status=403, text=text)
        query = dict(request.query) | {k: str(v) for k, v in (await request.post()).items()}
        try:
            self._refuse(query)
            return web.json_response(self._answer(query))
        except ApiError as error:
            served = {"servedby": "mw-api-ext.fake"}
            return web.json_response(
                {"error": {**error.body, "*": "See /w/api.php for usage."}, **served}, headers=error.headers
            )

    def _refuse(self, query: Mapping[str, str]) -> None:
        if "maxlag" in query and self._state.switches.take("maxlag"):
            headers = {"Retry-After": "5", "X-Database-Lag": "7"}
            raise ApiError("maxlag", "Waiting for db1: 7.2 seconds lagged", headers, host="db1", lag=7.2, type="db")
        if self._state.switches.take("ratelimited"):
            raise ApiError("ratelimited", "You've exceeded your rate limit. Please wait some time and try again.")
        if query.get("format") != "json":
            raise ApiError("badvalue", f'Unrecognized value for parameter "format": {query.get("format", "")}.')
        if query.get("action") != "query":
            raise ApiError("badvalue", f'Unrecognized value for parameter "action": {query.get("action", "")}.')

    def _answer(self, query: Mapping[str, str]) -> dict[str, Any]:
        two = query.get("formatversion", "1") == "2"
        warnings: dict[str, Any] = {}
        batch = self._batch(query, warnings)
        pages, resume = self._pages(batch, query)
        answer: dict[str, Any] = {}
        if resume:  # the same batch goes on
            head = f"{next(iter(batch.here))}||" if batch.here else "||"
            answer["continue"] = {"iicontinue": resume, **batch.here, "continue": head}
        else:
            answer["batchcomplete"] = True if two else ""
            if batch.more:
                answer["continue"] = {**batch.more, "continue": f"{next(iter(batch.more))}||"}
        if warnings:
            answer["warnings"] = warnings
        if pages:  # a generator that finds nothing leaves `query` away
            answer["query"] = {"pages": pages if two else {str(p["pageid"]): p for p in pages}}
        return answer

    def _pages(self, batch: Batch, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str]:
        """Pages in the order of their ids, and where `imageinfo` goes on if this reply does not hold it for all."""
        ranks = {file.pageid: i for i, file in enumerate(batch.files, batch.first or 0)}
        files = sorted(batch.files, key=lambda file: file.pageid)
        wants = "imageinfo" in query.get("prop", "").split("|")
        begin = self._begin(files, query.get("iicontinue", "")) if wants else 0
        room = self._state.settings.commons_imageinfo
        end = begin + (min(room, MOST_THUMBNAILS) if "iiurlwidth" in query else room)
        pages: list[dict[str, Any]] = []
        for position, file in enumerate(files):
            page: dict[str, Any] = {"pageid": file.pageid, "ns": 6, "title": f"File:{file.title}"}
            if batch.first is not None:
                page["index"] = ranks[file.pageid] + 1
            if wants:
                page["imagerepository"] = "local"
                if begin <= position < end and file.trap != "no_info":
                    page["imageinfo"] = [info(self._state, file, query)]
            pages.append(page)
        for title in batch.categories:
            pages.append({"pageid": 9000 + list(CATEGORIES).index(title), "ns": 14, "title": title})
        return pages, f"{files[end].name}|{files[end].stamp}" if wants and end < len(files) else ""

    def _begin(self, files: list[File], token: str) -> int:
        if not token:
            return 0
        name = token.rpartition("|")[0]
        found = next((i for i, file in enumerate(files) if file.name == name), None)
        if found is None:
            raise ApiError(
                "badcontinue",
                "Invalid continue param. You should pass the original value returned by the previous query.",
            )
        return found

    # Generators

    def _batch(self, query: Mapping[str, str], warnings: dict[str, Any]) -> Batch:
        generator = query.get("generator")
        if generator is None:
            return self._named(query)
        if generator not in PREFIXES:
            raise ApiError("badvalue", f'Unrecognized value for parameter "generator": {generator}.')
        prefix = PREFIXES[generator]
        limit = MOST if query.get(f"{prefix}limit") == "max" else int(query.get(f"{prefix}limit", 10))
        if limit > MOST:
            text = f"The value provided for {prefix}limit exceeds its maximum of {MOST}, it was limited."
            warnings[generator] = {"warnings": text}
        limit = min(limit, MOST)
        match generator:
            case "search":
                return self._search(query, limit)
            case "categorymembers":
                return self._members(query, limit)
        return self._all(query, limit)

    def _named(self, query: Mapping[str, str]) -> Batch:
        titles = [t.removeprefix("File:").replace("_", " ") for t in query.get("titles", "").split("|") if t]
        ids = {int(i) for i in query.get("pageids", "").split("|") if i.isdigit()}
        if len(titles) > 50 or len(ids) > 50:
            raise ApiError("toomanyvalues", 'Too many values supplied for parameter "titles". The limit is 50.')
        files = [f for f in self._files if f.title in titles or f.pageid in ids]
        return Batch(files, [], {}, {})

    def _search(self, query: Mapping[str, str], limit: int) -> Batch:
        words = query.get("gsrsearch", "").lower().split()
        if not words:
            raise ApiError("missingparam", 'The "gsrsearch" parameter must be set.')
        plain = [word.strip('"') for word in words if ":" not in word]
        found = [f for f in self._files if all(word in f.words for word in plain)]
        if "filetype:bitmap" in words:
            found = [f for f in found if f.mediatype == "BITMAP"]
        if "-filemime:svg" in words:
            found = [f for f in found if "svg" not in f.mime]
        found.sort(key=lambda f: f.rank)
        offset = int(query.get("gsroffset", 0))
        if offset + limit > self._state.settings.commons_search_depth:
            raise ApiError("search-error", "An error has occurred while searching: The requested offset is too large.")
        rest = offset + limit < len(found)
        here = {"gsroffset": offset} if offset else {}
        return Batch(found[offset : offset + limit], [], {"gsroffset": offset + limit} if rest else {}, here, offset)

    def _members(self, query: Mapping[str, str], limit: int) -> Batch:
        title = query.get("gcmtitle", "").replace("_", " ")
        if not title.startswith("Category:"):
            raise ApiError("invalidcategory", "The category name you entered is not valid.")
        kinds = query.get("gcmtype", "page|subcat|file").split("|")
        below = subcategories(title) if "subcat" in kinds else []
        files = [f for f in self._files if title in f.categories] if "file" in kinds else []
        token, here = query.get("gcmcontinue", ""), {}
        start = 0
        if token:
            here = {"gcmcontinue": token}
            keys = [f.sort_key for f in files]
            if token not in keys:
                raise ApiError("badcontinue", "Invalid continue param.")
            start, below = keys.index(token), []
        end = start + limit - len(below)
        more = {"gcmcontinue": files[end].sort_key} if end < len(files) else {}
        return Batch(files[start:end], below, more, here)

    def _all(self, query: Mapping[str, str], limit: int) -> Batch:
        if query.get("gaisort") != "timestamp":
            raise ApiError("badvalue", "This fake sorts all images by timestamp only.")
        down = query.get("gaidir") in ("older", "descending")
        first, last = query.get("gaistart", ""), query.get("gaiend", "")
        first, last = (last, first) if down else (first, last)
        files = [f for f in self._files if f.timestamp >= first and (not last or f.timestamp <= last)]
        files.sort(key=lambda f: (f.stamp, f.name), reverse=down)
        token = query.get("gaicontinue", "")
        keys = [f"{f.stamp}|{f.name}" for f in files]
        if token and token not in keys:
            raise ApiError("badcontinue", "Invalid continue param.")
        start = keys.index(token) if token else 0
        more = {"gaicontinue": keys[start + limit]} if start + limit < len(files) else {}
        return Batch(files[start : start + limit], [], more, {"gaicontinue": token} if token else {})
