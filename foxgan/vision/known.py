"""Where a detector's weights lie, and a text encoder's, found by path or by name. No heavy import, so that a pipeline can check a
name before it runs. Public files are downloaded when they are first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foxgan import public
from foxgan.errors import UsageError, did_you_mean
from foxgan.public import PublicFile
from foxgan.shipped import find_shipped, models_folder, shipped_names

if TYPE_CHECKING:
    from foxgan.download import OnProgress

DETECTOR_FILE = "detector.safetensors"
SUFFIXES = (".safetensors", ".onnx", ".pt")
NETWORKS = tuple(
    f"{family}{scale}{task}" for task in ("", "-pose") for family in ("yolo11", "yolov8") for scale in "pnsmlx"
)
"""Networks that can be trained from scratch, smallest first; scale p (half the width of n) is foxgan's own, -pose finds points, too."""

ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.4.0/"
PUBLIC = (
    *(f"yoloe-{family}{scale}-seg{kind}.pt" for family in ("11", "v8") for scale in "sml" for kind in ("", "-pf")),
    *(f"yolov8{scale}-world{version}.pt" for version in ("v2", "") for scale in "smlx"),
    *(f"{family}{scale}.pt" for family in ("yolo11", "yolov8") for scale in "nsmlx"),
)
"""Detectors that ultralytics publishes. YOLOE and YOLO-World (the first two rows) find what a text says."""


@dataclass(frozen=True)
class KnownEncoder:
    """A public text encoder. `family` tells which detectors its vectors are for, `also` other names of the same file."""

    family: str
    file: PublicFile
    license: str
    also: tuple[str, ...] = ()


ENCODERS = {
    "clip-vit-b-32": KnownEncoder(
        "clip",
        PublicFile(
            "clip-vit-b-32",
            "https://openaipublic.azureedge.net/clip/models/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
            "ViT-B-32.pt",
            sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        ),
        license="MIT (OpenAI)",
    ),
    "mobileclip-blt": KnownEncoder(
        "mobileclip",
        PublicFile(
            "mobileclip-blt",
            "https://docs-assets.developer.apple.com/ml-research/datasets/mobileclip/mobileclip_blt.pt",
            "mobileclip_blt.pt",
        ),
        license="Apple's, for research only",
        also=("mobileclip_blt.ts",),
    ),
}


def find_detector(name: str | Path, on_progress: OnProgress | None = None) -> Path:
    """The weight file that `name` means: a file, a folder with detector.safetensors, a shipped or a public name, which is pulled.

    Raises UsageError that says what there is, and for a public name what `public.pull` raises.
    """
    found = local_detector(name)
    return found or public.pull(PublicFile(str(name), f"{ULTRALYTICS}{name}", str(name)), on_progress)


def local_detector(name: str | Path) -> Path | None:
    """The same without a download: None for a public name, which counts by itself. Raises UsageError for what is no detector."""
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
    if path.name in PUBLIC:
        return None
    if (models_folder() / path.name).is_file():
        return models_folder() / path.name
    raise _unknown(path)


def _unknown(path: Path) -> UsageError:
    ships = ", ".join(shipped_names("detectors")) or "none"
    there = f"shipped: {ships}; public: {', '.join(PUBLIC[::12])} and the like"
    if path.suffix in SUFFIXES:
        close = did_you_mean(path.name, PUBLIC)
        return UsageError(f"{path}: no such file here and none in {models_folder()}{close}; {there}")
    return UsageError(f"{path}: no detector is called so; {there}; or give a path to {', '.join(SUFFIXES)}")


def find_encoder(name: str | Path, on_progress: OnProgress | None = None) -> Path:
    """The file of a text encoder, or of embeddings, that `name` means: an existing path, or a name in `ENCODERS`, which is pulled.

    Raises UsageError that says what there is, and for a known name what `public.pull` raises.
    """
    if Path(name).is_file():
        return Path(name)
    known = ENCODERS.get(str(name))
    if known is None:
        raise UsageError(f"{name}: no such file, and no text encoder is called so; there are {', '.join(ENCODERS)}")
    here = _others(known)
    return here[0] if here and not known.file.path.is_file() else public.pull(known.file, on_progress)


def _others(known: KnownEncoder) -> list[Path]:
    """Files of an encoder that lie here under its other names."""
    return [path for path in (models_folder() / name for name in known.also) if path.is_file()]


def is_here(name: str | Path) -> bool:
    """Whether `find_encoder` needs no download."""
    known = ENCODERS.get(str(name))
    return known is None or Path(name).is_file() or known.file.path.is_file() or bool(_others(known))


def encoder_of(family: str) -> str | None:
    """The name of the encoder that detectors of a family were trained with; None where none can be read here."""
    return next((name for name, known in ENCODERS.items() if known.family == family), None)
