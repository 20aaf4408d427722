"""Where a detector's weights lie, found by path or by name. No heavy import, so that a pipeline can check a name before it runs.

foxgan never downloads a detector on its own: a public name is looked up in a folder, and the error says what to put there.
"""

from pathlib import Path

from foxgan.errors import UsageError
from foxgan.shipped import find_shipped, models_folder, shipped_names

DETECTOR_FILE = "detector.safetensors"
SUFFIXES = (".safetensors", ".onnx", ".pt")
NETWORKS = tuple(
    f"{family}{scale}{task}" for task in ("", "-pose") for family in ("yolo11", "yolov8") for scale in "pnsmlx"
)
"""Networks that can be trained from scratch, smallest first; scale p (half the width of n) is foxgan's own, -pose finds points, too."""


def find_detector(name: str | Path) -> Path:
    """The weight file that `name` means: a file, a folder with detector.safetensors, a shipped or a public name.

    Raises UsageError that says what there is and where a public file would be looked for.
    """
    path = Path(name)
    if path.is_dir() and (path / DETECTOR_FILE).is_file():
        return path / DETECTOR_FILE
    if path.is_file():
        return path
    if path.name != str(name):
        what = f"has no {DETECTOR_FILE} in it; give the output of `train-detector`" if path.is_dir() else "is not there"
        raise UsageError(f"{path}: the detector's weights: this path {what}, or a file ending in {', '.join(SUFFIXES)}")
    shipped = find_shipped("detectors", path.name)
    if shipped is not None:
        return shipped
    public = models_folder() / path.name
    if public.is_file():
        return public
    ships = ", ".join(shipped_names("detectors")) or "none"
    if path.suffix in SUFFIXES:
        raise UsageError(
            f"{name}: no such file here and none in {models_folder()}; fetch it (ultralytics publishes its .pt files at "
            f"https://github.com/ultralytics/assets/releases) and put it there, or name a shipped detector: {ships}"
        )
    raise UsageError(f"{name}: no detector is called so; shipped: {ships}; or give a path to {', '.join(SUFFIXES)}")
