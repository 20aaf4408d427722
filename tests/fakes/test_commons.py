"""The fake Wikimedia Commons speaks as its documentation says."""

import hashlib
from typing import Any

import pytest

from tests.fakes import Fakes
from tests.fakes.client import AGENT, Answer, get

SEARCH: dict[str, Any] = {"generator": "search", "gsrsearch": "fox", "gsrnamespace": 6, "gsrlimit": 9}
INFO: dict[str, Any] = {
    "prop": "imageinfo",
    "iiprop": "url|size|mime|mediatype|sha1|user|timestamp|canonicaltitle|extmetadata",
}


def ask(fakes: Fakes, agent: str | None = None, **query: Any) -> Answer:
    plain: dict[str, Any] = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5}
    return get(fakes.url("commons") + "/w/api.php", agent=AGENT if agent is None else agent, **{**plain, **query})


def walk(fakes: Fakes, **query: Any) -> list[Any]:
    """All replies, as a client that copies `continue` gets them."""
    replies: list[Any] = []
    more: dict[str, Any] = {}
    while True:
        replies.append(ask(fakes, **{**query, **more}).json)
        if "continue" not in replies[-1]:
            return replies
        more = replies[-1]["continue"]
        assert len(replies) < 100


def merged(replies: list[Any]) -> dict[int, Any]:
    pages: dict[int, Any] = {}
    for reply in replies:
        for page in reply.get("query", {}).get("pages", []):
            pages.setdefault(page["pageid"], {}).update(page)
    return pages


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "python-requests/2.32",
        "aiohttp/3.14",
        "Python/3.12 aiohttp/3.14",
        "Mozilla/5.0 (X11; https://example.org)",
        "foxgan/0.1",
    ],
)
def test_who_names_no_contact_is_not_let_in(fakes: Fakes, agent: str) -> None:
    assert ask(fakes, agent).status == 403
    assert get(fakes.url("upload") + "/wikipedia/commons/a/ab/Fox.jpg", agent=agent).status == 403


def test_a_search_goes_on_within_a_batch_and_then_with_the_next(fakes: Fakes) -> None:
    fakes.set(commons_imageinfo=6)
    replies = walk(fakes, **SEARCH, **INFO)
    forms = [(tuple(r.get("continue", {})), r.get("batchcomplete")) for r in replies]
    assert forms[0] == (("iicontinue", "continue"), None)
    assert replies[0]["continue"]["continue"] == "||"
    assert forms[1] == (("gsroffset", "continue"), True)
    assert replies[1]["continue"] == {"gsroffset": 9, "continue": "gsroffset||"}
    assert forms[2] == (("iicontinue", "gsroffset", "continue"), None)
    pages = merged(replies)
    assert len(pages) == len(fakes.state.holdings.commons)
    assert sorted(page["index"] for page in pages.values()) == list(range(1, len(pages) + 1))
    ids = [page["pageid"] for page in replies[0]["query"]["pages"]]
    assert ids == sorted(ids)


def test_the_first_format_has_an_object_of_pages(fakes: Fakes) -> None:
    reply = ask(fakes, **{**SEARCH, "gsrlimit": 500}, formatversion=1).json
    assert reply["batchcomplete"] == ""
    assert all(key == str(page["pageid"]) for key, page in reply["query"]["pages"].items())


def test_the_traps_of_imageinfo(fakes: Fakes) -> None:
    pages = merged(walk(fakes, **SEARCH, **INFO, iiurlwidth=300))
    infos = [page["imageinfo"][0] for page in pages.values() if "imageinfo" in page]
    assert len(infos) == len(pages) - sum(t == "no_info" for _, t in fakes.state.holdings.commons.values())
    assert {"filemissing": True} in infos
    whole = [info for info in infos if "url" in info]
    assert any(info["extmetadata"] == [] for info in whole)
    assert any("thumberror" in info for info in whole) and any("userhidden" in info for info in whole)
    assert {info["mediatype"] for info in whole} == {"BITMAP", "DRAWING", "VIDEO"}
    assert {info["mime"] for info in whole} >= {"image/jpeg", "image/gif", "image/tiff", "image/svg+xml"}
    data = [info["extmetadata"] for info in whole if info["extmetadata"]]
    assert any("LicenseUrl" not in d and d["License"]["value"] == "pd" for d in data)
    assert any(d["Artist"]["value"].startswith('<a href="//commons') for d in data)
    assert any(isinstance(d["ObjectName"]["value"], int) for d in data)


def test_files_are_what_their_page_says(fakes: Fakes) -> None:
    for page in merged(walk(fakes, **SEARCH, **INFO, iiurlwidth=300)).values():
        info = page.get("imageinfo", [{}])[0]
        if info.get("url") and info["mediatype"] != "VIDEO":
            original = get(info["url"])
            assert (original.status, original.headers.get_content_type()) == (200, info["mime"])
            assert (len(original.body), hashlib.sha1(original.body).hexdigest()) == (info["size"], info["sha1"])
            assert not info["thumburl"] or get(info["thumburl"]).status == 200
            if info["thumburl"] and info["width"] <= 300:
                assert info["thumburl"] == info["url"]


def test_categories_have_cycles_and_their_files_a_token(fakes: Fakes) -> None:
    todo, seen, files = ["Category:Vulpes vulpes"], set[str](), set[str]()
    again = 0
    while todo:
        title = todo.pop()
        again += title in seen
        if title in seen:
            continue
        seen.add(title)
        query = {"generator": "categorymembers", "gcmtitle": title}
        replies = walk(fakes, **query, gcmtype="file", gcmlimit=3)
        tokens = [r["continue"]["gcmcontinue"] for r in replies if "gcmcontinue" in r.get("continue", {})]
        assert all(token.startswith("file|") for token in tokens)
        files |= {page["title"] for page in merged(replies).values()}
        todo += [page["title"] for page in merged(walk(fakes, **query, gcmtype="subcat", gcmlimit=50)).values()]
    assert len(seen) == 6 and again >= 3
    assert len(files) > 10


def test_all_images_go_by_time(fakes: Fakes) -> None:
    query = {"generator": "allimages", "gaisort": "timestamp", "gaidir": "newer", "gailimit": 5}
    found = merged(walk(fakes, **query, prop="imageinfo", iiprop="timestamp|mime"))
    assert len(found) == len(fakes.state.holdings.commons)
    later = merged(walk(fakes, **query, gaistart="2022-01-01T00:00:00Z"))
    assert 0 < len(later) < len(found)


def test_lag_and_other_errors_come_as_success(fakes: Fakes) -> None:
    fakes.switch("maxlag", times=1)
    lag = ask(fakes, **SEARCH)
    assert (lag.status, lag.json["error"]["code"], lag.headers["Retry-After"]) == (200, "maxlag", "5")
    assert lag.headers["X-Database-Lag"] == "7"
    fakes.switch("ratelimited", times=1)
    assert ask(fakes, **SEARCH).json["error"]["code"] == "ratelimited"
    assert "query" in ask(fakes, **SEARCH).json
    wrongs: tuple[dict[str, Any], ...] = (
        {"action": "fly"},
        {"generator": "magic"},
        {"iicontinue": "x|1", **SEARCH, **INFO},
        {"generator": "search"},
    )
    for wrong in wrongs:
        answer = ask(fakes, **wrong)
        assert answer.status == 200 and answer.json["error"]["info"], wrong


def test_large_limits_are_cut_with_a_warning(fakes: Fakes) -> None:
    reply = ask(fakes, **{**SEARCH, "gsrlimit": 5000}).json
    assert "warnings" in reply and reply["query"]["pages"]
    assert "query" not in ask(fakes, **{**SEARCH, "gsrsearch": "nothing like that"}).json


def test_a_search_without_drawings(fakes: Fakes) -> None:
    found = merged(walk(fakes, **{**SEARCH, "gsrsearch": "fox filetype:bitmap -filemime:svg"}, **INFO))
    types = {page["imageinfo"][0].get("mediatype") for page in found.values() if "imageinfo" in page}
    assert types <= {"BITMAP", None}
