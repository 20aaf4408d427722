"""Files in a folder or bucket that several machines share, as fsspec opens it: read by pieces, written whole, many at a time."""

from __future__ import annotations

import functools
import math
import os
import queue
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

from foxgan.errors import DownloadError, UsageError
from foxgan.stages.context import Progress

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16  # files that are under way
CHUNK = 16 << 20  # bytes of a file that are in memory
GRACE = 5.0  # seconds that threads have to end what they are at, when all is given up
PAGE = 1000  # names in one answer of a bucket


class Bucket:
    """What lies at `url`: a folder, `s3://`, `gs://`, or what else fsspec knows.

    Methods raise FileNotFoundError for a file that is not there, and DownloadError for all else that goes wrong on the way.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self.shown = without_password(url).rstrip("/")
        self.secret = secret_of(url)
        try:
            self.fs, root = url_to_fs(url, use_listings_cache=False)  # others write while we look
        except (ValueError, ImportError) as error:
            raise UsageError(
                f"cache {self.shown}: {self._words(error)}; give a folder, or s3:// or gs:// after "
                "`pip install 'foxgan[cache]'`"
            ) from error
        self.root = str(root).rstrip("/")
        self.is_folder = isinstance(self.fs, LocalFileSystem)

    def address(self, path: str) -> str:
        """A file as people name it."""
        return f"{self.shown}/{path}"

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes from `start` on, before `end`; fewer where the file is shorter."""
        data: bytes = self._ask(self.fs.cat_file, f"{self.root}/{path}", start=start, end=end)
        return data

    def send(self, source: Path, path: str) -> None:
        """Store a file; nobody sees it before it is whole."""
        if self.is_folder:
            self._place(path, lambda temporary: shutil.copyfile(source, temporary))
        elif source.stat().st_size <= CHUNK:
            self._store(self.fs.pipe_file, f"{self.root}/{path}", source.read_bytes())
        else:
            self._store(self.fs.put_file, str(source), f"{self.root}/{path}")  # in parts

    def write(self, data: bytes, path: str) -> None:
        """Store bytes; nobody sees them before they are complete."""
        if self.is_folder:
            self._place(path, lambda temporary: Path(temporary).write_bytes(data))
        else:
            self._store(self.fs.pipe_file, f"{self.root}/{path}", data)

    def _place(self, path: str, write: Callable[[str], Any]) -> None:
        """An object appears when it is whole; a file needs a temporary name for that."""
        target = f"{self.root}/{path}"
        temporary = f"{target}.{uuid4().hex}.tmp"
        try:
            self._store(os.makedirs, os.path.dirname(target), exist_ok=True)
            self._store(write, temporary)
            self._store(os.replace, temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Sizes of those of `paths` that are there; they lie evenly spread over many folders, as hashes do.

        So one listed folder tells how full all are: they are listed where that takes fewer requests than to ask for every file.
        """
        folders = sorted({path.rpartition("/")[0] for path in paths})
        if not folders:
            return {}
        found = self._listed(folders[0])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            if len(folders) * max(1, len(found) / PAGE) < len(paths):
                for listed in pool.map(self._listed, folders[1:]):
                    found |= listed
                return {path: found[path] for path in paths if path in found}
            sizes = zip(paths, pool.map(self._size, paths), strict=True)
            return {path: size for path, size in sizes if size is not None}

    def _listed(self, folder: str) -> dict[str, int]:
        try:
            entries = self._ask(self.fs.ls, f"{self.root}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        return {f"{folder}/{entry['name'].rpartition('/')[2]}": int(entry["size"]) for entry in entries}

    def _size(self, path: str) -> int | None:
        try:
            return int(self._ask(self.fs.info, f"{self.root}/{path}")["size"])
        except FileNotFoundError:
            return None

    def _ask(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # the library of each cloud has errors of its own
            raise self._failed(error) from error

    def _store(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        try:
            self._ask(function, *args, **options)
        except FileNotFoundError as error:  # the bucket
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DownloadError:
        return DownloadError(
            f"cache {self.shown}: {type(error).__name__}: {self._words(error)}; check the address, the network and your credentials"
        )

    def _words(self, error: Exception) -> str:
        """What a library says, in one line and without the credentials that the address may hold."""
        words = " ".join(str(error).split())
        for secret in filter(None, (self.secret, self.secret.partition(":")[2])):
            words = words.replace(secret, "...")
        return words


class Transfer:
    """Work on many files at once, in threads, told as one count of megabytes. What is under way ends early when one of them fails.

    `patience`: seconds without a byte after which all is given up, with a DownloadError.
    """

    def __init__(self, progress: Progress, description: str, total: int, patience: float = math.inf) -> None:
        self.progress, self.patience = progress, patience
        self.lock = threading.Lock()
        self.stopped = False
        self.moved = time.monotonic()
        self.jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # daemons: nobody waits for a server that keeps them waiting
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(AT_ONCE)]
        progress.start(f"{description}, MB", round(total / 1e6, 1))

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True
        for _thread in self.threads:
            self.jobs.put(None)
        end = time.monotonic() + GRACE
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.progress.finish()

    def count(self, size: int) -> None:
        """So many bytes are done."""
        if self.stopped:
            raise DownloadError("stopped, as another file failed")
        with self.lock:
            self.moved = time.monotonic()
            self.progress.advance(size / 1e6)

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results in order; only few calls wait at a time, however many items there are."""
        waiting: deque[Future[R]] = deque()
        for item in items:
            if len(waiting) >= 4 * AT_ONCE:
                yield self._result(waiting.popleft())
            future: Future[R] = Future()
            waiting.append(future)
            self.jobs.put(functools.partial(_fill, future, function, item))
        while waiting:
            yield self._result(waiting.popleft())

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            if not self.stopped:
                job()

    def _result(self, future: Future[R]) -> R:
        while not wait([future], timeout=min(1.0, self.patience)).done:
            if time.monotonic() - self.moved > self.patience:
                raise DownloadError(f"cache: not a byte has come for {self.patience:.0f} s")
        return future.result()


def _fill(future: Future[R], function: Callable[[T], R], item: T) -> None:
    try:
        future.set_result(function(item))
    except BaseException as error:
        future.set_exception(error)


def within(seconds: float, function: Callable[[], T]) -> T:
    """What `function` returns or raises. Raises DownloadError where it takes longer; then it is left to itself."""
    future: Future[T] = Future()
    work = functools.partial(_fill, future, lambda _: function(), None)
    threading.Thread(target=work, daemon=True).start()  # daemon: nobody waits for it at the end, either
    if not wait([future], timeout=seconds).done:
        raise DownloadError(f"cache: no answer in {seconds:.0f} s")
    return future.result()


def secret_of(url: str) -> str:
    """What stands before the `@` of an address: a user's name and password."""
    found = re.search(r"://([^/\s]*)@", url)
    return found[1] if found else ""


def without_password(url: str) -> str:
    """An address as it may be shown."""
    secret = secret_of(url)
    return url.replace(f"{secret}@", "") if secret else url
