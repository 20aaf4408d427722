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


@cache
def stage_class(name: str) -> type[Stage]:
    """The stage called `name`. Raises KeyError for a name that is not in `MODULES`."""
    module, attribute = MODULES[name]
    stage: type[Stage] = getattr(import_module(module), attribute)
    return stage
