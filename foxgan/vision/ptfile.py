"""Files of `torch.save` from outside: tensors and plain values, and every class that they name as an inert stand-in."""

from __future__ import annotations

import contextlib
import pickle
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from foxgan.errors import DataError, UnsafeFileError

INERT = re.compile(  # classes that ultralytics' files and TorchScript archives name; none of them is ever looked up
    r"(ultralytics|torch\.nn\.modules|torch\.nn\.parameter|__torch__)\.[\w.]+"
    r"|builtins\.getattr|pathlib\.(_local\.)?\w+Path|numpy\.(dtype|_?core\.multiarray\.scalar)|torch\.(Size|device)"
)
CODE = "constants.pkl"  # by this entry torch knows an archive of TorchScript
OBJECTS = ("data.pkl", "byteorder")  # beside the tensors; TorchScript compresses them
VERSION = "3\n"  # of the format that torch.save writes
MAX_OBJECTS = 16 << 20  # bytes of each


class Inert:
    """Stands for every class that a checkpoint names. Made from anything, does nothing, keeps the attributes it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def read_pt(path: Path, what: str = "a detector") -> Any:
    """The content of a .pt. Raises UnsafeFileError for a file that would call anything, DataError for one that is no zip of torch."""
    _refuse_strange_files(path, what)
    registered = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()  # what a library has registered is not good enough for a file from outside
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        strange = [name for name in wanted if not INERT.fullmatch(name)]
        if strange:
            raise UnsafeFileError(f"{path}: refused, it would call {strange[0]}; {what} needs nothing of the kind")
        torch.serialization.add_safe_globals([(Inert, name) for name in wanted])
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(f"{path}: refused, it is more than tensors ({str(error).splitlines()[0]})") from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(registered)


def _refuse_strange_files(path: Path, what: str) -> None:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        if pickled:
            raise UnsafeFileError(f"{path}: refused, a bare pickle; {what} is a zip file as torch.save writes it")
        raise DataError(f"{path}: not a weight file, or only a part of it; expected a zip file as torch.save writes it")
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise UnsafeFileError(f"{path}: refused, its parts are compressed, which torch never does")


def tensors_of(module: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """What `state_dict` would give, read from the attributes of the stand-ins of a checkpoint."""
    for kind in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, kind, {}).items():
            if isinstance(tensor, torch.Tensor):
                yield prefix + name, tensor.detach()
    for name, child in getattr(module, "_modules", {}).items():
        yield from tensors_of(child, f"{prefix}{name}.")


def hollow(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether tensors claim to be larger than what they are stored in: by strides of 0, a few bytes seem any number."""
    stored = {(s := t.untyped_storage()).data_ptr(): s.nbytes() for t in tensors.values()}
    return sum(t.nbytes for t in tensors.values()) > sum(stored.values())


# TorchScript


def is_script(path: Path) -> bool:
    """Whether a zip file holds code of TorchScript beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count("/") == 1 and name.endswith(f"/{CODE}") for name in archive.namelist())


def script_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a TorchScript archive by their names; its code is left behind unread. Raises what `read_pt` raises."""
    with _without_code(path) as plain:
        try:
            module = read_pt(plain, "a text encoder")
        except (DataError, UnsafeFileError) as error:
            raise type(error)(str(error).replace(str(plain), str(path))) from error
    return dict(_attributes(module, ""))


@contextlib.contextmanager
def _without_code(path: Path) -> Iterator[Path]:
    """A copy with the objects and the tensors only: torch reads nothing `weights_only` that has code in it."""
    with tempfile.TemporaryDirectory(prefix="foxgan-", ignore_cleanup_errors=True) as folder:
        plain = Path(folder) / "plain.pt"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(plain, "w") as target:
            for entry in source.infolist():
                top, _, part = entry.filename.partition("/")
                if part not in OBJECTS and not part.startswith("data/"):
                    continue
                if entry.compress_type != zipfile.ZIP_STORED and (part not in OBJECTS or entry.file_size > MAX_OBJECTS):
                    raise UnsafeFileError(
                        f"{path}: refused, its part {part[:40]!r} is compressed, which could be a bomb"
                    )
                with source.open(entry) as read, target.open(entry.filename, "w", force_zip64=True) as write:
                    shutil.copyfileobj(read, write, 1 << 20)
            target.writestr(f"{top}/version", VERSION)  # TorchScript keeps its own in other places
        yield plain


def _attributes(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors and modules of TorchScript are plain attributes of one another."""
    for name, value in vars(module).items() if isinstance(module, Inert) else ():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value.detach()
        elif isinstance(value, Inert):
            yield from _attributes(value, f"{prefix}{name}.")
