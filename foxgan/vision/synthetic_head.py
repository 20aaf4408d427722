"""The head of a drawn animal. Its features are points in space, so that they shift against each other as the head turns.

Head units: half the width of the face is 1; x to the image's right, y down, z towards the viewer, 0 in the middle of the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from foxgan.vision.synthetic_brush import Canvas, Floats, Points, furry, mix, noise, spline
from foxgan.vision.synthetic_coats import Build, Coat

XY = tuple[float, float]


@dataclass(frozen=True)
class Light:
    """Where light comes from (unit vector; y down, z towards the viewer) and its colours; `rim` lights edges from behind."""

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]
    rim: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Degrees: `turn` > 0 looks to the image's right, `tilt` > 0 leans clockwise, `pitch` > 0 looks down."""

    turn: float
    tilt: float
    pitch: float
    mouth: str
    ears: str


@dataclass(frozen=True)
class Head:
    """A drawn head on its own canvas, and where things are on it, in pixels of the canvas."""

    canvas: Canvas
    box: tuple[float, float, float, float]
    left_eye: XY
    right_eye: XY
    nose: XY


REACH = (1.75, 2.25, 1.5)  # how far a head reaches from its centre, in units: to the sides, up, down


class HeadPainter:
    """Paints one head, `unit` pixels per unit, onto a canvas of its own (see `paint_head`)."""

    def __init__(self, coat: Coat, build: Build, pose: Pose, unit: float, size: tuple[int, int], centre: XY) -> None:
        self.coat, self.build, self.pose, self.unit = coat, build, pose, unit
        self.centre = np.asarray(centre)
        self.canvas = Canvas(*size)
        turn, pitch, tilt = np.deg2rad([pose.turn, pose.pitch, pose.tilt])
        self.sin, self.cos = np.sin(turn), np.cos(turn)
        self.sin_pitch, self.cos_pitch = np.sin(pitch), np.cos(pitch)
        self.roll = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])

    def project(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 3] in head units."""
        x, y, z = np.asarray(points, np.float64).T
        x, z = x * self.cos + z * self.sin, z * self.cos - x * self.sin
        y, z = y * self.cos_pitch + z * self.sin_pitch, z * self.cos_pitch - y * self.sin_pitch
        near = 1 + 0.06 * z
        return np.stack([x * near, y * near], 1) @ self.roll * self.unit + self.centre

    def flat(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 2] that only tilt with the head."""
        return np.asarray(points, np.float64) @ self.roll * self.unit + self.centre

    def on_face(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 2] on the front of the face."""
        p = np.asarray(points, np.float64)
        x, y = p[:, 0] / 1.12, (p[:, 1] - 0.05) / (1.25 * self.build.face_length)
        lift = 0.72 * np.sqrt(np.maximum(1 - x**2 - y**2, 0.0))
        return self.project(np.column_stack([p, lift]))

    def on_muzzle(self, points: ArrayLike) -> Points:
        """Canvas pixels of muzzle points [N, 3]: x in muzzle widths, z from 0 (face) to 1 (tip of the nose)."""
        p = np.asarray(points, np.float64)
        x = p[:, 0] * self.build.muzzle_width
        y = p[:, 1] * self.build.face_length
        return self.project(np.column_stack([x, y, 0.62 + 0.58 * self.build.muzzle_length * p[:, 2]]))

    def outline(self) -> Points:
        """The head without ears, on the canvas; the turned head is as wide, but its far cheek is hidden."""
        tuft, long = self.build.tuft, self.build.face_length
        half = np.array(
            [
                (0.0, -0.74), (0.36, -0.71), (0.68, -0.50), (0.86, -0.14), (0.93 + 0.3 * tuft, 0.14),
                (0.98 + tuft, 0.40 * long), (0.80 + 0.4 * tuft, 0.58 * long), (0.55, 0.76 * long),
                (0.32, 0.90 * long), (0.0, 0.97 * long),
            ]
        )  # fmt: skip
        sides = []
        for side in (1, -1):
            far = max(side * self.sin, 0.0)
            x = half[:, 0] * (1 - 0.16 * far) - half[:, 0] * far * 0.10 * (half[:, 1] > 0.3)
            chin = half[:, 1] > 0.6
            x = x * side + np.where(chin, 0.45 * self.sin, 0.0)  # the chin goes with the muzzle
            sides.append(np.column_stack([x, half[:, 1] + 0.6 * self.sin_pitch * chin]))
        return self.flat(spline(np.concatenate([sides[0], sides[1][-2:0:-1]])))

    def ear_corners(self) -> tuple[Points, Points, Points, Points]:
        """Middle of the root, tip, inner and outer end of the root of the image-right ear, in head units."""
        b = self.build
        inner = np.array([0.52 - 0.56 * b.ear_width, -0.60, -0.02])
        outer = np.array([0.52 + 0.56 * b.ear_width, -0.20, -0.25])
        if self.pose.ears == "back":
            inner, outer = inner + (0.12, 0.06, 0), outer + (0.06, 0.12, -0.1)
            tip = np.array([0.60 + b.ear_spread + 0.45 * b.ear_length, -0.46 - 0.70 * b.ear_length, -0.5])
        else:
            tip = np.array([0.52 + b.ear_spread, -0.50 - 0.98 * b.ear_length, -0.05])
        return (inner + outer) / 2, tip, inner, outer

    def ear(self, side: int) -> tuple[Points, Points]:
        """The outline of an ear (`side` -1: image-left) and of its inside."""
        b = self.build
        _, tip, inner, outer = self.ear_corners()
        out = tip - (inner + outer) / 2
        wide = (outer - inner) * (0.13 + 0.2 * b.ear_round)

        def shape(inset: float) -> Points:
            middle = (inner + outer) / 2
            points = [
                inner, inner + 0.42 * out - 0.10 * (outer - inner), tip - wide - 0.10 * out, tip,
                tip + wide - 0.12 * out, outer + 0.45 * out + 0.16 * (outer - inner), outer,
            ]  # fmt: skip
            placed = np.array([middle + (p - middle) * (1 - inset) + inset * 0.16 * out for p in points])
            placed[:, 0] *= side
            return spline(self.project(placed), closed=True)

        return shape(0.0), shape(0.34)

    def paint_ears(self, rng: np.random.Generator) -> None:
        """Both ears; the one turned away first and a little darker."""
        c, u = self.coat, self.unit
        for side in (1, -1) if self.sin > 0 else (-1, 1):
            far = max(side * self.sin, 0.0)
            whole, inside = self.ear(side)
            self.canvas.fill(furry(whole, rng, 0.05 * u, 0.03 * u), mix(c.base, c.dark, 0.15 + 0.4 * far))
            top = whole.copy()
            axis = np.array([0.0, -1.0]) @ self.roll
            height = whole @ axis
            keep = height > height.max() - 0.45 * np.ptp(height)
            self.canvas.fill(top[keep], c.ear_rim, soft=0.05 * u, opacity=0.9, inside=True)
            self.canvas.fill(inside, mix(c.ear_inside, c.dark, 0.35 + 0.3 * far), soft=0.02 * u, inside=True)
            low = inside.mean(0) - axis * 0.12 * u
            self.canvas.fill(low + (inside - inside.mean(0)) * 0.66, c.ear_inside, soft=0.05 * u, inside=True)
            self.ear_hair(side, rng, far)

    def ear_hair(self, side: int, rng: np.random.Generator, far: float) -> None:
        """Pale hairs from the inner edge of an ear across its opening."""
        root, tip, inner, outer = self.ear_corners()
        colour = mix(self.coat.pale, self.coat.dark, 0.25 * far)
        for t in np.linspace(0.0, 0.5, 9):
            start = inner + t * (tip - inner) + 0.10 * (outer - inner)
            end = start + rng.uniform(0.28, 0.48) * (outer - inner) * (1 - t) + rng.uniform(0.16, 0.3) * (tip - root)
            bent = (start + end) / 2 + 0.06 * (outer - inner)
            curve = self.project(np.array([start, bent, end]) * (side, 1, 1))
            self.canvas.line(spline(curve, closed=False), colour, 0.055 * self.unit, 0.75, taper=1)

    def paint_face(self, rng: np.random.Generator) -> None:
        """Skull, cheeks and brow."""
        c, u, b = self.coat, self.unit, self.build
        outline = self.outline()
        length = np.full(len(outline), 0.05)
        y = (outline - self.centre) @ self.roll.T[:, 1] / u
        length += 0.15 * np.clip(1 - np.abs(y - 0.35) / 0.4, 0, 1)
        self.canvas.fill(furry(outline, rng, 0.065 * u, length * u), c.base)
        brow = spline(self.on_face([(0, -0.9), (0.5, -0.75), (0.62, -0.42), (0.30, -0.26), (0.10, 0.1), (0, 0.35),
                                    (-0.10, 0.1), (-0.30, -0.26), (-0.62, -0.42), (-0.5, -0.75)]))  # fmt: skip
        self.canvas.fill(furry(brow, rng, 0.08 * u, 0.07 * u), c.dark, 0.06 * u, 0.22 + 0.6 * c.mask, inside=True)
        for side in (1, -1):
            cheek = np.array([(0.05, 0.34), (0.24, 0.24), (0.44, 0.22), (0.70, 0.20), (1.02 + b.tuft, 0.30),
                              (1.2, 0.6), (0.80, 0.90), (0.4, 1.1), (0.0, 1.2), (0.0, 0.6)])  # fmt: skip
            if b.muzzle_width > 0.36:  # a wolf's pale cheek starts lower and leaves a dark ruff
                cheek = np.array([(0.05, 0.34), (0.26, 0.26), (0.46, 0.22), (0.66, 0.36), (0.78, 0.62), (0.72, 0.9),
                                  (0.4, 1.1), (0.0, 1.25), (0.0, 0.6)])  # fmt: skip
            place = self.on_face(spline(cheek * (side, b.face_length)))
            self.canvas.fill(furry(place, rng, 0.06 * u, 0.09 * u), c.pale, 0.022 * u, 0.96, inside=True)
            spot = self.on_face(
                spline(np.array([(0.22, -0.30), (0.36, -0.36), (0.52, -0.30), (0.38, -0.24)]) * (side, 1))
            )
            self.canvas.fill(spot, c.pale, 0.04 * u, 0.25 + 0.45 * c.mask, inside=True)

    def paint_muzzle(self, rng: np.random.Generator) -> None:
        """The muzzle over the face: pale sides, the bridge of the nose in the colour of the coat."""
        c, u = self.coat, self.unit
        drop = 0.13 if self.pose.mouth == "open" else 0.0
        if drop:
            jaw = [(0.72, 0.70, 0.3), (0.66, 0.86, 0.55), (0.34, 0.97 + drop, 0.72), (-0.34, 0.97 + drop, 0.72),
                   (-0.66, 0.86, 0.55), (-0.72, 0.70, 0.3)]  # fmt: skip
            self.canvas.fill(furry(spline(self.on_muzzle(jaw)), rng, 0.05 * u, 0.04 * u), mix(c.pale, c.dark, 0.15))
            self.paint_open_mouth(drop)
        half = [(0.62, -0.06, 0.06), (0.80, 0.16, 0.30), (1.12, 0.38, 0.42), (1.15, 0.58, 0.55), (0.82, 0.74, 0.70),
                (0.30, 0.80 - 0.3 * drop, 0.86)]  # fmt: skip
        whole = half + [(-x, y, z) for x, y, z in half[::-1]]
        shape = spline(self.on_muzzle(whole))
        if abs(self.sin) > 0.1:
            shadow = shape + np.array([-np.sign(self.sin) * 0.05, 0.05]) * u
            self.canvas.fill(shadow, mix(c.base, c.dark, 0.6), 0.09 * u, 0.35 * abs(self.sin) + 0.1, inside=True)
        sides = mix(c.pale, c.base, 0.06)
        self.canvas.fill(furry(shape, rng, 0.06 * u, 0.025 * u), sides, 0.012 * u)
        bridge = [(0.60, -0.14, 0.02), (0.66, 0.12, 0.36), (0.52, 0.34, 0.72), (0.42, 0.52, 0.98)]
        bridge = bridge + [(-x, y, z) for x, y, z in bridge[::-1]]
        self.canvas.fill(furry(spline(self.on_muzzle(bridge)), rng, 0.05 * u, 0.04 * u),
                         mix(c.base, c.dark, 0.12 + 0.35 * c.mask), 0.03 * u, 0.95, inside=True)  # fmt: skip
        for side in (1, -1):  # the dark streak from the eye to the lip that foxes have
            streak = [(0.66, 0.06, 0.2), (0.86, 0.24, 0.42), (0.95, 0.40, 0.52), (0.72, 0.30, 0.6)]
            place = spline(self.on_muzzle([(x * side, y, z) for x, y, z in streak]))
            self.canvas.fill(place, c.dark, 0.04 * u, 0.5, inside=True)

    def paint_open_mouth(self, drop: float) -> None:
        gape = [(0.62, 0.68, 0.45), (0.30, 0.74, 0.8), (-0.30, 0.74, 0.8), (-0.62, 0.68, 0.45), (-0.42, 0.84, 0.62),
                (-0.18, 0.90 + drop, 0.76), (0.18, 0.90 + drop, 0.76), (0.42, 0.84, 0.62)]  # fmt: skip
        self.canvas.fill(spline(self.on_muzzle(gape)), (0.25, 0.06, 0.07))
        tongue = [(0.26, 0.80, 0.7), (0.28, 0.86 + drop * 0.5, 0.78), (0, 0.90 + drop * 0.8, 0.82),
                  (-0.28, 0.86 + drop * 0.5, 0.78), (-0.26, 0.80, 0.7)]  # fmt: skip
        self.canvas.fill(spline(self.on_muzzle(tongue)), (0.86, 0.42, 0.44), 0.01 * self.unit)

    def paint_nose(self) -> None:
        """The nose with its highlight, and the line of the mouth."""
        u, w = self.unit, self.build.nose / self.build.muzzle_width
        lip = [(0.80, 0.62, 0.5), (0.5, 0.735, 0.75), (0.16, 0.755, 0.95), (0, 0.70, 1.0), (-0.16, 0.755, 0.95),
               (-0.5, 0.735, 0.75), (-0.80, 0.62, 0.5)]  # fmt: skip
        self.canvas.line(spline(self.on_muzzle(lip), closed=False), (0.13, 0.08, 0.07), 0.035 * u, 0.85)
        self.canvas.line(self.on_muzzle([(0, 0.60, 1.02), (0, 0.71, 1.0)]), (0.10, 0.07, 0.07), 0.03 * u)
        h = self.build.nose / 0.125
        nose = [(w, 0.54 - 0.045 * h, 0.95), (0, 0.52 - 0.045 * h, 1.02), (-w, 0.54 - 0.045 * h, 0.95),
                (-0.85 * w, 0.56 + 0.02 * h, 0.99), (-0.3 * w, 0.56 + 0.075 * h, 1.02), (0.3 * w, 0.56 + 0.075 * h, 1.02),
                (0.85 * w, 0.56 + 0.02 * h, 0.99)]  # fmt: skip
        shape = spline(self.on_muzzle(nose))
        self.canvas.fill(shape, (0.075, 0.06, 0.065), 0.006 * u)
        for side in (1, -1):
            nostril = [
                (side * w * x, 0.56 + y * h, 1.0) for x, y in ((0.35, 0.01), (0.62, -0.005), (0.70, 0.02), (0.5, 0.035))
            ]
            self.canvas.fill(spline(self.on_muzzle(nostril)), (0.01, 0.01, 0.01))
        shine = [(0.5 * w, 0.545 - 0.03 * h, 1.0), (0, 0.535 - 0.03 * h, 1.04), (-0.5 * w, 0.545 - 0.03 * h, 1.0),
                 (0, 0.55 - 0.01 * h, 1.04)]  # fmt: skip
        self.canvas.fill(spline(self.on_muzzle(shine)), (0.75, 0.78, 0.84), 0.015 * u, 0.6)

    def eye(self, side: int) -> Points:
        """The almond of an eye."""
        e = self.build.eye
        x, y = 0.41, 0.0
        almond = [(-1.05, 0.42), (-0.55, -0.22), (0.05, -0.60), (0.62, -0.52), (1.12, -0.30), (0.80, 0.22), (0.20, 0.50),
                  (-0.50, 0.50)]  # fmt: skip
        return self.on_face([((x + e * a) * side, y + e * b) for a, b in almond])

    def paint_eye(self, side: int, light: Light) -> XY:
        """One eye; returns its centre."""
        u, e = self.unit, self.build.eye * self.unit
        almond = spline(self.eye(side))
        middle = almond.mean(0)
        rim = middle + (almond - middle) * 1.30
        corner = self.on_face([((0.41 - 1.5 * self.build.eye) * side, 0.75 * self.build.eye)])
        rim_low = np.concatenate([rim, corner])
        self.canvas.fill(
            cv2.convexHull(rim_low.astype(np.float32))[:, 0].astype(np.float64), (0.10, 0.07, 0.06), 0.015 * u
        )
        found = self.canvas.mask(almond)
        if found is None:
            return float(middle[0]), float(middle[1])
        lid, place = found
        yy, xx = np.mgrid[place[0], place[1]].astype(np.float32) + 0.5
        narrow = max(self.cos, 0.75)
        dx, dy = ((xx - middle[0]) / narrow, yy - middle[1] + 0.04 * e)
        radius = np.hypot(dx, dy) / (0.62 * e)
        iris = np.asarray(self.coat.iris, np.float32)
        glow = np.clip(0.62 + 0.5 * (dy / e) + 0.28 * np.clip(radius, 0, 1), 0.3, 1.25)[..., None]
        colour = iris * glow
        sharp = 0.62 * e / 1.2
        ring = np.clip((1.0 - radius) * sharp, 0, 1)[..., None]
        colour = colour * (0.35 + 0.65 * ring)
        pupil = np.hypot(dx / self.build.pupil, dy * 0.95) / (0.40 * e)
        colour = colour * (1 - 0.96 * np.clip((1 - pupil) * sharp * 0.6, 0, 1)[..., None])
        upper = np.clip(1.0 + (dy + 0.05 * e) / (0.30 * e), 0.45, 1)[..., None]  # the lid's shadow
        self.canvas.rgb[place] += lid[..., None] * (colour * upper - self.canvas.rgb[place])
        glint = middle + np.array([0.20 * np.sign(light.direction[0]), -0.24]) * e
        circle = np.stack([np.cos(np.linspace(0, 6.28, 16)), np.sin(np.linspace(0, 6.28, 16))], 1)
        self.canvas.fill(glint + circle * 0.15 * e, (1, 1, 1), 0.01 * u)
        self.canvas.fill(middle - (glint - middle) * 0.9 + circle * 0.07 * e, (1, 1, 1), 0.01 * u, 0.5)
        return float(middle[0]), float(middle[1])

    def paint_whiskers(self, rng: np.random.Generator) -> None:
        for side in (1, -1):
            for row in range(4):
                start = np.array([0.75 * side, 0.50 + 0.05 * row, 0.62])
                reach = rng.uniform(2.4, 3.4) * (0.25 / self.build.muzzle_width)
                end = start + np.array([side * reach, -0.10 + 0.11 * row + rng.uniform(-0.04, 0.04), -0.5])
                middle = (start + end) / 2 + np.array([0, -0.05, 0])
                curve = spline(self.on_muzzle([start, middle, end]), closed=False)
                self.canvas.line(curve, (0.95, 0.94, 0.92), 0.014 * self.unit, 0.55, taper=0.8)

    def fur_texture(self, rng: np.random.Generator) -> None:
        """Strands that run outwards from the bridge of the nose: polar noise, much finer around than along."""
        height, width = self.canvas.alpha.shape
        around, along = 900, 64
        strands = noise(rng, along, around, (24, 9), 2) * 0.6 + noise(rng, along, around, (40, 40), 2) * 0.5
        middle = self.on_muzzle([(0, 0.25, 0.5)])[0]
        yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
        dx, dy = xx - np.float32(middle[0]), yy - np.float32(middle[1])
        angle = (np.arctan2(dy, dx) / (2 * np.pi) + 0.5).astype(np.float32) * (around - 2)
        distance = np.hypot(dx, dy) * np.float32(22 / self.unit)
        strands = np.concatenate([strands[:, :-1], strands[:, :1]], 1)
        fur = np.asarray(cv2.remap(strands, angle, np.minimum(distance, along - 1), cv2.INTER_LINEAR), np.float32)
        fade = np.clip(np.hypot(dx, dy) / np.float32(0.5 * self.unit), 0.25, 1)
        self.canvas.rgb *= (1 + 0.13 * fur * fade)[..., None]
        if self.coat.frost:
            frost = np.clip(fur * fade - 0.25, 0, 1) * self.coat.frost
            self.canvas.rgb += frost[..., None] * (np.float32(0.82) - self.canvas.rgb)

    def shade(self, light: Light) -> None:
        """Light the head as a rounded body: its height is its blurred mask, with the muzzle on top."""
        muzzle = Canvas(*self.canvas.alpha.shape[::-1])
        tip = self.on_muzzle([(0.9, 0.1, 0.3), (1.0, 0.55, 0.8), (0, 0.8, 0.9), (-1.0, 0.55, 0.8), (-0.9, 0.1, 0.3)])
        muzzle.fill(spline(tip), (1, 1, 1))
        whole = self.canvas.alpha
        apply_light(
            self.canvas, ((0.75, whole, 0.30), (0.2, whole, 0.07), (0.42, muzzle.alpha, 0.13)), self.unit, light
        )


def apply_light(canvas: Canvas, heights: Sequence[tuple[float, Floats, float]], unit: float, light: Light) -> None:
    """Shade `canvas` as a rounded surface: the sum of (height, mask, blur), all in `unit` pixels.

    Computed on a smaller copy: light on a blurred surface has no fine detail.
    """
    tall, wide = canvas.alpha.shape
    shrink = max(unit / 32, 1.0)
    size = (max(round(wide / shrink), 2), max(round(tall / shrink), 2))
    surface = np.zeros(size[::-1], np.float32)
    for height, mask, blur in heights:
        small = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)
        surface += np.float32(height * unit / shrink) * cv2.GaussianBlur(small, (0, 0), blur * unit / shrink)
    slope_y, slope_x = np.gradient(surface)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    x, y, z = light.direction
    facing = (-slope_x * x - slope_y * y + z) / length
    lit = np.clip(0.25 + 0.75 * facing, 0, 1)[..., None]
    colour = np.asarray(light.colour, np.float32)
    shade = (np.asarray(light.ambient, np.float32) + lit * colour).astype(np.float32)
    canvas.rgb *= cv2.resize(shade, (wide, tall), interpolation=cv2.INTER_CUBIC)
    edge = np.clip(-(slope_x * x + slope_y * y) / length - 0.35, 0, 1) * (1 - 1 / length) * light.rim
    canvas.rgb += cv2.resize((edge[..., None] * colour).astype(np.float32), (wide, tall), interpolation=cv2.INTER_CUBIC)
    np.clip(canvas.rgb, 0, 1, out=canvas.rgb)


def paint_head(
    coat: Coat,
    build: Build,
    pose: Pose,
    unit: float,
    size: tuple[int, int],
    centre: XY,
    light: Light,
    rng: np.random.Generator,
) -> Head:
    """A head of `unit` pixels per head unit around `centre`, on a canvas of `size` (width, height)."""
    painter = HeadPainter(coat, build, pose, unit, size, centre)
    steps: tuple[Callable[[np.random.Generator], None], ...] = (
        painter.paint_ears, painter.paint_face, painter.paint_muzzle, painter.fur_texture
    )  # fmt: skip
    for step in steps:
        step(rng)
    painter.shade(light)
    rows = np.flatnonzero((painter.canvas.alpha > 0.5).any(1))
    columns = np.flatnonzero((painter.canvas.alpha > 0.5).any(0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    painter.paint_nose()
    left, right = painter.paint_eye(-1, light), painter.paint_eye(1, light)
    painter.paint_whiskers(rng)
    nose = painter.on_muzzle([(0, 0.555, 1.0)])[0]
    return Head(painter.canvas, box, left, right, (float(nose[0]), float(nose[1])))
