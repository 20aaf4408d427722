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
    prediction: Floats,
    num_classes: int,
    conf: float,
    iou: float,
    classes: Sequence[int] | None,
    max_boxes: int,
    done: bool = False,
) -> Floats:
    """Rows of (xyxy, score, class, anything) of one photo, best first: above `conf`, and none overlaps a better one by more than `iou`.

    `prediction` is [4 + classes + anything, boxes] with boxes as centre and size, or, `done` by the network itself, rows as they come
    out here. `classes` keeps some class numbers only.
    """
    rows = prediction[prediction[:, 4] > conf] if done else _rows(prediction, num_classes, conf)
    if classes is not None:
        rows = rows[np.isin(rows[:, 5], classes)]
    return rows[:max_boxes] if done else rows[best_boxes(rows, iou)[:max_boxes]]


def best_boxes(rows: Floats, iou: float) -> NDArray[np.int64]:
    """Which rows (xyxy, score, ...) no better one overlaps by more than `iou`, best first."""
    order = np.argsort(-rows[:, 4], kind="stable")[:MAX_CANDIDATES]
    rows = rows[order]
    cv2: Any = import_opencv()
    boxes = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.0, iou)
    return order[np.asarray(kept, np.int64).reshape(-1)]


def _rows(prediction: Floats, num_classes: int, conf: float) -> Floats:
    """(xyxy, score, class, anything) of each box that scores more than `conf`; the many others are not looked at any further."""
    scores = prediction[4 : 4 + num_classes]
    boxes = prediction[:, scores.max(0) > conf].T
    half = boxes[:, 2:4] / 2
    scores = boxes[:, 4 : 4 + num_classes]
    best = scores.argmax(1)[:, None]
    score = np.take_along_axis(scores, best, 1)
    more = boxes[:, 4 + num_classes :]
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half, score, best.astype(np.float32), more], 1)
