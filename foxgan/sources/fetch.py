"""The polite downloader: bounded in size, time, redirects, rate per host and connections; retries what may pass.

A body goes to a temporary file and is renamed when it is complete, so whatever lies in the folder never has to be fetched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiolimiter import AsyncLimiter

from foxgan import web
from foxgan.web import Failed

PER_HOST = 4  # connections
CHUNK = 1 << 16

OnDone = Callable[[str, str], None]


@dataclass(frozen=True)
class Manners:
    """How to behave: seconds without a byte before giving up, attempts after the first, requests per second and host."""

    timeout: float = 30.0
    retries: int = 3
    rate: float = 5.0
    connections: int = 16
    max_bytes: int = 50_000_000


def place(folder: Path, url: str) -> Path:
    """Where the body of `url` is kept."""
    return folder / hashlib.sha256(url.encode()).hexdigest()


def download(urls: Iterable[str], folder: Path, manners: Manners, on_done: OnDone) -> None:
    """Fetch `urls` into `place(folder, url)`; calls `on_done(url, reason)` for each as it ends, reason "" for success.

    Reasons: `bad_url`, `http_<status>`, `timeout`, `connection`, `too_large`, `too_many_redirects`. Raises OSError where the
    disk does not take the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        web.run(_download(list(urls), folder, manners, on_done))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _download(urls: list[str], folder: Path, manners: Manners, on_done: OnDone) -> None:
    hosts: dict[str, deque[str]] = {}
    for url in urls:
        host = web.http_host(url)
        if host is None:
            on_done(url, "bad_url")
        else:
            hosts.setdefault(host, deque()).append(url)
    gate = asyncio.Semaphore(manners.connections)
    async with web.open_session(manners.timeout, "image/*,*/*;q=0.5") as session, asyncio.TaskGroup() as group:
        for queue in hosts.values():
            visit = _Visit(session, gate, AsyncLimiter(1, 1 / manners.rate), folder, manners)
            for _ in range(min(PER_HOST, len(queue))):
                group.create_task(visit.drain(queue, on_done))


@dataclass(frozen=True)
class _Visit:
    """All that concerns one host."""

    session: aiohttp.ClientSession
    gate: asyncio.Semaphore
    limiter: AsyncLimiter
    folder: Path
    manners: Manners

    async def drain(self, queue: deque[str], on_done: OnDone) -> None:
        while queue:
            url = queue.popleft()
            reason = ""
            try:
                await web.with_retries(functools.partial(self._in_turn, url), self.manners.retries)
            except Failed as failed:
                reason = failed.reason
            on_done(url, reason)

    async def _in_turn(self, url: str) -> None:
        async with self.limiter, self.gate, web.visit(self.session, url) as response:
            if (response.content_length or 0) > self.manners.max_bytes:
                raise Failed("too_large")
            await self._save(response, place(self.folder, url))

    async def _save(self, response: aiohttp.ClientResponse, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        deadline = time.monotonic() + 20 * self.manners.timeout  # a server may drip a byte a second for ever
        written = 0
        try:
            with temporary.open("wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    written += len(chunk)
                    if written > self.manners.max_bytes:
                        raise Failed("too_large")
                    if time.monotonic() > deadline:
                        raise Failed("timeout")
                    file.write(chunk)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
