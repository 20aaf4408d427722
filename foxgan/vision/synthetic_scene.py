"""The places where drawn animals sit: a forest, a snowfield, a meadow, an evening. Each paints itself from back to front."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foxgan.vision.synthetic_brush import Colour, mix
from foxgan.vision.synthetic_land import Land
from foxgan.vision.synthetic_light import Light

Rng = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A painted place, the light in it, and what its ground is covered with ("grass" or "snow") in which colour."""

    land: Land
    light: Light
    cover: str
    colour: Colour


def light_in(land: Land, colour: Colour, ambient: tuple[float, float, float], low: float, rim: float) -> Light:
    """Light from the land's lit side; `low` 0 comes from above, 1 from the horizon."""
    direction = np.array([land.side * (0.35 + 0.4 * low), -0.75 + 0.45 * low, 0.62])
    x, y, z = (direction / np.linalg.norm(direction)).tolist()
    red, green, blue = (np.asarray(colour) * (1 + land.rng.uniform(-0.05, 0.05, 3))).tolist()
    return Light((x, y, z), (red, green, blue), ambient, rim)


def forest(rng: Rng, tall: int, wide: int) -> Scene:
    land = Land(rng, tall, wide, (0.42, 0.58))
    row, autumn = land.horizon, rng.random()
    leaf = mix((0.28, 0.46, 0.20), (0.68, 0.43, 0.15), autumn * 0.8)
    haze = mix((0.78, 0.89, 0.74), (0.97, 0.87, 0.64), autumn)
    bark = mix((0.30, 0.24, 0.19), (0.24, 0.23, 0.24), rng.random())
    warm = mix(bark, (1.0, 0.86, 0.62), 0.45)
    floor = mix((0.34, 0.42, 0.18), (0.50, 0.33, 0.16), autumn)
    land.sky(mix(haze, leaf, 0.6), haze, mix(haze, leaf, 0.25))
    land.glow(wide * (0.5 + 0.3 * land.side), row * 0.55, 0.35 * wide, (1, 0.95, 0.75), 0.35)
    land.clouds((1 / 6, 1 / 7), 0.6, 0.0, leaf * 0.85, 0.7)  # foliage
    for depth, count, width in ((0.25, 16, 0.018), (0.5, 9, 0.035)):
        land.trunks(count, width, 0.01, mix(haze, bark, depth), mix(haze, warm, depth))
    land.blur(1 / 130)
    land.ground(mix(haze, floor, 0.5), floor * 0.72, 0.30)
    land.trunks(int(rng.integers(2, 5)), 0.085, 0.09, mix(haze, bark, 0.8), mix(haze, warm, 0.8))
    land.blur(1 / 330)
    land.beams((1, 0.95, 0.75), 0.16)
    land.dots(26, (0.006, 0.02), haze, 0.35, (0, row * 0.8))
    land.litter([mix(floor, (0.85, 0.55, 0.20), 0.6), mix(floor, (0.55, 0.27, 0.10), 0.7), floor * 0.6])
    land.blades(200, (row + 0.12 * tall, tall * 1.05), 0.07 * tall, [leaf * 0.7, leaf, mix(leaf, haze, 0.3)])
    return Scene(land, light_in(land, (0.76, 0.72, 0.60), (0.38, 0.40, 0.36), 0.2, 0.35), "grass", leaf * 0.8)


def snow(rng: Rng, tall: int, wide: int) -> Scene:
    land = Land(rng, tall, wide, (0.36, 0.55))
    row, warm = land.horizon, rng.random()
    low_sky = mix((0.84, 0.91, 0.98), (0.99, 0.85, 0.76), warm)
    fir = np.array((0.16, 0.28, 0.30))
    lit, shade = mix((0.97, 0.98, 1.0), (1.0, 0.95, 0.90), warm), mix((0.62, 0.73, 0.89), (0.70, 0.70, 0.88), warm)
    land.sky(mix((0.40, 0.58, 0.82), (0.50, 0.56, 0.78), warm), low_sky)
    land.glow(wide * (0.5 + 0.33 * land.side), row * 0.75, 0.3 * wide, (1, 0.9, 0.75), 0.35)
    land.clouds((1 / 6, 1 / 2), 0.6, 0.0, (0.97, 0.97, 0.99), 0.7)
    for depth in (0.25, 0.5):
        land.ridge(0.10 * (1 - depth), 0.05, mix(low_sky, (0.42, 0.53, 0.70), depth), low_sky)
    land.firs(24, 0.13, mix(low_sky, fir, 0.35), mix(low_sky, fir, 0.25))
    land.firs(12, 0.24, mix(low_sky, fir, 0.68), mix(low_sky, fir, 0.45), snow=True)
    land.blur(1 / 220)
    land.drifts(lit, shade)
    land.dots(int(rng.integers(0, 90)), (0.002, 0.007), (1, 1, 1), 0.9, (0, tall))
    sun = mix((0.74, 0.75, 0.76), (0.82, 0.72, 0.62), warm)
    return Scene(land, light_in(land, sun, (0.40, 0.43, 0.50), 0.4, 0.3), "snow", mix(shade, lit, 0.75))


def field(rng: Rng, tall: int, wide: int) -> Scene:
    land = Land(rng, tall, wide, (0.36, 0.54))
    row, dry = land.horizon, rng.random()
    low_sky = mix((0.82, 0.92, 0.98), (0.98, 0.92, 0.78), dry)
    green = mix((0.36, 0.55, 0.20), (0.80, 0.66, 0.32), dry)
    tips: list[Colour] = [green * 0.7, green, mix(green, (1, 0.95, 0.6), 0.4), green * 0.55]
    land.sky(mix((0.32, 0.58, 0.88), (0.46, 0.65, 0.87), dry), low_sky)
    land.glow(wide * (0.5 + 0.36 * land.side), row * 0.3, 0.32 * wide, (1, 0.95, 0.8), 0.3)
    land.clouds((1 / 7, 1 / 2.2), 1.3, 0.15, (1, 1, 1))
    for depth in (0.2, 0.42, 0.65):
        hill = mix(low_sky, mix((0.24, 0.42, 0.25), green, 0.3), depth)
        land.ridge(0.11 * (0.9 - depth), 0.035, hill, mix(hill, low_sky, 0.4), 4)
    land.firs(int(rng.integers(4, 20)), 0.09, mix(low_sky, (0.14, 0.27, 0.14), 0.7), mix(low_sky, green, 0.6))
    land.blur(1 / 150)
    land.ground(mix(green, low_sky, 0.35), green * 0.62, 0.22)
    far = [mix(tip, low_sky, 0.22) for tip in tips]
    land.blades(420, (row + 0.02 * tall, row + 0.35 * (tall - row)), 0.03 * tall, far)
    land.blur(1 / 380)
    if rng.random() < 0.6:
        flowers = ((0.95, 0.85, 0.25), (0.93, 0.93, 0.98), (0.75, 0.45, 0.80), (0.92, 0.32, 0.22))
        land.dots(70, (0.003, 0.008), flowers[int(rng.integers(4))], 1.0, (row + 0.08 * tall, tall))
    land.blades(560, (row + 0.3 * (tall - row), tall * 1.06), 0.12 * tall, tips)
    return Scene(land, light_in(land, (0.80, 0.77, 0.68), (0.38, 0.40, 0.40), 0.15, 0.3), "grass", green)


def dusk(rng: Rng, tall: int, wide: int) -> Scene:
    land = Land(rng, tall, wide, (0.42, 0.58))
    row, hue = land.horizon, rng.random()
    top = mix((0.15, 0.18, 0.40), (0.30, 0.18, 0.38), hue)
    middle = mix((0.58, 0.38, 0.56), (0.88, 0.42, 0.36), hue)
    low = mix((1.0, 0.70, 0.48), (1.0, 0.78, 0.42), hue)
    dark = mix(top, (0.08, 0.07, 0.10), 0.45)
    grass = mix(mix((0.20, 0.22, 0.16), top, 0.35), low, 0.12)
    tips: list[Colour] = [grass * 0.6, grass, mix(grass, low, 0.35), mix(grass, low, 0.15)]
    land.sky(top, low, middle)
    x, y = wide * (0.5 + land.side * rng.uniform(0.1, 0.4)), row - tall * rng.uniform(0.02, 0.12)
    land.glow(x, y, 0.30 * wide, (1, 0.65, 0.35), 0.5)
    land.glow(x, y, 0.045 * wide, (1, 0.9, 0.7), 1.2)
    land.clouds((1 / 9, 1 / 1.8), 0.7, 0.0, mix(top, (0.95, 0.50, 0.45), 0.55), 0.6)
    np.clip(land.picture, 0, 1, out=land.picture)
    for depth in (0.3, 0.5, 0.7):
        land.ridge(0.09 * (1 - depth), 0.04, mix(low, dark, depth), mix(low, dark, depth * 0.7), 4)
    land.firs(int(rng.integers(5, 18)), 0.2, mix(low, dark, 0.85), mix(low, dark, 0.7))
    land.blur(1 / 190)
    land.ground(mix(grass, low, 0.45), grass * 0.62, 0.24)
    far = [mix(tip, low, 0.2) for tip in tips]
    land.blades(300, (row + 0.02 * tall, row + 0.35 * (tall - row)), 0.035 * tall, far)
    land.blur(1 / 380)
    land.blades(560, (row + 0.3 * (tall - row), tall * 1.06), 0.12 * tall, tips)
    sun = mix((0.76, 0.58, 0.46), (0.78, 0.60, 0.42), hue)
    return Scene(land, light_in(land, sun, (0.30, 0.28, 0.36), 0.8, 0.75), "grass", grass)


SCENES: dict[str, Callable[[Rng, int, int], Scene]] = {"forest": forest, "snow": snow, "field": field, "dusk": dusk}
