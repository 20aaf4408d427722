"""The head of a drawn animal, painted from back to front: ears, face, muzzle, fur and light, then nose, eyes and whiskers."""

from dataclasses import dataclass

import cv2
import numpy as np

from foxgan.vision.synthetic_brush import Canvas, Points, blend, furry, mix, noise, spline
from foxgan.vision.synthetic_coats import Build, Coat
from foxgan.vision.synthetic_light import Light, apply_light
from foxgan.vision.synthetic_shape import HeadShape, Pose

XY = tuple[float, float]
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 16)), np.sin(np.linspace(0, 2 * np.pi, 16))], 1)


@dataclass(frozen=True)
class Head:
    """A drawn head on its own canvas, and where things are on it, in pixels of the canvas."""

    canvas: Canvas
    box: tuple[float, float, float, float]
    left_eye: XY
    right_eye: XY
    nose: XY


class HeadPainter:
    """Paints the head `shape` in a coat onto a canvas of `size` (width, height)."""

    def __init__(self, coat: Coat, shape: HeadShape, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.coat, self.shape, self.unit, self.rng = coat, shape, shape.unit, rng
        self.canvas = Canvas(*size)

    def fur(self, contour: Points, step: float, length: float) -> Points:
        return furry(contour, self.rng, step * self.unit, length * self.unit)

    def paint_ears(self) -> None:
        """Both ears; the one turned away first and a little darker."""
        c, u = self.coat, self.unit
        for side in (1, -1) if self.shape.sin > 0 else (-1, 1):
            far = max(side * self.shape.sin, 0.0)
            whole, inside = self.shape.ear(side), self.shape.ear(side, 0.34)
            self.canvas.fill(self.fur(whole, 0.05, 0.016), mix(c.base, c.dark, 0.12 + 0.4 * far))
            height = whole @ self.shape.roll.T @ (0, -1)
            self.canvas.fill(
                whole[height > height.max() - 0.42 * np.ptp(height)], c.ear_rim, 0.05 * u, 0.9, inside=True
            )
            self.canvas.fill(inside, mix(c.ear_inside, c.dark, 0.45 + 0.2 * far), 0.025 * u, inside=True)
            low = whole.mean(0) + (inside - inside.mean(0)) * 0.72
            self.canvas.fill(low, c.ear_inside, 0.07 * u, 0.9, inside=True)
            self.ear_hair(side, far)

    def ear_hair(self, side: int, far: float) -> None:
        """Pale hairs from the inner edge of an ear across its opening."""
        root, tip, inner, outer = self.shape.ear_corners()
        colour = mix(self.coat.pale, self.coat.dark, 0.1 + 0.25 * far)
        for t in np.linspace(-0.05, 0.42, 14):
            start = inner + t * (tip - inner) + 0.08 * (outer - inner)
            end = (
                start
                + self.rng.uniform(0.2, 0.46) * (outer - inner) * (1 - t)
                + self.rng.uniform(0.14, 0.34) * (tip - root)
            )
            bent = (start + end) / 2 + 0.07 * (outer - inner)
            curve = self.shape.project(np.array([start, bent, end]) * (side, 1, 1))
            self.canvas.line(spline(curve, closed=False), colour, 0.05 * self.unit, 0.55, taper=1, inside=True)

    def paint_face(self) -> None:
        """Skull, cheeks and brow."""
        c, u, shape = self.coat, self.unit, self.shape
        outline = shape.outline()
        y = (outline - shape.centre) @ shape.roll.T[:, 1] / u
        length = 0.035 + 0.16 * np.clip(1 - np.abs(y - 0.42) / 0.42, 0, 1)
        shadow = outline[y < 0.1] - np.array([0, 0.03 * u])
        self.canvas.fill(shadow, c.dark, 0.06 * u, 0.4, inside=True)  # on the roots of the ears
        self.canvas.fill(furry(outline, self.rng, 0.06 * u, length * u), c.base)
        brow = spline(shape.on_face([(0, -0.9), (0.5, -0.75), (0.62, -0.42), (0.30, -0.26), (0.10, 0.1), (0, 0.35),
                                     (-0.10, 0.1), (-0.30, -0.26), (-0.62, -0.42), (-0.5, -0.75)]))  # fmt: skip
        self.canvas.fill(self.fur(brow, 0.08, 0.07), c.dark, 0.06 * u, 0.18 + 0.65 * c.mask, inside=True)
        self.canvas.fill(outline[y > 0.62 * shape.build.face_length], c.pale, 0.08 * u, 0.9, inside=True)
        root = shape.ear_corners()[0]
        for side in (1, -1):
            merge = shape.project(np.column_stack([CIRCLE * 0.24, 0 * CIRCLE[:, 0]]) + root * (side, 1, 1))
            self.canvas.fill(merge, mix(c.base, c.dark, 0.2 * c.mask), 0.10 * u, 0.9, inside=True)  # skull into ear
            self.paint_cheek(side)
            spot = shape.on_face(
                spline(np.array([(0.22, -0.30), (0.36, -0.37), (0.52, -0.30), (0.38, -0.24)]) * (side, 1))
            )
            self.canvas.fill(spot, c.pale, 0.04 * u, 0.22 + 0.45 * c.mask, inside=True)

    def paint_cheek(self, side: int) -> None:
        """The pale cheek, wide on a fox; on a wolf it leaves a darker ruff."""
        tuft, u = self.shape.build.tuft, self.unit
        cheek = np.array([(0.02, 0.36), (0.20, 0.17), (0.40, 0.25), (0.66, 0.26), (0.92, 0.20), (1.14 + tuft, 0.34),
                          (1.2, 0.62), (0.80, 0.95), (0.4, 1.1), (0.0, 1.2)])  # fmt: skip
        if self.shape.build.muzzle_width > 0.36:
            cheek = np.array([(0.05, 0.34), (0.26, 0.22), (0.48, 0.16), (0.70, 0.30), (0.80, 0.60), (0.72, 0.9),
                              (0.4, 1.1), (0.0, 1.25)])  # fmt: skip
        place = self.shape.on_face(spline(cheek * (side, self.shape.build.face_length)))
        self.canvas.fill(self.fur(place, 0.055, 0.08), self.coat.pale, 0.02 * u, 0.97, inside=True)
        low = cheek[cheek[:, 1] > 0.3] * (side * 0.8, 1) + (0, 0.22)
        self.canvas.fill(
            self.shape.on_face(low), mix(self.coat.pale, (0.25, 0.21, 0.22), 0.5), 0.12 * u, 0.35, inside=True
        )

    def paint_muzzle(self) -> None:
        """The muzzle over the face: pale sides, the bridge of the nose in the colour of the coat."""
        c, u, shape = self.coat, self.unit, self.shape
        if shape.drop:
            self.paint_open_mouth(shape.drop)
        outline = shape.muzzle()
        side = -np.sign(shape.sin)
        shadow = outline + np.array([side * 0.06, 0.06]) * u
        self.canvas.fill(
            shadow, mix(c.pale, (0.22, 0.14, 0.13), 0.7), 0.09 * u, 0.3 * abs(shape.sin) + 0.12, inside=True
        )
        self.canvas.fill(self.fur(outline, 0.05, 0.02), mix(c.pale, c.base, 0.05), 0.01 * u)
        half = [(0.62, -0.16, 0.02), (0.70, 0.10, 0.36), (0.56, 0.32, 0.72), (0.46, 0.52, 0.98)]
        bridge = shape.on_muzzle(half + [(-x, y, z) for x, y, z in half[::-1]])
        colour = mix(c.base, c.dark, 0.10 + 0.35 * c.mask)
        self.canvas.fill(self.fur(spline(bridge), 0.05, 0.04), colour, 0.03 * u, 0.95, inside=True)
        for side in (1, -1):  # the dark streak from the eye to the lip that foxes have
            streak = [(0.66, 0.06, 0.2), (0.86, 0.24, 0.42), (0.95, 0.40, 0.52), (0.72, 0.30, 0.6)]
            place = spline(shape.on_muzzle([(x * side, y, z) for x, y, z in streak]))
            self.canvas.fill(place, c.dark, 0.04 * u, 0.4, inside=True)

    def paint_open_mouth(self, drop: float) -> None:
        """The lower jaw, its inside and the tongue; the muzzle comes on top."""
        u, place = self.unit, self.shape.on_muzzle
        jaw = [(0.72, 0.70, 0.3), (0.66, 0.86, 0.55), (0.34, 0.98 + drop, 0.72), (-0.34, 0.98 + drop, 0.72),
               (-0.66, 0.86, 0.55), (-0.72, 0.70, 0.3)]  # fmt: skip
        self.canvas.fill(self.fur(spline(place(jaw)), 0.05, 0.03), mix(self.coat.pale, self.coat.dark, 0.12))
        gape = [(0.62, 0.68, 0.45), (0.30, 0.74, 0.8), (-0.30, 0.74, 0.8), (-0.62, 0.68, 0.45), (-0.44, 0.86, 0.62),
                (-0.18, 0.91 + drop, 0.76), (0.18, 0.91 + drop, 0.76), (0.44, 0.86, 0.62)]  # fmt: skip
        self.canvas.fill(spline(place(gape)), (0.25, 0.06, 0.07), 0.008 * u)
        tongue = [(0.28, 0.80, 0.7), (0.30, 0.87 + drop * 0.5, 0.78), (0, 0.90 + drop * 0.8, 0.82),
                  (-0.30, 0.87 + drop * 0.5, 0.78), (-0.28, 0.80, 0.7)]  # fmt: skip
        self.canvas.fill(spline(place(tongue)), (0.88, 0.44, 0.46), 0.012 * u)

    def paint_nose(self) -> None:
        """The nose with its highlight, and the line of the mouth as far as the turned muzzle shows it."""
        u, place, sin = self.unit, self.shape.on_muzzle, self.shape.sin
        w, h = self.shape.build.nose / self.shape.build.muzzle_width, self.shape.build.nose / 0.125
        for side in (1, -1):
            if side * sin > 0.45:
                continue
            lip = [(0, 0.70, 1.0), (0.16 * side, 0.755, 0.95), (0.5 * side, 0.735, 0.75), (0.82 * side, 0.63, 0.5)]
            self.canvas.line(spline(place(lip), closed=False), (0.13, 0.08, 0.07), 0.034 * u, 0.85, 0.5, inside=True)
        self.canvas.line(place([(0, 0.60, 1.02), (0, 0.71, 1.0)]), (0.10, 0.07, 0.07), 0.03 * u, inside=True)
        nose = [(w, 0.54 - 0.045 * h, 0.95), (0, 0.52 - 0.045 * h, 1.02), (-w, 0.54 - 0.045 * h, 0.95),
                (-0.85 * w, 0.56 + 0.02 * h, 0.99), (-0.3 * w, 0.56 + 0.075 * h, 1.02), (0.3 * w, 0.56 + 0.075 * h, 1.02),
                (0.85 * w, 0.56 + 0.02 * h, 0.99)]  # fmt: skip
        self.canvas.fill(spline(place(nose)), (0.075, 0.06, 0.065), 0.006 * u)
        for side in (1, -1):
            curl = ((0.35, 0.01), (0.62, -0.005), (0.70, 0.02), (0.5, 0.035))
            self.canvas.fill(spline(place([(side * w * x, 0.56 + y * h, 1.0) for x, y in curl])), (0.01, 0.01, 0.01))
        shine = [(0.55 * w, 0.545 - 0.03 * h, 1.0), (0, 0.535 - 0.032 * h, 1.04), (-0.55 * w, 0.545 - 0.03 * h, 1.0),
                 (0, 0.55 - 0.008 * h, 1.04)]  # fmt: skip
        self.canvas.fill(spline(place(shine)), (0.75, 0.78, 0.84), 0.015 * u, 0.6)

    def paint_eye(self, side: int, light: Light) -> XY:
        """One eye; returns its centre."""
        u, e, build = self.unit, self.shape.build.eye * self.unit, self.shape.build
        almond = self.shape.eye(side)
        x, y = middle = almond.mean(0)
        tear = self.shape.on_face([((0.41 - 1.5 * build.eye) * side, 0.75 * build.eye)])
        rim = cv2.convexHull(np.concatenate([middle + (almond - middle) * 1.22, tear]).astype(np.float32))[:, 0]
        self.canvas.fill(rim.astype(np.float64), (0.10, 0.07, 0.06), 0.015 * u)
        found = self.canvas.mask(almond)
        assert found is not None, "an eye lies within the canvas of its head"
        lid, place = found
        yy, xx = np.mgrid[place].astype(np.float32) + 0.5
        dx, dy = (xx - x) / max(self.shape.cos, 0.75), yy - y + 0.05 * e
        radius = np.hypot(dx, dy) / (0.80 * e)
        glow = np.clip(0.66 + 0.5 * (dy / e) + 0.28 * np.clip(radius, 0, 1), 0.3, 1.3)[..., None]
        edge = 0.6 * e  # how many pixels an anti-aliased edge takes is 1 / edge
        colour = np.asarray(self.coat.iris, np.float32) * glow
        colour *= 0.30 + 0.70 * np.clip((1 - radius) * edge, 0, 1)[..., None]
        pupil = np.hypot(dx / build.pupil, dy * 0.95) / (0.44 * e)
        colour *= 1 - 0.96 * np.clip((1 - pupil) * edge * 0.6, 0, 1)[..., None]
        colour *= np.clip(1.12 + dy / (0.40 * e), 0.45, 1)[..., None]  # the upper lid's shadow
        blend(self.canvas.rgb[place], lid, colour)
        glint = np.array([0.22 * np.sign(light.direction[0]), -0.26]) * e
        self.canvas.fill(middle + glint + CIRCLE * 0.16 * e, (1, 1, 1), 0.01 * u)
        self.canvas.fill(middle - glint * 0.9 + CIRCLE * 0.08 * e, (1, 1, 1), 0.01 * u, 0.5)
        return float(x), float(y)

    def paint_whiskers(self) -> None:
        for side in (1, -1):
            for row in range(4):
                start = np.array([0.75 * side, 0.50 + 0.05 * row, 0.62])
                reach = self.rng.uniform(2.2, 3.2) * (0.25 / self.shape.build.muzzle_width)
                end = start + np.array([side * reach, -0.10 + 0.11 * row + self.rng.uniform(-0.04, 0.04), -0.5])
                curve = self.shape.on_muzzle([start, (start + end) / 2 - (0, 0.05, 0), end])
                self.canvas.line(spline(curve, closed=False), (0.95, 0.94, 0.92), 0.012 * self.unit, 0.5, taper=0.9)

    def fur_texture(self) -> None:
        """Strands that run outwards from the bridge of the nose: polar noise, much finer around than along."""
        height, width = self.canvas.alpha.shape
        around, along = 900, 64
        strands = noise(self.rng, along, around, (22, 6), 3) * 0.55 + noise(self.rng, along, around, (40, 40), 2) * 0.4
        strands[:, -1] = strands[:, 0]
        x, y = self.shape.on_muzzle([(0, 0.25, 0.5)])[0]
        dx = np.broadcast_to(np.arange(width, dtype=np.float32)[None] - np.float32(x), (height, width))
        dy = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None] - np.float32(y), (height, width))
        distance, angle = cv2.cartToPolar(np.ascontiguousarray(dx), np.ascontiguousarray(dy))
        distance *= np.float32(1 / self.unit)
        fade = np.clip(distance * 1.6 - 0.1, 0.2, 1)
        angle *= np.float32((around - 1) / (2 * np.pi))
        fur = fade * cv2.remap(strands, angle, np.minimum(distance * 22, along - 1), cv2.INTER_LINEAR)
        self.canvas.rgb *= (1 + 0.12 * fur)[..., None]
        if self.coat.frost:
            frost = np.clip(fur - 0.2, 0, 1) * self.coat.frost
            blend(self.canvas.rgb, frost, (0.82, 0.82, 0.82))

    def shade(self, light: Light) -> None:
        """Light the head as a rounded body with the muzzle on top."""
        muzzle = Canvas(*self.canvas.alpha.shape[::-1])
        muzzle.fill(self.shape.muzzle(), (1, 1, 1))
        whole = self.canvas.alpha
        apply_light(
            self.canvas, ((0.70, whole, 0.30), (0.2, whole, 0.07), (0.42, muzzle.alpha, 0.12)), self.unit, light
        )

    def box(self) -> tuple[float, float, float, float]:
        """The smallest box around what is painted so far."""
        rows, columns = (np.flatnonzero((self.canvas.alpha > 0.5).any(axis)) for axis in (1, 0))
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def paint_head(
    coat: Coat, build: Build, pose: Pose, unit: float, size: tuple[int, int], centre: XY, light: Light,
    rng: np.random.Generator,
) -> Head:  # fmt: skip
    """A head of `unit` pixels per head unit around `centre`, on a canvas of `size` (width, height)."""
    shape = HeadShape(build, pose, unit, centre)
    painter = HeadPainter(coat, shape, size, rng)
    painter.paint_ears()
    painter.paint_face()
    painter.paint_muzzle()
    painter.fur_texture()
    painter.shade(light)
    painter.paint_nose()
    box = painter.box()
    left, right = painter.paint_eye(-1, light), painter.paint_eye(1, light)
    painter.paint_whiskers()
    return Head(painter.canvas, box, left, right, shape.nose())
