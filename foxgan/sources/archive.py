"""Photos inside zip and tar files (gz, bz2, xz). Nothing is ever written to a path that an archive names; sizes are bounded
before anything is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from foxgan.errors import DataError, UnsafeFileError
from foxgan.sources.candidate import Candidate, Hashes, Loaded, Refused, Source, no_hashes
from foxgan.sources.tree import Entry, Labels, clean, photos
from foxgan.sources.yolo import MAX_LABEL_BYTES

MAX_RATIO = 250  # unpacked to packed bytes; photos reach 1, drawings perhaps 50
MAX_TEXTS = 200_000_000  # bytes of labels of one archive kept in memory; what goes beyond is read when its photo is
SMALL = 4_000_000  # bytes below which a high ratio does no harm
MAX_NAMES = 1_000_000  # bytes that a tar may need for the names of one member; they are read into memory
BROKEN = (  # what Python's readers raise on damage; bz2 and zipfile an OSError, too, and gzip one of its own
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    NotImplementedError,
    IndexError,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class Archive(Source):
    """One or more archives; with several, a photo's source id begins with the name of its archive."""

    paths: tuple[Path, ...]
    max_bytes: int
    labels: Labels = "auto"
    name: str = "archive"
    _open: dict[int, zipfile.ZipFile | IO[bytes]] = field(default_factory=dict, repr=False, compare=False)
    # Labels of tar files, which lie anywhere: going back for one means unpacking all before it again.
    _texts: dict[tuple[str | int, ...], bytes] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # open files do not travel to workers

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        entries = (e for number in range(len(self.paths)) for e in self._entries(number, hashes))
        try:
            yield from photos(entries, self._text, self.labels)
        finally:
            self.close()

    def close(self) -> None:
        for opened in self._open.values():
            opened.close()
        self._open.clear()

    def _text(self, entry: Entry) -> bytes:
        """A file that says what is on many photos."""
        try:
            return self._bytes(entry.where, MAX_LABEL_BYTES)
        except (*BROKEN, RuntimeError) as error:
            raise DataError(f"{entry.name}: is damaged in its archive ({error}); fetch or pack it again") from error

    def load(self, candidate: Candidate) -> Loaded:
        try:
            data = self._bytes(candidate.where, self.max_bytes)
            labels = candidate.labels and self._bytes(candidate.labels, MAX_LABEL_BYTES)
        except (*BROKEN, RuntimeError) as error:
            raise Refused("broken") from error
        if len(data) < candidate.size:
            raise Refused("broken")
        return Loaded(data, labels=labels or None)

    def _entries(self, number: int, hashes: Hashes) -> Iterator[Entry]:
        path = self.paths[number]
        if not path.is_file():
            raise DataError(
                f"{path}: {'not a file' if path.exists() else 'no such file'}; expected a zip or tar archive"
            )
        prefix = f"{number}-{path.name}/" if len(self.paths) > 1 else ""
        try:
            whole = hashes(path).get("", "")  # a tar tells nothing of what its members hold
            for entry in self._zip(number) if zipfile.is_zipfile(path) else self._tar(number):
                yield replace(entry, name=clean(prefix + entry.name), content=entry.content or whole)
        except BROKEN as error:
            raise DataError(f"{path}: not a readable zip or tar archive ({error}); fetch or pack it again") from error

    def _zip(self, number: int) -> Iterator[Entry]:
        opened = self._opened(number)
        assert isinstance(opened, zipfile.ZipFile)
        for index, info in enumerate(opened.infolist()):
            if info.is_dir():
                continue
            refusal = _unsafe(info.filename) or self._too_large(info.file_size)
            if stat.S_ISLNK(info.external_attr >> 16):
                refusal = "link"
            elif info.flag_bits & 1:
                refusal = "encrypted"
            elif info.file_size > SMALL and info.file_size > MAX_RATIO * info.compress_size:
                refusal = "bomb"
            yield Entry(str(PurePosixPath(info.filename)), (number, index), info.file_size, refusal, f"{info.CRC:08x}")

    def _tar(self, number: int) -> Iterator[Entry]:
        path = self.paths[number]
        most = path.stat().st_size * MAX_RATIO + SMALL
        room = MAX_TEXTS
        with open_stream(path) as stream, tarfile.open(fileobj=_Headers(stream), mode="r:") as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # of millions, one at a time is enough
                if member.offset_data + member.size > most:
                    raise UnsafeFileError(
                        f"{path}: unpacks to more than {MAX_RATIO} times its size ({member.name}); that is no archive of photos"
                    )
                if member.isdir():
                    continue
                refusal = _unsafe(member.name) or self._too_large(member.size)
                if member.issym() or member.islnk():
                    refusal = "link"
                elif not member.isreg() or member.issparse():
                    refusal = "not_a_file"
                where = (number, member.offset_data, member.size)
                if not refusal and self.labels == "auto" and PurePosixPath(member.name).suffix in (".txt", ".yaml"):
                    room -= min(member.size, MAX_LABEL_BYTES)
                    if room >= 0:
                        stream.seek(member.offset_data)
                        self._texts[where] = stream.read(min(member.size, MAX_LABEL_BYTES))
                yield Entry(str(PurePosixPath(member.name)), where, member.size, refusal)

    def _too_large(self, size: int) -> str:
        return "too_large" if size > self.max_bytes else ""

    def _bytes(self, where: tuple[str | int, ...], limit: int) -> bytes:
        if where in self._texts:
            return self._texts[where]
        number, position, *size = (int(part) for part in where)
        opened = self._opened(number)
        if isinstance(opened, zipfile.ZipFile):
            with opened.open(opened.infolist()[position]) as file:
                return file.read(limit)
        opened.seek(position)  # forward, as candidates come in the archive's order: cheap in a compressed tar too
        return opened.read(min(size[0], limit))

    def _opened(self, number: int) -> zipfile.ZipFile | IO[bytes]:
        if number not in self._open:
            path = self.paths[number]
            self._open[number] = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else open_stream(path)
        return self._open[number]


class _Headers(io.BufferedIOBase):
    """A tar file for who reads its headers only: one of them may announce gigabytes, too. Raises tarfile.ReadError."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_NAMES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        return self.stream.tell()


def open_stream(path: Path) -> IO[bytes]:
    """The unpacked bytes of a file that may be packed with gzip, bzip2 or xz; seekable."""
    with path.open("rb") as file:
        magic = file.read(6)
    for begin, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if magic.startswith(begin):
            return cast(IO[bytes], opener(path, "rb"))
    return path.open("rb")


def _unsafe(name: str) -> str:
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    absolute = posix.is_absolute() or windows.drive or windows.root
    return "unsafe_name" if absolute or ".." in windows.parts or ".." in posix.parts else ""
