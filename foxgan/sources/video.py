"""Frames of films as photos: one frame, or none, of every stretch of a film.

First the packets are looked through: each stretch is a candidate, known by its film and its time. Then workers decode. Stretches of a
film come to them one after the other, and then no frame is decoded twice; what becomes of one depends on it and the one before alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from foxgan.engine import Failure, LocalEngine
from foxgan.errors import DataError
from foxgan.images import Pixels, encode_jpeg
from foxgan.sources.candidate import Candidate, Hashes, Loaded, Refused, Source, no_hashes
from foxgan.sources.films import DAMAGED, START, Film, Timeline
from foxgan.sources.folder import Folder
from foxgan.sources.tree import clean
from foxgan.sources.video_params import VideoParams

QUALITY = 95  # of JPEG; the film has lost more already
END = 2**63 - 1
CELLS, FINE = 16, 4  # frames are compared by 16 x 16 cells, each the mean of 4 x 4 pixels that FFmpeg scales it to
SHARP_SIDE = 512  # pixels of the longer side at which sharpness is judged, so that grain is not taken for it

Cells = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """A file that may be a film; `content`: its digest, as far as known."""

    name: str
    path: Path
    content: str
    refusal: str = ""


@dataclass(frozen=True)
class Video(Source):
    """Films, and folders of films; with several, a photo's source id begins with the number and name of its place."""

    paths: tuple[Path, ...]
    max_pixels: int
    params: VideoParams
    workers: int | None = 0
    name: str = "video"
    _open: dict[str, Reader] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # open films do not travel to workers

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        films = list(self._films(hashes))
        places = [film.path for film in films if not film.refusal]
        # in other processes, as a film may be made to bring FFmpeg down
        timelines = LocalEngine().map(look_through, places, workers=self.workers, args=(self.max_pixels,))
        for film in films:
            found = film.refusal or next(timelines)
            yield from self._candidates(film, "worker_died" if isinstance(found, Failure) else found)

    def load(self, candidate: Candidate) -> Loaded:
        path, *times = candidate.where
        reader = self._open.get(str(path))
        if reader is None:
            self.close()  # one film at a time: they come one after the other
            reader = self._open[str(path)] = Reader(Film(Path(str(path)), self.max_pixels), self.params)
        try:
            image = reader.take(*(int(time) for time in times))
        except DAMAGED as error:
            raise Refused("broken") from error
        height, width, channels = image.shape
        return Loaded(encode_jpeg(image, QUALITY), shape=(height, width, channels), suffix="jpg")

    def close(self) -> None:
        for reader in self._open.values():
            reader.film.close()
        self._open.clear()

    def _films(self, hashes: Hashes) -> Iterator[Found]:
        for number, path in enumerate(self.paths):
            prefix = f"{number}-" if len(self.paths) > 1 else ""
            if path.is_dir():
                prefix = f"{prefix}{path.resolve().name}/" if prefix else ""
                for file in Folder((path,), sys.maxsize, "none").candidates(hashes):
                    place, name = path / str(file.where[1]), clean(prefix + file.source_id)
                    yield Found(name, place, file.content, file.refusal)
            elif path.is_file():
                yield Found(clean(prefix + path.name), path, hashes(path).get("", ""))
            else:
                raise DataError(f"{path}: no such film or folder")

    def _candidates(self, film: Found, timeline: Timeline | str) -> Iterator[Candidate]:
        """All stretches of one film, and one more candidate that tells why it breaks off, if it does; or why there is no timeline."""
        if isinstance(timeline, str):
            yield Candidate(film.name, (), refusal=timeline, content=film.content)
            return
        content = film.content or str(film.path.stat().st_size)
        first, before = int(timeline.times[0]), (START, START)
        for key, start, end in stretches(timeline, *self.params.stretch):
            seconds = f"{float((start - first) * timeline.time_base):.6f}".rstrip("0").rstrip(".")
            where = (str(film.path), key, start, end, *before)
            yield Candidate(f"{film.name}#{seconds}", where, meta={"group": film.name}, content=content)
            before = key, start
        if timeline.damage:
            yield Candidate(f"{film.name}#end", (), meta={"group": film.name}, refusal=timeline.damage, content=content)


def look_through(max_pixels: int, path: Path) -> Timeline | str:
    """The timeline of a film, or the reason why there is none."""
    try:
        film = Film(path, max_pixels)
    except Refused as refused:
        return refused.reason
    try:
        return film.timeline()
    except Refused as refused:
        return refused.reason
    finally:
        film.close()


def stretches(timeline: Timeline, length: float, in_frames: bool) -> Iterator[tuple[int, int, int]]:
    """(key, start, end) of all stretches that have a frame: times from `start` up to `end`, decoded from `key` on."""
    times = timeline.times
    if in_frames:
        starts = times[:: int(length)]
    else:  # a hair later, as 0.1 s three times is 0.30000000000000004
        passed = (times - times[0]) * (float(timeline.time_base) / length)
        starts = times[np.unique(np.floor(passed + 1e-6), return_index=True)[1]]
    behind = np.searchsorted(timeline.keys, starts, side="right") - 1
    keys = timeline.keys[np.maximum(behind, 0)] if len(timeline.keys) else np.full(len(starts), times[0])
    ends = [*starts[1:].tolist(), END]
    yield from zip(np.minimum(keys, starts).tolist(), starts.tolist(), ends, strict=True)


class Reader:
    """Takes pictures out of one film; remembers what the next stretch is compared with."""

    def __init__(self, film: Film, params: VideoParams) -> None:
        self.film, self.params = film, params
        self.last: tuple[int, Cells | None] = (START, None)  # start of the stretch looked at last, and its cells

    def take(self, key: int, start: int, end: int, key_before: int, before: int) -> Pixels:
        """The picture of a stretch; `before` is where the one before starts. Raises Refused."""
        compared = self.params.pick == "scene" or self.params.min_change > 0
        if compared and before != START and self.last[0] != before:
            self.last = before, self._look(key_before, before, start, None)[1]
        earlier = self.last[1] if compared and before != START else None
        frame, cells = self._look(key, start, end, earlier)
        self.last = start, cells
        if cells is None:
            raise Refused("broken")
        if frame is None:
            raise Refused("no_cut")
        if (
            self.params.pick != "scene"
            and earlier is not None
            and change(cells, earlier).max() < self.params.min_change
        ):
            raise Refused("similar")
        return self.film.picture(frame)

    def _look(self, key: int, start: int, end: int, earlier: Cells | None) -> tuple[Any, Cells | None]:
        """The frame to take, if any, and the cells that the next stretch is compared with; None where nothing can be decoded."""
        frames = self.film.frames(key, start, end)
        if self.params.pick == "scene":
            return self._first_after_cut(frames, earlier)
        frame = next(frames, None) if self.params.pick == "first" else max(frames, key=sharpness, default=None)
        return frame, None if frame is None else cells_of(frame)

    def _first_after_cut(self, frames: Iterator[Any], earlier: Cells | None) -> tuple[Any, Cells | None]:
        found, now = None, None
        for frame in frames:
            now = cells_of(frame)
            if found is None and (earlier is None or change(now, earlier).mean() >= self.params.scene_change):
                found = frame
            earlier = now
        return found, now


def cells_of(frame: Any) -> Cells:
    """The mean colour of each cell, [16, 16, 3]: what is left of a frame without noise and detail."""
    side = CELLS * FINE
    small = frame.to_ndarray(format="rgb24", width=side, height=side, interpolation="AREA", threads=1)
    return cast(Cells, small.reshape(CELLS, FINE, CELLS, FINE, 3).mean((1, 3), dtype=np.float32))


def change(now: Cells, before: Cells) -> Cells:
    """By how many grey levels each cell differs, [16, 16]."""
    return cast(Cells, np.abs(now - before).mean(2))


def sharpness(frame: Any) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the frame in grey, at most 512 pixels long."""
    scale = min(1.0, SHARP_SIDE / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    grey = frame.to_ndarray(format="gray", width=width, height=height, interpolation="AREA", threads=1)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
