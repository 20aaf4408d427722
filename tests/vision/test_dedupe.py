"""Copies are found however they were made, and different pictures of one animal are none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.images import Pixels
from foxgan.vision import cropped as cropped_pictures
from foxgan.vision import dedupe
from foxgan.vision.dedupe import Likeness, best_first, describe, likenesses, openness
from foxgan.vision.synthetic import draw_cutout, draw_photo

SIDE = 384
ENOUGH = 0.5  # the stage's default


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    """Six different photos of one kind of animal."""
    return [draw_photo(5, number, size=SIDE).image for number in range(6)]


def jpeg(picture: Pixels, quality: int = 80) -> Pixels:
    return images.decode(images.encode_jpeg(np.ascontiguousarray(picture), quality))


def scaled(picture: Pixels, factor: float) -> Pixels:
    height, width = picture.shape[:2]
    return images.resize(picture, round(height * factor), round(width * factor))


def cropped(picture: Pixels, share: float, left: float = 0.4, top: float = 0.7) -> Pixels:
    height, width = picture.shape[:2]
    y, x = (round(side * (1 - share) * place) for side, place in ((height, top), (width, left)))
    return picture[y : y + round(height * share), x : x + round(width * share)]


def records_of(pictures: list[Pixels]) -> dedupe.Records:
    return np.concatenate([describe(np.ascontiguousarray(picture)) for picture in pictures])


def copies(pictures: list[Pixels], **params: object) -> set[tuple[int, int]]:
    found = likenesses(records_of(pictures), **params)  # type: ignore[arg-type]
    return {(i, j) for (i, j), s in zip(found.pairs.tolist(), found.similarity.tolist(), strict=True) if s >= ENOUGH}


WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "the same pixels": lambda p: p,
    "encoded badly": lambda p: jpeg(p, 15),
    "a third of the size": lambda p: jpeg(scaled(p, 0.3)),
    "twice the size": lambda p: scaled(p, 2),
    "mirrored": lambda p: jpeg(p[:, ::-1]),
    "mirrored and small": lambda p: jpeg(scaled(p[:, ::-1], 0.3)),
    "seven tenths of it": lambda p: jpeg(cropped(p, 0.7)),
    "seven tenths, mirrored, enlarged": lambda p: jpeg(scaled(cropped(p, 0.7)[:, ::-1], 1.6)),
    "nine tenths": lambda p: jpeg(cropped(p, 0.9, 0, 0)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_found_and_nothing_else(photos: list[Pixels], way: str) -> None:
    found = copies([*photos, *(WAYS[way](photo) for photo in photos)])
    assert found == {(n, n + len(photos)) for n in range(len(photos))}


def test_mirror_images_and_crops_count_only_where_they_are_asked_for(photos: list[Pixels]) -> None:
    pictures = [photos[0], photos[0][:, ::-1], cropped(photos[0], 0.7)]
    assert copies(pictures) == {(0, 1), (0, 2), (1, 2)}
    assert copies(pictures, mirrored=False) == {(0, 2)}
    assert copies(pictures, smallest_crop=None) == {(0, 1)}
    assert copies(pictures, smallest_crop=0.85) == {(0, 1)}


def test_another_animal_before_the_same_background_is_no_copy(photos: list[Pixels]) -> None:
    other = photos[0].copy()
    height, width = other.shape[:2]
    y, x = height // 3, width // 3
    patch = np.random.default_rng(0).integers(0, 256, (3, 3, 3), np.uint8)
    other[y : y + height // 5, x : x + width // 5] = images.resize(patch, height // 5, width // 5)
    assert copies([photos[0], other]) == set()


def series(ground: Pixels, count: int) -> list[Pixels]:
    """A camera trap's shots: one background, light that changes, an animal of a seventh of the width that walks about."""
    rng = np.random.default_rng(0)
    animal = draw_cutout(1, 0, size=SIDE // 7).image
    shots = []
    for _ in range(count):
        shot = ground * rng.uniform(0.9, 1.1) + rng.normal(0, 2, ground.shape)
        y, x = (rng.integers(0, side - part) for side, part in zip(ground.shape[:2], animal.shape[:2], strict=True))
        place, opaque = (slice(y, y + animal.shape[0]), slice(x, x + animal.shape[1])), animal[..., 3:] / 255
        shot[place] = shot[place] * (1 - opaque) + animal[..., :3] * opaque
        shots.append(jpeg(shot.clip(0, 255).astype(np.uint8), 85))
    return shots


def test_of_a_series_before_one_background_only_copies_are_found(photos: list[Pixels]) -> None:
    shots = series(photos[2], 40)
    ways = (lambda p: jpeg(p, 40), lambda p: scaled(p, 0.6), lambda p: p[:, ::-1], lambda p: cropped(p, 0.8))
    made = [way(shots[10 * n]) for n, way in enumerate(ways)]
    assert copies(shots + made) == {(10 * n, 40 + n) for n in range(4)}


def test_the_time_of_a_series_is_that_of_its_pictures_not_of_its_pairs(
    photos: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe, "RIVALS", 5)
    laid: list[int] = []
    real = cropped_pictures.crops

    def counted(records: dedupe.Records, wholes: np.ndarray, *rest: Any) -> Any:
        laid.append(len(wholes))
        return real(records, wholes, *rest)

    monkeypatch.setattr(cropped_pictures, "crops", counted)
    records = records_of(series(photos[2], 60))
    likenesses(records, mirrored=False)
    assert 0 < sum(laid) < 60 * 5 * 3 < 60 * 59 / 2


def test_the_same_shape_in_another_colour_is_no_copy() -> None:
    y, x = np.mgrid[:128, :128]
    disc = np.where(((y - 64) ** 2 + (x - 50) ** 2 < 30**2)[..., None], [220, 60, 50], 255).astype(np.uint8)
    assert copies([disc, np.ascontiguousarray(disc[:, :, ::-1])]) == set()
    assert copies([disc, jpeg(disc, 30)]) == {(0, 1)}


def test_pictures_without_contrast_are_copies_only_to_the_last_pixel() -> None:
    flat = [np.full((64, 64, 3), grey, np.uint8) for grey in (10, 10, 11, 200)]
    assert (0, 1) in copies(flat)
    assert not copies(flat) & {(0, 3), (1, 3), (2, 3)}


def test_parts_of_one_photo_that_only_overlap_are_no_copies(photos: list[Pixels]) -> None:
    height, width = photos[0].shape[:2]
    left, right = photos[0][:, : round(0.7 * width)], photos[0][:, round(0.3 * width) :]
    assert copies([left, right]) == set()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (5, 3, 1), (40, 40, 4)])
def test_every_shape_has_a_record(shape: tuple[int, int, int]) -> None:
    record = describe(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    assert (record["height"][0], record["width"][0]) == shape[:2]
    assert likenesses(np.concatenate([record, record])).pairs.tolist() == [[0, 1]]


def test_a_record_survives_as_text(photos: list[Pixels]) -> None:
    records = records_of(photos[:3])
    texts = [dedupe.as_text(records[n : n + 1]) for n in range(3)]
    assert max(map(len, texts)) < 3200
    assert np.array_equal(dedupe.from_texts(texts), records)
    assert len(dedupe.from_texts([])) == 0


def test_no_pictures_have_no_likenesses() -> None:
    assert likenesses(np.zeros(0, dedupe.RECORD)).pairs.shape == (0, 2)


# Choosing


def likeness(*pairs: tuple[int, int, float]) -> Likeness:
    places = np.array([p[:2] for p in pairs], np.int64).reshape(-1, 2)
    return Likeness(places, np.array([p[2] for p in pairs], np.float32))


def test_the_best_stays_and_its_copies_name_it() -> None:
    found = best_first(likeness((0, 1, 0.9), (1, 2, 0.8), (0, 2, 0.7)), {0: 2, 1: 1, 2: 3}, 0.6)
    assert found == {0: (1, pytest.approx(0.9)), 2: (1, pytest.approx(0.8))}


def test_a_chain_of_likenesses_does_not_join_its_ends() -> None:
    chain = likeness(*((n, n + 1, 0.9) for n in range(6)))
    found = best_first(chain, {n: n for n in range(7)}, 0.6)
    assert found == {1: (0, pytest.approx(0.9)), 3: (2, pytest.approx(0.9)), 5: (4, pytest.approx(0.9))}


def test_pairs_below_the_threshold_are_different_pictures() -> None:
    assert best_first(likeness((0, 1, 0.59)), {0: 0, 1: 1}, 0.6) == {}


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("CC0-1.0", "CC-BY-4.0"),
        ("CC-BY", "CC-BY-SA"),
        ("MIT", "CC-BY-SA"),
        ("CC-BY-SA", "CC-BY-NC-SA"),
        ("CC-BY-NC-ND", None),
    ],
)
def test_licenses_are_ordered_by_what_they_allow(more: str, less: str | None) -> None:
    assert openness(more) < openness(less)
