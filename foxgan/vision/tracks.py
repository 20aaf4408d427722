"""Which frames of a film show the same animal: those that a head is followed through, and those with the same view.

A group must never be split between sets, so frames are parted only where nothing holds them together: two animals in one frame are
one group with it, and a cut back to where the camera was before finds its group again.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foxgan.images import Pixels, cv2

WHOLE, HEAD = 8, 4  # sides of the pictures in pixels by which frames and heads are known
SAME_VIEW = 12.0  # mean difference in grey levels below which two frames show the same place
CUT = 36.0  # the same from which no head is followed from a frame to the next
SAME_LOOK = 40.0  # the same of heads
MIN_IOU = 0.2  # of a head with where it was expected
LOST = 3.0  # seconds after which a head is not waited for any more

Grey = NDArray[np.float32]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """What is known of a frame: its time in seconds, and for itself and its heads (xyxy, shares of its sides) how they look."""

    second: float
    look: Grey
    boxes: tuple[Box, ...] = ()
    head_looks: tuple[Grey, ...] = ()


@dataclass
class Track:
    """A head that is followed: where it was last seen, and how it moves in a second."""

    frame: int
    second: float
    box: NDArray[np.float64]
    look: Grey
    speed: NDArray[np.float64]

    def expected(self, second: float) -> NDArray[np.float64]:
        """Its box if it goes on as before."""
        return self.box + self.speed * (second - self.second)


def glance(picture: Pixels, boxes: Sequence[Sequence[float]]) -> str:
    """How a picture and its heads (xyxy in its pixels) look, as text."""
    parts = [cv2.resize(picture, (WHOLE, WHOLE), interpolation=cv2.INTER_AREA)]
    for x0, y0, x1, y1 in boxes:
        left, top = min(int(x0), picture.shape[1] - 1), min(int(y0), picture.shape[0] - 1)
        part = picture[top : max(round(y1), top + 1), left : max(round(x1), left + 1)]
        parts.append(cv2.resize(part, (HEAD, HEAD), interpolation=cv2.INTER_AREA))
    return base64.b64encode(b"".join(part.tobytes() for part in parts)).decode()


def frame_of(second: float, text: str, boxes: Sequence[Box]) -> Frame:
    """A frame from its `glance`."""
    values = np.frombuffer(base64.b64decode(text), np.uint8).astype(np.float32)
    whole, head = 3 * WHOLE**2, 3 * HEAD**2
    looks = tuple(values[whole + i * head : whole + (i + 1) * head] for i in range(len(boxes)))
    return Frame(second, values[:whole], tuple(boxes), looks)


def parted(frames: Sequence[Frame]) -> list[int]:
    """For each frame of a film, sorted by time, the number of its group, from 1 on in the order of time."""
    parents = list(range(len(frames)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    for a, b in [*_same_views(frames), *_followed(frames)]:
        parents[max(root(a), root(b))] = min(root(a), root(b))
    roots = [root(number) for number in range(len(frames))]
    numbers = {found: position for position, found in enumerate(dict.fromkeys(roots), 1)}
    return [numbers[found] for found in roots]


def _same_views(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Each frame with the first one of the same view as it, and with the one before if that is alike."""
    looks = np.array([frame.look for frame in frames])
    found: list[tuple[int, int]] = []
    firsts: list[int] = []
    for number, look in enumerate(looks):
        if firsts:
            distance = np.abs(looks[firsts] - look).mean(1)
            found += [(firsts[i], number) for i in np.flatnonzero(distance < SAME_VIEW)]
            if distance.min() < SAME_VIEW:
                continue
        firsts.append(number)
    near = np.abs(np.diff(looks, axis=0)).mean(1) < SAME_VIEW if len(looks) > 1 else np.zeros(0, bool)
    return found + [(i, i + 1) for i in np.flatnonzero(near).tolist()]


def _followed(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Pairs of frames with the same head, the nearest ones of each head."""
    found: list[tuple[int, int]] = []
    tracks: list[Track] = []
    for number, frame in enumerate(frames):
        if number and np.abs(frame.look - frames[number - 1].look).mean() > CUT:
            tracks = []
        tracks = [track for track in tracks if frame.second - track.second <= LOST]
        free = set(range(len(frame.boxes)))
        for overlap, track, head in sorted(_candidates(tracks, frame), key=lambda c: -c[0]):
            if overlap < MIN_IOU or head not in free or tracks[track].frame == number:
                continue
            free.discard(head)
            found.append((tracks[track].frame, number))
            tracks[track] = _moved(tracks[track], number, frame, head)
        for head in sorted(free):
            box = np.array(frame.boxes[head])
            tracks.append(Track(number, frame.second, box, frame.head_looks[head], np.zeros(4)))
    return found


def _candidates(tracks: Sequence[Track], frame: Frame) -> list[tuple[float, int, int]]:
    """(IoU, track, head) of all pairs that look alike."""
    return [
        (_iou(track.expected(frame.second), np.array(box)), t, h)
        for t, track in enumerate(tracks)
        for h, (box, look) in enumerate(zip(frame.boxes, frame.head_looks, strict=True))
        if np.abs(track.look - look).mean() < SAME_LOOK
    ]


def _moved(track: Track, number: int, frame: Frame, head: int) -> Track:
    box = np.array(frame.boxes[head])
    passed = max(frame.second - track.second, 1e-6)
    return Track(number, frame.second, box, frame.head_looks[head], (box - track.box) / passed)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    areas = (a[2:] - a[:2]).clip(0).prod() + (b[2:] - b[:2]).clip(0).prod()
    return float(shared / max(areas - shared, 1e-12))
