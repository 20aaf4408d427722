"""A site of plain web pages with pictures, written by several hands over the years."""

from __future__ import annotations

import hashlib

from aiohttp import web

from tests.fakes.images import is_known
from tests.fakes.state import VISIT, State
from tests.fakes.world import Photo

PER_PAGE = 6
SMALLEST = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
STYLES = ("img", "srcset", "lazy", "picture", "link", "relative")


class Pages:
    """Sites below one host: /gallery (rel=next, ?page=), /blog (numbered files, base href, other styles), /calendar (never ends),
    /ring (its last page leads to the first one), /noai (asks not to be used)."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/gallery", self.gallery),
            web.get("/blog/{page:\\d+}.html", self.blog),
            web.get("/calendar", self.calendar),
            web.get("/ring/{page:\\d+}", self.ring),
            web.get("/noai", self.noai),
            web.get("/files/photos/{number:\\d+}.jpg", self.file),
            web.get("/files/photos/{number:\\d+}-{width:\\d+}.jpg", self.file),
        ]

    @property
    def count(self) -> int:
        """Pages of the gallery and of the blog."""
        return -(-len(self._state.world.photos) // PER_PAGE)

    async def gallery(self, request: web.Request) -> web.Response:
        """One style of marking up a picture per picture; the next page is a link with rel=next in the body."""
        page = int(request.query.get("page", 1))
        images = "\n".join(self._marked(photo, "/files/photos/") for photo in self._shown(page))
        follow = f'<a rel="next" href="?page={page + 1}">Older photos</a>' if page < self.count else ""
        license = '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'
        extras = f'<img src="{SMALLEST}" alt=""><img src="/files/icon.svg"><a href="javascript:void(0)">Top</a>'
        return _page(request, f"Gallery {page}", "", f"{images}\n{extras}\n{license}\n{follow}")

    async def blog(self, request: web.Request) -> web.Response:
        """`base href`, relative addresses, `link rel=next` in the head, entities in addresses."""
        page = int(request.match_info["page"])
        if not 1 <= page <= self.count:
            raise web.HTTPNotFound
        follow = f'<link rel="prefetch next" href="../blog/{page + 1}.html">' if page < self.count else ""
        images = "\n".join(
            f'<p><img alt="{photo.number}" src="photos/{photo.number}.jpg?a=1&amp;b=2#top"></p>'
            for photo in self._shown(page)
        )
        return _page(request, f"Blog {page}", f'<base href="/files/">{follow}', images)

    async def calendar(self, request: web.Request) -> web.Response:
        """There is always a next page, and always the same picture."""
        page = int(request.query.get("page", 1))
        body = f'<img src="/files/photos/0.jpg"><a href="/calendar?page={page + 1}" rel="next">Next month</a>'
        return _page(request, f"Month {page}", "", body)

    async def ring(self, request: web.Request) -> web.Response:
        page = int(request.match_info["page"])
        images = "".join(f'<img src="/files/photos/{photo.number}.jpg">' for photo in self._shown(page + 1))
        return _page(request, f"Ring {page}", "", f'{images}<a rel="next" href="{(page + 1) % 3}">Next</a>')

    async def noai(self, request: web.Request) -> web.Response:
        return _page(request, "No", '<meta name="robots" content="noai, noimageai">', '<img src="/files/photos/1.jpg">')

    async def file(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if number >= len(self._state.world.photos):
            raise web.HTTPNotFound
        photo = self._state.world.photos[number]
        version = self._state.holdings.version("pages", photo)
        if "width" in request.match_info:
            version = version.at_most(int(request.match_info["width"]))
        return web.Response(body=self._state.pictures.encoded(photo, version), content_type="image/jpeg")

    def _shown(self, page: int) -> tuple[Photo, ...]:
        return self._state.world.photos[(page - 1) * PER_PAGE : page * PER_PAGE]

    def _marked(self, photo: Photo, folder: str) -> str:
        n, here = photo.number, self._state.urls["pages"]
        match STYLES[n % len(STYLES)]:
            case "img":
                return f'<img src="{here}{folder}{n}.jpg" alt="A fox">'
            case "srcset":
                return f'<img src="{folder}{n}-100.jpg" srcset="{folder}{n}-100.jpg 100w, {folder}{n}-200.jpg 200w, {folder}{n}.jpg 2000w">'
            case "lazy":
                return f'<img class="lazy" src="{SMALLEST}" data-src="{folder}{n}.jpg"><noscript><img src="{folder}{n}.jpg"></noscript>'
            case "picture":
                source = f'<source type="image/jpeg" srcset="{folder}{n}-200.jpg 1x, {folder}{n}.jpg 2x">'
                return f'<picture>{source}<img src="{folder}{n}-100.jpg"></picture>'
            case "link":
                return f'<a href="{folder}{n}.jpg"><img src="{folder}{n}-100.jpg"></a>'
        return f'<IMG SRC=".{folder}{n}.jpg">' + f'<img src="//{here.removeprefix("http://")}{folder}{n}.jpg">'


def _page(request: web.Request, title: str, head: str, body: str) -> web.Response:
    text = f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title>{head}</head><body>{body}</body></html>'
    tag = {} if "no_validators" in VISIT.get().faults else {"ETag": f'W/"{hashlib.md5(text.encode()).hexdigest()}"'}
    known = is_known(request, {name: value.removeprefix("W/") for name, value in tag.items()})
    if known:
        return web.Response(status=304, headers=tag)
    return web.Response(text=text, content_type="text/html", headers=tag)
