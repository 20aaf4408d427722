"""Trains a head detector with ultralytics' own trainer on a YOLO-format folder written here.

Nothing is pickled and nothing is drawn: the best weights stay in memory until the caller saves them. An interrupted training
starts again from its seed, which ends with the same weights; ultralytics' own resume would not.
"""

from __future__ import annotations

import contextlib
import copy
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foxgan.devices import choose_device
from foxgan.errors import StageError, UsageError
from foxgan.images import ImageError, cv2, decode, resize, write
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector import scaled_shape
from foxgan.vision.known import NETWORKS, find_detector
from foxgan.vision.yolo import Net, build, describe, load_net

Box = Sequence[float]
OnProgress = Callable[[float, str], None]
"""Told how many epochs (a fraction of one) were done since the last call, and a note such as the score."""


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo file and its heads: (class name, xyxy in pixels of the upright photo). None is a photo without a head."""

    path: Path
    heads: tuple[tuple[str, Box], ...]


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


def train_detector(
    folder: Path,
    train: Sequence[LabelledPhoto],
    val: Sequence[LabelledPhoto],
    recipe: Recipe,
    on_progress: OnProgress = lambda epochs, note: None,
) -> Net:
    """The weights of the epoch with the best mAP on `val`, and its metrics: map50, map50_95, precision, recall, epoch.

    `folder` is scratch space (photos and labels in YOLO format, a log of all epochs); what it holds is deleted first.
    Same photos, recipe, machine and number of threads: same weights. Raises StageError where there is nothing to learn.
    """
    names = tuple(sorted({name for photo in train for name, _ in photo.heads}))
    if not names:
        raise StageError(
            "no training photo has a labelled head, so there is nothing to learn; look at the labels' split"
        )
    base = None if recipe.model in NETWORKS else _given_weights(recipe.model)
    if folder.exists():
        shutil.rmtree(folder)
    for split, photos in (("train", train), ("val", val)):
        write_yolo_folder(folder, split, photos, names, recipe.imgsz)
    with _contained():
        best = _run(folder, names, recipe, base, on_progress)
    if best is None:
        raise StageError("the detector's training diverged (no finite weights in any epoch); try another seed or model")
    return best


def write_yolo_folder(
    folder: Path, split: str, photos: Sequence[LabelledPhoto], names: Sequence[str], side: int
) -> None:
    """`images/<split>/000000.jpg` with `labels/<split>/000000.txt` (class and normalised centre and size, one head a line).

    Photos are upright and at most `side` pixels long, so that an epoch decodes little. Raises StageError if none is readable.
    """
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    written = 0
    for position, photo in enumerate(photos):
        try:
            pixels = decode(photo.path)
        except (ImageError, OSError):
            continue
        height, width = pixels.shape[:2]
        if max(height, width) > side:
            pixels = resize(pixels, *scaled_shape(height, width, side, side))
        write(images / f"{position:06d}.jpg", pixels)
        lines = [_label(names.index(name), box, width, height) for name, box in photo.heads if name in names]
        (labels / f"{position:06d}.txt").write_text("".join(lines), encoding="utf-8")
        written += 1
    if not written:
        raise StageError(f"none of the {len(photos)} photos for {split} is readable")


def _label(number: int, box: Box, width: int, height: int) -> str:
    x0, x1 = (min(max(v / width, 0.0), 1.0) for v in (box[0], box[2]))
    y0, y1 = (min(max(v / height, 0.0), 1.0) for v in (box[1], box[3]))
    return f"{number} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}\n"


def _run(folder: Path, names: tuple[str, ...], recipe: Recipe, base: Net | None, on_progress: OnProgress) -> Net | None:
    training = _training_class()(folder, names, recipe)
    training.model = _starting_point(recipe.model, names, base)  # the constructor has seeded the generators
    training.add_callback("on_train_batch_end", lambda t: on_progress(1 / len(t.train_loader), ""))
    training.add_callback("on_fit_epoch_end", lambda t: on_progress(0, f"mAP50 {_metrics(t)['map50']:.3f}"))
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)  # the constructor has set a number of its own
    training.train()
    best: Net | None = training.best_net
    return best


def _given_weights(model: str) -> Net:
    try:
        net = load_net(find_detector(model))
        if not net.can_train:
            raise UsageError(
                f"{model}: finds what a text says, which no training goes on from; `autolabel` makes labels of what it finds"
            )
        return net
    except UsageError as error:
        raise UsageError(f"{error}; or a network to train from scratch: {', '.join(NETWORKS)}") from error


def _starting_point(model: str, names: tuple[str, ...], base: Net | None) -> Any:
    if base is None:
        return build(describe(model, len(names)))
    fresh = build({**base.model.yaml, "nc": len(names)})
    fresh.names = dict(enumerate(names))  # rows of known classes are taken over by name
    fresh.load(base.model, verbose=False)
    return fresh


def _metrics(training: Any) -> dict[str, float]:
    names = {"mAP50(B)": "map50", "mAP50-95(B)": "map50_95", "precision(B)": "precision", "recall(B)": "recall"}
    values = training.metrics or {}
    return {name: round(float(values.get(f"metrics/{key}", 0.0)), 5) for key, name in names.items()}


@cache
def _training_class() -> Any:
    import_module("torchvision")  # whether ultralytics uses its NMS depends on whether somebody has imported it
    base = ultralytics("models.yolo.detect").DetectionTrainer

    # Not called a Trainer: ultralytics adds the callbacks of its platform and of trackers to every class whose name has that word.
    class HeadTraining(base):  # type: ignore[misc, valid-type]
        """ultralytics' training loop that keeps the best weights in memory, and neither downloads nor pickles."""

        def __init__(self, folder: Path, names: tuple[str, ...], recipe: Recipe) -> None:
            self.heads, self.recipe = names, recipe
            self.folder = folder.resolve()
            self.best_net: Net | None = None
            super().__init__(overrides=_overrides(self.folder, recipe))

        def get_dataset(self) -> dict[str, Any]:
            """The folder written here; the original looks for a font and a data set to download."""
            folders = {split: str(self.folder / "images" / split) for split in ("train", "val")}
            return {
                **folders,
                "path": self.folder,
                "names": dict(enumerate(self.heads)),
                "nc": len(self.heads),
                "channels": 3,
            }

        def save_model(self) -> bool:
            """Keep the averaged weights if they are the best so far."""
            weights = self.ema.ema
            if self.fitness == self.best_fitness and all(torch.isfinite(p).all() for p in weights.parameters()):
                model = copy.deepcopy(weights).float().cpu().eval()
                metrics = {**_metrics(self), "epoch": self.epoch + 1}
                self.best_net = Net(model, self.heads, self.recipe.imgsz, metrics)
            return True

        def final_eval(self) -> None:
            """Nothing: the best epoch was validated when it ended."""

    return HeadTraining


def _overrides(folder: Path, recipe: Recipe) -> dict[str, Any]:
    device = choose_device(recipe.device)
    return {
        "model": "yolo11n.yaml",  # a name that it accepts; the network is put in its place before training
        "data": "written-by-foxgan.yaml",
        "save_dir": str(folder / "run"),
        "imgsz": recipe.imgsz,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "nbs": recipe.batch,  # a step per batch: small sets have too few steps when gradients are summed over 64 photos
        "patience": recipe.patience,
        "seed": recipe.seed,
        "device": "0" if device == "cuda" else device,
        "workers": recipe.workers,
        "deterministic": True,
        "amp": False,  # its check downloads a network
        "plots": False,
        "close_mosaic": min(10, recipe.epochs // 4),
        "warmup_epochs": min(3.0, recipe.epochs / 10),
    }


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
