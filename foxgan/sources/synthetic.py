"""Drawn animals as photos: endless, free of anybody's rights, and with ground truth in exact pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foxgan.dataset.index import canonical_json
from foxgan.images import encode_jpeg, encode_png
from foxgan.sources.candidate import Candidate, Hashes, Loaded, Row, Source, no_hashes

QUALITY = 95  # the drawing went through a camera's JPEG already; this one should add nothing to see


@dataclass(frozen=True)
class Synthetic(Source):
    """`count` photos of `species` ("fox", "wolf"), about `size` pixels on the longer side; `transparent`: cut-outs, as PNG."""

    count: int
    seed: int
    species: str
    size: int
    transparent: bool = False
    name: str = "synthetic"

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        for index in range(self.count):
            yield Candidate(f"{self.species}-{self.seed}-{index:06}", (index,))

    def load(self, candidate: Candidate) -> Loaded:
        from foxgan.vision.synthetic import Animal, draw_cutout, draw_photo

        def head(animal: Animal) -> Row:
            points = (*animal.left_eye, *animal.right_eye, *animal.nose)
            return {
                "box": [round(v, 3) for v in animal.box],
                "keypoints": [round(v, 3) for v in points],
                "class": "head",
                "traits": canonical_json(
                    {
                        "species": animal.species,
                        "coat": animal.coat,
                        "turn": round(animal.turn, 3),
                        "tilt": round(animal.tilt, 3),
                        "mouth": animal.mouth,
                        "ears": animal.ears,
                    }
                ),
            }

        draw = draw_cutout if self.transparent else draw_photo
        photo = draw(self.seed, int(candidate.where[0]), self.species, self.size)
        height, width, channels = photo.image.shape
        data = encode_png(photo.image) if self.transparent else encode_jpeg(photo.image, QUALITY)
        heads = tuple(head(animal) for animal in photo.animals)
        suffix = "png" if self.transparent else "jpg"
        return Loaded(data, shape=(height, width, channels), suffix=suffix, heads=heads)
