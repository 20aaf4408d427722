"""What all HTTP requests of foxgan have in common: who asks, what counts as a failure, and when another try is worth it."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ipaddress
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp
import stamina
from aiohttp.connector import AddrInfoType
from stamina.instrumentation import set_on_retry_hooks

import foxgan

RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
MAX_WAIT = 120.0  # seconds; a server that asks for more gets no further visit
SLOWEST = 20  # times the wait for a byte: the longest that an answer may take as a whole

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


def open_session(
    timeout: float, accept: str, contact: str = "", guarded: bool = False, per_host: int = 0
) -> aiohttp.ClientSession:
    """A session that waits `timeout` seconds for a connection or a byte, and asks for bodies as they are.

    `contact`: an address or page of who asks, for servers that want to know. `guarded`: connects to public addresses only, whatever
    names and redirects lead to; FOXGAN_ALLOW_PRIVATE=1 lifts that. `per_host`: at most so many connections to one (0: any number).
    """
    guard = guarded and os.environ.get("FOXGAN_ALLOW_PRIVATE") != "1"
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        headers={"User-Agent": agent(contact), "Accept": accept, "Accept-Encoding": "identity"},
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=per_host, socket_factory=_public_socket if guard else None
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def agent(contact: str = "") -> str:
    """Who asks: `foxgan/<version> (<contact>) aiohttp/<version>`."""
    return " ".join(
        [f"foxgan/{foxgan.__version__}", *([f"({contact})"] if contact else []), f"aiohttp/{aiohttp.__version__}"]
    )


class PrivateAddress(OSError):
    """A host that is not on the public internet."""


def _public_socket(info: AddrInfoType) -> socket.socket:
    """The socket of a connection, made only where it leads to a public address: the last moment to know, after all names and redirects."""
    family, kind, protocol, _, place = info
    if not is_public(str(place[0])):
        raise PrivateAddress("not a public address")
    return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also one that is wrapped in another (RFC 4291, 6052, 3056, 4380)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        inside = [ip.ipv4_mapped, ip.sixtofour, nat64, *(ip.teredo or ())]
        return ip.is_global and not ip.is_multicast and all(i is None or i.is_global for i in inside)
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def _follow(url: str) -> None:
    """For who follows every redirect."""


@contextlib.asynccontextmanager
async def visit(
    session: aiohttp.ClientSession,
    url: str,
    good: tuple[int, ...] = (200,),
    headers: Mapping[str, str] | None = None,
    on_redirect: Callable[[str], Awaitable[None]] = _follow,
    form: Mapping[str, str] | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a GET (with a `form`: a POST of it), at the end of at most five redirects; `on_redirect` is told where each leads,
    and may raise Failed.

    Raises Failed for a status that is not `good`, and for whatever goes wrong while it is read. Reasons: `http_<status>`, `timeout`,
    `connection`, `certificate`, `private_address`, `too_many_redirects`, `insecure_redirect` from https to http, where anybody on the way
    could send something else, and `bad_url`, also for one that a redirect leads to.
    """
    try:
        response = await _arrive(session, url, headers, on_redirect, form)
        async with response:
            if response.status not in good:
                again = response.status in RETRY_STATUS
                raise Failed(f"http_{response.status}", _wait(response.headers), again)
            yield response
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError) as error:
        raise Failed("bad_url") from error
    except TimeoutError as error:
        raise Failed("timeout", again=True) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Failed("certificate") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PrivateAddress):
            raise Failed("private_address") from error
        raise Failed("connection", again=True) from error
    except aiohttp.ClientError as error:
        raise Failed("connection", again=True) from error


async def _arrive(
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str] | None,
    on_redirect: Callable[[str], Awaitable[None]],
    form: Mapping[str, str] | None,
) -> aiohttp.ClientResponse:
    """The first response that is no redirect."""
    for _ in range(MAX_REDIRECTS + 1):
        method = "GET" if form is None else "POST"
        async with patience(session):
            response = await session.request(method, url, allow_redirects=False, headers=headers, data=form)
        target = response.headers.get("Location")
        if response.status not in REDIRECTS or not target:
            return response
        response.close()
        url = _led_to(url, target)
        await on_redirect(url)
    raise Failed("too_many_redirects")


def _led_to(url: str, target: str) -> str:
    """Where a redirect leads."""
    try:
        found = urljoin(url, target)
    except ValueError as error:
        raise Failed("bad_url") from error
    if http_host(found) is None:
        raise Failed("bad_url")
    if urlsplit(url).scheme == "https" and urlsplit(found).scheme == "http":
        raise Failed("insecure_redirect")
    return found


@contextlib.asynccontextmanager
async def patience(session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Ends what takes far longer than a silent server is waited for, as one may drip a byte a second. Raises Failed: `timeout`."""
    limit = session.timeout.sock_read
    try:
        async with asyncio.timeout(limit and SLOWEST * limit) as clock:
            yield
    except TimeoutError as error:
        if clock.expired():
            raise Failed("timeout") from error
        raise


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


def validator(response: aiohttp.ClientResponse) -> str | None:
    """What names this state of a body: a strong ETag, else its date; None where the server tells neither that could be sent back."""
    tag = response.headers.get("ETag", "")
    found = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    return found if found and found.isascii() and found.isprintable() else None


def http_host(url: str) -> str | None:
    """The host of an http(s) address; None for every other text."""
    try:
        url.encode()  # JSON may hold halves of characters
        parts = urlsplit(url)
        return parts.netloc if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def retry_after(header: str | None, date: str | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, given as a number or as a date; None without a sensible one.

    A date is read by the server's own clock, its `Date` header, if there is one: ours may be wrong.
    """
    with contextlib.suppress(ValueError):
        seconds = float(header or "")
        return max(0.0, seconds) if math.isfinite(seconds) else None
    until, now = _moment(header), _moment(date)
    return None if until is None else max(0.0, until - (time.time() if now is None else now))


def _wait(headers: Mapping[str, str]) -> float | None:
    return retry_after(headers.get("Retry-After"), headers.get("Date"))


def _moment(date: str | None) -> float | None:
    """Seconds since 1970 of an HTTP date; None for anything else."""
    try:
        moment = email.utils.parsedate_to_datetime(date or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
