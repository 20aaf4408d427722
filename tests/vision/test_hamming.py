"""Search for near words, against a comparison of all with all."""

import numpy as np
import pytest

from foxgan.vision import hamming
from foxgan.vision.hamming import bit_distances, near_pairs


def words(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def turned(found: np.ndarray, bits: int, seed: int = 1) -> np.ndarray:
    """Every word with so many different bits turned."""
    rng = np.random.default_rng(seed)
    masks = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in found]
    return found ^ np.array(masks, np.uint64)


def compared_one_by_one(queries: np.ndarray, found: np.ndarray, distance: int) -> list[list[int]]:
    close = bit_distances(queries[:, None], found[None]) <= distance
    return [[i, j] for i, j in np.argwhere(close).tolist() if i < j]


@pytest.mark.parametrize(("flips", "surely"), [(0, 3), (1, 7)])
def test_no_pair_within_the_sure_distance_is_missed(flips: int, surely: int) -> None:
    first = words(200)
    found = np.concatenate([first, *(turned(first[20 * n : 20 * n + 20], n, n) for n in range(surely + 1))])
    expected = compared_one_by_one(found, found, surely)
    assert len(expected) >= 20 * (surely + 1)
    assert near_pairs(found, found, surely, flips=flips).tolist() == expected


def test_no_pair_is_farther_apart_than_asked() -> None:
    first = words(300)
    found = np.concatenate([first, turned(first, 5)])
    assert len(near_pairs(found, found, 4)) == 0
    assert len(near_pairs(found, found, 5)) == 300


def test_queries_may_be_other_words_than_those_sought() -> None:
    first = words(50)
    mask = np.uint64(0xF0F0_1234_5678_9ABC)
    found = np.concatenate([first, turned(first, 2) ^ mask])
    assert near_pairs(found ^ mask, found, 2).tolist() == [[i, 50 + i] for i in range(50)]
    assert len(near_pairs(found, found, 2)) == 0


def test_it_does_not_matter_how_many_pairs_are_compared_together(monkeypatch: pytest.MonkeyPatch) -> None:
    first = words(400)
    found = np.concatenate([first & np.uint64(0xFFFF_FFFF_FFFF_FF00), first])
    whole = near_pairs(found, found, 8).tolist()
    monkeypatch.setattr(hamming, "PART", 7)
    assert near_pairs(found, found, 8).tolist() == whole


def test_a_word_that_all_share_costs_no_more_than_the_crowd() -> None:
    found = np.full(3000, 5, np.uint64)
    pairs = near_pairs(found, found, 0, crowd=10)
    assert len(pairs) == 3000 * 10 - 55  # the last have fewer after them


@pytest.mark.parametrize("count", [0, 1])
def test_few_words_have_no_pairs(count: int) -> None:
    assert near_pairs(words(count), words(count), 8).shape == (0, 2)
