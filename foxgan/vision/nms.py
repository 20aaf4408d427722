"""From a network's raw predictions to boxes. OpenCV does the suppression: in the order of scores, the same at every run.

ultralytics' own function gives up after some seconds, needs torchvision (a second and 160 MB to import) and changes its mind about ties
without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan.images import import_opencv

MAX_CANDIDATES = 30_000  # the best so many are compared with each other

Floats = NDArray[np.float32]


def suppress(
    prediction: Floats, num_classes: int, conf: float, iou: float, classes: Sequence[int] | None, max_boxes: int
) -> Floats:
    """Rows of (xyxy, score, class), best first, of one photo: those above `conf` of which none overlaps a better one by more than `iou`.

    `prediction` is [4 + classes + anything, boxes] with boxes as centre and size, or [boxes, 6] of a network that has suppressed already.
    `classes` keeps some class numbers only.
    """
    rows = prediction if prediction.shape[-1] == 6 else _rows(prediction.T, num_classes)
    rows = rows[rows[:, 4] > conf]
    if classes is not None:
        rows = rows[np.isin(rows[:, 5], classes)]
    if prediction.shape[-1] == 6:
        return rows[:max_boxes]
    if len(rows) > MAX_CANDIDATES:
        rows = rows[np.argsort(-rows[:, 4], kind="stable")[:MAX_CANDIDATES]]
    cv2: Any = import_opencv()
    boxes = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.0, iou)
    return rows[np.asarray(kept, np.int64).reshape(-1)[:max_boxes]]


def _rows(boxes: Floats, num_classes: int) -> Floats:
    """(xyxy, score, class) of each box [centre x, centre y, width, height, a score for each class, ...]."""
    half = boxes[:, 2:4] / 2
    scores = boxes[:, 4 : 4 + num_classes]
    best = scores.argmax(1)[:, None]
    score = np.take_along_axis(scores, best, 1)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half, score, best.astype(np.float32)], 1)
