"""Where a detector goes wrong on photos whose heads are known: missed heads, found ones that are none, and badly placed boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from foxgan import images
from foxgan.images import Pixels
from foxgan.vision.detector import Head

Box = Sequence[float]
Kind = Literal["missed", "no_head", "misplaced"]
KINDS: tuple[Kind, ...] = get_args(Kind)
T = TypeVar("T")

SAME = 0.5  # overlap (IoU) from which a found box is a known head's
GOOD = 0.75  # and from which it is well placed
TILE = 240  # pixels
AROUND = 1.2  # of the box's longer side, seen on every side of it
TRUTH, FOUND = (40, 190, 90), (255, 120, 0)  # green, orange


@dataclass(frozen=True)
class Miss:
    """One mistake: `truth` is the known box, `found` that of the detector; `loss` in 0..1 says how bad it is."""

    kind: Kind
    truth: Box | None
    found: Box | None
    loss: float

    @property
    def words(self) -> str:
        """What to write below it."""
        if self.kind == "misplaced":
            return f"off: overlap {1 - self.loss:.2f}"
        return "missed" if self.kind == "missed" else f"no such head {self.loss:.2f}"


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def misses(known: Sequence[tuple[str, Box]], found: Sequence[Head]) -> list[Miss]:
    """The mistakes in one photo. Boxes find their partners of the same class from the best score down, each the nearest one left.

    Loss: of a missed head how little of it was found, of a head that is none its score, of a misplaced box the rest of its IoU.
    """
    left = list(range(len(known)))
    mistakes = []
    for head in sorted(found, key=lambda h: -h.score):
        rated = [(overlap(known[i][1], head.box), i) for i in left if known[i][0] == head.name]
        iou, partner = max(rated, default=(0.0, -1))
        if iou < SAME:
            mistakes.append(Miss("no_head", None, head.box, head.score))
            continue
        left.remove(partner)
        if iou < GOOD:
            mistakes.append(Miss("misplaced", known[partner][1], head.box, 1 - iou))
    for i in left:
        near = max((h for h in found), key=lambda h: overlap(known[i][1], h.box), default=None)
        iou = overlap(known[i][1], near.box) if near else 0.0
        mistakes.append(Miss("missed", known[i][1], near.box if near and iou > 0 else None, 1 - iou))
    return mistakes


def worst(rated: Sequence[tuple[Miss, T]], count: int) -> list[tuple[Miss, T]]:
    """The `count` worst mistakes, each with what came with it: first missed heads, then heads that are none, then misplaced boxes.

    Every kind has its share, as missed heads cost most and would leave no room for the others.
    """
    ordered = sorted(rated, key=lambda each: -each[0].loss)
    ranks: Counter[str] = Counter()
    turns = []
    for place, (miss, _) in enumerate(ordered):
        turns.append((ranks[miss.kind], place))
        ranks[miss.kind] += 1
    chosen = [ordered[place] for _, place in sorted(turns)[:count]]
    return sorted(chosen, key=lambda each: (KINDS.index(each[0].kind), -each[0].loss))


def close_up(photo: Pixels, miss: Miss) -> Pixels:
    """The mistake and what is around it, in a square of TILE pixels: the truth in green, what was found in orange."""
    boxes = [box for box in (miss.truth, miss.found) if box is not None]
    x0, y0 = (min(box[i] for box in boxes) for i in (0, 1))
    x1, y1 = (max(box[i] for box in boxes) for i in (2, 3))
    height, width = photo.shape[:2]
    side = min(max(x1 - x0, y1 - y0, 8) * (1 + 2 * AROUND), max(height, width))
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    left, top = max(min(left, width - side), 0), max(min(top, height - side), 0)
    cut = photo[int(top) : int(top + side) + 1, int(left) : int(left + side) + 1]
    scale = TILE / max(cut.shape[:2])
    rows, columns = (max(1, round(v * scale)) for v in cut.shape[:2])
    tile = images.resize(cut, rows, columns)
    for box, colour in ((miss.found, FOUND), (miss.truth, TRUTH)):
        if box is not None:
            moved = [(v - (int(left), int(top))[i % 2]) * scale for i, v in enumerate(box)]
            tile = images.draw_boxes(tile, [moved], colours=[colour])
    return tile


def sheet(tiles: Iterable[tuple[Pixels, str]]) -> Pixels:
    """A contact sheet of close-ups with their words."""
    pictures, words = zip(*tiles, strict=True)
    return images.contact_sheet(pictures, words, tile=TILE)
