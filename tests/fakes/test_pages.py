"""The fake web pages are marked up in all the ways that a spider of pages must know."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from tests.fakes import Fakes
from tests.fakes.client import get


class Links(HTMLParser):
    """What a careful reader of one page finds."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.base, self.images, self.following = url, list[str](), list[str]()
        self.feed(get(url).text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "base":
            self.base = urljoin(self.base, found["href"])
        if "next" in found.get("rel", "").split():
            self.following.append(urljoin(self.base, found["href"]))
        sources = [
            found.get("src", ""),
            found.get("data-src", ""),
            *(p.split()[0] for p in found.get("srcset", "").split(",") if p),
        ]
        if tag in ("img", "source"):
            self.images += [urljoin(self.base, source) for source in sources if source]


@pytest.mark.parametrize("first", ["/gallery", "/blog/1.html"])
def test_following_the_next_links_finds_all_photos(fakes: Fakes, first: str) -> None:
    url, seen = fakes.url("pages") + first, set[str]()
    for _ in range(20):
        page = Links(url)
        seen |= set(page.images)
        if not page.following:
            break
        url = page.following[0]
    numbers = {url.rpartition("/")[2].partition(".")[0] for url in seen if "/photos/" in url}
    assert {n for n in numbers if n.isdigit()} >= {str(p.number) for p in fakes.world.photos if p.number % 6 != 4}
    good = [url.partition("#")[0] for url in seen if url.startswith("http") and not url.endswith(".svg")]
    assert all(get(url).status == 200 for url in good)


def test_some_sites_never_end(fakes: Fakes) -> None:
    base = fakes.url("pages")
    assert Links(base + "/ring/2").following == [base + "/ring/0"]
    assert Links(base + "/calendar?page=900").following == [base + "/calendar?page=901"]
    assert "noimageai" in get(base + "/noai").text
    assert get(base + "/blog/99.html").status == 404
