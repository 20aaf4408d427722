"""Networks in the form that another library runs: made once, and kept in the user's cache under what they were made of."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from foxgan import __version__
from foxgan.shipped import cache_folder

T = TypeVar("T")
KEPT = 16  # networks; of more, those used longest ago are deleted
REMEMBERED = ("anchors", "strides")  # tensors that a head has from the shape that it saw last


def prepared(key: str, make: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """What `load` reads from a folder that `make` has filled, now or earlier; a damaged one is made again."""
    try:
        folder = cache_folder() / "networks" / key
        if folder.is_dir():
            with contextlib.suppress(Exception):  # each library has its own, undocumented types
                found = load(folder)
                os.utime(folder)
                return found
            shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".", dir=folder.parent)
    except (OSError, RuntimeError):  # no home, or none that can be written: for this time only
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            make(Path(place))
            return load(Path(place))
    try:
        make(Path(temporary))
        with contextlib.suppress(OSError):  # another process was first
            os.rename(temporary, folder)
        return load(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _forget(folder.parent)


def _forget(place: Path) -> None:
    """Delete what was used longest ago, and what killed processes have left."""
    with contextlib.suppress(OSError):
        used = sorted(place.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in used[KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


def digest_of(model: Any, *more: Any) -> str:
    """What a network (with `more` that matters) is known by: its layers and all its tensors, the unregistered ones too."""
    digest = hashlib.sha256(repr((__version__, torch.__version__, getattr(model, "yaml", None), more)).encode())
    for name, module in model.named_modules():
        known = {**module._parameters, **module._buffers, **vars(module)}
        digest.update(f"{name} {type(module).__name__} {module.extra_repr()}\n".encode())
        for key, tensor in sorted(known.items()):
            if isinstance(tensor, torch.Tensor) and key not in REMEMBERED:
                digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
