"""What the labelling page works on: photos, their labels, and the order in which they come. `label_server` brings it to a browser."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foxgan import images
from foxgan.errors import DataError, UsageError
from foxgan.pages.label_files import ABSENT, HIDDEN, MAX_MARKS, SEEN, Mark, Point, hold, open_labels
from foxgan.pages.label_photos import Hint, Photo, photos_of
from foxgan.pages.label_queue import Queue
from foxgan.pages.label_suggest import Suggester, detector_of
from foxgan.report.pages import render_page

FOLDER = Path(__file__).parent
STYLES = ("report.css", "label.css")
SCRIPTS = ("label.js", "label_canvas.js", "label_keys.js")
SIDES = (1600, 4096)  # longest sides, in pixels, in which a photo is sent
QUALITY = 88
PICTURES = 12  # encoded ones that are kept
LEAST = 1.0  # side of a box, in pixels

Answer = dict[str, Any]


class Labelling:
    """A session: all that the page may ask for. Methods may be called by several threads."""

    def __init__(
        self,
        place: Path,
        folder: Path | None = None,
        classes: Sequence[str] | None = None,
        points: Sequence[str] | None = None,
        model: str | None = None,
    ) -> None:
        found = photos_of(place)
        self.photos = found.photos
        self.place, self.messages = place, list[str]()
        target = folder or (place if found.in_place else _beside(place))
        detector = detector_of(model) if model else None
        known = found.classes or (detector.runner.names if detector else ("head",))
        with contextlib.ExitStack() as stack:
            self.held = hold(target)
            stack.callback(self.held.release)
            self.labels = open_labels(target, classes, points, known)
            stack.pop_all()  # all is well: it is held until `close`
        named = self.labels.labelled()
        self.done = {number for number, photo in enumerate(self.photos) if photo.name in named}
        self._bring_back()
        self.queue = Queue(len(self.photos), self.done, moving=detector is not None)
        self.suggester: Suggester | None = None
        if detector:
            self.suggester = Suggester(detector, self.photos, self.queue, self.done, self.messages.append)
        self.lock = threading.Lock()  # of the label files
        self.pictures: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self.pictures_lock = threading.Lock()

    def close(self) -> None:
        """Stop looking at photos, and let others have the folder."""
        if self.suggester:
            self.suggester.stop()
        self.held.release()

    def _bring_back(self) -> None:
        """Photos whose label file was written, but that were not brought in when the last session was killed."""
        for number in sorted(self.done):
            photo = self.photos[number]
            self.labels.keep_photo(photo.name, photo.path)

    def page(self) -> str:
        """The page as HTML."""
        data = {
            "title": self.place.name,
            "total": len(self.photos),
            "start": self.queue.start(self.done),
            "classes": self.labels.names.classes,
            "points": self.labels.names.points,
            "sides": SIDES,
            "model": self.suggester is not None,
        }
        return render_page("label.html.j2", STYLES, SCRIPTS, FOLDER, data=data, place=self.labels.folder.name)

    def photo(self, position: int) -> Answer:
        """What there is at a position of the queue, from 0. Raises UsageError behind the last one."""
        if not 0 <= position < len(self.photos):
            raise UsageError(f"there is no photo {position + 1}, only {len(self.photos)}")
        position, number = self.queue.at(position)
        photo = self.photos[number]
        answer = {"at": position, "number": number, "name": photo.name, "ahead": self.queue.peek(position + 1)}
        answer |= self.progress()
        try:
            width, height, _ = images.probe(photo.path)
        except (OSError, DataError) as error:
            return answer | {"unreadable": str(error)}
        with self.lock:
            saved = self.labels.read(photo.name, width, height)
        marks, malformed = saved or ([], 0)
        facts = {"width": width, "height": height, "labelled": saved is not None, "malformed": malformed}
        return answer | facts | {"marks": [_as_json(mark) for mark in marks], **self._hints(number, photo)}

    def _hints(self, number: int, photo: Photo) -> Answer:
        """What a detector or an earlier step thinks, in the classes of this session."""
        found = self.suggester.found.get(number) if self.suggester else ()
        classes = self.labels.names.classes
        hints = [
            {
                "class": classes.index(hint.name) if hint.name in classes else 0,
                "box": list(hint.box),
                "score": round(hint.score, 3),
                "points": _as_points(hint, len(self.labels.names.points)),
            }
            for hint in (found or photo.hints)
        ]
        return {"hints": hints, "waiting": found is None and self._busy()}

    def _busy(self) -> bool:
        return self.suggester is not None and not self.suggester.finished.is_set()

    def progress(self) -> Answer:
        """How many photos are labelled, how many the detector has looked at, and what went wrong in the background."""
        looked_at = len(self.suggester.found) if self.suggester else 0
        facts = {"looked_at": looked_at, "busy": self._busy(), "messages": list(self.messages)}
        return {"done": len(self.done), **facts}

    def save(self, request: Any) -> Answer:
        """Make the marks of a request those of its photo. Raises UsageError for what cannot be."""
        number, labelled, marks = self._checked(request)
        photo = self.photos[number]
        width, height, _ = images.probe(photo.path)
        clipped = [_clipped(mark, width, height) for mark in marks]
        with self.lock:
            if labelled:
                self.labels.write(photo.name, photo.path, clipped, width, height)
                self.done.add(number)
            else:
                self.labels.forget(photo.name, photo.path)
                self.done.discard(number)
        return self.progress()

    def _checked(self, request: Any) -> tuple[int, bool, list[Mark]]:
        names = self.labels.names
        try:
            number, labelled = request["photo"], request["labelled"]
            found = [
                Mark(m["class"], _four(m["box"]), tuple((float(x), float(y), v) for x, y, v in m["points"]))
                for m in request["marks"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"not what the page sends: {error!r}") from error
        if type(number) is not int or not 0 <= number < len(self.photos) or type(labelled) is not bool:
            raise UsageError(f"no photo has the number {number!r}")
        if len(found) > MAX_MARKS or (found and not labelled):
            raise UsageError(
                f"{len(found)} heads; expected at most {MAX_MARKS}, and none where a photo is not labelled"
            )
        for mark in found:
            if type(mark.number) is not int or not 0 <= mark.number < len(names.classes):
                raise UsageError(f"no class has the number {mark.number!r}; there are {', '.join(names.classes)}")
            numbers = [*mark.box, *(v for point in mark.points for v in point)]
            if len(mark.points) not in (0, len(names.points)) or not all(map(math.isfinite, numbers)):
                raise UsageError("a head has 4 numbers as its box and as many points as are named")
            if any(v not in (ABSENT, HIDDEN, SEEN) for _, _, v in mark.points):
                raise UsageError("a point is absent (0), hidden (1) or seen (2)")
        return number, labelled, found

    def picture(self, number: int, side: int) -> bytes:
        """A photo as JPEG, upright, at most `side` pixels long. Raises UsageError or DataError."""
        if not 0 <= number < len(self.photos) or side not in SIDES:
            raise UsageError("no such picture")
        with self.pictures_lock:
            if (number, side) in self.pictures:
                self.pictures.move_to_end((number, side))
                return self.pictures[number, side]
        pixels = images.decode(self.photos[number].path)
        height, width = pixels.shape[:2]
        scale = min(1.0, side / max(height, width))
        if scale < 1:
            pixels = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
        data = images.encode_jpeg(pixels, QUALITY)
        with self.pictures_lock:
            self.pictures[number, side] = data
            while len(self.pictures) > PICTURES:
                self.pictures.popitem(last=False)
        return data


def _beside(place: Path) -> Path:
    """Where labels go unless somebody says otherwise: of an artifact here, as people do not look into caches."""
    finished = (place / "index.parquet").is_file()
    return Path(f"{place.name}-labelled") if finished else place.with_name(f"{place.name}-labelled")


def _four(box: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def _as_json(mark: Mark) -> Answer:
    return {"class": mark.number, "box": list(mark.box), "points": [list(point) for point in mark.points]}


def _as_points(hint: Hint, count: int) -> list[list[float]]:
    """The points of a proposal, where it has as many as a head is to have; else all are absent."""
    if len(hint.points) != 2 * count:
        return [[0, 0, ABSENT]] * count
    pairs = zip(hint.points[::2], hint.points[1::2], strict=True)
    return [[0, 0, ABSENT] if x is None or y is None else [x, y, SEEN] for x, y in pairs]


def _clipped(mark: Mark, width: int, height: int) -> Mark:
    """What of it is inside the photo. Raises UsageError where that is nothing."""
    x0, x1 = sorted(min(max(mark.box[i], 0.0), width) for i in (0, 2))
    y0, y1 = sorted(min(max(mark.box[i], 0.0), height) for i in (1, 3))
    if x1 - x0 < min(LEAST, width) or y1 - y0 < min(LEAST, height):
        raise UsageError(f"a box of {x1 - x0:.1f}x{y1 - y0:.1f} pixels is too small, or outside of the photo")
    points: list[Point] = []
    for x, y, seen in mark.points:
        inside = seen and 0 <= x <= width and 0 <= y <= height
        points.append((x, y, seen) if inside else (0.0, 0.0, ABSENT))
    return Mark(mark.number, (x0, y0, x1, y1), tuple(points))
