"""ultralytics' training loop, made to keep its weights in memory, to go on after an interruption, and to leave the net alone.

Every epoch begins from the seed and its own number, so that nothing but weights, optimizer and scores has to be carried over.
"""

from __future__ import annotations

import copy
import multiprocessing
import random
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foxgan.devices import choose_device
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector_state import State, save_state, saving_is_due
from foxgan.vision.yolo import Net

if TYPE_CHECKING:
    from foxgan.vision.detector_training import Recipe, Task

IN_MEMORY = 1 << 30  # bytes of photos that are decoded once and kept
WARM_UP = 60  # steps, at least
MIRRORED = {3: [1, 0, 2]}  # points of a head, in a mirror: left eye, right eye, nose
POINT_SIGMA = (
    0.1  # how exactly points are to be met, as a share of a head; ultralytics' own for other than people is 1 / points
)
METRICS = {"mAP50(B)": "map50", "mAP50-95(B)": "map50_95", "precision(B)": "precision", "recall(B)": "recall"}
POSE_METRICS = {"mAP50(P)": "pose_map50", "mAP50-95(P)": "pose_map50_95"}


def metrics_of(training: Any) -> dict[str, float]:
    """The scores of the last epoch under foxgan's names."""
    values = training.metrics or {}
    names = METRICS | (POSE_METRICS if training.args.task == "pose" else {})
    return {name: round(float(values.get(f"metrics/{key}", 0.0)), 5) for key, name in names.items()}


@cache
def training_class(pose: bool) -> Any:
    """The class of a training for boxes, or for boxes and points."""
    import_module("torchvision")  # whether ultralytics uses its NMS depends on whether somebody has imported it
    models = ultralytics("models.yolo")
    base = models.pose.PoseTrainer if pose else models.detect.DetectionTrainer

    # Not called a Trainer: ultralytics adds the callbacks of its platform and of trackers to every class whose name has that word.
    class HeadTraining(base):  # type: ignore[misc, valid-type]
        """ultralytics' training loop that keeps the best weights in memory, and neither downloads nor pickles."""

        def __init__(self, folder: Path, task: Task, recipe: Recipe, state: State | None) -> None:
            self.task_of_heads, self.recipe, self.state = task, recipe, state
            self.folder = folder.resolve()
            self.best_net: Net | None = None
            super().__init__(overrides=_overrides(self.folder, recipe))
            if state is not None:
                self.csv.write_text(state.log, encoding="utf-8")
            self.add_callback("on_train_epoch_start", _begin_epoch)
            self.add_callback("on_fit_epoch_end", _end_epoch)

        def get_dataset(self) -> dict[str, Any]:
            """The folder written here; the original looks for a font and a data set to download."""
            names, points = self.task_of_heads.names, self.task_of_heads.points
            found: dict[str, Any] = {s: str(self.folder / "images" / s) for s in ("train", "val")}
            found |= {"path": self.folder, "names": dict(enumerate(names)), "nc": len(names), "channels": 3}
            if points:
                found |= {"kpt_shape": [points, 3], "flip_idx": MIRRORED.get(points, [])}
                found["kpt_oks_sigmas"] = [POINT_SIGMA] * points
            return found

        def resume_training(self, ckpt: Any) -> None:
            """Put everything where the interrupted training had it."""
            if self.state is not None:
                self.best_net = self.state.restore(self)
                self.state = None
            self.args.warmup_epochs = _warm_up(len(self.train_loader), self.epochs)

        def _handle_nan_recovery(self, epoch: int) -> bool:
            """Stop where numbers are none any more, with the best epoch before; the original would read a file that we don't write."""
            finite = self.loss is None or bool(self.loss.isfinite())
            if not finite or (self.fitness is not None and not np.isfinite(self.fitness)):
                self.stop = True
            return False

        def save_model(self) -> bool:
            """Keep the averaged weights if they are the best so far."""
            weights = self.ema.ema
            if self.fitness == self.best_fitness and all(torch.isfinite(p).all() for p in weights.parameters()):
                model = copy.deepcopy(weights).float().cpu().eval()
                model.criterion = None
                metrics = {**metrics_of(self), "epoch": self.epoch + 1}
                self.best_net = Net(model, self.task_of_heads.names, self.recipe.imgsz, metrics)
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
        "warmup_epochs": 0.0,  # set when the number of steps is known
    }


def _warm_up(steps: int, epochs: int) -> float:
    """Epochs of warm-up: three, or more where they are short, but never more than a tenth of all."""
    return min(max(3.0, WARM_UP / steps), epochs / 10)


# Epochs


def _begin_epoch(training: Any) -> None:
    """Random numbers, order and mosaics of this epoch follow from the seed and the epoch's number alone."""
    seed = int(np.random.SeedSequence([training.recipe.seed, training.epoch]).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    loader = training.train_loader
    loader.generator.manual_seed(seed)
    _fill_memory(loader, training.recipe.imgsz, seed)
    loader.reset()  # processes begin anew, too


def _fill_memory(loader: Any, side: int, seed: int) -> None:
    """Mosaics are made of photos in memory: all of them, once, where they fit; else a new choice in every epoch."""
    photos = loader.dataset
    cheap = (
        loader.num_workers == 0 or multiprocessing.get_start_method() == "fork"
    )  # else memory would be sent, not shared
    if photos.ni * side * side * 3 <= IN_MEMORY and cheap:
        photos.max_buffer_length = photos.ni + 1
        missing = list(range(len(photos.buffer), photos.ni))
    else:
        for number in photos.buffer:
            photos.ims[number] = photos.im_hw0[number] = photos.im_hw[number] = None
        photos.buffer.clear()
        missing = random.Random(seed).sample(range(photos.ni), max(1, photos.max_buffer_length - 1))
    for number in missing:
        photos.load_image(number)


def _end_epoch(training: Any) -> None:
    if training.stop or saving_is_due(training.folder):
        save_state(training.folder, training, training.best_net)
