"""The polite downloader: bounded in size, time, redirects, rate per host and connections; retries what may pass.

It goes only to public addresses, and only where robots.txt and X-Robots-Tag allow it, asked again after every redirect. A body goes to
a temporary file and is renamed when it is complete, so whatever lies in the folder never has to be fetched again.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiolimiter import AsyncLimiter

from foxgan import web
from foxgan.sources.candidate import Candidate, Loaded, Refused, Source
from foxgan.sources.held import Held
from foxgan.sources.hosts import Hosts
from foxgan.sources.robots import Robots, kept_out, wants_contact
from foxgan.web import Failed

PER_HOST = 4  # connections
CHUNK = 1 << 16
LONGEST_STATE = 200  # characters by which a server calls it

OnDone = Callable[[str, str], None]


@dataclass(frozen=True)
class Manners:
    """How to behave: seconds without a byte before giving up, attempts after the first, requests per second and host.

    `contact`: who can be asked about it. `robots`: whether to do what robots.txt and X-Robots-Tag ask.
    """

    timeout: float = 30.0
    retries: int = 3
    rate: float = 5.0
    connections: int = 16
    max_bytes: int = 50_000_000
    contact: str = ""
    robots: bool = True


@dataclass(frozen=True)
class Fetched(Source):
    """A source whose candidates have an `image_url` in their meta; the bodies are in `folder`."""

    folder: Path

    def load(self, candidate: Candidate) -> Loaded:
        path = place(self.folder, candidate.meta["image_url"])
        try:
            data = path.read_bytes()
            moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except OSError as error:
            raise Refused("unreadable") from error
        state = {"validator": candidate.meta["validator"]} if "validator" in candidate.meta else {}
        return Loaded(data, file=path, meta={"retrieved_at": moment.isoformat(timespec="seconds")} | state)


def place(folder: Path, url: str) -> Path:
    """Where the body of `url` is kept."""
    return folder / hashlib.sha256(url.encode()).hexdigest()


def download(
    urls: Iterable[str], folder: Path, manners: Manners, on_done: OnDone, held: Mapping[str, Held] | None = None
) -> dict[str, str]:
    """Fetch `urls` into `place(folder, url)`; calls `on_done(url, reason)` for each as it ends, reason "" for success.

    Those of which there is a body (`held`) are asked for on the condition that it has changed. Returns what names the states of bodies,
    as far as their servers tell.

    Reasons: those of `web.visit`, `too_large`, `contact` where the host demands one, and `robots`, `robots_unreachable`, `noai` where it
    does not want it. Raises OSError where the disk does not take the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return web.run(_download(list(urls), folder, manners, on_done, held or {}))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _download(
    urls: list[str], folder: Path, manners: Manners, on_done: OnDone, held: Mapping[str, Held]
) -> dict[str, str]:
    hosts: dict[str, deque[str]] = {}
    for url in urls:
        host = web.http_host(url)
        if host is None:
            on_done(url, "bad_url")
        else:
            hosts.setdefault(host, deque()).append(url)
    async with (
        web.open_session(manners.timeout, "image/*,*/*;q=0.5", manners.contact, True, PER_HOST) as session,
        asyncio.TaskGroup() as group,
    ):
        visit = _Visits(session, folder, manners, held)
        for queue in hosts.values():
            for _ in range(min(PER_HOST, len(queue))):
                group.create_task(visit.drain(queue, on_done))
    return visit.states


class _Visits:
    """All requests of a download, each in its turn."""

    def __init__(
        self, session: aiohttp.ClientSession, folder: Path, manners: Manners, held: Mapping[str, Held]
    ) -> None:
        self.held, self.states = dict(held), dict[str, str]()
        self.session, self.folder, self.manners = session, folder, manners
        self.gate = asyncio.Semaphore(manners.connections)
        self.robots = Robots(session, manners.retries)
        self.hosts = Hosts()
        self.limiters: dict[str, AsyncLimiter] = {}
        self.begun: dict[
            str, tuple[str, int]
        ] = {}  # bodies that broke off: what names their state, and their bytes so far

    async def drain(self, queue: deque[str], on_done: OnDone) -> None:
        while queue:
            url = queue.popleft()
            reason = ""
            try:
                await web.with_retries(functools.partial(self._in_turn, url), self.manners.retries)
            except Failed as failed:
                reason = failed.reason
                self.hosts.lost(_host(url), reason)
            else:
                self.hosts.answered(_host(url))
            finally:
                _temporary(place(self.folder, url)).unlink(missing_ok=True)
            on_done(url, reason)

    async def _in_turn(self, url: str) -> None:
        """One try; which hosts refuse it is remembered for the others."""
        asked = [url]

        async def arrive(target: str) -> None:
            asked.append(target)
            await self._await_turn(target)

        await self._await_turn(url)
        try:
            await self._once(url, arrive)
        except Failed as failed:
            self.hosts.refused(_host(asked[-1]), failed)
            raise

    async def _once(self, url: str, arrive: Callable[[str], Awaitable[None]]) -> None:
        """One try; a later one goes on where it broke off, if the server can tell that the body is still the same."""
        validator, done = self.begun.pop(url, ("", 0))
        held = None if done else self.held.pop(url, None)  # once: who answers with something else is asked without
        rest = {"Range": f"bytes={done}-", "If-Range": validator} if done else None
        asked = held.condition if held else rest
        async with self.gate, web.visit(self.session, url, (200, 206, 304, 416), asked, arrive) as response:
            part = response.headers.get("Content-Range", "") if response.status == 206 else ""
            goes_on = bool(done) and part.startswith(f"bytes {done}-")
            as_before = held if response.status == 304 and str(response.url) == url else None  # and not another's
            if response.status != 200 and not goes_on and not as_before:
                raise Failed(f"http_{response.status}", again=bool(done or held))
            if self.manners.robots and kept_out(response.headers.getall("X-Robots-Tag", [])):
                raise Failed("noai")
            if as_before:
                as_before.put(place(self.folder, url))
            else:
                await self._save(response, url, done if goes_on else 0)
            state = as_before.validator if as_before else web.validator(response)
            if state and state.isascii() and len(state) <= LONGEST_STATE:
                self.states[url] = state

    async def _await_turn(self, url: str) -> None:
        """Wait until the host of `url` may be asked again; it may be one that a redirect leads to."""
        if wants_contact(url) and not self.manners.contact:
            raise Failed("contact")
        delay = 1 / self.manners.rate
        if self.manners.robots:
            delay = max(delay, await self.robots.check(url))
        limiter = self.limiters.setdefault(_host(url), AsyncLimiter(1, delay))
        await limiter.acquire()
        while await self.hosts.rested(_host(url)):
            await limiter.acquire()

    async def _save(self, response: aiohttp.ClientResponse, url: str, done: int) -> None:
        """Write the body behind the `done` bytes that are there, and rename the file when it is whole."""
        path = place(self.folder, url)
        deadline = time.monotonic() + 20 * self.manners.timeout  # a server may drip a byte a second for ever
        if done + (response.content_length or 0) > self.manners.max_bytes:
            raise Failed("too_large")
        try:
            with _temporary(path).open("ab" if done else "wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    done += len(chunk)
                    if done > self.manners.max_bytes:
                        raise Failed("too_large")
                    if time.monotonic() > deadline:
                        raise Failed("timeout")
                    file.write(chunk)
        except (aiohttp.ClientError, TimeoutError):
            if (validator := web.validator(response)) and "Content-Encoding" not in response.headers:
                self.begun[url] = validator, done
            raise
        os.replace(_temporary(path), path)


def _host(url: str) -> str:
    return web.http_host(url) or ""


def _temporary(path: Path) -> Path:
    return path.with_suffix(".tmp")
