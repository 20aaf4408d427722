"""Brings a labelling session to a browser on this machine, and to nobody else.

The server listens on 127.0.0.1 only. Its address holds a random word without which nothing is answered; pages of other origins cannot
know it, and are refused once more by the headers that a browser adds to what they send.
"""

from __future__ import annotations

import hmac
import json
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from foxgan.errors import FoxganError, UsageError
from foxgan.pages.label import Labelling

PAGE = {"Content-Security-Policy": "frame-ancestors 'none'"}  # the page brings the rest of its policy itself
HOST = "127.0.0.1"
MAX_BODY = 4_000_000  # bytes; 1,000 heads with points have about a tenth of it
PATIENCE = 30  # seconds for a request to come in
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LabelServer(ThreadingHTTPServer):
    """Serves one session; `address` is what to open. `port` 0 takes a free one. Raises UsageError where the port is taken."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, session: Labelling, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(18)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"--port {port}: {getattr(error, 'strerror', None) or error}; leave it out for a free one"
            ) from error

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "foxgan", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        words = self._words()
        if words is None:
            return
        session = self.server.session
        match words:
            case [""]:
                self._send(session.page().encode(), "text/html; charset=utf-8", PAGE)
            case ["progress"]:
                self._json(session.progress())
            case ["photo", at] if at.isdecimal():
                self._answer(lambda: self._json(session.photo(int(at))))
            case ["picture", number, side] if number.isdecimal() and side.isdecimal():
                self._answer(lambda: self._picture(int(number), int(side)))
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        words = self._words()
        if words is None:
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or not length.isdecimal() or int(length) > MAX_BODY:
            return self._refuse(HTTPStatus.BAD_REQUEST, "expected JSON, and not too much of it")
        body = self.rfile.read(int(length))
        if words != ["labels"]:
            return self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        self._answer(lambda: self._json(self.server.session.save(_parsed(body))))

    def _words(self) -> list[str] | None:
        """The parts of the path behind the token; None where the request is none of our page's, and was refused."""
        here = f"{HOST}:{self.server.server_address[1]}"
        _, token, *words = (urlsplit(self.path).path + "//").split("/")[:-2]
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        ours = (
            self.headers.get("Host") == here and origin in (None, f"http://{here}") and site in ("none", "same-origin")
        )
        if known and ours and words:
            return words
        self._refuse(HTTPStatus.FORBIDDEN, "open the address that `foxgan label` has printed, all of it")
        return None

    def _answer(self, answer: Any) -> None:
        """Send what `answer` sends, or why there is nothing to send."""
        try:
            answer()
        except FoxganError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError as error:  # the disk; a connection that breaks would do no harm
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.filename or ''}: {error.strerror or error}")

    def _picture(self, number: int, side: int) -> None:
        self._send(self.server.session.picture(number, side), "image/jpeg", {"Cache-Control": "private, max-age=3600"})

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(value).encode(), "application/json", status=status)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what follows a refused request may be the rest of it
        self._json({"error": why}, status)

    def _send(
        self, data: bytes, kind: str, more: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        for name, value in (HEADERS | (more or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("not what the page sends: no JSON") from error
