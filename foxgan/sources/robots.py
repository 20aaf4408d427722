"""What hosts ask of robots: robots.txt (RFC 9309), the X-Robots-Tag headers by which sites keep pictures from being learned from, and a
contact, which some demand."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp
from protego import Protego

from foxgan import web
from foxgan.web import Failed

PRODUCT = "foxgan"  # how robots.txt and X-Robots-Tag call us
MAX_BYTES = 500 * 1024  # of a robots.txt; what comes after does not count (RFC 9309, 2.5)
PATIENCE = 60.0  # seconds for all of a robots.txt
MAX_DELAY = 60.0  # seconds between requests; who wants more does not want us
# and all below them; https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy
CONTACT_WANTED = ("wikimedia.org", "wikipedia.org")
KEEP_OUT = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_NAMED = re.compile(r"\s*([\w.-]+)\s*:\s*(.*)", re.DOTALL)


class Robots:
    """The robots.txt of the hosts that are visited, each asked for once (and `retries` times more while the host is ill) and kept as
    long as this object."""

    def __init__(self, session: aiohttp.ClientSession, retries: int = 0) -> None:
        self.session, self.retries = session, retries
        self.asked: dict[str, asyncio.Task[Protego | None]] = {}

    async def check(self, url: str) -> float:
        """The seconds between two requests that the host of `url` asks for.

        Raises Failed where it must not be fetched: `robots`, or `robots_unreachable` as long as the host cannot tell.
        """
        rules = await self._rules(url)
        delay = float((rules and rules.crawl_delay(PRODUCT)) or 0)
        if rules is not None and (delay > MAX_DELAY or not rules.can_fetch(url, PRODUCT)):
            raise Failed("robots")
        return delay

    async def _rules(self, url: str) -> Protego | None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self.asked:
            self.asked[origin] = asyncio.create_task(self._read(f"{origin}/robots.txt"))
        return await asyncio.shield(self.asked[origin])

    async def _read(self, url: str) -> Protego | None:
        """The rules; None where there are none, which allows all."""
        try:
            async with asyncio.timeout(PATIENCE):
                text = await web.with_retries(functools.partial(self._text, url), self.retries)
        except Failed as failed:
            if failed.reason in ("private_address", "certificate"):
                raise
            if failed.again or failed.reason == "timeout" or failed.reason.startswith("http_5"):
                raise Failed("robots_unreachable") from failed
            return (
                None  # 4xx: unavailable, so nothing is forbidden (RFC 9309, 2.3.1.3); likewise after too many redirects
            )
        except TimeoutError as error:
            raise Failed("robots_unreachable") from error
        return Protego.parse(text.decode("utf-8", "replace"))

    async def _text(self, url: str) -> bytes:
        text = bytearray()
        async with web.visit(self.session, url) as response:
            while len(text) < MAX_BYTES and (chunk := await response.content.read(MAX_BYTES - len(text))):
                text += chunk
        return bytes(text)


def wants_contact(url: str) -> bool:
    """Whether the host of `url` demands that robots say whom to write to."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    return any(host == name or host.endswith(f".{name}") for name in CONTACT_WANTED)


def kept_out(tags: Iterable[str]) -> bool:
    """Whether X-Robots-Tag headers keep a picture from us: one of KEEP_OUT, said to all robots or to foxgan."""
    return any(_keeps_out(tag) for tag in tags)


def _keeps_out(tag: str) -> bool:
    concerned = True
    for part in tag.split(","):
        named = _NAMED.fullmatch(part)
        if named and named[1].lower() not in _VALUED:  # from here on, to this robot only
            concerned, part = named[1].lower() == PRODUCT, named[2]
        if concerned and part.strip().lower() in KEEP_OUT:
            return True
    return False
