"""Trains a head detector with ultralytics' own trainer on a YOLO-format folder written here.

Nothing is pickled and nothing is drawn. An interrupted training goes on from its last saved epoch and ends with the weights of an
undisturbed one, as every epoch draws its random numbers from the seed and its own number.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from foxgan.dataset.index import canonical_json
from foxgan.errors import DataError, StageError, UsageError
from foxgan.images import ImageError, cv2, decode, resize, write
from foxgan.vision.detector import scaled_shape
from foxgan.vision.detector_state import load_state
from foxgan.vision.known import NETWORKS, find_detector
from foxgan.vision.yolo import Net, build, describe, load_net

Box = Sequence[float]
OnProgress = Callable[[float, str], None]
"""Told how many epochs (a fraction of one) were done since the last call, and a note such as the score."""
LEAST_SIDE = 10  # pixels; ultralytics takes smaller photos for broken ones
PHOTOS = "photos.sha256"  # tells for which photos and settings a scratch folder was filled


class LabelledHead(NamedTuple):
    """A head: xyxy in pixels of the upright photo, and x, y of its points, None for one that is not there."""

    name: str
    box: Box
    points: Sequence[float | None] = ()


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo file and its heads. None is a photo without a head."""

    path: Path
    heads: tuple[LabelledHead, ...]


@dataclass(frozen=True)
class Recipe:
    """How to train. `model` is a name from `NETWORKS` (from scratch) or what `find_detector` knows (goes on from its weights)."""

    model: str
    imgsz: int = 320
    epochs: int = 60
    batch: int = 16
    patience: int = 30
    seed: int = 0
    device: str = "auto"
    threads: int | None = None  # of torch; None leaves them as they are
    workers: int = 0  # data loading processes (on a GPU)


@dataclass(frozen=True)
class Task:
    """What is to be learned: class names, and how many points a head has (0: boxes only)."""

    names: tuple[str, ...]
    points: int = 0


def train_detector(
    folder: Path,
    train: Sequence[LabelledPhoto],
    val: Sequence[LabelledPhoto],
    recipe: Recipe,
    on_progress: OnProgress = lambda epochs, note: None,
) -> Net:
    """The weights of the epoch with the best mAP on `val`, and its metrics: map50, map50_95, precision, recall, epoch.

    A network that ends in Pose learns the heads' points, too, and has pose_map50 and pose_map50_95 besides. `folder` is scratch
    space (photos and labels in YOLO format, a log of all epochs, the state to go on from); what it holds for other photos or
    settings is deleted first. Same photos, recipe, machine and number of threads: same weights. Raises StageError where there is
    nothing to learn.
    """
    names = tuple(sorted({head.name for photo in train for head in photo.heads}))
    if not names:
        raise StageError(
            "no training photo has a labelled head, so there is nothing to learn; look at the labels' split"
        )
    base = None if recipe.model in NETWORKS else _given_weights(recipe.model)
    task = Task(names, _points(recipe.model, base, (*train, *val)))
    _prepare(folder, _fingerprint(train, val, recipe, task))
    for split, photos in (("train", train), ("val", val)):
        write_yolo_folder(folder, split, photos, names, recipe.imgsz, task.points)
    with _contained():
        best = _run(folder, task, recipe, base, on_progress)
    if best is None:
        raise StageError("the detector's training diverged (no finite weights in any epoch); try another seed or model")
    return best


def _points(model: str, base: Net | None, photos: Sequence[LabelledPhoto]) -> int:
    """How many points a head has, where the network learns points. Raises StageError where the labels have none, or other ones."""
    counts = {len(head.points) // 2 for photo in photos for head in photo.heads if head.points}
    if not (model.endswith("-pose") if base is None else base.model.yaml.get("kpt_shape")):
        return 0
    if len(counts) != 1:
        found = " and ".join(map(str, sorted(counts))) or "no"
        raise StageError(
            f"{model} learns points, but the labelled heads have {found} points; label them (`foxgan label --points "
            "left_eye,right_eye,nose`), or train a network without -pose"
        )
    (points,) = counts
    if base is not None and base.model.yaml["kpt_shape"] != [points, 3]:
        raise StageError(
            f"{model}: knows points of shape {base.model.yaml['kpt_shape']}, the labelled heads have {[points, 3]}; "
            "go on from other weights or train from scratch"
        )
    return points


# Scratch space


def _fingerprint(train: Sequence[LabelledPhoto], val: Sequence[LabelledPhoto], recipe: Recipe, task: Task) -> str:
    """Changes with all that a resumed training must find unchanged."""
    plain = asdict(replace(recipe, device="", threads=None, workers=0)) | asdict(task)
    photos = [[(p.path.name, p.heads) for p in part] for part in (train, val)]
    digest = hashlib.sha256(canonical_json([plain, photos, torch.__version__]).encode())
    if recipe.model not in NETWORKS:
        digest.update(find_detector(recipe.model).read_bytes())
    return digest.hexdigest()


def _prepare(folder: Path, fingerprint: str) -> None:
    """Keep what an interrupted training for the same photos and settings has left; else begin with an empty folder."""
    marker = folder / PHOTOS
    if not marker.is_file() or marker.read_text(encoding="ascii", errors="replace") != fingerprint:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        marker.write_text(fingerprint, encoding="ascii")
    for cache in folder.glob("labels/*.cache"):  # ultralytics' own, a pickle
        cache.unlink()


def write_yolo_folder(
    folder: Path, split: str, photos: Sequence[LabelledPhoto], names: Sequence[str], side: int, points: int = 0
) -> None:
    """`images/<split>/000000.jpg` with `labels/<split>/000000.txt`: a line for each head of class, normalised centre and size, and,
    where heads have `points`, x, y and 2 for each, or three zeros for one that is not there.

    Photos are upright and at most `side` pixels long, so that an epoch decodes little. Those of which an earlier call has finished
    the label file stay. Raises StageError if none is readable.
    """
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    written = 0
    for position, photo in enumerate(photos):
        label = labels / f"{position:06d}.txt"
        if not label.exists():
            try:
                pixels = decode(photo.path)
            except (ImageError, OSError):
                continue
            height, width = pixels.shape[:2]
            if max(height, width) > side:
                pixels = resize(pixels, *scaled_shape(height, width, side, side))
            if min(pixels.shape[:2]) < LEAST_SIDE:
                continue
            write(images / f"{position:06d}.jpg", pixels)
            known = [head for head in photo.heads if head.name in names and _inside(head.box, width, height)]
            lines = [_line(names.index(head.name), head, width, height, points) for head in known]
            temporary = label.with_suffix(".tmp")
            temporary.write_text("".join(lines), encoding="utf-8")
            temporary.replace(label)
        written += 1
    if not written:
        raise StageError(
            f"none of the {len(photos)} photos for {split} is readable, with {LEAST_SIDE} pixels or more of its shorter side when "
            f"the longer one has at most {side}"
        )


def _inside(box: Box, width: int, height: int) -> bool:
    """Whether any of it is in the photo."""
    return min(box[2], width) > max(box[0], 0) and min(box[3], height) > max(box[1], 0)


def _line(number: int, head: LabelledHead, width: int, height: int, points: int) -> str:
    x0, x1 = (min(max(v / width, 0.0), 1.0) for v in (head.box[0], head.box[2]))
    y0, y1 = (min(max(v / height, 0.0), 1.0) for v in (head.box[1], head.box[3]))
    line = f"{number} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}"
    known = list(head.points) or [None] * (2 * points)
    for x, y in zip(known[: 2 * points : 2], known[1 : 2 * points : 2], strict=True):
        there = x is not None and y is not None and 0 <= x <= width and 0 <= y <= height
        line += f" {x / width:.6f} {y / height:.6f} 2" if there and x is not None and y is not None else " 0 0 0"
    return line + "\n"


# Training


def _run(folder: Path, task: Task, recipe: Recipe, base: Net | None, on_progress: OnProgress) -> Net | None:
    from foxgan.vision.detector_loop import metrics_of, training_class  # takes ultralytics' training with it

    state = load_state(folder)
    if state is not None and state.done:
        on_progress(recipe.epochs, "")
        return state.best
    training = training_class(task.points > 0)(folder, task, recipe, state)
    training.model = _starting_point(recipe.model, task, base)  # the constructor has seeded the generators
    training.add_callback("on_train_start", lambda t: on_progress(t.start_epoch, ""))
    training.add_callback("on_train_batch_end", lambda t: on_progress(1 / len(t.train_loader), ""))
    training.add_callback("on_fit_epoch_end", lambda t: on_progress(0, f"mAP50 {metrics_of(t)['map50']:.3f}"))
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)  # the constructor has set a number of its own
    training.train()
    best: Net | None = training.best_net
    return best


def _given_weights(model: str) -> Net:
    try:
        path = find_detector(model)
    except UsageError as error:
        raise UsageError(f"{error}; or a network to train from scratch: {', '.join(NETWORKS)}") from error
    if path.suffix == ".onnx":
        raise UsageError(f"{path}: ONNX files cannot be trained; give the .pt or .safetensors that it was made from")
    net = load_net(path)
    if not net.can_train:
        raise UsageError(
            f"{model}: finds what a text says, which no training goes on from; `autolabel` makes labels of what it finds"
        )
    head = net.model.yaml["head"][-1][2]
    if head not in ("Detect", "Pose"):
        raise DataError(
            f"{path}: weights of another task, they end in {head}; training needs a network of boxes or points"
        )
    return net


def _starting_point(model: str, task: Task, base: Net | None) -> Any:
    if base is None:
        return build(describe(model, len(task.names), task.points))
    fresh = build({**base.model.yaml, "nc": len(task.names)})
    fresh.names = dict(enumerate(task.names))  # rows of known classes are taken over by name
    fresh.load(base.model, verbose=False)
    return fresh


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """ultralytics seeds the global generators and sets threads and warnings; afterwards all is as it was."""
    python, numpy_state, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    opencv = cv2.getNumThreads()
    try:
        with warnings.catch_warnings(action="ignore"), torch.random.fork_rng():
            cv2.setNumThreads(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv)
