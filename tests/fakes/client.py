"""The simplest visitor, for the fakes' own tests: one request over a socket, no redirects followed, nothing unpacked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlencode, urlsplit

AGENT = "foxgan-tests/1 (https://example.org/foxgan; me@example.org) http.client/3"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Keeps connections until it is closed, so that a body can be read bit by bit."""

    def __enter__(self) -> Client:
        self._open: list[http.client.HTTPConnection] = []
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()

    def open(
        self, url: str, headers: Mapping[str, str] | None = None, timeout: float = 5, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        assert parts.hostname
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self._open.append(connection)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.request("GET" if body is None else "POST", target, body, dict(headers or {}))
        return connection.getresponse()


def get(url: str, headers: Mapping[str, str] | None = None, agent: str = AGENT, **query: Any) -> Answer:
    """`query` is added to the address; a list stands for a key that comes again."""
    address = f"{url}?{urlencode(query, doseq=True)}" if query else url
    with Client() as client, client.open(address, {"User-Agent": agent, **(headers or {})}) as response:
        return Answer(response.status, response.headers, response.read())


def post(url: str, data: Any = None, headers: Mapping[str, str] | None = None, form: bool = False) -> Answer:
    """JSON, or a form."""
    body = urlencode(data).encode() if form else json.dumps(data or {}).encode()
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    with (
        Client() as client,
        client.open(url, {"User-Agent": AGENT, "Content-Type": kind, **(headers or {})}, body=body) as response,
    ):
        return Answer(response.status, response.headers, response.read())
