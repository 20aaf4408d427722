"""Openverse: a catalogue of what others show. No query shows more than 240 results, so one that has more is split, again and again.

A query is asked to its end before it is split: the most relevant come first, and parts by shape miss what has no known shape. Its terms
forbid to go around its limits, so there is one client, which asks the slower the less it may still ask.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from foxgan import web
from foxgan.errors import StageError, UsageError
from foxgan.licenses import UNKNOWN, Policy, allowed, license_url, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.frontier import Record
from foxgan.sources.shared import shared_group, shared_id
from foxgan.web import Failed

CLIENT_ID, CLIENT_SECRET = "FOXGAN_OPENVERSE_CLIENT_ID", "FOXGAN_OPENVERSE_CLIENT_SECRET"
ANONYMOUS, KNOWN = 20, 48  # results a page; both make whole pages of 240, and 50 is the most for who has signed in
MAX_QUERY = 200  # characters; Openverse does not read on
LICENSES = ("cc0", "pdm", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
SHAPES = {  # by which queries are split after licenses and sources
    "aspect_ratio": ("square", "tall", "wide"),
    "size": ("large", "medium", "small"),
    "extension": ("jpg", "png", "gif"),
}
SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds


@dataclass
class Openverse:
    """Pictures that `text` finds; `mature`: those, too, that are marked as such."""

    text: str
    policy: Policy = "open"
    mature: bool = False

    name: ClassVar[str] = "openverse"
    base: ClassVar[str] = "https://api.openverse.org/v1"
    rate: ClassVar[float] = 1.0  # a second, as long as much is left
    wants_contact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._pause, self._spent = 0.0, ""

    async def queries(self, api: Api) -> Sequence[str]:
        if len(self.text) > MAX_QUERY:
            raise UsageError(
                f"scrape: `taxon` has {len(self.text)} characters, openverse reads {MAX_QUERY}; make it shorter"
            )
        await _sign_in(api)
        licenses = ",".join(name for name in LICENSES if allowed(normalised(name), self.policy))
        return [urlencode({"q": self.text, "license": licenses} | ({"mature": "true"} if self.mature else {}))]

    def check(self, answer: Any, headers: Mapping[str, str]) -> None:
        self._pause, self._spent = what_is_left(headers)

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`state`: how many results were passed, how many there are, and the sources that were seen; None at the end, as new ones come
        anywhere, so that who asks again asks from the beginning.

        It counts results, not pages, as pages are larger for who has signed in meanwhile.
        """
        passed, count, sources = state or (0, 0, [])
        size = KNOWN if api.headers else ANONYMOUS
        number = passed // size + 1
        answer = await self._ask(api, dict(parse_qsl(query)) | {"page": number, "page_size": size})
        if "results" not in answer:
            if number == 1:
                raise StageError(_refusal(answer))
            return Page([], done=True, more=_parts(query, sources) if count > passed else ())
        rows = [row for row in answer["results"] or [] if isinstance(row, dict)]
        sources = sorted({*sources, *(row["source"] for row in rows if row.get("source"))})
        passed, count = number * size, int(answer.get("result_count") or 0)
        done = number >= int(answer.get("page_count") or 0)  # short pages are no end: dead links were left out
        more = _parts(query, sources) if done and count > passed else ()
        records = [record for row in rows if (record := self._record(row))]
        return Page(records, None if done else [passed, count, sources], done, more)

    async def _ask(self, api: Api, params: Mapping[str, str | int]) -> Any:
        """An answer, or a refusal in words: of what was asked, or of a page that is too deep."""
        if self._spent:
            raise StageError(f"scrape: openverse was asked as often as it allows, {self._spent}; {_advice(api)}")
        await asyncio.sleep(self._pause)
        try:
            return await api.get("images/", params, good=(200, 400, 404) if api.headers else (200, 400, 401, 404))
        except Failed as failed:
            if failed.reason == "http_401":
                raise StageError(
                    "scrape: openverse does not take its own token any more; try again; the same command goes on from here"
                ) from failed
            if failed.reason == "http_429":
                wait = f" for {math.ceil(failed.wait / 60)} minutes" if failed.wait else " now"
                raise StageError(f"scrape: openverse does not want to be asked{wait}; {_advice(api)}") from failed
            raise

    def _record(self, row: Mapping[str, Any]) -> Record | None:
        """What to fetch; None for what must not be."""
        license, url = _license(row), row.get("url")
        if not allowed(license, self.policy) or (row.get("mature") and not self.mature):
            return None
        if not row.get("id") or not isinstance(url, str) or web.http_host(url) is None:
            return None
        return {
            "source_id": shared_id(url, row.get("source")) or str(row["id"]),
            # nobody tells which pictures show one animal, but what Flickr and Commons tell of themselves is the same picture
            "group": shared_group(row.get("foreign_landing_url")) or f"openverse:{row['id']}",
            "image_url": url,
            "landing_url": row.get("foreign_landing_url"),
            "license": license,
            "license_url": license_url(license) or row.get("license_url"),
            "creator": row.get("creator"),
            "attribution": row.get("attribution"),
        }


def what_is_left(headers: Mapping[str, str]) -> tuple[float, str]:
    """How long to wait before asking again, in seconds, and which limit is used up, if it is one of hours.

    The wait is as if what is left had to do for the whole span, which settles at half of what is allowed and is never refused.
    """
    pause, spent = 0.0, ""
    for name, limit in headers.items():
        scope = re.fullmatch(r"x-ratelimit-limit-(\w+)", name.lower())
        rate = re.fullmatch(r"\d+/([smhd])\w*", limit)
        left = headers.get(f"X-RateLimit-Available-{scope[1]}", "") if scope else ""
        if rate is None or not left.isdecimal():
            continue
        if SPANS[rate[1]] <= SPANS["m"]:
            pause = max(pause, SPANS[rate[1]] / (int(left) + 1))
        elif left == "0":
            spent = limit
    return pause, spent


def _advice(api: Api) -> str:
    known = "" if api.headers else f"; it allows more to who sets {CLIENT_ID} and {CLIENT_SECRET}"
    return f"try again later; the same command goes on from here{known}"


def _refusal(answer: Mapping[str, Any]) -> str:
    detail = answer.get("detail")
    if isinstance(detail, dict):
        detail = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in detail.items())
    return (
        f"scrape: openverse refuses what it is asked ({str(detail)[:300]}); check `taxon`, and whether there is a newer foxgan: openverse "
        "may have changed"
    )


def _license(row: Mapping[str, Any]) -> str:
    """The license, unknown where a row contradicts itself. The version is in the address, too, where `license_version` is missing."""
    told, page = normalised(row.get("license"), row.get("license_version")), normalised(row.get("license_url"))
    terms = [re.sub(r"-\d\.\d$", "", name) for name in (told, page)]
    if page == UNKNOWN:
        return told
    if terms[0] != terms[1]:
        return UNKNOWN
    return page if told == terms[0] else told


def _parts(query: str, sources: Sequence[str]) -> list[str]:
    """What a query that has too many results is split into; nothing where it cannot be. Parts by source leave nothing out."""
    asked = dict(parse_qsl(query))
    licenses = asked["license"].split(",")
    if len(licenses) > 1:
        return [urlencode(asked | {"license": license}) for license in licenses]
    if "source" not in asked:
        excluded = asked.pop("excluded_source", "")
        known = [source for source in sources if source not in excluded.split(",")]
        if known:
            others = ",".join([*filter(None, [excluded]), *known])
            chosen = [asked | {"source": source} for source in known]
            return [urlencode(part) for part in (*chosen, asked | {"excluded_source": others})]
        asked |= {"excluded_source": excluded} if excluded else {}
    for name, values in SHAPES.items():
        if name not in asked:
            return [urlencode(asked | {name: value}) for value in values]
    return []


async def _sign_in(api: Api) -> None:
    """Ask for a token where the environment says who we are; it is held in memory only."""
    client, secret = os.environ.get(CLIENT_ID), os.environ.get(CLIENT_SECRET)
    if not client and not secret:
        return
    if not client or not secret:
        raise UsageError(f"scrape: set both {CLIENT_ID} and {CLIENT_SECRET}, or neither")
    form = {"client_id": client, "client_secret": secret, "grant_type": "client_credentials"}
    try:
        answer = await api.post("auth_tokens/token/", form)
        api.headers["Authorization"] = f"Bearer {answer['access_token']}"
    except (KeyError, TypeError) as error:
        raise Failed("no_token") from error
    except Failed as failed:
        if failed.reason not in ("http_400", "http_401", "http_403"):
            raise
        raise StageError(
            f"scrape: openverse does not know the client in {CLIENT_ID} and {CLIENT_SECRET} ({failed.reason}); set them as it told you "
            "when you registered, or unset both to ask without"
        ) from failed
