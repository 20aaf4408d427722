"""The small world that all fakes show: who photographed which animal, and under what license. All of it follows from a seed."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.fakes.licensing import SHARES

BEGIN = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
YEAR = 365 * 86400
NAMES = ("V. Watch", "Ana Prado", "Jörg Müller", "O'Neil, Sam", "李 娜", "Ranger Kit", 'Pat "Doc" Roe', "A. Person")
PLACES = (
    ("Somewhere", "50.1,8.6", "DE", 7207),
    ("A valley", "46.5,9.8", "CH", 7236),
    ("North", "60.2,24.9", "FI", 7020),
)
SCENES = ("snow", "meadow", "forest", "night", "den", "road")
SHAPES = ((1.0, 0.667), (1.0, 0.75), (1.0, 1.0), (0.667, 1.0), (0.75, 1.0))  # width, height
SCALES = (1.0, 1.0, 1.0, 2.0, 0.4)  # of the world's `side`


@dataclass(frozen=True)
class Taxon:
    """`ancestors` are ids from the root to itself; `terms` are further names that a search finds it by."""

    id: int
    gbif: int
    name: str
    common: str
    rank: str
    rank_level: int
    ancestors: tuple[int, ...]
    author: str = ""
    terms: tuple[str, ...] = ()
    active: bool = True


_ROOT = (48460, 1, 42043)
TAXA = (
    Taxon(48460, 0, "Life", "Life", "stateofmatter", 100, (48460,)),
    Taxon(1, 1, "Animalia", "Animals", "kingdom", 70, (48460, 1)),
    Taxon(42043, 9701, "Canidae", "Canids", "family", 30, _ROOT, "Fischer, 1817"),
    Taxon(42068, 5219234, "Vulpes", "True Foxes", "genus", 20, (*_ROOT, 42068), "Frisch, 1775", ("fox", "foxes")),
    Taxon(42069, 5219243, "Vulpes vulpes", "Red Fox", "species", 10, (*_ROOT, 42068, 42069), "(Linnaeus, 1758)", ("fox",)),
    Taxon(42076, 5219251, "Vulpes lagopus", "Arctic Fox", "species", 10, (*_ROOT, 42068, 42076), "(Linnaeus, 1758)", ("fox",)),
    Taxon(42054, 5219289, "Vulpes macrotis", "Kit Fox", "species", 10, (*_ROOT, 42068, 42054), "Merriam, 1888", ("fox",)),
    Taxon(
        42051, 5219291, "Vulpes velox", "Swift Fox", "species", 10, (*_ROOT, 42068, 42051), "(Say, 1823)", ("fox", "Kit Fox")
    ),
    Taxon(42070, 0, "Vulpes fulva", "American Red Fox", "species", 10, (*_ROOT, 42068, 42070), "", ("fox",), active=False),
    Taxon(42048, 5219173, "Canis lupus", "Grey Wolf", "species", 10, (*_ROOT, 42048), "Linnaeus, 1758"),
)  # fmt: skip
RED_FOX, ARCTIC_FOX, WOLF = (
    next(t for t in TAXA if t.name == n) for n in ("Vulpes vulpes", "Vulpes lagopus", "Canis lupus")
)


@dataclass(frozen=True)
class Person:
    number: int
    name: str

    @property
    def login(self) -> str:
        return f"user{self.number}"

    @property
    def nsid(self) -> str:
        """Flickr's name of a person."""
        return f"{12345670 + self.number}@N00"


@dataclass(frozen=True)
class Photo:
    """`number` decides what it looks like; `width` and `height` are its own, before any service touched it; `license` "" is none."""

    number: int
    width: int
    height: int
    person: Person
    license: str
    sighting: int
    taxon: Taxon
    scene: str
    taken: int  # seconds since 1970
    on_inaturalist: bool

    @property
    def title(self) -> str:
        return f"{self.taxon.common} {self.number} in {self.scene}"

    @property
    def uuid(self) -> str:
        return made_uuid("photo", self.number)


@dataclass(frozen=True)
class Sighting:
    """One meeting with one animal, and 1 to 3 photos of it."""

    number: int
    photos: tuple[Photo, ...]
    person: Person
    taxon: Taxon
    grade: str
    captive: bool
    license: str  # of the record, not of its photos
    place: tuple[str, str, str, int]
    seen: int
    added: int
    changed: int
    dead: bool


@dataclass(frozen=True)
class World:
    seed: int
    side: int
    photos: tuple[Photo, ...]
    sightings: tuple[Sighting, ...]


def make_world(seed: int, count: int, side: int) -> World:
    """`count` photos, most of them with a longest side of `side` pixels (some twice or 0.4 times that)."""
    sightings: list[Sighting] = []
    photos: list[Photo] = []
    deck = [code for code, share in SHARES.items() for _ in range(share)]  # so that small worlds have all of them
    random.Random(seed).shuffle(deck)
    while len(photos) < count:
        rng = random.Random(f"{seed}/{len(sightings)}")
        size, license = min(rng.choice((1, 1, 2, 3)), count - len(photos)), deck[len(sightings) % len(deck)]
        found = _sighting(rng, len(sightings), len(photos), size, license, side)
        sightings.append(found)
        photos += found.photos
    return World(seed, side, tuple(photos), tuple(sightings))


def _sighting(rng: random.Random, number: int, first: int, count: int, license: str, side: int) -> Sighting:
    person = Person(*rng.choice(list(enumerate(NAMES, 1))))
    taxon = rng.choices((RED_FOX, ARCTIC_FOX, WOLF), (80, 10, 10))[0]
    seen = BEGIN + rng.randrange(4 * YEAR)
    photos = tuple(
        _photo(rng, first + i, person, license if rng.random() < 0.8 else _license(rng), number, taxon, seen + i, side)
        for i in range(count)
    )
    return Sighting(
        number,
        photos,
        person,
        taxon,
        rng.choices(("research", "needs_id", "casual"), (70, 20, 10))[0],
        rng.random() < 0.1,
        license if rng.random() < 0.5 else _license(rng),
        rng.choice(PLACES),
        seen,
        added=seen + 3600,
        changed=seen + rng.randrange(7200, YEAR),
        dead=rng.random() < 0.1,
    )


def _photo(
    rng: random.Random, number: int, person: Person, license: str, sighting: int, taxon: Taxon, taken: int, side: int
) -> Photo:
    longest = side * rng.choice(SCALES)
    width, height = (max(8, round(longest * part)) for part in rng.choice(SHAPES))
    return Photo(
        number,
        width,
        height,
        person,
        license,
        sighting,
        taxon,
        rng.choice(SCENES),
        taken,
        on_inaturalist=number % 5 != 2,
    )


def _license(rng: random.Random) -> str:
    return rng.choices(list(SHARES), list(SHARES.values()))[0]


def made_uuid(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{number}"))


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
