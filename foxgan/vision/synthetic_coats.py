"""What a drawn animal looks like: the colours of every coat and the proportions of every species."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Coat:
    """Colours, RGB in 0..1."""

    base: RGB
    dark: RGB  # brow, back, far ear
    pale: RGB  # cheeks, chin, chest, tail tip
    ear_rim: RGB
    ear_inside: RGB
    iris: RGB
    legs: RGB
    frost: float = 0.0  # share of silvery guard hairs
    mask: float = 0.0  # how dark the brow is against the face
    tail_tip: RGB = (0.97, 0.95, 0.90)


@dataclass(frozen=True)
class Build:
    """Proportions; 1 unit is half the width of the face."""

    ear_length: float
    ear_width: float
    ear_spread: float  # how far the tips lean outwards
    ear_round: float  # 0 pointed .. 1 round
    muzzle_width: float
    muzzle_length: float
    face_length: float
    tuft: float  # how far the cheeks flare
    eye: float
    pupil: float  # width of the pupil; a fox has a slit
    nose: float
    body: float


COAT_COLOURS: dict[str, dict[str, Coat]] = {
    "fox": {
        "red": Coat(
            (0.87, 0.43, 0.13), (0.60, 0.24, 0.07), (0.98, 0.95, 0.89), (0.16, 0.10, 0.08), (0.93, 0.80, 0.66),
            (0.93, 0.62, 0.10), (0.15, 0.10, 0.09),
        ),
        "arctic": Coat(
            (0.92, 0.93, 0.95), (0.70, 0.74, 0.81), (0.99, 0.99, 0.99), (0.80, 0.82, 0.87), (0.90, 0.78, 0.76),
            (0.72, 0.45, 0.12), (0.86, 0.88, 0.92), tail_tip=(0.99, 0.99, 0.99),
        ),
        "silver": Coat(
            (0.23, 0.24, 0.28), (0.09, 0.09, 0.11), (0.52, 0.54, 0.59), (0.06, 0.06, 0.07), (0.40, 0.38, 0.40),
            (0.96, 0.66, 0.10), (0.07, 0.07, 0.08), frost=0.55, mask=0.3,
        ),
        "fennec": Coat(
            (0.93, 0.79, 0.57), (0.76, 0.58, 0.37), (0.99, 0.96, 0.90), (0.88, 0.72, 0.50), (0.97, 0.78, 0.70),
            (0.33, 0.18, 0.08), (0.95, 0.86, 0.70), tail_tip=(0.20, 0.14, 0.10),
        ),
    },
    "wolf": {
        "grey": Coat(
            (0.47, 0.46, 0.46), (0.19, 0.19, 0.21), (0.93, 0.90, 0.84), (0.27, 0.25, 0.24), (0.62, 0.54, 0.47),
            (0.90, 0.72, 0.22), (0.66, 0.61, 0.55), frost=0.25, mask=0.75, tail_tip=(0.16, 0.16, 0.17),
        ),
        "brown": Coat(
            (0.42, 0.35, 0.28), (0.19, 0.15, 0.13), (0.82, 0.75, 0.65), (0.25, 0.18, 0.13), (0.56, 0.46, 0.38),
            (0.86, 0.64, 0.20), (0.54, 0.46, 0.37), frost=0.15, mask=0.7, tail_tip=(0.15, 0.12, 0.10),
        ),
        "black": Coat(
            (0.17, 0.17, 0.18), (0.07, 0.07, 0.08), (0.33, 0.32, 0.32), (0.06, 0.06, 0.06), (0.26, 0.23, 0.23),
            (0.92, 0.78, 0.25), (0.11, 0.11, 0.12), frost=0.15, mask=0.4, tail_tip=(0.08, 0.08, 0.08),
        ),
        "white": Coat(
            (0.87, 0.85, 0.80), (0.66, 0.62, 0.56), (0.97, 0.96, 0.93), (0.74, 0.69, 0.61), (0.82, 0.71, 0.63),
            (0.88, 0.70, 0.24), (0.88, 0.86, 0.81), mask=0.35, tail_tip=(0.86, 0.83, 0.77),
        ),
    },
}  # fmt: skip

BUILDS: dict[str, Build] = {
    "fox": Build(1.02, 0.64, 0.24, 0.0, 0.25, 1.0, 1.05, 0.16, 0.185, 0.45, 0.125, 1.0),
    "arctic": Build(0.68, 0.56, 0.22, 0.45, 0.25, 0.84, 0.95, 0.22, 0.175, 0.5, 0.125, 1.1),
    "fennec": Build(1.42, 0.80, 0.58, 0.2, 0.20, 0.82, 0.92, 0.10, 0.22, 0.75, 0.10, 0.85),
    "wolf": Build(0.68, 0.48, 0.10, 0.15, 0.44, 1.18, 1.18, 0.20, 0.132, 0.62, 0.185, 1.3),
}


def choose_coat(species: str, name: str, rng: np.random.Generator) -> Coat:
    """The coat `name` of `species`, a little lighter, darker, warmer or cooler, as no two animals are alike."""
    coat = COAT_COLOURS[species][name]
    light = rng.uniform(0.90, 1.08)
    warm = rng.uniform(-0.03, 0.03)

    def vary(colour: RGB) -> RGB:
        red, green, blue = np.clip(np.asarray(colour) * light + np.array([warm, 0, -warm]) * np.mean(colour), 0, 1)
        return float(red), float(green), float(blue)

    names = [f.name for f in fields(Coat) if f.name not in ("frost", "mask", "iris")]
    varied: dict[str, Any] = {name: vary(getattr(coat, name)) for name in names}
    return replace(coat, **varied)


def choose_build(species: str, coat: str, rng: np.random.Generator) -> Build:
    """The proportions of an animal, each within 6 % of its kind's."""
    build = BUILDS.get(coat, BUILDS[species])
    return Build(*(getattr(build, f.name) * rng.uniform(0.94, 1.06) for f in fields(Build)))
