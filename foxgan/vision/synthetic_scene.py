"""The places where drawn animals sit: sky, distance and ground of a forest, a snowfield, a meadow, an evening."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from foxgan.vision.synthetic_brush import Canvas, Colour, Floats, mix, noise, soften, spline
from foxgan.vision.synthetic_light import Light

Rng = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A painted background: `picture` [H, W, 3] float32 in 0..1, the row of its horizon, its light, the colour of blades or drifts."""

    picture: Floats
    horizon: float
    light: Light
    ground: Colour


def gradient(height: int, width: int, stops: list[tuple[float, Colour]]) -> Floats:
    """A vertical gradient through (row as a share of the height, colour)."""
    rows = (np.arange(height) + 0.5) / height
    at = [s for s, _ in stops]
    columns = [np.interp(rows, at, [float(np.asarray(c)[i]) for _, c in stops]) for i in range(3)]
    column = np.stack(columns, 1).astype(np.float32)
    return np.repeat(column[:, None], width, 1)


def blend(picture: Floats, share: Floats, colour: Colour) -> None:
    picture += share[..., None] * (np.asarray(colour, np.float32) - picture)


def glow(picture: Floats, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
    """Add a round light at (x, y)."""
    rows = (np.arange(picture.shape[0], dtype=np.float32)[:, None] - y) / radius
    columns = (np.arange(picture.shape[1], dtype=np.float32)[None] - x) / radius
    picture += (strength * np.exp(-(rows**2 + columns**2)))[..., None] * np.asarray(colour, np.float32)


def ridge(picture: Floats, rng: Rng, row: float, height: float, colour: Colour, foot: Colour, rough: int = 3) -> None:
    """A line of hills about `row` with bumps of `height` pixels, fading to `foot` towards the ground."""
    tall, wide = picture.shape[:2]
    line = row + height * noise(rng, 4, wide, (4, wide / 2.5), rough)[1]
    below = np.arange(tall, dtype=np.float32)[:, None] + 0.5 - line[None]
    fade = np.clip(below / (3 * height + 1), 0, 1)[..., None]
    paint = np.asarray(colour, np.float32) * (1 - fade) + np.asarray(foot, np.float32) * fade
    picture += np.clip(below, 0, 1)[..., None] * (paint - picture)


def firs(
    picture: Floats, rng: Rng, row: float, tall: float, count: int, colour: Colour, lit: Colour, snow: float = 0
) -> None:
    """A row of `count` fir trees that stand at `row`."""
    canvas = Canvas(picture.shape[1], picture.shape[0])
    for x in rng.uniform(-0.05, 1.05, count) * picture.shape[1]:
        size = tall * rng.uniform(0.6, 1.15)
        foot = row + rng.uniform(-0.02, 0.06) * tall
        shade = mix(colour, lit, rng.uniform(0, 0.5))
        tiers = 7
        for tier in range(tiers):
            share = (tier + 1) / tiers
            half = size * 0.20 * share * rng.uniform(0.85, 1.15)
            y = foot - size * (1 - share) - 0.03 * size
            top = y - size * 0.26
            left, right = (x - half, y + rng.uniform(0, 0.02) * size), (x + half, y + rng.uniform(0, 0.02) * size)
            branch = [
                (x, top),
                (x + 0.35 * half, y - 0.35 * (y - top)),
                right,
                (x + 0.45 * half, y - 0.03 * size),
                (x, y + 0.015 * size),
                (x - 0.45 * half, y - 0.03 * size),
                left,
                (x - 0.35 * half, y - 0.35 * (y - top)),
            ]
            canvas.fill(np.array(branch), shade * (0.85 + 0.3 * (1 - share)))
            if snow:
                cap = np.array(
                    [
                        (x, top),
                        (x + 0.3 * half, y - 0.4 * (y - top)),
                        (x + 0.85 * half, y - 0.01 * size),
                        (x + 0.1 * half, y - 0.07 * size),
                        (x - 0.5 * half, y - 0.03 * size),
                    ]
                )
                canvas.fill(cap, (0.90, 0.93, 0.98), opacity=snow)
    canvas.onto(picture, 0, 0)


def trunks(
    picture: Floats, rng: Rng, row: float, wide: float, count: int, colour: Colour, lit: Colour, side: float
) -> None:
    """Tree trunks that stand at `row` and leave the picture at the top, lit from `side` (-1: the left)."""
    canvas = Canvas(picture.shape[1], picture.shape[0])
    for x in rng.uniform(-0.03, 1.03, count) * picture.shape[1]:
        w = wide * rng.uniform(0.55, 1.3)
        lean = rng.uniform(-0.06, 0.06) * row
        foot = row + rng.uniform(-0.3, 0.5) * wide
        for share, shift, colours, soft in ((1.0, 0.0, colour, 0.0), (0.42, 0.52 * side, lit, 0.14)):
            a, b = w * share / 2, w * 0.4 * share
            m = shift * w * 0.5
            shape = np.array(
                [
                    (x - a * 1.5 + m, foot),
                    (x - a + m, foot - 0.6 * w),
                    (x + lean - b + m, -5),
                    (x + lean + b + m, -5),
                    (x + a + m, foot - 0.6 * w),
                    (x + a * 1.5 + m, foot),
                ]
            )
            canvas.fill(shape, colours, soft * w, 0.7 if soft else 1, inside=bool(soft))
    bark = noise(rng, *picture.shape[:2], (wide * 1.5, wide / 3), 2)
    canvas.rgb *= (1 + 0.13 * bark)[..., None]
    canvas.onto(picture, 0, 0)


def ground(picture: Floats, rng: Rng, row: float, far: Colour, near: Colour, mottle: float, cell: float) -> None:
    """Everything below `row`: a gradient towards the viewer, mottled with noise that grows as it comes nearer."""
    tall, wide = picture.shape[:2]
    top = int(row)
    depth = np.linspace(0.02, 1, tall - top, dtype=np.float32)
    texture = noise(rng, 256, wide, (12, cell), 4)
    rows = (255 * (1 - 0.10 / (depth + 0.10)) / (1 - 0.10 / 1.10)).astype(np.float32)
    x = np.arange(wide, dtype=np.float32)[None] - wide / 2
    across = x * (0.45 + 0.55 / (0.45 + depth[:, None])) * 0.5 + wide / 2
    spread = cv2.remap(
        texture,
        across.astype(np.float32),
        np.repeat(rows[:, None], wide, 1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    base = gradient(tall - top, wide, [(0, far), (0.35, mix(far, near, 0.6)), (1, near)])
    base *= (1 + mottle * (0.35 + 0.65 * depth[:, None]) * spread)[..., None]
    share = np.clip((np.arange(top, tall) + 1 - row) / 3, 0, 1).astype(np.float32)[:, None, None]
    picture[top:] += share * (base - picture[top:])


def blades(picture: Floats, rng: Rng, count: int, rows: tuple[float, float], length: float, colours: list[Colour],
           span: tuple[float, float] | None = None) -> None:  # fmt: skip
    """Blades of grass that stand between two rows, longer towards the viewer; `span` limits them to columns."""
    tall, wide = picture.shape[:2]
    left, right = span or (0.0, float(wide))
    y = np.sort(rng.uniform(*rows, count))
    x = rng.uniform(left, right, count)
    size = length * (0.35 + 0.65 * (y - rows[0]) / max(rows[1] - rows[0], 1)) * rng.uniform(0.5, 1.2, count)
    bend = size * rng.normal(0, 0.28, count)
    thick = np.maximum(size * 0.045, 0.5)
    base = np.stack([x, y], 1)
    middle = base + np.stack([bend * 0.3, -size * 0.55], 1)
    tip = base + np.stack([bend, -size], 1)
    across = np.stack([thick, np.zeros(count)], 1)
    shapes = np.stack([base - across, middle - across * 0.7, tip, middle + across * 0.7, base + across], 1)
    shapes = np.round((shapes - 0.5) * 16).astype(np.int32)
    shades = np.asarray(colours, np.float64)[rng.integers(len(colours), size=count)] * rng.uniform(
        0.75, 1.15, (count, 1)
    )
    for shape, shade in zip(shapes, shades.tolist(), strict=True):
        cv2.fillPoly(picture, [shape], shade, cv2.LINE_AA, 4)


def dots(
    picture: Floats,
    rng: Rng,
    count: int,
    radius: tuple[float, float],
    colour: Colour,
    opacity: float,
    rows: tuple[float, float],
) -> None:
    """Soft discs between two rows: snowflakes, pollen, light between leaves."""
    canvas = Canvas(picture.shape[1], picture.shape[0])
    ring = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = np.stack([np.cos(ring), np.sin(ring)], 1)
    for _ in range(count):
        r = rng.uniform(*radius)
        at = np.array([rng.uniform(0, picture.shape[1]), rng.uniform(*rows)])
        canvas.fill(
            at + circle * r,
            np.asarray(colour) * rng.uniform(0.85, 1.0),
            soft=0.3 * r,
            opacity=opacity * rng.uniform(0.3, 1),
        )
    canvas.onto(picture, 0, 0)


def light_from(rng: Rng, side: float, colour: Colour, ambient: Colour, low: float, rim: float) -> Light:
    """Light from `side` (-1: the left); `low` 0 comes from above, 1 from the horizon."""
    direction = np.array([side * (0.35 + 0.4 * low), -0.75 + 0.45 * low, 0.62])
    x, y, z = direction / np.linalg.norm(direction)
    warm = 1 + rng.uniform(-0.05, 0.05, 3)
    r, g, b = (np.asarray(colour) * warm).tolist()
    return Light((x, y, z), (r, g, b), (float(ambient[0]), float(ambient[1]), float(ambient[2])), rim)


def forest(rng: Rng, tall: int, wide: int) -> Scene:
    row, side = tall * rng.uniform(0.42, 0.58), float(rng.choice([-1, 1]))
    autumn = rng.random()
    leaf = mix((0.30, 0.46, 0.20), (0.66, 0.44, 0.16), autumn * 0.8)
    haze = mix((0.80, 0.88, 0.72), (0.95, 0.86, 0.62), autumn)
    picture = gradient(
        tall, wide, [(0, mix(haze, leaf, 0.55)), (0.35, mix(haze, leaf, 0.25)), (row / tall, haze), (1, haze)]
    )
    glow(picture, wide * (0.5 + 0.3 * side), row * 0.55, 0.35 * wide, (1, 0.95, 0.75), 0.35)
    clumps = noise(rng, tall, wide, (tall / 6, wide / 7), 4)
    blend(picture, np.clip(clumps * 0.7 * np.linspace(1, 0.1, tall, dtype=np.float32)[:, None], 0, 0.8), leaf * 0.85)
    bark = mix((0.30, 0.24, 0.19), (0.24, 0.23, 0.24), rng.random())
    warm = mix(bark, (1.0, 0.86, 0.62), 0.45)
    for depth, count, width in ((0.25, 16, 0.018), (0.5, 9, 0.035)):
        trunks(
            picture, rng, row + tall * 0.01, width * wide, count, mix(haze, bark, depth), mix(haze, warm, depth), side
        )
    picture = soften(picture, tall / 130)
    floor = mix((0.36, 0.42, 0.18), (0.50, 0.33, 0.16), autumn)
    ground(picture, rng, row, mix(haze, floor, 0.55), floor * 0.72, 0.30, 30)
    trunks(
        picture,
        rng,
        row + tall * 0.09,
        0.085 * wide,
        int(rng.integers(2, 5)),
        mix(haze, bark, 0.8),
        mix(haze, warm, 0.8),
        side,
    )
    picture = soften(picture, tall / 330)
    beams(picture, rng, side, (1, 0.95, 0.75), 0.16)
    dots(picture, rng, 26, (0.006 * wide, 0.02 * wide), haze, 0.35, (0, row * 0.8))
    litter(picture, rng, row, [mix(floor, (0.85, 0.55, 0.20), 0.6), mix(floor, (0.55, 0.27, 0.10), 0.7), floor * 0.6])
    blades(picture, rng, 160, (row + 0.12 * tall, tall * 1.05), 0.07 * tall, [leaf * 0.7, leaf, mix(leaf, haze, 0.3)])
    return Scene(picture, row, light_from(rng, side, (0.76, 0.72, 0.60), (0.38, 0.40, 0.36), 0.2, 0.35), leaf * 0.8)


def beams(picture: Floats, rng: Rng, side: float, colour: Colour, strength: float) -> None:
    """Shafts of light that fall from the upper corner on `side`."""
    tall, wide = picture.shape[:2]
    y, x = np.mgrid[0:tall, 0:wide].astype(np.float32)
    angle = np.arctan2(y + 0.4 * tall, side * (wide / 2 - x) + 0.85 * wide)
    pattern = noise(rng, 4, 256, (4, 22), 2)[1]
    shafts = np.clip(np.interp(angle, np.linspace(0.1, 1.5, 256), pattern), 0, 1).astype(np.float32)
    picture += (strength * shafts * np.linspace(1, 0.15, tall, dtype=np.float32)[:, None])[..., None] * np.asarray(
        colour, np.float32
    )


def litter(picture: Floats, rng: Rng, row: float, colours: list[Colour]) -> None:
    """Fallen leaves, larger towards the viewer."""
    tall, wide = picture.shape[:2]
    for depth in np.sort(rng.beta(1.2, 1.0, 170)):
        y = row + 4 + depth * (tall - row)
        size = (0.003 + 0.013 * depth) * wide * rng.uniform(0.6, 1.2)
        shade = np.asarray(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.2)
        centre = (int(rng.uniform(0, wide) * 16), int(y * 16))
        axes = (int(size * 16), int(size * 0.45 * 16))
        cv2.ellipse(picture, centre, axes, rng.uniform(-40, 40), 0, 360, shade.tolist(), -1, cv2.LINE_AA, 4)


def snow(rng: Rng, tall: int, wide: int) -> Scene:
    row, side = tall * rng.uniform(0.36, 0.55), float(rng.choice([-1, 1]))
    warm = rng.random()
    low_sky = mix((0.86, 0.92, 0.98), (0.99, 0.86, 0.78), warm)
    picture = gradient(
        tall, wide, [(0, mix((0.42, 0.60, 0.82), (0.52, 0.58, 0.78), warm)), (row / tall, low_sky), (1, low_sky)]
    )
    glow(picture, wide * (0.5 + 0.33 * side), row * 0.75, 0.3 * wide, (1, 0.9, 0.75), 0.35)
    clouds = noise(rng, tall, wide, (tall / 6, wide / 2), 5)
    blend(picture, np.clip(clouds * 0.6, 0, 0.7), (0.97, 0.97, 0.99))
    for depth in (0.25, 0.5):
        ridge(
            picture, rng, row - tall * 0.10 * (1 - depth), tall * 0.05, mix(low_sky, (0.42, 0.53, 0.70), depth), low_sky
        )
    fir = np.array((0.16, 0.28, 0.30))
    for depth, count, size in ((0.35, 26, 0.13), (0.62, 13, 0.24)):
        firs(
            picture,
            rng,
            row + tall * 0.02,
            tall * size,
            count,
            mix(low_sky, fir, depth),
            mix(low_sky, fir, depth * 0.7),
            0.35,
        )
    picture = soften(picture, tall / 200)
    shade = mix((0.66, 0.76, 0.90), (0.74, 0.73, 0.88), warm)
    drifts(picture, rng, row, side, mix((0.97, 0.98, 1.0), (1.0, 0.95, 0.90), warm), shade)
    dots(picture, rng, int(rng.integers(0, 110)), (0.002 * wide, 0.007 * wide), (1, 1, 1), 0.9, (0, tall))
    light = light_from(rng, side, mix((0.74, 0.75, 0.76), (0.82, 0.72, 0.62), warm), (0.40, 0.43, 0.50), 0.4, 0.3)
    return Scene(picture, row, light, mix(shade, (1, 1, 1), 0.65))


def drifts(picture: Floats, rng: Rng, row: float, side: float, lit: Colour, shade: Colour) -> None:
    """Snow drifts one before the other, each bright at its crest towards the light and blue behind."""
    tall, wide = picture.shape[:2]
    y = np.arange(tall, dtype=np.float32)[:, None]
    for step, depth in enumerate(np.linspace(0, 1, 5) ** 1.4):
        start = row + depth * (tall - row) * 0.85
        crest = start + (0.02 + 0.06 * depth) * tall * noise(rng, 4, wide, (4, wide / (2.5 - depth)), 2)[1] * (step > 0)
        slope = -side * np.gradient(crest) * 2.2
        below = y - crest[None]
        fall = np.clip(below / (0.05 * tall + 0.22 * tall * (0.2 + depth)), 0, 1)
        bright = np.clip(0.85 + slope[None] * 0.8 - 0.55 * fall * (0.3 + 0.7 * depth), 0, 1)[..., None]
        paint = np.asarray(shade, np.float32) * (1 - bright) + np.asarray(lit, np.float32) * bright
        picture += np.clip(below + 0.5, 0, 1)[..., None] * (paint.astype(np.float32) - picture)
    grain = noise(rng, tall, wide, (6, 9), 3)
    picture *= (1 + 0.018 * grain * (y > row))[..., None]


def field(rng: Rng, tall: int, wide: int) -> Scene:
    row, side = tall * rng.uniform(0.36, 0.54), float(rng.choice([-1, 1]))
    dry = rng.random()
    low_sky = mix((0.82, 0.92, 0.98), (0.98, 0.92, 0.78), dry)
    picture = gradient(
        tall, wide, [(0, mix((0.32, 0.58, 0.88), (0.48, 0.66, 0.86), dry)), (row / tall, low_sky), (1, low_sky)]
    )
    glow(picture, wide * (0.5 + 0.36 * side), row * 0.3, 0.32 * wide, (1, 0.95, 0.8), 0.3)
    clouds = noise(rng, tall, wide, (tall / 7, wide / 2.2), 5)
    blend(picture, np.clip((clouds - 0.15) * 1.3, 0, 0.9), (1, 1, 1))
    green = mix((0.40, 0.56, 0.20), (0.80, 0.66, 0.32), dry)
    for depth in (0.2, 0.42, 0.65):
        hill = mix(low_sky, mix((0.24, 0.42, 0.25), green, 0.3), depth)
        ridge(picture, rng, row - tall * 0.11 * (0.9 - depth), tall * 0.035, hill, mix(hill, low_sky, 0.4), 4)
    firs(
        picture,
        rng,
        row + 0.005 * tall,
        tall * 0.09,
        int(rng.integers(4, 20)),
        mix(low_sky, (0.14, 0.27, 0.14), 0.7),
        mix(low_sky, green, 0.6),
    )
    picture = soften(picture, tall / 150)
    ground(picture, rng, row, mix(green, low_sky, 0.35), green * 0.62, 0.22, 34)
    lengths = (0.03 * tall, 0.12 * tall)
    tips = [green * 0.7, green, mix(green, (1, 0.95, 0.6), 0.4), green * 0.5]
    blades(picture, rng, 420, (row + 3, row + 0.35 * (tall - row)), lengths[0], tips)
    picture = soften(picture, tall / 420)
    if rng.random() < 0.6:
        flower = np.array(
            [(0.95, 0.85, 0.25), (0.93, 0.93, 0.98), (0.75, 0.45, 0.80), (0.92, 0.32, 0.22)][int(rng.integers(4))]
        )
        dots(picture, rng, 70, (0.003 * wide, 0.008 * wide), flower, 1.0, (row + 0.06 * tall, tall))
    blades(picture, rng, 420, (row + 0.3 * (tall - row), tall * 1.06), lengths[1], tips)
    return Scene(picture, row, light_from(rng, side, (0.80, 0.77, 0.68), (0.38, 0.40, 0.40), 0.15, 0.3), green)


def dusk(rng: Rng, tall: int, wide: int) -> Scene:
    row, side = tall * rng.uniform(0.42, 0.58), float(rng.choice([-1, 1]))
    hue = rng.random()
    top = mix((0.16, 0.17, 0.38), (0.30, 0.18, 0.38), hue)
    middle = mix((0.66, 0.38, 0.52), (0.88, 0.42, 0.36), hue)
    low = mix((1.0, 0.70, 0.45), (1.0, 0.78, 0.42), hue)
    stops: list[tuple[float, Colour]] = [(0, top), (0.6 * row / tall, middle), (row / tall, low), (1, low)]
    picture = gradient(tall, wide, stops)
    x, y = wide * (0.5 + side * rng.uniform(0.1, 0.4)), row - tall * rng.uniform(0.02, 0.12)
    glow(picture, x, y, 0.30 * wide, (1, 0.65, 0.35), 0.5)
    glow(picture, x, y, 0.045 * wide, (1, 0.9, 0.7), 1.2)
    clouds = noise(rng, tall, wide, (tall / 9, wide / 1.8), 5)
    blend(picture, np.clip(clouds * 0.7, 0, 0.6), mix(top, (0.95, 0.50, 0.45), 0.55))
    np.clip(picture, 0, 1, out=picture)
    dark = mix(top, (0.08, 0.07, 0.10), 0.45)
    for depth in (0.3, 0.5, 0.7):
        ridge(
            picture,
            rng,
            row - tall * 0.09 * (1 - depth),
            tall * 0.04,
            mix(low, dark, depth),
            mix(low, dark, depth * 0.7),
            4,
        )
    firs(
        picture,
        rng,
        row + 0.015 * tall,
        tall * 0.2,
        int(rng.integers(5, 18)),
        mix(low, dark, 0.85),
        mix(low, dark, 0.7),
    )
    picture = soften(picture, tall / 190)
    grass = mix(mix((0.20, 0.22, 0.16), top, 0.35), low, 0.12)
    ground(picture, rng, row, mix(grass, low, 0.45), grass * 0.62, 0.24, 34)
    tips = [grass * 0.6, grass, mix(grass, low, 0.35), mix(grass, low, 0.15)]
    blades(picture, rng, 300, (row + 3, row + 0.35 * (tall - row)), 0.035 * tall, tips)
    picture = soften(picture, tall / 420)
    blades(picture, rng, 420, (row + 0.3 * (tall - row), tall * 1.06), 0.12 * tall, tips)
    light = light_from(rng, side, mix((0.86, 0.56, 0.38), (0.88, 0.60, 0.36), hue), (0.34, 0.30, 0.40), 0.8, 0.75)
    return Scene(picture, row, light, grass)


SCENES: dict[str, Callable[[Rng, int, int], Scene]] = {"forest": forest, "snow": snow, "field": field, "dusk": dusk}
