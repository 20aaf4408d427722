"""What all HTTP requests of foxgan have in common: who asks, what counts as a failure, and when another try is worth it."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import stamina
from stamina.instrumentation import set_on_retry_hooks

import foxgan

RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
MAX_WAIT = 120.0  # seconds; a server that asks for more gets no further visit

T = TypeVar("T")


class Failed(Exception):
    """A request that did not work out; `wait` seconds later it may (None: never)."""

    def __init__(self, reason: str, wait: float | None = None, again: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.again = reason, wait, again


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def open_session(timeout: float, accept: str) -> aiohttp.ClientSession:
    """A session that waits `timeout` seconds for a connection or a byte, and asks for bodies as they are."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        headers={"User-Agent": f"foxgan/{foxgan.__version__}", "Accept": accept, "Accept-Encoding": "identity"},
        connector=aiohttp.TCPConnector(limit=0),
    )


@contextlib.asynccontextmanager
async def visit(
    session: aiohttp.ClientSession, url: str, good: tuple[int, ...] = (200,), headers: Mapping[str, str] | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a GET. Raises Failed for a status that is not `good`, and for whatever goes wrong while it is read.

    Reasons: `http_<status>`, `timeout`, `connection`, `too_many_redirects`, and `bad_url`, also for one that a redirect leads to.
    """
    try:
        async with session.get(url, max_redirects=MAX_REDIRECTS, headers=headers) as response:
            if response.status not in good:
                again = response.status in RETRY_STATUS
                raise Failed(f"http_{response.status}", retry_after(response.headers.get("Retry-After")), again)
            yield response
    except aiohttp.TooManyRedirects as error:
        raise Failed("too_many_redirects") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise Failed("bad_url") from error
    except TimeoutError as error:
        raise Failed("timeout", again=True) from error
    except aiohttp.ClientError as error:
        raise Failed("connection", again=True) from error


async def with_retries(work: Callable[[], Awaitable[T]], retries: int) -> T:
    """What `work` returns, tried so often more after a failure that may pass, with growing pauses. Raises the last Failed."""
    set_on_retry_hooks([])  # stamina would log every retry; failures are told by who asked
    tries = stamina.AsyncRetryingCaller(attempts=retries + 1, timeout=None, wait_initial=0.5, wait_max=30.0)
    return await tries(_when, work)


def _when(error: Exception) -> bool | float:
    """Stamina's question: again, and in how many seconds?"""
    if not isinstance(error, Failed) or not error.again or (error.wait or 0) > MAX_WAIT:
        return False
    return True if error.wait is None else error.wait


def http_host(url: str) -> str | None:
    """The host of an http(s) address; None for every other text."""
    try:
        parts = urlsplit(url)
        return parts.netloc if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


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
