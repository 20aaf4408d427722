import numpy as np

from foxgan.vision.detector import Head
from foxgan.vision.uncertainty import look_of, ordered, uncertainty


def head(score: float, x: float = 0.0, side: float = 10.0) -> Head:
    return Head((x, 0.0, x + side, side), score, "head")


def test_a_sure_find_is_certain_and_a_score_at_the_threshold_is_not() -> None:
    sure, unsure, middling, none = (uncertainty(h) for h in ([head(0.95)], [head(0.26)], [head(0.6)], []))
    assert sure < 0.1 < none < unsure
    assert sure < middling < unsure


def test_many_middling_heads_are_less_certain_than_one() -> None:
    one = uncertainty([head(0.9), head(0.3, 50)])
    assert uncertainty([head(0.9)]) < one < uncertainty([head(0.9), head(0.3, 50), head(0.3, 100)]) < 1


def test_boxes_that_only_half_agree_make_a_photo_less_certain() -> None:
    apart, same, torn = ([head(0.9), head(0.8, x)] for x in (50, 0.5, 5))
    assert uncertainty(apart) == uncertainty(same) < uncertainty(torn)


def test_photos_alike_do_not_follow_each_other() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(2))
    looks = np.stack([look_of(first), look_of(np.clip(first + 3.0, 0, 255).astype(np.uint8)), look_of(second)])
    doubts = np.array([0.9, 0.85, 0.5], np.float32)
    assert ordered(doubts, looks, np.zeros((0, 192), np.float32), 3) == [0, 2, 1]
    assert ordered(doubts, looks, looks[:1], 2) == [2, 0]  # one like the first two was just seen
    assert ordered(doubts, np.zeros((3, 192), np.float32), looks[:1], 3) == [0, 1, 2]  # nothing known of their looks


def test_a_photo_without_any_contrast_or_of_one_pixel_has_a_look() -> None:
    for shape in ((1, 1, 3), (30, 30, 3)):
        assert np.isfinite(look_of(np.full(shape, 7, np.uint8))).all()
