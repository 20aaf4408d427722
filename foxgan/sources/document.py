"""What a web page shows and where it leads: its pictures, each in its largest size, the next page, licenses, and what it asks of robots.

Pages were written by many hands: sizes are in `srcset`, lazy pictures in `data-src`, and the whole picture is often behind a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urldefrag, urljoin, urlsplit

from foxgan import web
from foxgan.sources.markup import Tag, tokens
from foxgan.sources.robots import PRODUCT

FILES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif"}
)
DRAWINGS = frozenset({".svg", ".svgz", ".ico", ".cur"})
SETS = ("srcset", "data-srcset", "data-lazy-srcset")
LONGEST = 4000  # characters of an address
LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-full-src", "data-large-src", "data-image")
_NEXT = (  # what people write on a link to the next page; the clearest first
    re.compile(
        r"(?:go to )?(?:the )?(?:next|older)(?: (?:page|posts?|entries|photos|pictures|images))?[\s›»→>]*", re.I
    ),
    re.compile(r"[›→>]"),
    re.compile(r"»|>>"),
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([wx])")
_HEIGHT = re.compile(r"\d+h,?")
Choice = tuple[tuple[int, float], str]  # the larger the better, and the address


@dataclass
class Document:
    """Addresses are whole, without the part after `#`. `robots`: the contents of tags that are like X-Robots-Tag headers."""

    pictures: list[str] = field(default_factory=list)
    following: str | None = None
    licenses: list[str] = field(default_factory=list)
    robots: list[str] = field(default_factory=list)


def read(text: str, url: str) -> Document:
    """The page `text`, which is at `url`."""
    reader = _Reader()
    for token in tokens(text):
        reader.take(token)
    reader.end()
    base = absolute(url, reader.base) or url
    pictures = (address for shown in reader.pictures if (address := absolute(base, shown)) and not _is_drawing(address))
    ahead = sorted(reader.ahead, key=lambda link: link[0])  # stable: of equals, the first
    following = (address for _, link in ahead if (address := absolute(base, link)) and address != urldefrag(url).url)
    licenses = (address for link in reader.licenses if (address := absolute(base, link)))
    return Document(list(dict.fromkeys(pictures)), next(following, None), list(dict.fromkeys(licenses)), reader.robots)


def absolute(base: str, link: str) -> str | None:
    """The http(s) address that `link` means on a page at `base`; None where it means none."""
    try:
        address = urldefrag(urljoin(base, link.strip())).url
    except ValueError:
        return None
    return address if len(address) <= LONGEST and web.http_host(address) else None


def _ending(address: str) -> str:
    """Of the file; that of wiki pages about files (`/wiki/File:Fox.jpg`) does not count."""
    try:
        name = PurePosixPath(urlsplit(address).path).name
    except ValueError:
        return ""
    return "" if ":" in name else PurePosixPath(name.lower()).suffix


def _is_drawing(address: str) -> bool:
    return _ending(address) in DRAWINGS


class _Reader:
    """Takes one token after the other; addresses stay as they are written, as a later tag may say what they begin with."""

    def __init__(self) -> None:
        self.base = ""
        self.pictures: list[str] = []
        self.ahead: list[tuple[int, str]] = []  # links to the next page: how unclear, and where to
        self.licenses: list[str] = []
        self.robots: list[str] = []
        self._link: Tag | None = None  # the `a` that is open, its words and the pictures in it
        self._words: list[str] = []
        self._inside: list[str] = []
        self._choices: list[Choice] | None = None  # of the `picture` that is open

    def take(self, token: Tag | str) -> None:
        if isinstance(token, str):
            if self._link is not None:
                self._words.append(token)
        elif token.closing:
            if token.name == "a":
                self._leave()
            elif token.name == "picture":
                self._choose()
        else:
            self._open(token)

    def end(self) -> None:
        self._choose()
        self._leave()

    def _open(self, tag: Tag) -> None:
        match tag.name:
            case "base":
                self.base = self.base or tag.attributes.get("href", "")
            case "meta":
                self._meta(tag)
            case "link":
                self._related(tag)
            case "a":
                self._leave()
                self._link = tag
            case "picture":
                self._choose()
                self._choices = []
            case "source" if self._choices is not None:
                self._choices += _choices(tag)
            case "img" if self._choices is not None:
                self._choices += _choices(tag)
            case "img":
                self._show(_choices(tag))

    def _meta(self, tag: Tag) -> None:
        content = tag.attributes.get("content", "")
        if tag.attributes.get("property", tag.attributes.get("name", "")).lower() in ("og:image", "og:image:url"):
            self.pictures.append(content)
        if tag.attributes.get("name", "").lower() in ("robots", PRODUCT):
            self.robots.append(content)

    def _related(self, tag: Tag) -> None:
        relations, target = tag.attributes.get("rel", "").lower().split(), tag.attributes.get("href", "")
        if "next" in relations and target:
            self.ahead.append((0, target))
        if "license" in relations and target:
            self.licenses.append(target)

    def _choose(self) -> None:
        """The end of a `picture`."""
        choices, self._choices = self._choices, None
        self._show(choices or [])

    def _show(self, choices: list[Choice]) -> None:
        if choices:
            _, best = max(choices, key=lambda choice: choice[0])
            (self.pictures if self._link is None else self._inside).append(best)

    def _leave(self) -> None:
        """The end of a link: the file that it leads to stands for the pictures in it."""
        tag, words, inside = self._link, self._words, self._inside
        self._link, self._words, self._inside = None, [], []
        if tag is None:
            return
        target = tag.attributes.get("href", "").strip()
        self.pictures += [target] if _ending(target) in FILES else inside
        self._related(tag)
        labels = [" ".join(words), *(tag.attributes.get(name, "") for name in ("aria-label", "title"))]
        plain = [" ".join(label.split()) for label in labels]
        ranks = (rank for rank, form in enumerate(_NEXT, 1) if any(form.fullmatch(label) for label in plain))
        if target and (rank := next(ranks, 0)):
            self.ahead.append((rank, target))


def _choices(tag: Tag) -> list[Choice]:
    """All addresses of an `img` or `source`; none of those by which visitors are counted."""
    attributes = tag.attributes
    if any(attributes.get(side, "").strip() in ("0", "1", "2") for side in ("width", "height")):
        return []
    found = [choice for name in SETS for choice in in_set(attributes.get(name, ""))]
    found += [((1, 0.0), attributes.get(name, "")) for name in LAZY]
    found.append(((0, 0.0), attributes.get("src", "")))
    return [(size, url.strip()) for size, url in found if url.strip() and not url.strip().lower().startswith("data:")]


def in_set(text: str) -> Iterator[Choice]:
    """The addresses of a `srcset` with their widths, which win, or densities."""
    url = ""
    for word in text.split():
        if not url:
            if _HEIGHT.fullmatch(word):  # behind a width: an old form
                continue
            url = word.strip(",")
            if url and word.endswith(","):
                yield (2, 1.0), url
                url = ""
            continue
        size, _, rest = word.partition(",")
        known = _SIZE.fullmatch(size)
        yield ((3 if known[2] == "w" else 2, float(known[1])) if known else (2, 1.0)), url
        url = rest.strip(",")
    if url:
        yield (2, 1.0), url
