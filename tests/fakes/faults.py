"""Everything that may go wrong between a server and a client. A fault is given the good answer and makes another one of it; those
that write to the socket themselves come last."""

from __future__ import annotations

import asyncio
import functools
import gzip
import html
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.fakes.odd import odd_picture
from tests.fakes.rules import Rule
from tests.fakes.state import HOST, VISIT, State

Fault = Callable[[web.Request, web.Response, Rule, State], Awaitable[web.StreamResponse]]
CDN_PAGE = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>Sorry, you have been blocked</body></html>"
MAX_STREAM = 1 << 30  # bytes; no client should get that far, and the server must not run for ever


async def status(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Another status. `status`; `retry_after`: seconds, "date" (an HTTP-date `seconds` ahead) or None; 403 is a CDN's HTML page."""
    code = int(rule.options.get("status", rule.fault if rule.fault.isdigit() else 500))
    wait = rule.options.get("retry_after", 30 if code == 429 else None)
    return refusal(state, request.app[HOST], code, wait, rule.options.get("seconds", 60))


def refusal(state: State, host: str, code: int, wait: Any = None, seconds: float = 60) -> web.Response:
    """A refusal in the words of a host. iNaturalist's proxy sends half of its 429s as something that is not JSON."""
    headers = {} if wait is None else {"Retry-After": state.clock.http_date(seconds) if wait == "date" else str(wait)}
    if code == 403:
        return web.Response(status=code, text=CDN_PAGE, content_type="text/html", headers=headers)
    if code == 429 and host == "openverse":
        detail = f"Request was throttled. Expected available in {wait} seconds."
        return web.json_response({"detail": detail}, status=code, headers=headers)
    if host == "inaturalist":
        refused = sum(visit.status == code for visit in state.log.visits(host))
        if code != 429 or refused % 2:
            return web.json_response({"error": f"HTTP {code}", "status": code}, status=code, headers=headers)
    text = f"<html><head><title>{code}</title></head><body><center><h1>{code}</h1></center></body></html>"
    return web.Response(status=code, text=text, content_type="text/html", headers=headers)


async def throttle(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """429 until `seconds` (3600) have gone by on the fake clock since the first one; Retry-After says how long still."""
    assert rule.since is not None
    left = rule.since + rule.options.get("seconds", 3600) - state.clock.now()
    return refusal(state, request.app[HOST], 429, int(left) + 1) if left > 0 else answer


async def redirect(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """To `to`: any address, also a relative one, file:, a private one. `status` 302. Without `to`, to itself: a loop."""
    to = rule.options.get("to", request.raw_path)
    return web.Response(status=rule.options.get("status", 302), headers={"Location": to})


async def headers(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """`headers`, a list of pairs, are added; names may come more than once."""
    for name, value in rule.options["headers"]:
        answer.headers.add(name, value)
    return answer


async def slow(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Answers after `seconds` (0.05) of real time: short pauses make requests overlap, long ones meet a client's timeout."""
    await asyncio.sleep(rule.options.get("seconds", 0.05))
    return answer


async def hang_up(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """The connection is closed without an answer."""
    if request.transport is not None:
        request.transport.abort()
    await asyncio.sleep(60)  # until the server notices, and cancels this
    return answer


async def wrong_type(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Says `content_type` (text/plain) of the same body."""
    kind = rule.options.get("content_type", "text/plain")
    return _with(answer, _body(answer), {"Content-Type": kind}, drop=("Content-Type",))


async def page(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """An HTML error page with 200 and the type of what was asked for."""
    text = f"<!doctype html><html><body><h1>Not available</h1><p>{html.escape(request.path)}</p></body></html>"
    return _with(answer, text.encode(), {})


async def picture(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """`kind`: a strange picture, one of odd.KINDS, under the name and type that were asked for; `content_type` says another type."""
    body = odd_picture(rule.options["kind"])
    kind = rule.options.get("content_type")
    return _with(answer, body, {"Content-Type": kind} if kind else {}, drop=("Content-Type",) if kind else ())


async def cut(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """A file that broke off before it came to the server: `share` (0.5) of it, sent as if it were whole."""
    body = _body(answer)
    return _with(answer, body[: int(len(body) * rule.options.get("share", 0.5))], {})


async def empty(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """200 without a byte."""
    return _with(answer, b"", {})


async def zipped(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Content-Encoding: gzip, whether it was asked for or not; `zeros` bytes of nothing instead of the body are a bomb."""
    zeros = rule.options.get("zeros")
    body = zipped_zeros(zeros) if zeros else gzip.compress(_body(answer), 1, mtime=0)
    return _with(answer, body, {"Content-Encoding": "gzip"})


async def truncated(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """The whole Content-Length is announced, `share` (0.5) of it comes, then the connection is closed."""
    return await _broken_off(request, answer, rule.options.get("share", 0.5), reset=False)


async def reset(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """As `truncated`, and the connection is reset (RST)."""
    return await _broken_off(request, answer, rule.options.get("share", 0.5), reset=True)


async def stall(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """`share` (0.5) of the body comes, and then nothing while the client waits."""
    stream = await _begin(request, answer, len(_body(answer)))
    await stream.write(_body(answer)[: int(len(_body(answer)) * rule.options.get("share", 0.5))])
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.02)
    return stream


async def drip(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """`bytes` (1) every `seconds` (1) of real time; with `chunked` true without a Content-Length."""
    body, step = _body(answer), rule.options.get("bytes", 1)
    stream = await _begin(request, answer, None if rule.options.get("chunked") else len(body))
    for start in range(0, len(body), step):
        await stream.write(body[start : start + step])
        await asyncio.sleep(rule.options.get("seconds", 1.0))
    return stream


async def drip_head(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """The status line, and then a header that never ends: a byte every `seconds` (1) of real time."""
    transport = request.transport
    if transport is not None:
        transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while transport is not None and not transport.is_closing():
        transport.write(b"a")
        await asyncio.sleep(rule.options.get("seconds", 1.0))
    return answer


async def chunked(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """The whole body in pieces of `bytes` (1000), without a Content-Length."""
    body, step = _body(answer), rule.options.get("bytes", 1000)
    stream = await _begin(request, answer, None)
    for start in range(0, len(body), step):
        await stream.write(body[start : start + step])
    return stream


async def endless(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """The body, and then zeros without an end."""
    stream = await _begin(request, answer, None)
    await stream.write(_body(answer))
    for _ in range(MAX_STREAM >> 16):
        await stream.write(bytes(1 << 16))
        await asyncio.sleep(0)
    return stream


async def no_range(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Range is ignored: 200 and the whole. (Image hosts see to it themselves.)"""
    return answer


async def no_validators(request: web.Request, answer: web.Response, rule: Rule, state: State) -> web.StreamResponse:
    """Neither ETag nor Last-Modified. (Image hosts see to it themselves.)"""
    return answer


FAULTS: dict[str, Fault] = {
    "status": status,
    "throttle": throttle,
    "redirect": redirect,
    "headers": headers,
    "slow": slow,
    "hang_up": hang_up,
    "wrong_type": wrong_type,
    "page": page,
    "picture": picture,
    "cut": cut,
    "empty": empty,
    "gzip": zipped,
    "truncated": truncated,
    "reset": reset,
    "stall": stall,
    "drip": drip,
    "drip_head": drip_head,
    "chunked": chunked,
    "endless": endless,
    "no_range": no_range,
    "no_validators": no_validators,
}


def fault_named(name: str) -> Fault:
    """A fault by its name; a number is a status."""
    if name.isdigit():
        return status
    if name not in FAULTS:
        raise KeyError(f"{name}: no such fault; there are {', '.join(FAULTS)} and every HTTP status")
    return FAULTS[name]


class Stream(web.StreamResponse):
    """A body in pieces, counted as they are written."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        VISIT.get().bytes += len(data)
        await super().write(data)


@functools.cache
def zipped_zeros(count: int) -> bytes:
    """A bomb."""
    return gzip.compress(bytes(count), 6, mtime=0)


def _body(answer: web.Response) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b""


def _with(answer: web.Response, body: bytes, more: dict[str, str], drop: tuple[str, ...] = ()) -> web.Response:
    kept = {k: v for k, v in answer.headers.items() if k not in (*drop, "Content-Length", "Content-Encoding")}
    return web.Response(status=answer.status, body=body, headers={**kept, **more})


async def _begin(request: web.Request, answer: web.Response, length: int | None) -> Stream:
    """The head of an answer is sent."""
    kept = {k: v for k, v in answer.headers.items() if k not in ("Content-Length", "Transfer-Encoding")}
    stream = Stream(status=answer.status, headers=kept)
    VISIT.get().status = answer.status
    if length is None:
        stream.enable_chunked_encoding()
    else:
        stream.content_length = length
    await stream.prepare(request)
    return stream


async def _broken_off(request: web.Request, answer: web.Response, share: float, reset: bool) -> web.StreamResponse:
    body = _body(answer)
    stream = await _begin(request, answer, len(body))
    await stream.write(body[: int(len(body) * share)])
    if request.transport is None:
        return stream
    if reset:
        await asyncio.sleep(0.02)  # what was written is to arrive before the reset, which throws it away
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        request.transport.abort()
    else:
        request.transport.close()
    return stream
