"""The list of stages. A new stage is a file beside this one and its name in `MODULES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foxgan.stages.base import Stage

# stage name -> module and class; modules are imported when a stage is asked for
MODULES = {
    "scrape": ("foxgan.stages.scrape", "Scrape"),
    "quality": ("foxgan.stages.quality", "Quality"),
    "duplicates": ("foxgan.stages.duplicates", "Duplicates"),
    "train-detector": ("foxgan.stages.train_detector", "TrainDetector"),
    "detect": ("foxgan.stages.detect", "Detect"),
    "autolabel": ("foxgan.stages.autolabel", "Autolabel"),
    "agreement": ("foxgan.stages.agreement", "Agreement"),
    "align": ("foxgan.stages.align", "Align"),
    "crop": ("foxgan.stages.crop", "Crop"),
    "pack": ("foxgan.stages.pack", "Pack"),
    "train": ("foxgan.stages.train", "Train"),
    "export": ("foxgan.stages.export", "Export"),
    "sample": ("foxgan.stages.sample", "Sample"),
    "interpolate": ("foxgan.stages.interpolate", "Interpolate"),
}

# one line each for `foxgan --help`, which must not wait for the stages' modules; a test holds them equal to the docstrings
SUMMARIES = {
    "scrape": "Take photos in: check that they decode, keep their bytes and where they come from.",
    "quality": "Drop pictures that fall short: small, oblong, framed, dark, bright, clipped, grey, blurred, or with text over them.",
    "duplicates": "Keep the best copy of every picture: exact, re-encoded, resized, mirrored and cropped ones are found.",
    "train-detector": "Train a YOLO network on labelled heads, from scratch or from given weights.",
    "detect": "Find heads in photos: a box, a score and a class for each; a photo may hold several.",
    "autolabel": "Make labels of the heads that a detector is sure of, to train a faster one on.",
    "agreement": "Compare found heads with labels: average precision, precision, recall, and the photos where they differ most.",
    "align": "Bring heads into one position without labels: each is turned, moved and scaled until it agrees with the mean of its like.",
    "crop": "Cut an upright square around every detected head, or bring whole images to one size.",
    "pack": "Put pictures of one shape, in the order of their ids, into an LMDB file with their labels.",
    "train": "Train StyleGAN2-ADA on a dataset, from scratch or from another model.",
    "export": "Make one small file of a trained model, to draw from and to start other trainings from.",
    "sample": "Draw pictures from a trained generator, one per seed.",
    "interpolate": "Make a looped film between seeds, linear in w.",
}


@cache
def stage_class(name: str) -> type[Stage]:
    """The stage called `name`. Raises KeyError for a name that is not in `MODULES`."""
    module, attribute = MODULES[name]
    stage: type[Stage] = getattr(import_module(module), attribute)
    return stage
