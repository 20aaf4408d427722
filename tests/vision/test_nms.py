"""Suppression against ultralytics' and torchvision's, and where a network has none to do."""

import numpy as np
import pytest

from foxgan.vision.contained import ultralytics
from foxgan.vision.nms import suppress


@pytest.mark.parametrize("classes", [None, [0], [1, 2]])
@pytest.mark.parametrize("ties", [False, True])
def test_boxes_and_their_order_are_those_of_ultralytics_with_torchvision(classes: list[int] | None, ties: bool) -> None:
    import torch
    import torchvision  # noqa: F401  (ultralytics then takes its NMS)

    reference = ultralytics("utils.nms").non_max_suppression
    generator = np.random.default_rng(0)
    several = 0
    for _ in range(50):
        count = int(generator.integers(7, 200))
        boxes = np.concatenate([generator.uniform(0, 90, (2, count)), generator.uniform(1, 60, (2, count))])
        prediction = np.concatenate([boxes, generator.uniform(0, 1, (3, count))]).astype(np.float32)
        if ties:
            prediction = np.round(prediction, 1)
        expected = reference(torch.from_numpy(prediction[None].copy()), 0.3, 0.5, classes, True, max_det=9, nc=3)[0]
        found = suppress(prediction, 3, 0.3, 0.5, classes, 9)
        assert np.array_equal(found, expected.numpy())
        several += len(found) > 1
    assert several > 25


def test_a_network_that_has_suppressed_already_is_only_filtered() -> None:
    rows = np.array([[0, 0, 9, 9, 0.9, 1], [0, 0, 9, 9, 0.8, 0], [0, 0, 5, 5, 0.1, 1]], np.float32)
    assert suppress(rows, 2, 0.25, 0.5, None, 300, done=True).tolist() == rows[:2].tolist()
    assert suppress(rows, 2, 0.25, 0.5, [0], 300, done=True).tolist() == rows[1:2].tolist()
    assert len(suppress(rows, 2, 0.25, 0.5, None, 1, done=True)) == 1


def test_nothing_above_the_threshold_is_no_box() -> None:
    assert suppress(np.zeros((6, 40), np.float32), 2, 0.25, 0.5, None, 300).shape == (0, 6)
