"""Wikimedia Commons (MediaWiki's action API): photos that a search finds, or those of a category and of the categories below it.

A service of a foundation with manners to be kept: it lets in who says who asks, wants to be left alone while its databases lag, and
would rather send thumbnails than originals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urljoin

from foxgan.licenses import UNKNOWN, Policy, allowed, license_url, normalised
from foxgan.sources.crawl import Api, Page
from foxgan.sources.frontier import Record
from foxgan.sources.markup import plain
from foxgan.web import Failed, retry_after

SITE = "https://commons.wikimedia.org/"
PER_PAGE = 50  # no answer holds more thumbnails
DEEPEST = 10_000  # results of a search; what comes after them is refused
PAUSE = 5.0  # seconds, at least, when there is too much to do
PHOTOS = frozenset({"image/jpeg", "image/png", "image/webp", "image/tiff"})
CATEGORY = "Category:"
METADATA = ("License", "LicenseUrl", "LicenseShortName", "Artist", "Attribution")
_BUSY = re.compile(r"maxlag|ratelimited|readonly|internal_api_error.*")
_CATEGORY = re.compile(r"\s*category\s*:\s*(.+)", re.IGNORECASE)
_FIXED = {
    "action": "query",
    "format": "json",
    "formatversion": "2",
    "maxlag": "5",
    "prop": "imageinfo",
    "iiprop": "url|size|mime|mediatype|extmetadata",
    "iilimit": "1",
    "iiextmetadatafilter": "|".join(METADATA),
}


@dataclass(frozen=True)
class Commons:
    """Files that are found by the words of `text`, or, if that is `Category:...`, those of a category and of `depth` levels below it.

    `width`: of the pictures to fetch, in pixels; None: the originals. Smaller ones are taken as they are.
    """

    text: str
    policy: Policy = "open"
    width: int | None = 1024
    depth: int = 3

    name: ClassVar[str] = "commons"
    base: ClassVar[str] = "https://commons.wikimedia.org/w"
    rate: ClassVar[float] = 1.0
    wants_contact: ClassVar[bool] = True

    async def queries(self, api: Api) -> Sequence[str]:
        category = _CATEGORY.fullmatch(self.text)
        if category is None:
            return [self.text]
        title = " ".join(category[1].replace("_", " ").split())
        return [f"{CATEGORY}{title[:1].upper()}{title[1:]}"]

    def check(self, answer: Any, headers: Mapping[str, str]) -> None:
        """Errors come as HTTP 200."""
        if not isinstance(answer, dict):
            raise Failed("not_an_object", again=True)
        error = answer.get("error")
        if error is not None:
            code, info = (str(error.get(key)) for key in ("code", "info")) if isinstance(error, dict) else ("", error)
            busy = _BUSY.fullmatch(code) is not None
            wait = max(PAUSE, retry_after(headers.get("Retry-After"), headers.get("Date")) or 0) if busy else None
            raise Failed(f"{code}: {plain(str(info))}", wait, busy)

    async def page(self, api: Api, query: str, state: Any) -> Page:
        """`state`: levels of categories below that are still walked; `continue` as it was sent; pages that are not complete.

        An answer may hold a part of what is to be told of its pages; the rest comes with the next ones, until `batchcomplete`.
        """
        state = state or {"levels": self.depth}
        levels = state["levels"]
        answer = await api.get("api.php", {**self._asked(query, levels), **state.get("continue", {})})
        pages = _merged(state.get("pages", []), answer)
        following = answer.get("continue")
        if following and "batchcomplete" not in answer:
            return Page([], {"levels": levels, "continue": following, "pages": pages})
        records = [record for page in sorted(pages, key=_rank) if (record := self._record(page))]
        below = {page["title"]: {"levels": levels - 1} for page in pages if page.get("ns") == 14 and levels > 0}
        done = not following or int(following.get("gsroffset", 0)) + PER_PAGE > DEEPEST
        return Page(records, {"levels": levels} if done else {"levels": levels, "continue": following}, done, below)

    def _asked(self, query: str, levels: int) -> dict[str, str | int]:
        asked: dict[str, str | int] = {"iiurlwidth": self.width} if self.width else {}
        if not query.startswith(CATEGORY):
            words = f"{query} filetype:bitmap -filemime:svg"
            asked |= {"generator": "search", "gsrsearch": words, "gsrnamespace": "6", "gsrlimit": PER_PAGE}
            return {**_FIXED, **asked}
        kinds = "file|subcat" if levels > 0 else "file"
        asked |= {"generator": "categorymembers", "gcmtitle": query, "gcmtype": kinds, "gcmlimit": PER_PAGE}
        return {**_FIXED, **asked}

    def _record(self, page: Mapping[str, Any]) -> Record | None:
        """What to fetch; None for what must not be, or is not a photo."""
        info = next((i for i in page.get("imageinfo") or [] if isinstance(i, dict)), {})
        facts = _facts(info)
        license = _license(facts)
        url = info.get("url")
        if info.get("mediatype") != "BITMAP" or info.get("mime") not in PHOTOS or not allowed(license, self.policy):
            return None
        if self.width and info.get("thumburl") and not info.get("thumberror"):
            url = info["thumburl"]
        if not url or info.get("filehidden"):
            return None
        creator = plain(facts.get("Artist", ""))
        terms = plain(facts.get("LicenseShortName", "")) or license
        line = f"{creator or 'See page for author'}, {terms}, via Wikimedia Commons"  # as the site itself proposes it
        return {
            "source_id": str(page["pageid"]),
            "group": f"commons:{page['pageid']}",
            "image_url": urljoin(SITE, str(url)),
            "landing_url": info.get("descriptionurl"),
            "license": license,
            "license_url": urljoin(SITE, facts["LicenseUrl"]) if facts.get("LicenseUrl") else license_url(license),
            "creator": creator or None,
            "attribution": plain(facts.get("Attribution", "")) or line,
        }


def _merged(before: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pages of a batch with all that was told of each so far."""
    merged = {page["pageid"]: dict(page) for page in before}
    found = (answer.get("query") or {}).get("pages") or []
    for page in found.values() if isinstance(found, dict) else found:
        if isinstance(page, dict) and "pageid" in page:
            merged.setdefault(page["pageid"], {}).update(page)
    return list(merged.values())


def _rank(page: Mapping[str, Any]) -> tuple[int, int]:
    """Best first, where there is a best."""
    return int(page.get("index", 0)), int(page["pageid"])


def _facts(info: Mapping[str, Any]) -> dict[str, str]:
    """`extmetadata` by names; it is an empty list where there is none, and numbers may be where texts are expected."""
    metadata = info.get("extmetadata")
    if not isinstance(metadata, dict):
        return {}
    return {name: str(fact.get("value") or "").strip() for name, fact in metadata.items() if isinstance(fact, dict)}


def _license(facts: Mapping[str, str]) -> str:
    """By the first of three ways to tell it that we understand."""
    told = (normalised(plain(facts.get(name, ""))) for name in ("License", "LicenseUrl", "LicenseShortName"))
    return next((license for license in told if license != UNKNOWN), UNKNOWN)
