"""A detector at work beside the page: it proposes heads, photo by photo, and tells the queue how sure it is. It never holds anybody up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import numpy as np

from foxgan import images
from foxgan.errors import DataError
from foxgan.images import Pixels
from foxgan.pages.label_photos import Hint, Photo
from foxgan.pages.label_queue import Queue
from foxgan.vision.detector import Detector, Head
from foxgan.vision.misses import overlap
from foxgan.vision.uncertainty import Look, look_of, uncertainty

BATCH = 4  # photos between two looks at the queue
POSSIBLE = 0.05  # score of a head that counts for the uncertainty
SHOWN = 0.2  # score of a head that is proposed
SAME = 0.5  # overlap from which two proposals are one


def detector_of(model: str) -> Detector:
    """The detector that proposes heads, down to those that are only possible. Raises UsageError or DataError."""
    return Detector(model, conf=POSSIBLE, iou=0.8, max_heads=100)


class Suggester(threading.Thread):
    """Looks at the photos that are not labelled, those first that come soon. `found` holds what it proposes, by a photo's number."""

    def __init__(
        self,
        detector: Detector,
        photos: Sequence[Photo],
        queue: Queue,
        labelled: Collection[int],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name="suggestions", daemon=True)
        self.detector, self.photos, self.queue, self.tell = detector, photos, queue, tell
        self.labelled = labelled  # may grow meanwhile
        self.found: dict[int, tuple[Hint, ...]] = {}
        self.stopped, self.finished = threading.Event(), threading.Event()

    def stop(self) -> None:
        """End soon, and wait for it."""
        self.stopped.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        try:
            while not self.stopped.is_set() and (numbers := self.queue.unrated(BATCH, self.labelled)):
                self._look_at(numbers)
        except Exception as error:  # whatever a network does to a strange photo, the person can go on without it
            self.tell(f"no more suggestions: {error}")
        finally:
            self.finished.set()

    def _look_at(self, numbers: Sequence[int]) -> None:
        readable: list[tuple[int, Pixels]] = []
        rated: list[tuple[int, float, Look]] = []
        for number in numbers:
            try:
                readable.append((number, images.decode(self.photos[number].path)))
            except (OSError, DataError):
                self.found[number] = ()
                rated.append((number, 0.0, look_of(np.zeros((1, 1, 3), np.uint8))))
        for (number, pixels), heads in zip(
            readable, self.detector.detect([pixels for _, pixels in readable]), strict=True
        ):
            self.found[number] = tuple(Hint(h.name, h.box, h.score, _points(h)) for h in proposed(heads))
            rated.append((number, uncertainty(heads), look_of(pixels)))
        self.queue.rate(rated)


def _points(head: Head) -> tuple[float | None, ...]:
    """Those that a pose network finds."""
    return tuple(head.keypoints or ())


def proposed(heads: Sequence[Head]) -> list[Head]:
    """Those that are worth showing, of several over one head the best."""
    chosen: list[Head] = []
    for head in sorted(heads, key=lambda h: -h.score):
        if head.score >= SHOWN and all(overlap(head.box, other.box) < SAME for other in chosen):
            chosen.append(head)
    return chosen
