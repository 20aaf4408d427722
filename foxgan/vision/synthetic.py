"""Photos of drawn foxes and wolves whose heads are known exactly: the data that foxgan can always make for itself.

Every photo follows from its seed and index alone, so any part of a set can be drawn anywhere, in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from foxgan.vision.synthetic_body import FEET, paint_body
from foxgan.vision.synthetic_brush import Colour, Floats
from foxgan.vision.synthetic_coats import COAT_COLOURS, choose_build, choose_coat
from foxgan.vision.synthetic_head import paint_head
from foxgan.vision.synthetic_land import Land
from foxgan.vision.synthetic_light import Light
from foxgan.vision.synthetic_scene import SCENES, Scene, light_in
from foxgan.vision.synthetic_shape import Pose

SPECIES = ("fox", "wolf")
COATS: dict[str, tuple[str, ...]] = {species: tuple(coats) for species, coats in COAT_COLOURS.items()}
BACKGROUNDS = tuple(SCENES)
SHAPES = ((1.0, 0.667), (1.0, 0.75), (1.0, 1.0), (0.667, 1.0), (0.75, 1.0))  # width, height
REACH = 3.5  # head units from the middle of an animal to the end of the longest tail
COUNTS = (0.06, 0.62, 0.22, 0.10)  # shares of photos with 0, 1, 2, 3 animals


@dataclass(frozen=True)
class Animal:
    """One animal of a photo. Points and the box (xyxy, of the head with its ears) are float pixels of the photo.

    `left_eye` is the eye at the smaller x when the head is not tilted (the animal's right one). `turn` > 0 looks to the photo's
    right and `tilt` > 0 leans clockwise, in degrees.
    """

    species: str
    box: tuple[float, float, float, float]
    left_eye: tuple[float, float]
    right_eye: tuple[float, float]
    nose: tuple[float, float]
    coat: str
    turn: float
    tilt: float
    mouth: str  # "open" or "shut"
    ears: str  # "up" or "back"


@dataclass(frozen=True)
class Photo:
    """A drawn photo: uint8 RGB [H, W, 3], already marked by JPEG, and its animals from back to front.

    A cut-out is RGBA [H, W, 4] instead, with nothing around its one animal.
    """

    image: NDArray[np.uint8]
    animals: tuple[Animal, ...]
    background: str


@dataclass(frozen=True)
class Place:
    """Where an animal sits: the centre of its head and pixels per head unit."""

    x: float
    y: float
    unit: float


def draw_photo(
    seed: int,
    index: int,
    species: str = "fox",
    size: int = 512,
    max_animals: int = 3,
    background: str | None = None,
    coat: str | None = None,
) -> Photo:
    """Photo number `index` of the set `seed`. `size` is about its longer side (0.75 to 1 of it); None chooses by chance.

    Raises KeyError for an unknown species, background or coat.
    """
    rng = np.random.default_rng((seed, index))
    longer = size * rng.uniform(0.75, 1.0)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    width, height = (max(round(longer * side), 16) for side in shape)
    name = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    scene = SCENES[background or name](rng, height, width)
    count = min(int(rng.choice(len(COUNTS), p=COUNTS)), max_animals)
    coats = (coat,) if coat else COATS[species]
    animals = []
    for place in choose_places(rng, scene, count):
        chosen = coats[max(int(rng.integers(-1, len(coats))), 0)]  # the first coat, the typical one, twice as often
        animals.append(draw_animal(rng, scene, place, species, chosen))
    return Photo(develop(rng, scene.land.picture), tuple(animals), background or name)


def draw_cutout(seed: int, index: int, species: str = "fox", size: int = 512) -> Photo:
    """Animal number `index` of the set `seed` alone, on a square transparent ground of `size` pixels."""
    rng = np.random.default_rng((seed, index, 1))
    land = Land(rng, size, size, (0.5, 0.5))
    light = light_in(land, (0.75, 0.72, 0.68), (0.40, 0.41, 0.43), rng.uniform(0, 0.6), 0.15)
    unit = size * rng.uniform(0.125, 0.142)  # the longest tail, the tallest ears and the feet stay inside
    aside = rng.uniform(-1, 1) * (size / 2 - REACH * unit)
    place = Place(size / 2 + aside, size / 2 - 0.75 * unit, unit)
    coats = COATS[species]
    picture = np.zeros((size, size, 4), np.float32)
    animal = paint_animal(rng, picture, light, place, species, coats[int(rng.integers(len(coats)))], REACH)
    alpha = picture[..., 3:]
    seen = alpha >= 0.5 / 255  # what rounds to invisible is black, too
    straight = np.divide(picture[..., :3], alpha, where=seen, out=np.zeros_like(picture[..., :3]))
    image = np.clip(np.concatenate([straight, alpha], axis=2) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Photo(image, (animal,), "transparent")


def choose_places(rng: np.random.Generator, scene: Scene, count: int) -> list[Place]:
    """Up to `count` places with the whole head inside the photo and no head behind another animal, back to front."""
    height, width = scene.land.tall, scene.land.wide
    places: list[Place] = []
    camera = rng.uniform(2.2, 5.0)  # height of the eye above the ground, in units of an animal
    for _ in range(60):
        if len(places) == count:
            break
        largest = 0.50 if count == 1 else 0.34
        unit = min(height, width) * np.exp(rng.uniform(np.log(0.18), np.log(largest))) / 2.3
        side, above, below = 1.35 * unit, 2.0 * unit, 1.3 * unit
        if width < 2 * side or height < above + below:
            continue
        y = float(np.clip(scene.land.horizon + (camera - FEET) * unit, above, height - below))
        place = Place(rng.uniform(side, width - side), y, unit)
        if all(apart(place, other) for other in places):
            places.append(place)
    return sorted(places, key=lambda place: place.unit)


def apart(a: Place, b: Place) -> bool:
    """Whether neither animal hides the other's head."""
    back, front = sorted((a, b), key=lambda place: place.unit)
    gap = abs(a.x - b.x)
    return gap > 1.15 * (a.unit + b.unit) or front.y - 1.8 * front.unit > back.y + 1.1 * back.unit


def draw_animal(rng: np.random.Generator, scene: Scene, place: Place, species: str, coat_name: str) -> Animal:
    """Paint an animal into the scene's picture, in its light and on its ground, and say where it is."""
    contact_shadow(scene.land.picture, place)
    animal = paint_animal(rng, scene.land.picture, scene.light, place, species, coat_name)
    settle(scene, place)
    return animal


def paint_animal(
    rng: np.random.Generator,
    picture: Floats,
    light: Light,
    place: Place,
    species: str,
    coat_name: str,
    reach: float = 3.2,
) -> Animal:
    """Paint an animal over `picture` [H, W, 3 or 4] and say where it is; tails end `reach` units beside it."""
    coat, build = choose_coat(species, coat_name, rng), choose_build(species, coat_name, rng)
    pose = Pose(
        turn=float(np.clip(rng.normal(0, 24), -50, 50)),
        tilt=float(np.clip(rng.normal(0, 9), -25, 25)),
        pitch=rng.uniform(-8, 10),
        mouth="open" if rng.random() < 0.3 else "shut",
        ears="back" if rng.random() < 0.2 else "up",
    )
    u = place.unit
    left, top = round(place.x - reach * u), round(place.y - 0.2 * u)
    tall = min(int((FEET + 0.5) * u), picture.shape[0] - top)
    body = paint_body(coat, build, -0.45 * np.sin(np.deg2rad(pose.turn)) + rng.uniform(-0.2, 0.2), u, (int(2 * reach * u), tall),
                      (place.x - left, place.y - top), light, rng)  # fmt: skip
    body.onto(picture, left, top)
    sharp = int(np.clip(np.ceil(85 / u), 1, 3))
    left, top = round(place.x - 2.0 * u), round(place.y - 2.4 * u)
    side, tall = int(4.0 * u), int(4.0 * u)
    head = paint_head(coat, build, pose, u * sharp, (side * sharp, tall * sharp),
                      ((place.x - left) * sharp, (place.y - top) * sharp), light, rng)  # fmt: skip
    head.canvas.shrunk(sharp).onto(picture, left, top)

    def placed(point: Sequence[float]) -> tuple[float, float]:
        return point[0] / sharp + left, point[1] / sharp + top

    limit = picture.shape[1], picture.shape[0]
    (x0, y0), (x1, y1) = placed(head.box[:2]), placed(head.box[2:])
    box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(limit[0])), min(y1, float(limit[1])))
    points = (placed(head.left_eye), placed(head.right_eye), placed(head.nose))
    return Animal(species, box, *points, coat_name, pose.turn, pose.tilt, pose.mouth, pose.ears)


def contact_shadow(picture: Floats, place: Place) -> None:
    """Darken the ground where the animal sits."""
    u, foot = place.unit, place.y + FEET * place.unit
    top = max(int(foot - u), 0)
    rows = np.exp(-(((np.arange(top, picture.shape[0], dtype=np.float32) - foot) / (0.28 * u)) ** 2))
    columns = np.exp(-(((np.arange(picture.shape[1], dtype=np.float32) - place.x) / (1.7 * u)) ** 2))
    picture[top:] *= (1 - 0.5 * np.outer(rows, columns).astype(np.float32))[..., None]


def settle(scene: Scene, place: Place) -> None:
    """Grass or snow in front of the feet, so that the animal sits in the place and not on it."""
    land, u, foot = scene.land, place.unit, place.y + FEET * place.unit
    if foot - u > land.tall:
        return
    if scene.cover == "snow":
        land.mound(place.x, foot - 0.14 * u, 2.0 * u, scene.colour)
        return
    colours: list[Colour] = [np.asarray(scene.colour) * shade for shade in (0.7, 0.9, 1.05)]
    land.blades(90, (foot - 0.02 * u, foot + 0.35 * u), 0.55 * u, colours, (place.x - 1.9 * u, place.x + 1.9 * u))


def develop(rng: np.random.Generator, picture: Floats) -> NDArray[np.uint8]:
    """What a camera adds: exposure, tint, vignette, grain and JPEG."""
    height, width = picture.shape[:2]
    down, across = (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32)[None],
    )
    vignette = 255 * (1 - np.float32(rng.uniform(0.02, 0.11)) * (down**2 + across**2))
    gains = rng.uniform(0.94, 1.06) * (1 + rng.uniform(-0.03, 0.03, 3))
    grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(1, 3.5)) + np.float32(0.5)
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        plane = np.clip(picture[..., channel], 0, 1) * (vignette * np.float32(gains[channel])) + grain
        pixels[..., channel] = np.clip(plane, 0, 255)
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert done and decoded is not None, "a photo that was just encoded can be decoded"
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)
