"""Asking a service what photos it has: page after page, politely, remembered in the frontier.

A spider is one file: it says which queries there are, and turns one page of answers into records. Everything else is here: who asks and how
often, what is tried again, and going on where a killed crawl was.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiolimiter import AsyncLimiter

from foxgan import web
from foxgan.errors import StageError, UsageError
from foxgan.sources.frontier import Frontier, Queries, Record
from foxgan.sources.robots import wants_contact
from foxgan.sources.words import ADVICE
from foxgan.web import Failed

MAX_ANSWER = 50_000_000  # bytes of one page of answers
Params = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True)
class Page:
    """One page of a query: its records, where the query stands after it, whether that is its end, and queries that it leads to.

    `more`: further queries, also with the states in which they begin. Those that are known already go on as they are.
    """

    records: Sequence[Record]
    state: Any = None
    done: bool = False
    more: Queries = ()


class Spider(Protocol):
    """How one service is asked, at `base`.

    `rate`: requests per second that it allows; `wants_contact`: it lets nobody in who does not say who asks.
    """

    name: str
    base: str
    rate: float
    wants_contact: bool

    async def queries(self, api: Api) -> Sequence[str]:
        """What is to be asked, one query after the other. Raises StageError where the service does not know what is meant."""

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """The next page of `query`, which stands at `state` (JSON; None at its beginning). May raise Failed."""


class Check(Protocol):
    """Raises Failed for an answer that says a failure in its own way."""

    def __call__(self, answer: Any, headers: Mapping[str, str]) -> None: ...


@dataclass
class Api:
    """A service's interface at `base_url`, asked at most `rate` times a second and once at a time.

    `headers`: sent with every request, as who has signed in must. Neither they nor forms go to where a redirect leads.
    """

    base_url: str
    session: aiohttp.ClientSession
    rate: float
    retries: int = 5
    check: Check | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.limiter = AsyncLimiter(1, 1 / self.rate)

    async def get(self, path: str, params: Params, good: tuple[int, ...] = (200,)) -> Any:
        """The JSON at `path`. Raises Failed; `check` may raise it, too, for answers that say a failure in their own way."""
        return await self._ask(f"{path}?{urlencode(params, doseq=True)}", good, self.check)

    async def post(self, path: str, form: Mapping[str, str], good: tuple[int, ...] = (200,)) -> Any:
        """The JSON that answers a form; `check` has no say. Raises Failed."""
        return await self._ask(path, good, form=form)

    async def _ask(
        self, path: str, good: tuple[int, ...], check: Check | None = None, form: Mapping[str, str] | None = None
    ) -> Any:
        url = f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        return await web.with_retries(functools.partial(self._once, url, good, check, form), self.retries)

    async def _once(self, url: str, good: tuple[int, ...], check: Check | None, form: Mapping[str, str] | None) -> Any:
        async def stay(target: str) -> None:
            """Secrets are for one host only."""
            if (self.headers or form) and urlsplit(target)[:2] != urlsplit(url)[:2]:
                raise Failed("redirected")

        async with self.limiter, web.visit(self.session, url, good, self.headers, stay, form) as response:
            async with web.patience(self.session):
                data = await _read(response)
            answer = _json(data)
            if check is not None:
                check(answer, response.headers)
            return answer


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MAX_ANSWER:
            raise Failed("too_large")
    return bytes(data)


def _json(data: bytes) -> Any:
    try:
        answer = json.loads(data)
        if b"\\u" in data:  # halves of characters, as of names that were cut, are no text
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Failed("not_json", again=True) from error
    if not isinstance(answer, dict):
        raise Failed("no_answer", again=True)
    return answer


@dataclass(frozen=True)
class Asking:
    """How to ask: where, who, and seconds without a byte before giving up."""

    base_url: str
    contact: str = ""
    timeout: float = 30.0
    retries: int = 5


def crawl(
    spider: Spider,
    frontier: Frontier,
    asking: Asking,
    limit: int | None,
    on_page: Callable[[int], None] = lambda new: None,
) -> None:
    """Ask until `limit` records are known, or all. `on_page` is told how many new ones each page had.

    Raises StageError where the service cannot be asked; what was found so far is kept, and the same call goes on from there.
    """
    if (spider.wants_contact or wants_contact(asking.base_url)) and not asking.contact:
        raise UsageError(f"scrape: {spider.name} at {asking.base_url} wants to know who asks; {ADVICE['contact']}")
    try:
        web.run(_crawl(spider, frontier, asking, limit, on_page))
    except Failed as failed:
        raise StageError(
            f"scrape: {spider.name} at {asking.base_url} does not answer as expected ({failed.reason}) after {frontier.count()} photos; "
            f"{_what_helps(failed, spider)}; the same command goes on from here"
        ) from failed


def _what_helps(failed: Failed, spider: Spider) -> str:
    if failed.wait:
        return f"try again in {math.ceil(failed.wait / 60)} minutes"
    if failed.again:
        return ADVICE.get(failed.reason, "try again later")
    named = f"FOXGAN_{spider.name.upper()}_URL, and look for a newer foxgan, as the service may have changed"
    return ADVICE.get(failed.reason, f"check {named if spider.base else '`url`'}")


async def _crawl(
    spider: Spider, frontier: Frontier, asking: Asking, limit: int | None, on_page: Callable[[int], None]
) -> None:
    async with web.open_session(asking.timeout, "application/json", asking.contact, guarded=True) as session:
        api = Api(asking.base_url, session, spider.rate, asking.retries, getattr(spider, "check", None))
        frontier.begin(await spider.queries(api))
        while (limit is None or frontier.count() < limit) and (at := frontier.open_query()):
            query, state = at
            page = await spider.page(api, query, state)
            on_page(frontier.store(query, page.records, page.state, page.done, page.more))
            await asyncio.sleep(0)
