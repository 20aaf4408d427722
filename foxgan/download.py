"""One big file over HTTP(S), for weights: goes on where it was cut off, and stands in its place only when it is whole and checked.

What has come lies in `<name>.part`, and beside it `<name>.part.json`: which state of the file these bytes belong to. A server that
cannot tell its states apart (no ETag, no date) is asked for the whole file again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp

from foxgan import web
from foxgan.errors import DataError, DownloadError
from foxgan.web import Failed

CHUNK = 1 << 20
PAGES = ("text/html", "application/xhtml+xml")
PAGE_STARTS = (b"<!doctype html", b"<html")
WORDS = {
    "bad_url": "this is not an http(s) address, or leads to one that is not",
    "certificate": "the server's certificate does not hold; check the clock and the certificates of this machine",
    "connection": "there is no connection, or it broke off",
    "encoded": "the server compresses it, so it can be neither measured nor resumed",
    "insecure_redirect": "it leads from https to http, where anybody on the way could send something else",
    "page": "a web page came in place of the file",
    "timeout": "the server does not answer",
    "too_many_redirects": "it is redirected again and again",
}

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes that are there and those of the whole file; None if the server does not say."""


@dataclass(frozen=True)
class Limits:
    """Seconds without a byte until a try is given up, tries after a first that brings nothing, and the largest file in bytes."""

    timeout: float = 30.0
    retries: int = 3
    max_bytes: int = 4 << 30  # public generators have up to 1 GB


LIMITS = Limits()


class _Unfit(Failed):
    """What comes is not the file that was asked for."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    limits: Limits = LIMITS,
    on_progress: OnProgress | None = None,
) -> str:
    """Fetch `url` into `path`, whose folder exists; returns the sha256 (hex). The caller sees to it that nobody else does the same.

    Raises DownloadError where the file cannot be had now, or has not the bytes `size`; what has come is kept for the next time.
    Raises DataError for one with another `sha256`; of it nothing is kept.
    """
    part = _Part.found(path, url)
    transfer = _Transfer(part, size, limits, on_progress or (lambda done, total: None))
    try:
        if not part.is_whole:
            web.run(transfer.run())
    except Failed as failed:
        raise DownloadError(f"{url} could not be downloaded: {_in_words(failed.reason)}") from failed
    found: str = part.hash.hexdigest()
    if sha256 is not None and found != sha256:
        part.drop()
        raise DataError(
            f"{url}: its sha256 is {found}, expected {sha256}; this is not the known file, and nothing was kept"
        )
    part.move_to(path)
    return found


def _in_words(reason: str) -> str:
    status = re.fullmatch(r"http_(\d+)", reason)
    return f"the server answers HTTP {status[1]}" if status else WORDS.get(reason, reason)


@dataclass
class _Part:
    """What has come of a file so far. `validator` names the file's state on the server, `total` is its whole size."""

    path: Path
    url: str
    validator: str | None = None
    total: int | None = None
    done: int = 0
    hash: Any = None

    @classmethod
    def found(cls, target: Path, url: str) -> _Part:
        """What an earlier try has left, if it is of use."""
        part = cls(target.with_name(f"{target.name}.part"), url, hash=hashlib.sha256())
        try:
            facts = json.loads(part._facts.read_bytes())
            if facts["url"] == url and isinstance(facts["validator"], str):
                part._take_up(facts["validator"], facts["total"])
        except (OSError, ValueError, KeyError, TypeError):
            part._forget()
        return part

    @property
    def is_whole(self) -> bool:
        return self.total is not None and self.done == self.total

    @property
    def _facts(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _take_up(self, validator: str, total: int | None) -> None:
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                self.count(chunk)
        self.validator, self.total = validator, total

    def _forget(self) -> None:
        self.validator, self.total, self.done, self.hash = None, None, 0, hashlib.sha256()

    def count(self, chunk: bytes) -> None:
        """`chunk` has come, too."""
        self.hash.update(chunk)
        self.done += len(chunk)

    def begin(self, validator: str | None, total: int | None) -> IO[bytes]:
        """The emptied file, for a body from its first byte on."""
        self.drop()
        self.validator, self.total = validator, total
        file = self.path.open("wb")
        self._facts.write_text(json.dumps({"url": self.url, "validator": validator, "total": total}), encoding="utf-8")
        return file

    def more(self) -> IO[bytes]:
        """The file, to go on at its end."""
        return self.path.open("ab")

    def is_continued_by(self, response: aiohttp.ClientResponse) -> bool:
        """Whether a response holds what comes next, of a file of the same size."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (
            response.status == 206
            and found is not None
            and int(found[1]) == self.done
            and self.total in (None, int(found[2]))
        )

    def drop(self) -> None:
        """Start over the next time."""
        self._forget()
        self._facts.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def move_to(self, path: Path) -> None:
        """The whole file into its place, in one go."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, path)
        self._facts.unlink(missing_ok=True)
        if sys.platform != "win32":
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


@dataclass(frozen=True)
class _Transfer:
    """Brings a part to its end, in as many tries as it takes."""

    part: _Part
    size: int | None
    limits: Limits
    on_progress: OnProgress

    async def run(self) -> None:
        """Gives up (Failed) after a round of tries that came no further than the one before."""
        if web.http_host(self.part.url) is None:
            raise Failed("bad_url")
        async with web.open_session(self.limits.timeout, "*/*") as session:
            while True:
                furthest = self.part.done
                try:
                    return await web.with_retries(functools.partial(self._once, session), self.limits.retries)
                except Failed as failed:
                    if not failed.again or self.part.done <= furthest:
                        raise

    async def _once(self, session: aiohttp.ClientSession) -> None:
        part = self.part
        asked = {"Range": f"bytes={part.done}-", "If-Range": part.validator} if part.done and part.validator else {}
        async with web.visit(session, part.url, (200, 206, 416), asked) as response:
            goes_on = part.is_continued_by(response)
            if response.status != 200 and not goes_on:
                part.drop()
                raise Failed("the server sends another part than the one asked for", again=True)
            total = part.total if goes_on else response.content_length
            self._refuse(response, total, part.done if goes_on else 0)
            try:
                with part.more() if goes_on else part.begin(web.validator(response), total) as file:
                    async for chunk in response.content.iter_chunked(CHUNK):
                        self._refuse_chunk(chunk, total)
                        file.write(chunk)
                        part.count(chunk)
                        self.on_progress(part.done, total)
                self._refuse_size(part.done)
            except _Unfit:
                part.drop()
                raise
        part.total = part.done

    def _refuse(self, response: aiohttp.ClientResponse, total: int | None, done: int) -> None:
        """Raise Failed for a body that is not worth reading; what is there may still be good for another try."""
        if response.content_type in PAGES:
            raise Failed("page")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Failed("encoded")
        if total is not None:
            self._refuse_size(total)
        if (total or 0) > self.limits.max_bytes:
            raise Failed(_too_large(self.limits.max_bytes))
        folder, needed = self.part.path.parent, (total or self.size or 0) - done
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise Failed(f"it needs {needed / 1e6:,.0f} MB, the disk of {folder} has {free / 1e6:,.0f} MB free")

    def _refuse_chunk(self, chunk: bytes, total: int | None) -> None:
        limit = total or self.size or self.limits.max_bytes
        if self.part.done == 0 and chunk[:100].lstrip().lower().startswith(PAGE_STARTS):
            raise _Unfit("page")
        if self.part.done + len(chunk) > limit:
            raise _Unfit(_too_large(limit))

    def _refuse_size(self, found: int) -> None:
        if self.size not in (None, found):
            raise _Unfit(f"it has {found:,} bytes, expected {self.size:,}; this is not the known file")


def _too_large(limit: int) -> str:
    return f"it is larger than {limit:,} bytes"
