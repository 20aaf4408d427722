"""The shape of a drawn head: its features are points in space, so that they shift against each other as the head turns.

Head units: half the width of the face is 1; x to the image's right, y down, z towards the viewer, 0 in the middle of the head.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from foxgan.vision.synthetic_brush import Points, spline
from foxgan.vision.synthetic_coats import Build


@dataclass(frozen=True)
class Pose:
    """Degrees: `turn` > 0 looks to the image's right, `tilt` > 0 leans clockwise, `pitch` > 0 looks down."""

    turn: float
    tilt: float
    pitch: float
    mouth: str
    ears: str


class HeadShape:
    """Where the parts of a head lie on a canvas: `unit` pixels per head unit around `centre`."""

    def __init__(self, build: Build, pose: Pose, unit: float, centre: tuple[float, float]) -> None:
        self.build, self.pose, self.unit = build, pose, unit
        self.centre = np.asarray(centre)
        turn, pitch, tilt = np.deg2rad([pose.turn, pose.pitch, pose.tilt])
        self.sin, self.cos = float(np.sin(turn)), float(np.cos(turn))
        self.sin_pitch, self.cos_pitch = float(np.sin(pitch)), float(np.cos(pitch))
        self.roll = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        self.drop = 0.13 if pose.mouth == "open" else 0.0  # of the lower jaw

    def project(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 3]."""
        x, y, z = np.asarray(points, np.float64).T
        x, z = x * self.cos + z * self.sin, z * self.cos - x * self.sin
        y, z = y * self.cos_pitch + z * self.sin_pitch, z * self.cos_pitch - y * self.sin_pitch
        near = 1 + 0.06 * z
        points = np.stack([x * near, y * near], 1) @ self.roll * self.unit + self.centre
        return np.asarray(points, np.float64)

    def on_face(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 2] on the front of the face."""
        p = np.asarray(points, np.float64)
        x, y = p[:, 0] / 1.12, (p[:, 1] - 0.05) / (1.25 * self.build.face_length)
        return self.project(np.column_stack([p, 0.72 * np.sqrt(np.maximum(1 - x**2 - y**2, 0.0))]))

    def on_muzzle(self, points: ArrayLike) -> Points:
        """Canvas pixels of muzzle points [N, 3]: x in muzzle widths, z from 0 (face) to 1 (tip of the nose)."""
        p = np.asarray(points, np.float64)
        z = 0.62 + 0.58 * self.build.muzzle_length * p[:, 2]
        return self.project(np.column_stack([p[:, 0] * self.build.muzzle_width, p[:, 1] * self.build.face_length, z]))

    def outline(self) -> Points:
        """The head without its ears. A turned head is as wide, but its far cheek hides and its chin goes with the muzzle."""
        tuft, long = self.build.tuft, self.build.face_length
        half = np.array(
            [
                (0.0, -0.74), (0.36, -0.71), (0.68, -0.50), (0.86, -0.14), (0.93 + 0.25 * tuft, 0.12),
                (0.98 + tuft, 0.40 * long), (0.76 + 0.4 * tuft, 0.56 * long), (0.52, 0.72 * long),
                (0.33, 0.88 * long), (0.16, 0.97 * long), (0.0, 0.99 * long),
            ]
        )  # fmt: skip
        low = np.clip((half[:, 1] / long - 0.35) / 0.5, 0, 1)
        sides = []
        for side in (1, -1):
            far = max(side * self.sin, 0.0)
            x = half[:, 0] * (1 - far * (0.16 + 0.12 * (half[:, 1] > 0.2))) * side + 0.55 * self.sin * low
            sides.append(np.column_stack([x, half[:, 1] + 0.7 * self.sin_pitch * low]))
        contour = np.concatenate([sides[0], sides[1][-2:0:-1]])
        return spline(contour @ self.roll * self.unit + self.centre)

    def muzzle(self) -> Points:
        """The outline of the muzzle: the hull of its root, its sides and its tip."""
        nose = self.build.nose / self.build.muzzle_width
        half = [(0.58, -0.08, 0.06), (0.80, 0.16, 0.30), (1.10, 0.40, 0.42), (1.12, 0.58, 0.55), (0.85, 0.74, 0.74),
                (0.34, 0.82 - 0.3 * self.drop, 0.88), (0.9 * nose, 0.52, 0.97), (0.5 * nose, 0.64, 1.0)]  # fmt: skip
        points = self.on_muzzle(half + [(-x, y, z) for x, y, z in half]).astype(np.float32)
        hull = cv2.convexHull(points)[:, 0].astype(np.float64)
        return spline(hull)

    def ear_corners(self) -> tuple[Points, Points, Points, Points]:
        """Middle of the root, tip, inner and outer end of the root of the image-right ear, in head units."""
        b = self.build
        inner = np.array([0.52 - 0.56 * b.ear_width, -0.60, -0.02])
        outer = np.array([0.52 + 0.56 * b.ear_width, -0.20, -0.25])
        if self.pose.ears == "back":
            inner, outer = inner + (0.12, 0.06, 0), outer + (0.06, 0.12, -0.1)
            tip = np.array([0.60 + 0.7 * b.ear_spread + 0.36 * b.ear_length, -0.46 - 0.66 * b.ear_length, -0.5])
        else:
            tip = np.array([0.52 + b.ear_spread, -0.50 - 0.98 * b.ear_length, -0.05])
        return (inner + outer) / 2, tip, inner, outer

    def ear(self, side: int, inset: float = 0) -> Points:
        """The outline of an ear (`side` -1: image-left), or of its inside, `inset` smaller."""
        root, tip, inner, outer = self.ear_corners()
        out, across = tip - root, outer - inner
        wide, round_off = across * (0.03 + 0.24 * self.build.ear_round), 0.2 * self.build.ear_round * out
        points = [
            inner, inner + 0.42 * out - 0.01 * across, tip - wide - round_off, tip + wide - round_off,
            outer + 0.5 * out + 0.12 * across, outer + 0.14 * out + 0.06 * across, outer,
        ]  # fmt: skip
        placed = np.array([root + (p - root) * (1 - inset) + inset * 0.16 * out for p in points])
        return spline(self.project(placed * (side, 1, 1)))

    def eye(self, side: int) -> Points:
        """The almond of an eye."""
        e = self.build.eye
        almond = [(-1.08, 0.40), (-0.58, -0.28), (0.02, -0.66), (0.62, -0.58), (1.08, -0.16), (0.80, 0.34), (0.20, 0.60),
                  (-0.50, 0.58)]  # fmt: skip
        return spline(self.on_face([((0.41 + e * a) * side, 0.02 + e * b) for a, b in almond]))

    def nose(self) -> tuple[float, float]:
        """The middle of the nose."""
        x, y = self.on_muzzle([(0, 0.555, 1.0)])[0]
        return float(x), float(y)
