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
    "train-detector": ("foxgan.stages.train_detector", "TrainDetector"),
    "detect": ("foxgan.stages.detect", "Detect"),
    "crop": ("foxgan.stages.crop", "Crop"),
    "pack": ("foxgan.stages.pack", "Pack"),
    "train": ("foxgan.stages.train", "Train"),
    "sample": ("foxgan.stages.sample", "Sample"),
    "interpolate": ("foxgan.stages.interpolate", "Interpolate"),
}

# one line each for `foxgan --help`, which must not wait for the stages' modules; a test holds them equal to the docstrings
SUMMARIES = {
    "scrape": "Bring photos in: from a folder, an archive, IDX files, a list of URLs, or drawn by foxgan.",
    "train-detector": "Train a head detector on photos with known boxes.",
    "detect": "Find the heads on every photo.",
    "crop": "Cut an upright square around every detected head.",
    "pack": "Pack pictures of one shape into an LMDB dataset.",
    "train": "Train StyleGAN2-ADA, from scratch or from a snapshot.",
    "sample": "Make pictures from seeds.",
    "interpolate": "Make a film that walks from seed to seed.",
}


@cache
def stage_class(name: str) -> type[Stage]:
    """The stage called `name`. Raises KeyError for a name that is not in `MODULES`."""
    module, attribute = MODULES[name]
    stage: type[Stage] = getattr(import_module(module), attribute)
    return stage
