import numpy as np

from foxgan.vision.detector import Head
from foxgan.vision.misses import FOUND, TILE, TRUTH, Miss, close_up, misses, overlap, worst


def head(box: tuple[float, float, float, float], score: float = 0.9, name: str = "fox") -> Head:
    return Head(box, score, name)


def test_overlap_is_intersection_over_union() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == 1 / 3
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0


def test_good_boxes_are_no_mistakes() -> None:
    assert misses([("fox", (0, 0, 10, 10))], [head((0, 0, 10, 9))]) == []
    assert misses([], []) == []


def test_a_head_that_nobody_found_is_missed() -> None:
    (miss,) = misses([("fox", (0, 0, 10, 10))], [])
    assert miss == Miss("missed", (0, 0, 10, 10), None, 1.0) and miss.words == "missed"


def test_a_find_without_a_head_costs_its_score() -> None:
    (miss,) = misses([], [head((0, 0, 10, 10), 0.7)])
    assert miss == Miss("no_head", None, (0, 0, 10, 10), 0.7) and miss.words == "no such head 0.70"


def test_a_badly_placed_box_costs_what_is_missing_to_the_whole() -> None:
    (miss,) = misses([("fox", (0, 0, 10, 10))], [head((0, 0, 10, 6))])
    assert (miss.kind, miss.loss, miss.words) == ("misplaced", 0.4, "off: overlap 0.60")


def test_a_second_box_over_the_same_head_and_another_class_are_mistakes() -> None:
    truth = [("fox", (0.0, 0.0, 10.0, 10.0))]
    assert [m.kind for m in misses(truth, [head((0, 0, 10, 10)), head((0, 0, 10, 9), 0.5)])] == ["no_head"]
    assert sorted(m.kind for m in misses(truth, [head((0, 0, 10, 10), name="wolf")])) == ["missed", "no_head"]


def test_every_kind_of_mistake_has_its_share_among_the_worst() -> None:
    missed = [(Miss("missed", (0, 0, 1, 1), None, 1.0), n) for n in range(10)]
    others = [
        (Miss("misplaced", None, None, 0.3), 20),
        (Miss("no_head", None, None, 0.4), 21),
        (Miss("no_head", None, None, 0.9), 22),
    ]
    assert [n for _, n in worst([*others, *missed], 5)] == [0, 1, 22, 21, 20]
    assert [n for _, n in worst(missed[:2], 5)] == [0, 1] and worst([], 5) == []


def test_close_ups_show_truth_and_find_in_their_colours_also_at_the_edge_and_of_tiny_photos() -> None:
    photo = np.full((300, 500, 3), 120, np.uint8)
    tile = close_up(photo, Miss("misplaced", (460, 250, 500, 300), (440, 240, 490, 300), 0.5))
    assert max(tile.shape[:2]) == TILE
    for colour in (TRUTH, FOUND):
        assert (np.abs(tile.astype(int) - colour).sum(axis=2) < 40).sum() > 50
    assert close_up(np.zeros((1, 1, 3), np.uint8), Miss("missed", (0, 0, 1, 1), None, 1.0)).shape == (TILE, TILE, 3)
    assert close_up(np.zeros((1, 400, 3), np.uint8), Miss("missed", (0, 0, 400, 1), None, 1.0)).shape[1] == TILE
