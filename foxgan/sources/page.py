"""Photos of any web page and of the pages that follow it, as long as they are on the same site.

No JavaScript runs here: what a page shows only with it is not found. Nobody says whose such photos are; a link with rel=license does,
or the user.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import aiohttp
from aiolimiter import AsyncLimiter

from foxgan import web
from foxgan.errors import StageError, UsageError
from foxgan.licenses import UNKNOWN, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.document import Document, read
from foxgan.sources.frontier import Record
from foxgan.sources.robots import Robots, kept_out
from foxgan.web import Failed

MAX_BYTES = 5_000_000  # of a page; what comes after does not count
HTML = ("text/html", "application/xhtml+xml")
NUMBER = "{page}"
CONDITIONS = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
GONE = frozenset({"http_404", "http_410", "robots", "not_html", "elsewhere", "bad_url", "too_many_redirects"})
# of Python's codecs, those that web pages have: others unpack, or take too long
_KNOWN = re.compile(r"(utf-?(8|16)|(iso|windows|cp|koi8|gb|euc|big5|shift|latin|us-ascii)[\w-]*)", re.IGNORECASE)
Read = dict[str, Any]
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)


@dataclass
class WebPages:
    """Pictures of the page at `url` and of at most `pages` in all. With `{page}` in `url`, pages are numbered from 1 on.

    `robots`: whether to do what robots.txt, headers and tags ask of robots.
    """

    url: str
    pages: int = 100
    robots: bool = True

    name: ClassVar[str] = "page"
    rate: ClassVar[float] = 1.0
    wants_contact: ClassVar[bool] = False
    base: ClassVar[str] = ""  # the page itself says where

    _rules: Robots | None = field(default=None, init=False, repr=False)
    _limiters: dict[str, AsyncLimiter] = field(default_factory=dict, init=False, repr=False)

    async def queries(self, api: Api) -> Sequence[str]:
        first = self._numbered(1)
        if web.http_host(first) is None:
            raise UsageError(f"scrape: {self.url!r} is no web page; give an address that begins with https://")
        self._rules, self._limiters = Robots(api.session, api.retries), {}
        return [first]

    def _numbered(self, number: int) -> str:
        return self.url.replace(NUMBER, str(number))

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`query` is the address of a page; `state`: its number, the site that must not be left, and what the page before showed; of one
        that was read before, `read`, by which the server can tell whether it has changed since: if not, it leads to nothing new.
        """
        state = state or {"page": 1}
        try:
            work = functools.partial(self._read, api, query, state.get("site"), state.get("read"))
            found = await web.with_retries(work, api.retries)
        except Failed as failed:
            if failed.reason in GONE and state["page"] > 1:
                return Page([], state, done=True)
            if failed.reason == "robots":
                raise StageError(
                    f"scrape: robots.txt of {web.http_host(query)} keeps robots out of {query}; ask whose page it is"
                ) from failed
            raise
        if found is None:
            return Page([], state, done=True)
        document, url, seen = found
        taken = not (self.robots and kept_out(document.robots))
        records = self._records(document, url) if taken else []
        shown = hashlib.sha256(json.dumps(sorted(document.pictures)).encode()).hexdigest()
        following = self._following(document, state, shown)
        ahead = {"page": state["page"] + 1, "site": state.get("site") or _site(url), "shown": shown}
        return Page(records, state | {"read": seen}, done=True, more={following: ahead} if following else {})

    def _following(self, document: Document, state: dict[str, Any], shown: str) -> str | None:
        """The next page, if there is one that may be visited."""
        number = state["page"] + 1
        if number > self.pages:
            return None
        if NUMBER in self.url:  # behind the last one, sites show nothing, or the last one again
            return self._numbered(number) if document.pictures and shown != state.get("shown") else None
        if self.robots and any(word in ("nofollow", "none") for word in _words(document.robots)):
            return None
        return document.following

    async def _read(
        self, api: Api, url: str, site: str | None, before: Read | None
    ) -> tuple[Document, str, Read] | None:
        """The page, where redirects led to it, which is on `site` if that is known, and by what its state is known; None for one that
        is as it was `before`.
        """

        async def arrive(target: str) -> None:
            if site and _site(target) != site:
                raise Failed("elsewhere")
            await self._await_turn(target)

        await arrive(url)
        asked = {"Accept": ", ".join(HTML)} | (before["asked"] if before else {})
        async with web.visit(api.session, url, (200, 304), asked, arrive) as response:
            here = str(response.url)
            if response.status == 200:
                if response.content_type not in HTML:
                    raise Failed("not_html")
                async with web.patience(api.session):
                    text = await _text(response)
                document = read(text, here)
                document.robots += response.headers.getall("X-Robots-Tag", [])
                return document, here, _state_of(response)
        if before is None:
            raise Failed("http_304")
        return (
            None if here == before["url"] else await self._read(api, url, site, None)
        )  # of another page, it says nothing

    async def _await_turn(self, url: str) -> None:
        delay = 1 / self.rate
        if self.robots and self._rules is not None:
            delay = max(delay, await self._rules.check(url))
        await self._limiters.setdefault(web.http_host(url) or "", AsyncLimiter(1, delay)).acquire()

    def _records(self, document: Document, url: str) -> list[Record]:
        told = {normalised(link) for link in document.licenses}  # several say nothing about any of the pictures
        license = told.pop() if len(told) == 1 else UNKNOWN
        address = None if license == UNKNOWN else document.licenses[0]
        known = {"landing_url": url, "license": license, "license_url": address}
        return [{"source_id": shown, "image_url": shown, **known} for shown in document.pictures]


def _state_of(response: aiohttp.ClientResponse) -> Read:
    """What to ask a page with, later on, to be told whether it is still the same (RFC 9110, 13.1)."""
    told = ((ask, response.headers.get(tell)) for ask, tell in CONDITIONS.items())
    return {"url": str(response.url), "asked": {ask: value for ask, value in told if value}}


async def _text(response: aiohttp.ClientResponse) -> str:
    data = bytearray()
    while len(data) < MAX_BYTES and (chunk := await response.content.read(MAX_BYTES - len(data))):
        data += chunk
    declared = _CHARSET.search(data[:2048])
    name = response.charset or (declared[1].decode() if declared else "")
    try:
        return data.decode(name if _KNOWN.fullmatch(name) else "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _site(url: str) -> str:
    """The host, with or without `www.`."""
    return urlsplit(url).netloc.lower().removeprefix("www.")


def _words(tags: Sequence[str]) -> list[str]:
    return [word.strip().lower() for tag in tags for word in tag.split(",")]
