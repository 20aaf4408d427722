"""All fakes in one thread with an event loop of its own; every host has its own port on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tests.fakes.admin import Admin
from tests.fakes.commons import Commons
from tests.fakes.faults import fault_named, refusal
from tests.fakes.flickr import Flickr
from tests.fakes.gbif import Gbif
from tests.fakes.holdings import Shown
from tests.fakes.images import ImageHost
from tests.fakes.inaturalist import INaturalist
from tests.fakes.log import Visits
from tests.fakes.openverse import Openverse
from tests.fakes.pages import Pages
from tests.fakes.pictures import Pictures
from tests.fakes.rules import Rule
from tests.fakes.state import HOST, HOSTS, IMAGE_HOSTS, SERVICES, VISIT, Robots, State
from tests.fakes.world import World, make_world

OPEN_ROBOTS = "User-agent: *\nAllow: /\n"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fakes:
    """Photo services on loopback: `with Fakes() as fakes: ... fakes.url("inaturalist")`.

    `photos` of a longest side of about `side` pixels, drawn when they are asked for; `foxes`: as drawn foxes that a detector finds.
    `port`: that of the first host, the others follow it; 0 takes any. Methods may be called from any thread.
    """

    def __init__(self, seed: int = 0, photos: int = 60, side: int = 512, port: int = 0, foxes: bool = False) -> None:
        self._sockets = {
            host: socket.create_server(("127.0.0.1", port + i if port else 0)) for i, host in enumerate(HOSTS)
        }
        urls = {host: f"http://127.0.0.1:{s.getsockname()[1]}" for host, s in self._sockets.items()}
        self.state = State(make_world(seed, photos, side), Pictures(seed, foxes), urls)
        self.clock, self.settings = self.state.clock, self.state.settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fakes", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self.reset()

    def __enter__(self) -> Fakes:
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure:
            raise self._failure

    # What there is

    @property
    def world(self) -> World:
        return self.state.world

    def url(self, host: str) -> str:
        """The base address of a host, one of state.HOSTS, in place of `https://api.inaturalist.org` and so on."""
        return self.state.urls[host]

    def shown(self, url: str) -> Shown | None:
        """Which photo is to be seen at an address of an image host, in which version; None for nothing."""
        host = next((h for h in IMAGE_HOSTS if url.startswith(self.url(h) + "/")), None)
        return self.state.holdings.shown(host, urlsplit(url).path) if host else None

    def visits(self, host: str | None = None, path: str = "*", agent: str = "*") -> Visits:
        """Who came, in order; of one host, with a path (a glob, queries are part of it) and a user agent (a glob)."""
        return self.state.log.visits(host, path, agent)

    # What goes wrong

    def rule(self, path: str, fault: str, times: int | None = None, after: int = 0, **options: Any) -> Rule:
        """A fault (see faults.py; a number is a status) for `host/path`, a glob; a leading slash means all hosts.

        It begins with the request after the first `after` matching ones and holds for `times` (None: until `reset`).
        """
        fault_named(fault)
        hosts = [host for host in HOSTS if fnmatchcase(host, path.partition("/")[0])]
        if not path.startswith("/") and not hosts:
            raise KeyError(f"{path}: expected HOST/PATH or /PATH; hosts are {', '.join(HOSTS)}")
        return self.state.rules.add(Rule(path, fault, times, after, options))

    def switch(self, name: str, times: int | None = None) -> None:
        """Turn on one of state.SWITCHES for the next `times` requests that meet it (None: until `off`)."""
        self.state.switches.on(name, times)

    def off(self, name: str) -> None:
        self.state.switches.off(name)

    def serve_robots(self, host: str, text: str = OPEN_ROBOTS, status: int = 200, padding: int = 0) -> None:
        """robots.txt of a host; `padding` bytes of comments come before `text`."""
        lines = "# nothing to see here\n" * -(-padding // 22)
        self.state.robots[host] = Robots(status, lines + text)

    def set(self, **values: Any) -> None:
        """Change settings (see state.Settings)."""
        for name, value in values.items():
            if not hasattr(self.settings, name):
                raise KeyError(f"{name}: no such setting; there are {self.settings}")
            setattr(self.settings, name, value)

    def relicense(self, number: int, license: str) -> None:
        """Give photo `number` another license; iNaturalist moves it to the other host if it has one now, or has none any more."""
        self.state.holdings.relicensed[number] = license

    def reset(self) -> None:
        """Nothing is wrong, nobody has come. The clock, settings and licenses stay."""
        self.state.rules.clear()
        self.state.switches.clear()
        self.state.log.clear()
        self.state.robots.clear()
        for host in IMAGE_HOSTS:
            self.serve_robots(host)

    # The server

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for host, sock in self._sockets.items():
                runner = web.AppRunner(
                    self._app(host), access_log=None, shutdown_timeout=0.01, handler_cancellation=True
                )
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.SockSite(runner, sock).start()
            self._ready.set()
            await self._stop.wait()

    def _app(self, host: str) -> web.Application:
        services = (INaturalist, Openverse, Commons, Gbif, Flickr, Pages)
        made: Any = dict(zip(SERVICES, services, strict=True))
        middlewares = [] if host == "admin" else [self._visit]
        app = web.Application(middlewares=middlewares, client_max_size=1 << 20)
        app[HOST] = host
        app.router.add_get("/robots.txt", self._robots)
        if host == "admin":
            app.router.add_routes(Admin(self).routes())
        elif host in SERVICES:
            app.router.add_routes(made[host](self.state).routes())
        else:
            app.router.add_routes(ImageHost(self.state, host).routes())
        return app

    async def _robots(self, request: web.Request) -> web.Response:
        robots = self.state.robots.get(request.app[HOST])
        if robots is None:
            return refusal(self.state, request.app[HOST], 404)
        return web.Response(status=robots.status, text=robots.text)

    @web.middleware
    async def _visit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Everything that happens to a request: it is noted, answered, made worse, and sent."""
        host, state = request.app[HOST], self.state
        now = state.clock.now()
        headers = dict(request.headers)
        visit = state.log.begin(host, request.method, request.raw_path, request.remote or "", headers, now)
        try:
            rules = state.rules.meet(visit.address, now)
            visit.faults = [rule.fault for rule in rules]
            VISIT.set(visit)
            answer: web.StreamResponse = await self._answer(request, handler)
            for rule in rules:
                if isinstance(answer, web.Response):
                    answer = await fault_named(rule.fault)(request, answer, rule, state)
            visit.status = answer.status
            if isinstance(answer, web.Response):
                answer.headers.setdefault("Date", state.clock.http_date())
                visit.bytes = len(answer.body) if isinstance(answer.body, bytes) and request.method != "HEAD" else 0
                await answer.prepare(request)
                await answer.write_eof()
            return answer
        except Exception as error:
            if not isinstance(error, ConnectionError):  # of which the visitor is the cause
                self._failure = self._failure or error
            raise
        finally:
            state.log.end(visit)

    async def _answer(self, request: web.Request, handler: Handler) -> web.Response:
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            answer = refusal(self.state, request.app[HOST], error.status)
        except Exception as error:  # a fault of the fakes, which their user must learn of
            self._failure = self._failure or error
            answer = web.Response(status=500, text=f"the fake itself failed: {error!r}")
        assert isinstance(answer, web.Response)
        return answer
