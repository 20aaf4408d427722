"""The body under a drawn head: a sitting animal with chest, legs and tail, in head units below the head's centre."""

import numpy as np
from numpy.typing import ArrayLike

from foxgan.vision.synthetic_brush import Canvas, Colour, Points, blend, furry, mix, noise, spline
from foxgan.vision.synthetic_coats import Build, Coat
from foxgan.vision.synthetic_light import Light, apply_light

XY = tuple[float, float]
FEET = 3.55  # the ground lies this many units below the head's centre


class BodyPainter:
    """Paints one sitting body, `unit` pixels per head unit, onto a canvas (see `paint_body`)."""

    def __init__(self, coat: Coat, build: Build, sway: float, unit: float, size: tuple[int, int], centre: XY) -> None:
        self.coat, self.build, self.sway, self.unit = coat, build, sway, unit
        self.centre = np.asarray(centre)
        self.canvas = Canvas(*size)

    def place(self, points: ArrayLike) -> Points:
        """Canvas pixels of `points` [N, 2] in units; the lower body sways out from under the head."""
        p = np.asarray(points, np.float64)
        x = p[:, 0] * self.build.body + self.sway * np.clip(p[:, 1] / 2.5, 0, 1)
        points = np.column_stack([x, p[:, 1] * (FEET / 4.15)]) * self.unit + self.centre
        return np.asarray(points, np.float64)

    def fur(self, points: ArrayLike, rng: np.random.Generator, length: float = 0.07, step: float = 0.10) -> Points:
        return furry(spline(self.place(points)), rng, step * self.unit, length * self.unit)

    def paint_tail(self, rng: np.random.Generator) -> None:
        """A bushy tail that leaves the hip and curls forward, with a tip of another colour."""
        c, side = self.coat, -1.0 if self.sway > 0 else 1.0
        middle = spline(np.array([(0.7, 3.55), (1.35, 3.75), (1.85, 3.45), (2.02, 2.85), (1.86, 2.25)]), closed=False)
        along = np.linspace(0, 1, len(middle))
        width = 0.16 + 0.30 * np.sin(np.pi * np.clip(along * 0.80 + 0.12, 0, 1)) ** 1.2
        step = np.gradient(middle, axis=0)
        step /= np.hypot(*step.T)[:, None]
        normal = np.stack([step[:, 1], -step[:, 0]], 1) * width[:, None]

        def piece(start: float) -> Points:
            keep = along >= start
            loop = np.concatenate([(middle + normal)[keep], (middle - normal)[keep][::-1]]) * (side, 1)
            return furry(self.place(loop), rng, 0.1 * self.unit, 0.13 * self.unit)

        self.canvas.fill(piece(0.0), mix(c.base, c.dark, 0.15))
        self.canvas.fill(piece(0.70), c.tail_tip, soft=0.05 * self.unit, inside=True)

    def paint_torso(self, rng: np.random.Generator) -> None:
        """Hips, chest and legs."""
        c = self.coat
        for side in (-1, 1):
            hip = [(0.25, 2.6), (0.85, 2.65), (1.12, 3.2), (1.10, 3.8), (0.9, 4.05), (0.3, 4.0)]
            self.canvas.fill(self.fur(np.array(hip) * (side, 1), rng), mix(c.base, c.dark, 0.22))
            foot = [(0.55, 3.92), (0.95, 3.86), (1.16, 4.0), (1.12, 4.12), (0.6, 4.14)]
            self.canvas.fill(spline(self.place(np.array(foot) * (side, 1))), mix(c.legs, c.base, 0.15))
        half = [(0.0, 0.2), (0.70, 0.5), (0.92, 1.05), (0.94, 1.7), (0.86, 2.4), (0.64, 3.2), (0.5, 3.7), (0.0, 3.8)]
        self.canvas.fill(self.fur(half + [(-x, y) for x, y in half[-2:0:-1]], rng, 0.10), c.base)
        shadow = [(0.12, 2.5), (0.32, 2.4), (0.5, 3.0), (0.55, 3.9), (0.1, 4.0)]
        for side in (-1, 1):
            crease = self.place(np.array(shadow) * (side * 1.15, 1))
            self.canvas.fill(spline(crease), c.dark, 0.12 * self.unit, 0.35, inside=True)

    def paint_legs(self, rng: np.random.Generator) -> None:
        c = self.coat
        for side in (-1, 1):
            leg = np.array([(0.06, 2.2), (0.46, 2.2), (0.50, 2.9), (0.42, 3.6), (0.46, 4.0), (0.44, 4.15), (0.10, 4.15),
                            (0.08, 3.6)]) * (side, 1)  # fmt: skip
            self.canvas.fill(self.fur(leg, rng, 0.03), c.base, soft=0.01 * self.unit)
            sock = np.array([(0.0, 3.15), (0.25, 3.0), (0.6, 3.2), (0.6, 4.3), (0.0, 4.3)]) * (side, 1)
            found = self.fur(sock, rng, 0.10)
            self.clipped(found, self.fur(leg, rng, 0.0), c.legs)
            for toe in (0.2, 0.34):
                line = self.place(np.array([(toe, 4.04), (toe, 4.14)]) * (side, 1))
                self.canvas.line(line, mix(c.legs, (0, 0, 0), 0.5), 0.03 * self.unit, 0.6)

    def clipped(self, polygon: Points, within: Points, colour: Colour) -> None:
        """Paint `polygon` where it lies on `within`, with a soft edge."""
        area = self.canvas.mask(within)
        if area is None:
            return
        other = Canvas(*self.canvas.alpha.shape[::-1])
        other.fill(polygon, (1, 1, 1), soft=0.06 * self.unit)
        blend(self.canvas.rgb[area[1]], area[0] * other.alpha[area[1]], colour)

    def paint_bib(self, rng: np.random.Generator) -> None:
        """The pale chest, and the shadow that the head casts on it."""
        half = [(0.0, 0.4), (0.55, 0.6), (0.68, 1.2), (0.46, 1.9), (0.22, 2.5), (0.0, 2.85)]
        bib = self.fur(half + [(-x, y) for x, y in half[-2:0:-1]], rng, 0.16, 0.09)
        self.canvas.fill(bib, self.coat.pale, 0.03 * self.unit, 0.92, inside=True)
        chin = spline(self.place([(-0.75, 0.3), (0.75, 0.3), (0.62, 1.0), (0.0, 1.28), (-0.62, 1.0)]))
        self.canvas.fill(chin, mix(self.coat.dark, (0.1, 0.08, 0.12), 0.4), 0.2 * self.unit, 0.6, inside=True)

    def fur_texture(self, rng: np.random.Generator) -> None:
        height, width = self.canvas.alpha.shape
        fur = noise(rng, height, width, (0.55 * self.unit, 0.13 * self.unit), 3)
        self.canvas.rgb *= (1 + 0.10 * fur)[..., None]

    def shade(self, light: Light) -> None:
        whole = self.canvas.alpha
        apply_light(self.canvas, ((0.9, whole, 0.30), (0.2, whole, 0.08)), self.unit, light)


def paint_body(
    coat: Coat, build: Build, sway: float, unit: float, size: tuple[int, int], centre: XY, light: Light,
    rng: np.random.Generator,
) -> Canvas:  # fmt: skip
    """A sitting body for a head at `centre`, on a canvas of `size` (width, height); `sway` < 0 puts its hips to the left."""
    painter = BodyPainter(coat, build, sway, unit, size, centre)
    for step in (painter.paint_tail, painter.paint_torso, painter.paint_legs, painter.paint_bib, painter.fur_texture):
        step(rng)
    painter.shade(light)
    return painter.canvas
