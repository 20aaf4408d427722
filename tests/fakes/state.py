"""What all fakes of one server share: the world, the clock, the log, rules, switches and settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.clock import Clock, Windows
from tests.fakes.holdings import Holdings, Shown
from tests.fakes.log import Log, Visit
from tests.fakes.odd import odd_picture
from tests.fakes.pictures import FORMATS, MIMES, Pictures
from tests.fakes.rules import Rules, Switches
from tests.fakes.world import World

SERVICES = ("inaturalist", "openverse", "commons", "gbif", "flickr", "pages")
IMAGE_HOSTS = ("open-data", "static", "upload", "farm", "museum")
HOSTS = ("admin", *SERVICES, *IMAGE_HOSTS)  # in the order of their ports
HOST = web.AppKey("host", str)
VISIT: ContextVar[Visit] = ContextVar("VISIT")  # the request that is being answered
SWITCHES = ("maxlag", "ratelimited", "flickr_unavailable", "changed")
"""`maxlag`, `ratelimited`: what Commons answers. `flickr_unavailable`: Flickr's code 105. `changed`: every picture is another file
now, with another ETag, when a client comes back for the rest of it."""


@dataclass
class Settings:
    """Limits of the services as they are said to be; a test lowers them. `throttle` enforces the rates; they are off by default, as
    tests would have to be as slow as spiders are."""

    throttle: bool = False
    inaturalist_per_minute: int = 100
    inaturalist_window: int = 10_000
    openverse_depth: int = 240
    openverse_burst: int = 20  # per minute
    openverse_sustained: int = 200  # per day
    openverse_thumbnails: int = 150  # per minute
    commons_imageinfo: int = 10  # pages of one reply that have theirs; the others come with the next one
    commons_search_depth: int = 10_000
    gbif_depth: int = 100_000
    flickr_per_hour: int = 3600
    flickr_distinct: int = 4000


@dataclass
class Robots:
    status: int
    text: str


@dataclass
class State:
    """`urls` are the bases of all hosts, without a slash at the end."""

    world: World
    pictures: Pictures
    urls: Mapping[str, str]
    clock: Clock = field(default_factory=Clock)
    log: Log = field(default_factory=Log)
    rules: Rules = field(default_factory=Rules)
    switches: Switches = field(default_factory=lambda: Switches(SWITCHES))
    settings: Settings = field(default_factory=Settings)
    robots: dict[str, Robots] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.holdings = Holdings(self.world, self.urls)
        self.windows = Windows(self.clock)

    def body(self, shown: Shown) -> tuple[bytes, str]:
        """The file that an image host sends, and its type."""
        ending = shown.ending.lower()
        if ending not in FORMATS:  # Commons has drawings and films, too
            return (odd_picture("svg"), "image/svg+xml") if ending == "svg" else (b"\x1aE\xdf\xa3", "video/webm")
        body = self.pictures.encoded(shown.photo, shown.version, ending, shown.square)
        return body, MIMES[FORMATS[ending]]

    def admit(self, request: web.Request, scopes: Mapping[str, tuple[int, float]]) -> tuple[dict[str, int], float]:
        """What a visitor may still ask for in each scope (requests, seconds), and how long to wait first; counts the request."""
        who = f"{request.remote}/{request.headers.get('User-Agent', '')}/{request.headers.get('Authorization', '')}"
        left: dict[str, int] = {}
        wait = 0.0
        for scope, (limit, seconds) in scopes.items():
            left[scope], pause = self.windows.left(f"{who}/{scope}", limit, seconds)
            wait = max(wait, pause)
        for scope in scopes if not wait else ():
            self.windows.count(f"{who}/{scope}")
            left[scope] = max(0, left[scope] - 1)
        return left, wait if self.settings.throttle else 0.0
