"""The polite downloader: bounded in size, time, redirects, rate per host and connections; retries what may pass.

A body goes to a temporary file and is renamed when it is complete, so whatever lies in the folder never has to be fetched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import stamina
from aiolimiter import AsyncLimiter
from stamina.instrumentation import set_on_retry_hooks

import foxgan

RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
MAX_WAIT = 120.0  # seconds; a server that asks for more gets no further visit
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


class Failed(Exception):
    """A download that did not work out; `wait` seconds later it may (None: never)."""

    def __init__(self, reason: str, wait: float | None = None, again: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.again = reason, wait, again


def place(folder: Path, url: str) -> Path:
    """Where the body of `url` is kept."""
    return folder / hashlib.sha256(url.encode()).hexdigest()


def download(urls: Iterable[str], folder: Path, manners: Manners, on_done: OnDone) -> None:
    """Fetch `urls` into `place(folder, url)`; calls `on_done(url, reason)` for each as it ends, reason "" for success.

    Reasons: `bad_url`, `http_<status>`, `timeout`, `connection`, `too_large`, `too_many_redirects`. Raises OSError where the
    disk does not take the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    set_on_retry_hooks([])  # stamina would log every retry; failures are rows of the index
    try:
        asyncio.run(_download(list(urls), folder, manners, on_done))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _download(urls: list[str], folder: Path, manners: Manners, on_done: OnDone) -> None:
    hosts: dict[str, deque[str]] = {}
    for url in urls:
        host = http_host(url)
        if host is None:
            on_done(url, "bad_url")
        else:
            hosts.setdefault(host, deque()).append(url)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=manners.timeout, sock_read=manners.timeout)
    headers = {
        "User-Agent": f"foxgan/{foxgan.__version__}",
        "Accept": "image/*,*/*;q=0.5",
        "Accept-Encoding": "identity",
    }
    gate = asyncio.Semaphore(manners.connections)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for queue in hosts.values():
            visit = _Visit(session, gate, AsyncLimiter(1, 1 / manners.rate), folder, manners)
            for _ in range(min(PER_HOST, len(queue))):
                group.create_task(visit.drain(queue, on_done))


def http_host(url: str) -> str | None:
    """The host of an http(s) address; None for every other text."""
    try:
        parts = urlsplit(url)
        return parts.netloc if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


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
                await self._with_retries(url)
            except Failed as failed:
                reason = failed.reason
            on_done(url, reason)

    async def _with_retries(self, url: str) -> None:
        attempts = stamina.retry_context(
            on=_when, attempts=self.manners.retries + 1, timeout=None, wait_initial=0.5, wait_max=30.0
        )
        async for attempt in attempts:
            with attempt:
                async with self.limiter, self.gate:
                    await self._once(url)

    async def _once(self, url: str) -> None:
        try:
            async with self.session.get(url, max_redirects=MAX_REDIRECTS) as response:
                if response.status != 200:
                    again = response.status in RETRY_STATUS
                    raise Failed(f"http_{response.status}", retry_after(response.headers.get("Retry-After")), again)
                if (response.content_length or 0) > self.manners.max_bytes:
                    raise Failed("too_large")
                await self._save(response, place(self.folder, url))
        except aiohttp.TooManyRedirects as error:
            raise Failed("too_many_redirects") from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise Failed("bad_url") from error
        except TimeoutError as error:
            raise Failed("timeout", again=True) from error
        except aiohttp.ClientError as error:
            raise Failed("connection", again=True) from error

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


def _when(error: Exception) -> bool | float:
    """Stamina's question: again, and in how many seconds?"""
    if not isinstance(error, Failed) or not error.again or (error.wait or 0) > MAX_WAIT:
        return False
    return True if error.wait is None else error.wait


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, given as a number or as a date; None without a sensible one."""
    if not header:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
