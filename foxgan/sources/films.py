"""Films of strangers: when their frames are shown, and the frames of any stretch, in bounded memory. PyAV does the decoding.

Times are `pts`, in units of the film's time base, so that films of variable frame rate are cut exactly. Only formats that hold all of
themselves are opened: playlists would lead FFmpeg to other files and addresses.
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from foxgan.images import Pixels
from foxgan.sources.candidate import Refused

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,ivf,mxf,gif"
SIGNATURES = (b"\x1aE\xdf\xa3", b"RIFF", b"\0\0\1\xba", b"FLV", b"OggS", b"GIF8", b"0&\xb2u")  # broken, not foreign
DAMAGED = (av.FFmpegError, ValueError, ArithmeticError, MemoryError)  # what PyAV makes of damaged headers and frames
MAX_FRAMES = 20_000_000  # of a film: four days at 60 a second
EARLY, SLACK = (
    0.05,
    1.0,
)  # a film that ends by more than this share, and these seconds, before its header says, was cut short
START = -(2**63)
SQUARE = Fraction(1)  # proportions of a pixel


@dataclass(frozen=True)
class Timeline:
    """Times of all frames and of those that decoding can begin with, both sorted; `damage`: a reason, where the film breaks off."""

    times: NDArray[np.int64]
    keys: NDArray[np.int64]
    time_base: Fraction  # seconds
    damage: str = ""


class Film:
    """One open film. Frames come in order; asked for later ones it goes on, else it seeks. Raises Refused where there is no film."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path, self.max_pixels = path, max_pixels
        self.ahead: Any = None  # a frame that was decoded, and is still to come
        self.reached = START  # all before this time have come
        self._open()

    def close(self) -> None:
        """Let go of the file."""
        self.decoded.close()
        self.container.close()

    def timeline(self) -> Timeline:
        """What the packets tell, without decoding one."""
        times, keys, damage, end = array("q"), array("q"), "", 0
        try:
            for packet in self.container.demux(self.stream):
                time = packet.dts if packet.pts is None else packet.pts
                if time is None:  # the last one, which is empty
                    continue
                times.append(time)
                end = max(end, time + (packet.duration or 0))
                if packet.is_keyframe:
                    keys.append(time)
                if len(times) > MAX_FRAMES:
                    damage = "too_long"
                    break
        except DAMAGED:
            damage = "broken"
        if not times:
            raise Refused("broken")
        sorted_times = np.unique(np.frombuffer(times, np.int64))
        if not damage and self._ends_early(end - int(sorted_times[0])):
            damage = "cut_short"
        return Timeline(sorted_times, np.unique(np.frombuffer(keys, np.int64)), self._time_base, damage)

    def frames(self, key: int, start: int, end: int) -> Iterator[Any]:
        """The frames (av.VideoFrame) with start <= pts < end that can be decoded; `key` is the last key frame up to `start`."""
        at = self.reached if self.ahead is None else _time(self.ahead)
        if start < at or key > at:
            self._seek(key, start)
        while (frame := self._next()) is not None:
            time = _time(frame)
            if time >= end:
                self.ahead = frame
                return
            self.reached = time + 1
            if time >= start and not frame.is_corrupt:
                yield frame

    def _open(self) -> None:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_pixels": str(self.max_pixels)}
        try:
            self.container = av.open(str(self.path.absolute()), options=options, metadata_errors="replace")
        except DAMAGED as error:
            raise Refused(_reason(self.path)) from error
        self.stream: Any = self.container.streams.best("video")
        if (
            self.stream is None
            or self.stream.codec_context is None
            or self.stream.disposition & Disposition.attached_pic
        ):
            self.container.close()
            raise Refused("not_a_film")
        context: Any = self.stream.codec_context
        if context.width * context.height > self.max_pixels:
            self.container.close()
            raise Refused("too_large")
        context.thread_count = 1  # workers share the cores, and every thread would hold frames of its own
        context.options = {"max_pixels": str(self.max_pixels)}  # sizes may change within a film
        self._restart()

    def _restart(self) -> None:
        self.ahead, self.reached = None, START
        self.decoded = self._decode()

    def _decode(self) -> Generator[Any, None, None]:
        with contextlib.suppress(*DAMAGED):  # of the file; what comes after such a place is lost
            for packet in self.container.demux(self.stream):
                with contextlib.suppress(*DAMAGED):  # of a packet; the next ones may be good
                    yield from packet.decode()

    def _next(self) -> Any:
        frame, self.ahead = self.ahead, None
        return next(self.decoded, None) if frame is None else frame

    def _seek(self, key: int, start: int) -> None:
        """Go to a frame at or before `start`; where a format's seeking goes astray, by decoding from the beginning."""
        self.decoded.close()
        with contextlib.suppress(*DAMAGED):
            self.container.seek(key, stream=self.stream)
            self._restart()
            self.ahead = self._next()
            if self.ahead is not None and _time(self.ahead) <= start:
                return
        self.close()
        self._open()

    @property
    def _time_base(self) -> Fraction:
        return Fraction(self.stream.time_base or Fraction(1, av.time_base))

    def _ends_early(self, found: int) -> bool:
        seconds = float(found * self._time_base)
        if self.stream.duration is not None:
            promised = float(self.stream.duration * self._time_base)
        else:
            promised = (self.container.duration or 0) / av.time_base
        return promised - seconds > max(SLACK, EARLY * promised)

    def picture(self, frame: Any) -> Pixels:
        """RGB [H, W, 3], upright, of square pixels."""
        aspect = self.stream.sample_aspect_ratio or SQUARE
        width = round(frame.width * aspect) if Fraction(1, 8) < aspect < 8 else frame.width
        if width * frame.height > self.max_pixels:
            raise Refused("too_large")
        rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height, threads=1)
        return np.ascontiguousarray(upright(rgb, _matrix(frame)))


def upright(image: Pixels, matrix: tuple[int, ...]) -> Pixels:
    """`image` [H, W, C] turned and mirrored by quarter turns as a display matrix says.

    (a, b, u, c, d, v, x, y, w) shows point (p, q) at (a p + c q, b p + d q), p to the right and q down (FFmpeg, libavutil/display.h).
    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(b) > abs(a):  # columns become rows
        image, a, d = image.transpose(1, 0, 2), c, b
    image = image[:, ::-1] if a < 0 else image
    return image[::-1] if d < 0 else image


def _matrix(frame: Any) -> tuple[int, ...]:
    data = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(data)) if data is not None else (1, 0, 0, 0, 1, 0, 0, 0, 1)


def _time(frame: Any) -> int:
    time = frame.dts if frame.pts is None else frame.pts
    return START if time is None else int(time)


def _reason(path: Path) -> str:
    """Why FFmpeg does not open a file."""
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return "unreadable"
    return "broken" if begin.startswith(SIGNATURES) or begin[4:8] == b"ftyp" else "not_a_film"
