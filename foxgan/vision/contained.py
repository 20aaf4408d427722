"""The one place that imports ultralytics, with its side effects contained."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image

from foxgan.images import import_opencv

CONTAINED = {
    "ULTRALYTICS_SAFE_LOAD": "1",  # its own loader: weights_only, layers without eval
    "YOLO_AUTOINSTALL": "false",  # it pip-installs what a weight file names
    "YOLO_OFFLINE": "true",  # it asks DNS at import
    "YOLO_VERBOSE": "false",  # it logs to stdout
}
INTEGRATIONS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


@cache
def _contain_ultralytics() -> None:
    """First import: no network, no analytics, no installs, settings in a folder of this process; and undo what it sets globally."""
    cv2 = import_opencv()
    environment, opencv_threads, numpy_print = dict(os.environ), cv2.getNumThreads(), np.get_printoptions()
    opens, save = Image.open, torch.save
    folder = tempfile.mkdtemp(prefix="foxgan-yolo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(CONTAINED, YOLO_CONFIG_DIR=folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            utils = import_module("ultralytics.utils")
            for name in INTEGRATIONS:  # past its own __setitem__, which writes the file of whoever imported it first
                dict.__setitem__(utils.SETTINGS, name, False)
            import_module("ultralytics.utils.events").events.enabled = False
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]  # OMP_NUM_THREADS=1, for one, would slow every child process
        os.environ.update(environment)
        cv2.setNumThreads(opencv_threads)
        torch.save, Image.open = save, opens  # their `open` asks pip for a package when it meets text
        np.set_printoptions(**numpy_print)
        torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]
    logger = logging.getLogger("ultralytics")
    logger.handlers, logger.propagate = [logging.NullHandler()], False


def ultralytics(module: str) -> Any:
    """The module `ultralytics.<module>`, contained."""
    _contain_ultralytics()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"ultralytics.{module}")
