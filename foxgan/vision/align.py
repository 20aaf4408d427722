"""Where a head's window lies by its eyes and nose, in the manner of FFHQ (Karras et al. 2019, appendix A): the axes come from the line
between the eyes and the line from there to the nose, place and size from the same points.

Keypoints of the index are left eye x, y, right eye x, y, nose x, y, in pixels of the photo, left and right as the viewer sees an upright
head; a point that is not known is null. Nine numbers have a confidence (0 to 1) after every point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foxgan.vision.crop import Window, into_crop, scaled_window

Point = tuple[float, float]

POINTS = 3
MIN_EYE_DISTANCE = (
    0.08  # share of the head's longer side; eyes that seem closer belong to a profile and give no direction
)


@dataclass(frozen=True)
class Face:
    """What eyes and nose tell, in pixels: the middle of the eyes, the way from the left eye to the right one, and the way from the middle
    to the nose (None: not known). Left and right are those of an upright head, however the points were named.
    """

    middle: Point
    across: Point
    nose: Point | None

    def roll(self, nose_weight: float = 0.0) -> float:
        """Degrees, clockwise, by which the head leans: by the line of the eyes, and by the line to the nose as far as `nose_weight`
        (0 to 1) says.
        """
        x, y = _unit(self.across)
        if self.nose is not None and nose_weight:
            beside, below = _unit(self.nose)
            x, y = x + nose_weight * (below - x), y + nose_weight * (-beside - y)
        return math.degrees(math.atan2(y, x))

    def nose_in_head(self, roll: float) -> Point | None:
        """How far beside (to the right) and below the middle of the eyes the nose lies in a head that leans by `roll`."""
        if self.nose is None:
            return None
        c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
        return c * self.nose[0] + s * self.nose[1], c * self.nose[1] - s * self.nose[0]


def points_of(keypoints: Sequence[float | None] | None, min_confidence: float = 0.0) -> list[Point | None]:
    """Left eye, right eye and nose; None for one that is missing, no number, or less certain than `min_confidence`."""
    values = [math.nan if v is None else float(v) for v in keypoints or ()]
    step = 3 if len(values) == 3 * POINTS else 2
    values += [math.nan] * (step * POINTS - len(values))
    points: list[Point | None] = []
    for x, y, *confidence in (values[start : start + step] for start in range(0, step * POINTS, step)):
        known = math.isfinite(x) and math.isfinite(y) and all(c >= min_confidence for c in confidence)
        points.append((x, y) if known else None)
    return points


def face_of(points: Sequence[Point | None], head_side: float) -> Face | None:
    """The face of a head whose longer side is `head_side`; None where an eye is hidden or the eyes seem too close: a profile.

    Which eye is called left does not matter: the nose lies below the eyes, and a head without one is more upright than upside down.
    """
    left, right, nose = points
    if left is None or right is None:
        return None
    across = right[0] - left[0], right[1] - left[1]
    middle = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
    if math.hypot(*across) < MIN_EYE_DISTANCE * head_side:
        return None
    to_nose = nose and (nose[0] - middle[0], nose[1] - middle[1])
    below = across[0] * to_nose[1] - across[1] * to_nose[0] if to_nose else 0.0
    if below < 0 or (below == 0 and across[0] < 0):
        across = -across[0], -across[1]
    return Face(middle, across, to_nose if to_nose and math.hypot(*to_nose) > 0 else None)


def eyes_window(
    face: Face,
    size: tuple[int, int],
    eye_y: float,
    roll: float,
    scale: float,
    eye_distance: float | None = None,
    nose_distance: float | None = None,
) -> Window:
    """The window of `size` (H, W) in which the middle of the eyes lies in the middle of the width and at `eye_y` of the height.

    Shares of the width: the eyes come to lie `eye_distance` apart and the nose `nose_distance` below them, whichever makes the head
    smaller, as a turned head's eyes and a raised head's nose seem nearer. With neither the window shrinks by `scale`.
    """
    below = face.nose_in_head(roll)
    wanted = [(math.hypot(*face.across), eye_distance), (abs(below[1]) if below else 0.0, nose_distance)]
    sides = [length / share for length, share in wanted if share and length]
    scale = max(sides) / size[1] if sides else scale
    down = (0.5 - eye_y) * size[0] * scale
    x = face.middle[0] - down * math.sin(math.radians(roll))
    y = face.middle[1] + down * math.cos(math.radians(roll))
    return scaled_window(x, y, size, scale, roll)


def looks_right(face: Face | None, roll: float) -> bool | None:
    """Whether the head is turned to the photo's right: its nose lies on that side of its eyes. None: not known."""
    beside = face and face.nose_in_head(roll)
    return None if not beside else beside[0] > 0


def keypoints_in_crop(
    window: Window, size: tuple[int, int], points: Sequence[Point | None], mirrored: bool
) -> list[float | None] | None:
    """Eyes and nose as the index of the crops has them; None where none of them is known."""
    left, right, nose = into_crop(window, size, points)
    if mirrored:
        left, right, nose = (p and (size[1] - p[0], p[1]) for p in (right, left, nose))
    placed = [v for p in (left, right, nose) for v in (p or (None, None))]
    return None if all(v is None for v in placed) else [None if v is None else round(v, 2) for v in placed]


def _unit(vector: Point) -> Point:
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length
