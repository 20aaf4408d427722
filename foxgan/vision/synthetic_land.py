"""What drawn places are made of: skies, hills, trees, ground, grass, snow and light, painted onto one picture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from foxgan.vision.synthetic_brush import Canvas, Colour, Floats, blend, mix, noise, soften

Stops = list[tuple[float, Colour]]  # (row as a share of the height, colour) from top to bottom


def gradient(height: int, width: int, stops: Stops) -> Floats:
    """A vertical gradient [height, width, 3] through `stops`."""
    rows, at = (np.arange(height) + 0.5) / height, [share for share, _ in stops]
    column = np.stack([np.interp(rows, at, [colour[i] for _, colour in stops]) for i in range(3)], 1)
    return np.repeat(column.astype(np.float32)[:, None], width, 1)


class Land:
    """A `picture` [H, W, 3] float32 in 0..1 in the making, its `horizon` (a row), lit from `side` (-1: the left)."""

    def __init__(self, rng: np.random.Generator, tall: int, wide: int, horizon: tuple[float, float]) -> None:
        self.rng, self.tall, self.wide = rng, tall, wide
        self.horizon = tall * rng.uniform(*horizon)
        self.side = float(rng.choice([-1, 1]))
        self.picture: Floats = np.zeros((tall, wide, 3), np.float32)

    def noise(self, cell: tuple[float, float], octaves: int) -> Floats:
        return noise(self.rng, self.tall, self.wide, cell, octaves)

    def sky(self, top: Colour, low: Colour, middle: Colour | None = None) -> None:
        line = self.horizon / self.tall
        stops: Stops = [(0, top), (line, low), (1, low)]
        if middle is not None:
            stops.insert(1, (0.6 * line, middle))
        self.picture = gradient(self.tall, self.wide, stops)

    def clouds(self, cell: tuple[float, float], gain: float, start: float, colour: Colour, most: float = 0.9) -> None:
        """Noise as clouds: `cell` (y, x) is their size as a share of the picture, `start` how much sky stays open."""
        field = self.noise((self.tall * cell[0], self.wide * cell[1]), 5)
        blend(self.picture, np.clip((field - start) * gain, 0, most), colour)

    def blur(self, share: float) -> None:
        """Put what is painted so far out of focus by `share` of the height."""
        self.picture = soften(self.picture, self.tall * share)

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add a round light at (x, y)."""
        rows = np.exp(-(((np.arange(self.tall, dtype=np.float32) - y) / radius) ** 2))
        columns = np.exp(-(((np.arange(self.wide, dtype=np.float32) - x) / radius) ** 2))
        light = np.float32(strength) * np.outer(rows, columns)
        for channel in range(3):
            self.picture[..., channel] += light * np.float32(colour[channel])

    def ridge(self, rise: float, height: float, colour: Colour, foot: Colour, rough: int = 3) -> None:
        """Hills `rise` above the horizon with bumps of `height` (shares of the picture), fading to `foot` downwards."""
        row, bump = self.horizon - rise * self.tall, height * self.tall
        line = row + bump * noise(self.rng, 4, self.wide, (4, self.wide / 2.5), rough)[1]
        top, end = max(int(line.min()), 0), min(int(self.horizon + 4 * bump) + 2, self.tall)  # ground covers the rest
        below = np.arange(top, end, dtype=np.float32)[:, None] + 0.5 - line[None]
        paint = np.empty((*below.shape, 3), np.float32)
        paint[:] = np.asarray(colour, np.float32)
        blend(paint, np.clip(below / (3 * bump + 1), 0, 1), foot)
        blend(self.picture[top:end], np.clip(below, 0, 1), paint)

    def firs(self, count: int, size: float, colour: Colour, lit: Colour, snow: bool = False) -> None:
        """`count` fir trees along the horizon, about `size` of the picture high."""
        rng, canvas = self.rng, Canvas(self.wide, self.tall)
        share = np.linspace(0, 1, 9)[1:]
        for x in rng.uniform(-0.05, 1.05, count) * self.wide:
            high = size * self.tall * rng.uniform(0.6, 1.15)
            foot = self.horizon + 0.015 * self.tall + rng.uniform(-0.02, 0.06) * high
            half = high * 0.21 * share * rng.uniform(0.8, 1.15, (2, len(share)))
            low = foot - high * (1.03 - share) + rng.uniform(-0.012, 0.012, (2, len(share))) * high
            ends = np.stack([x + half * [[1], [-1]], low], 2)  # of the branches: [side, branch, xy]
            notches = np.stack([x + 0.45 * half * [[1], [-1]], low - 0.035 * high], 2)
            right, left = np.stack([ends, notches], 2).reshape(2, -1, 2)
            top = np.array([[x, foot - 1.1 * high]])
            shade = mix(colour, lit, rng.uniform(0, 0.5))
            canvas.fill(np.concatenate([top, right, left[::-1]]), shade)
            bright = (right if self.side > 0 else left) * (0.6, 1) + (0.4 * x, 0)
            canvas.fill(np.concatenate([top, bright]), mix(shade, lit, 0.5), 0.03 * high, 0.6, inside=True)
            for cap in (
                np.stack([ends, notches - (0, 0.01 * high), 0.4 * ends + 0.6 * notches - (0, 0.05 * high)], 2)
                if snow
                else ()
            ):
                for points in cap:
                    canvas.fill(points, (0.92, 0.95, 1.0), opacity=0.5)
        canvas.onto(self.picture, 0, 0)

    def trunks(self, count: int, width: float, below: float, colour: Colour, lit: Colour) -> None:
        """`count` trunks of about `width` that leave the picture at the top and stand `below` the horizon (shares)."""
        rng, canvas, w0 = self.rng, Canvas(self.wide, self.tall), width * self.wide
        for x in rng.uniform(-0.03, 1.03, count) * self.wide:
            w, lean = w0 * rng.uniform(0.55, 1.3), rng.uniform(-0.06, 0.06) * self.horizon
            foot = self.horizon + below * self.tall + rng.uniform(-0.3, 0.5) * w0
            for share, aside, paint, soft in ((1.0, 0.0, colour, 0.0), (0.42, 0.26 * self.side * w, lit, 0.14 * w)):
                a, b, m = w * share / 2, w * 0.4 * share, x + aside
                up = foot - 0.6 * w
                trunk = [
                    (m - a * 1.5, foot),
                    (m - a, up),
                    (m + lean - b, -5),
                    (m + lean + b, -5),
                    (m + a, up),
                    (m + a * 1.5, foot),
                ]
                canvas.fill(np.array(trunk), paint, soft, 0.7 if soft else 1, inside=bool(soft))
        canvas.rgb *= (1 + 0.13 * self.noise((w0 * 1.5, w0 / 3), 2))[..., None]
        canvas.onto(self.picture, 0, 0)

    def ground(self, far: Colour, near: Colour, mottle: float) -> None:
        """Everything below the horizon, mottled with noise that grows towards the viewer."""
        tall, wide, top = self.tall, self.wide, int(self.horizon)
        depth = np.linspace(0.02, 1, tall - top, dtype=np.float32)[:, None]
        texture = noise(self.rng, 256, wide, (12, 32), 4)
        rows = np.repeat(255 * 1.1 * depth / (depth + 0.10), wide, 1)
        across = (np.arange(wide) - wide / 2) * (0.225 + 0.275 / (0.45 + depth)) + wide / 2
        spread = cv2.remap(texture, across.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
        base = gradient(tall - top, wide, [(0, far), (0.35, mix(far, near, 0.6)), (1, near)])
        base *= (1 + mottle * (0.35 + 0.65 * depth) * spread)[..., None]
        edge = np.clip((np.arange(top, tall) + 1 - self.horizon) / (0.02 * tall), 0, 1).astype(np.float32)
        blend(self.picture[top:], np.broadcast_to(edge[:, None], (tall - top, wide)), base)

    def drifts(self, lit: Colour, shade: Colour) -> None:
        """Snow drifts one before the other, each bright at its crest towards the light and blue behind."""
        tall, wide, row = self.tall, self.wide, self.horizon
        for depth in np.linspace(0, 1, 5) ** 1.4:
            wave = noise(self.rng, 4, wide, (4, wide / (2.5 - depth)), 2)[1]
            crest = row + (0.85 * depth) * (tall - row) + (0.01 + 0.07 * depth) * tall * wave
            slope = soften(-self.side * np.gradient(crest)[None].astype(np.float32), 0.03 * wide)
            top = max(int(crest.min()), 0)
            below = np.arange(top, tall, dtype=np.float32)[:, None] - crest[None]
            fall = np.clip(below / ((0.09 + 0.22 * depth) * tall), 0, 1)
            bright = np.clip(0.85 + 1.6 * slope * (1 - fall) ** 2 - (0.17 + 0.38 * depth) * fall, 0, 1)
            paint = np.empty((*below.shape, 3), np.float32)
            paint[:] = np.asarray(shade, np.float32)
            blend(paint, bright, lit)
            blend(self.picture[top:], np.clip(below / (4 if depth == 0 else 1.5) + 0.5, 0, 1), paint)
        first = int(row)
        self.picture[first:] *= (1 + 0.018 * noise(self.rng, tall - first, wide, (6, 9), 3))[..., None]

    def mound(self, x: float, row: float, width: float, colour: Colour) -> None:
        """A low heap of snow around `x`, its crest at `row`."""
        across = np.linspace(-1, 1, 40)
        bumps = 0.05 * width * noise(self.rng, 4, 40, (4, 10), 3)[1]
        crest = np.stack([x + across * width, row + bumps + 0.25 * width * across**2], 1)
        foot = np.array([(x + width, row + 0.3 * width), (x - width, row + 0.3 * width)])
        canvas = Canvas(self.wide, self.tall)
        canvas.fill(np.concatenate([crest, foot]), colour, soft=0.035 * width)
        y = np.arange(self.tall, dtype=np.float32)[:, None]
        canvas.alpha *= np.clip(1 - (y - row - 0.06 * width) / (0.24 * width), 0, 1)  # sinks into the ground
        canvas.onto(self.picture, 0, 0)

    def blades(
        self,
        count: int,
        rows: tuple[float, float],
        length: float,
        colours: Sequence[Colour],
        span: tuple[float, float] | None = None,
    ) -> None:
        """Blades of grass of `length` pixels between two rows, longer towards the viewer; `span` limits the columns."""
        rng, (first, last) = self.rng, rows
        y = np.sort(rng.uniform(first, last, count))
        left, right = span or (0, self.wide)
        base = np.stack([rng.uniform(left, right, count), y], 1)
        size = length * (0.35 + 0.65 * (y - first) / max(last - first, 1)) * rng.uniform(0.5, 1.2, count)
        bend = size * rng.normal(0, 0.28, count)
        half = np.stack([np.maximum(size * 0.032, 0.35), np.zeros(count)], 1)
        middle, tip = base + np.stack([bend * 0.3, -size * 0.55], 1), base + np.stack([bend, -size], 1)
        shapes = np.stack([base - half, middle - half * 0.7, tip, middle + half * 0.7, base + half], 1)
        shades = np.asarray(colours)[rng.integers(len(colours), size=count)] * rng.uniform(0.75, 1.15, (count, 1)) * 255
        with self.pixels() as pixels:
            for shape, shade in zip(np.round((shapes - 0.5) * 16).astype(np.int32), shades.tolist(), strict=True):
                cv2.fillPoly(pixels, [shape], shade, cv2.LINE_AA, 4)

    def litter(self, colours: list[Colour]) -> None:
        """Fallen leaves, larger towards the viewer."""
        rng = self.rng
        with self.pixels() as pixels:
            for depth in np.sort(rng.beta(1.2, 1.0, 170)):
                y = self.horizon + 4 + depth * (self.tall - self.horizon)
                size = (0.003 + 0.013 * depth) * self.wide * rng.uniform(0.6, 1.2)
                shade = np.asarray(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.2) * 255
                centre = (int(rng.uniform(0, self.wide) * 16), int(y * 16))
                axes = (int(size * 16), int(size * 0.45 * 16))
                cv2.ellipse(pixels, centre, axes, rng.uniform(-40, 40), 0, 360, shade.tolist(), -1, cv2.LINE_AA, 4)

    @contextmanager
    def pixels(self) -> Iterator[NDArray[np.uint8]]:
        """The picture as 8-bit pixels to draw on, the only kind that OpenCV draws anti-aliased; written back at the end."""
        pixels = np.clip(self.picture * 255 + 0.5, 0, 255).astype(np.uint8)
        yield pixels
        np.multiply(pixels, np.float32(1 / 255), out=self.picture, casting="unsafe")

    def dots(
        self, count: int, radius: tuple[float, float], colour: Colour, opacity: float, rows: tuple[float, float]
    ) -> None:
        """Soft discs between two rows, radius as a share of the width: snowflakes, flowers, light between leaves."""
        rng, canvas = self.rng, Canvas(self.wide, self.tall)
        ring = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        circle = np.stack([np.cos(ring), np.sin(ring)], 1)
        for _ in range(count):
            r = rng.uniform(*radius) * self.wide
            at = np.array([rng.uniform(0, self.wide), rng.uniform(*rows)])
            shade = np.asarray(colour) * rng.uniform(0.85, 1.0)
            canvas.fill(at + circle * r, shade, soft=0.3 * r, opacity=opacity * rng.uniform(0.3, 1))
        canvas.onto(self.picture, 0, 0)

    def beams(self, colour: Colour, strength: float) -> None:
        """Shafts of light that fall from the upper corner on the lit side."""
        y, x = np.arange(self.tall, dtype=np.float32)[:, None], np.arange(self.wide, dtype=np.float32)[None]
        steep = (y + 0.4 * self.tall) / (self.side * (self.wide / 2 - x) + 0.85 * self.wide)
        pattern = noise(self.rng, 4, 256, (4, 22), 2)[1]
        shafts = np.clip(np.interp(np.arctan(steep), np.linspace(0.1, 1.5, 256), pattern), 0, 1)
        light = strength * shafts * np.linspace(1, 0.15, self.tall)[:, None]
        self.picture += light[..., None].astype(np.float32) * np.asarray(colour, np.float32)
