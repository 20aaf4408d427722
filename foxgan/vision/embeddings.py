"""From texts to vectors: by a file of embeddings, by the cache, or by a text encoder.

A file of embeddings is a .safetensors with a vector for each text under the text itself. The cache is such files, one for each
encoder (by the digest of its file), so that an encoder is loaded only for texts that it has not seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from foxgan.errors import DataError, UsageError, did_you_mean
from foxgan.shipped import models_folder
from foxgan.vision.known import ENCODERS

Vectors = Mapping[str, NDArray[np.float32]]

SIZE = 512  # of the vectors of all encoders that detectors are trained with
CACHE = "prompts"  # folder among the public models


@dataclass(frozen=True)
class Source:
    """Where vectors came from: the name of the file, its sha256, and what is known of its license."""

    file: str
    sha256: str
    license: str | None


def vectors_of(texts: Sequence[str], path: Path, family: str) -> tuple[Vectors, Source]:
    """Vectors of length 1 for `texts` from the file of a text encoder of this family, or of embeddings.

    Raises UsageError for a text that a file of embeddings does not hold, DataError for a file that is neither.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = next((k for k in ENCODERS.values() if path.name in (k.file.file, *k.also)), None)
    source = Source(path.name, digest, known.license if known else None)
    own = _read(path)
    if own is not None:
        return _picked(own, texts, path), source
    return _encoded(texts, path, family, models_folder() / CACHE / f"{digest[:32]}-{family}.safetensors"), source


def _picked(own: Vectors, texts: Sequence[str], path: Path) -> Vectors:
    unknown = [text for text in texts if text not in own]
    if unknown:
        raise UsageError(
            f"{path}: a file of {len(own)} embeddings, without one for {unknown[0]!r}{did_you_mean(unknown[0], own)}; prompts "
            "are its names here"
        )
    lengths = {text: float(np.linalg.norm(own[text])) for text in texts}
    odd = [text for text, length in lengths.items() if not 0 < length < np.inf]
    if odd:
        raise DataError(f"{path}: the embedding of {odd[0]!r} is zero or not finite")
    return {text: own[text] / np.float32(lengths[text]) for text in texts}


def _encoded(texts: Sequence[str], path: Path, family: str, cache: Path) -> Vectors:
    """By the cache, else by the encoder."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{cache}.lock"):
        known = dict(_cached(cache))
        missing = [text for text in texts if text not in known]
        if missing:
            from foxgan.vision.text import embed

            found = embed(path, missing, family)
            if found.shape[1] != SIZE:
                raise DataError(f"{path}: makes vectors of {found.shape[1]} numbers; detectors need {SIZE}")
            known |= dict(zip(missing, found.numpy(), strict=True))
            save_vectors(cache, known)
    return {text: known[text] for text in texts}


def _cached(cache: Path) -> Vectors:
    """What the cache holds; nothing if it is damaged: then it is written anew."""
    try:
        return (_read(cache) if cache.is_file() else None) or {}
    except DataError:
        return {}


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Write a file of embeddings."""
    temporary = path.with_name(f"{path.name}.tmp")
    save_file({text: np.ascontiguousarray(vector, np.float32) for text, vector in vectors.items()}, temporary)
    os.replace(temporary, path)


def _read(path: Path) -> Vectors | None:
    """The vectors in a file of embeddings; None for a file of something else."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "np") as file:
            if any(file.get_slice(name).get_shape() != [SIZE] for name in file.keys()):  # noqa: SIM118  (not a dict)
                return None
            return {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a readable .safetensors file ({error}); fetch or write it again") from error
