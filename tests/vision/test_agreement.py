"""Agreement of found heads with labels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foxgan.vision.agreement import Pair, agreement, average_precision, overlap
from foxgan.vision.contained import ultralytics


def pair(found: list[list[float]], scores: list[float], labelled: list[list[float]]) -> Pair:
    return Pair(np.array(found, float).reshape(-1, 4), np.array(scores), np.array(labelled, float).reshape(-1, 4))


HEAD, SHIFTED, FAR = [0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60]  # HEAD and SHIFTED overlap by 90 / 110


def test_equal_boxes_agree_wholly() -> None:
    result = agreement([pair([HEAD, FAR], [0.9, 0.4], [FAR, HEAD]), pair([], [], [])])
    assert (result.map50, result.map50_95, result.precision, result.recall, result.mean_iou) == (1, 1, 1, 1, 1)
    assert (result.missed, result.extra) == ([0, 0], [0, 0])


def test_a_box_counts_at_the_thresholds_that_it_reaches() -> None:
    result = agreement([pair([SHIFTED], [0.9], [HEAD])])
    assert result.mean_iou == pytest.approx(90 / 110)
    assert (result.map50, result.map50_95) == (1, pytest.approx(0.7))  # 0.5 to 0.8


def test_a_label_has_one_partner_the_best_score() -> None:
    result = agreement([pair([SHIFTED, HEAD], [0.9, 0.8], [HEAD])])
    assert (result.precision, result.recall, result.extra, result.missed) == (0.5, 1, [1], [0])
    assert result.mean_iou == pytest.approx(90 / 110)
    result = agreement([pair([HEAD, FAR], [0.5, 0.9], [HEAD])])
    assert result.map50 == pytest.approx(0.5)  # what scores higher is wrong


def test_missed_heads_lower_recall_only() -> None:
    result = agreement([pair([HEAD], [0.9], [HEAD, FAR]), pair([], [], [HEAD])])
    assert (result.precision, result.recall, result.missed) == (1, pytest.approx(1 / 3), [1, 1])
    assert result.map50 == pytest.approx(34 / 101)  # recall 0.00 to 0.33


def test_nothing_found_and_nothing_labelled_are_zero() -> None:
    for nothing in ([], [pair([], [], [])], [pair([], [], [HEAD])], [pair([HEAD], [1], [])]):
        result = agreement(nothing)
        assert (result.map50, result.map50_95, result.recall, result.mean_iou) == (0, 0, 0, 0)


def test_boxes_without_area_overlap_nothing() -> None:
    flat = np.array([[3.0, 3.0, 3.0, 9.0]])
    assert overlap(flat, flat).tolist() == [[0.0]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 20))
def test_average_precision_is_close_to_that_of_ultralytics(hits: list[bool], missed: int) -> None:
    labelled = sum(hits) + missed
    if not labelled:
        return
    flags = np.array(hits)
    right = np.cumsum(flags)
    with warnings.catch_warnings(action="ignore"):
        theirs = ultralytics("utils.metrics").compute_ap(right / labelled, right / np.arange(1, len(hits) + 1))[0]
    assert abs(average_precision(flags, labelled) - theirs) < 0.03  # they interpolate between the points
