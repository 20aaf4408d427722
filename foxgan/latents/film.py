"""H.264 films from frames. One encoding thread and no dates in the file, so that the same frames give the same bytes."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from foxgan.errors import DataError, StageError
from foxgan.images import Pixels, flatten, resize

Upscale = Literal["lanczos", "nearest"]
WATCHABLE = 384  # pixels: smaller films are enlarged towards this


def watchable_scale(height: int, width: int) -> int:
    """The integer factor that brings the shorter side near, and never above, `WATCHABLE`; 1 for larger pictures."""
    return max(1, WATCHABLE // min(height, width))


def to_film_frame(picture: Pixels, scale: int = 1, upscale: Upscale = "lanczos") -> Pixels:
    """`picture` [H, W, 1, 3 or 4] as RGB, enlarged, with sides made even by repeating the last row and column.

    Video has no transparency: it is laid over white.
    """
    height, width = picture.shape[0] * scale, picture.shape[1] * scale
    if upscale == "nearest":
        picture = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    rgb = np.broadcast_to(flatten(resize(picture, height, width)), (height, width, 3))
    return np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def write_film(path: Path, frames: Iterable[Pixels], fps: int = 30, crf: int = 18) -> int:
    """Write even-sized RGB `frames` as MP4 and return their number; `crf` goes from 0 (lossless) to 51 (poor).

    The file appears under its name when it is complete. Raises DataError for no frames, StageError where it cannot be written.
    """
    codec = _encoder()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        count = _encode(temporary, frames, codec, fps, crf)
        if not count:
            raise DataError(f"{path}: a film needs at least one frame")
        os.replace(temporary, path)
    except av.FFmpegError as error:
        raise StageError(
            f"{path}: could not be written ({error}); is the disk full or the folder read-only?"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _encode(path: Path, frames: Iterable[Pixels], codec: str, fps: int, crf: int) -> int:
    count, stream = 0, None
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        for frame in frames:
            stream = stream or _stream(container, codec, frame, fps, crf)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = count, Fraction(1, fps)
            container.mux(stream.encode(picture))
            count += 1
        if stream is not None:
            container.mux(stream.encode(None))
    return count


def _encoder() -> str:
    for name in ("libx264", "mpeg4"):
        if name in av.codecs_available:
            return name
    raise StageError("this build of PyAV has neither the libx264 nor the mpeg4 encoder; `pip install av`")


def _stream(container: Any, codec: str, frame: Pixels, fps: int, crf: int) -> Any:
    stream = container.add_stream(codec, rate=fps)
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    if codec == "libx264":
        stream.options = {"crf": str(crf), "preset": "medium"}
    else:  # no crf: an allowance of bits per pixel that halves every 6 steps, as crf does
        stream.bit_rate = int(frame.shape[0] * frame.shape[1] * fps * 0.25 * 2 ** ((18 - crf) / 6))
    return stream


def peek(frames: Iterator[Pixels]) -> tuple[Pixels, Iterator[Pixels]]:
    """The first frame, and all frames still to come, that one included."""
    first = next(frames)
    return first, chain([first], frames)
