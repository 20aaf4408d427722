"""The fakes' remote control, for people and for other processes: the same as the methods of `Fakes`, as JSON over HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.faults import FAULTS
from tests.fakes.odd import KINDS
from tests.fakes.state import HOSTS, SWITCHES

if TYPE_CHECKING:
    from tests.fakes.server import Fakes

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Admin:
    """The first port."""

    def __init__(self, fakes: Fakes) -> None:
        self._fakes = fakes

    def routes(self) -> list[web.RouteDef]:
        posts: dict[str, Callable[..., Any]] = {
            "rule": self._fakes.rule,
            "switch": self._fakes.switch,
            "off": self._fakes.off,
            "robots": self._fakes.serve_robots,
            "settings": self._fakes.set,
            "advance": self._fakes.clock.advance,
            "relicense": self._fakes.relicense,
            "reset": self._fakes.reset,
        }
        routes = [web.post(f"/{name}", _caller(method)) for name, method in posts.items()]
        return [web.get("/", self.index), web.get("/log", self.log), *routes]

    async def index(self, request: web.Request) -> web.Response:
        """What there is, as text."""
        lines = [f"{host:12} {self._fakes.url(host)}" for host in HOSTS]
        lines += ["", "switches: " + ", ".join(SWITCHES), "odd pictures: " + ", ".join(KINDS), "faults:"]
        lines += [f"  {name:14} {(fault.__doc__ or '').strip()}" for name, fault in FAULTS.items()]
        lines += ["", f"settings: {self._fakes.settings}", "", "For example:"]
        lines += [
            f"""  curl -d '{{"path": "museum/media/*", "fault": "429", "times": 3}}' {self._fakes.url("admin")}/rule"""
        ]
        lines += [f"""  curl -d '{{"seconds": 3600}}' {self._fakes.url("admin")}/advance"""]
        return web.Response(text="\n".join(lines) + "\n")

    async def log(self, request: web.Request) -> web.Response:
        """All visits; `host`, `path` and `agent` choose."""
        return web.json_response(self._fakes.visits(**request.query).as_rows())


def _caller(method: Callable[..., Any]) -> Handler:
    async def call(request: web.Request) -> web.Response:
        text = await request.text()
        try:
            result = method(**(await request.json() if text else {}))
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        known = dataclasses.asdict(result) if dataclasses.is_dataclass(result) and not isinstance(result, type) else {}
        return web.json_response({"ok": True, **known})

    return call
