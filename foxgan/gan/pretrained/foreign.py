"""Weight files of other programs: which format a file has, and its networks as foxgan's sizes, names and tensors.

A reader of a format is one function from what the file holds to a `Foreign`. It never decides what may be missing: that is
seen, by name and shape, when the networks are filled.
"""

import contextlib
import math
import mmap
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from foxgan.errors import DataError, FoxganError, UnsafeFileError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.pretrained import torchfile
from foxgan.gan.pretrained.pickles import DAMAGED, read_pickle
from foxgan.gan.pretrained.records import Array, Malformed, TensorRecord, shown

Tensors = dict[str, Tensor]
MAX_PARTS = 50_000  # layers and tensors
NAME = re.compile(r"[A-Za-z0-9_./-]{1,100}")


@dataclass
class Foreign:
    """What a foreign file says: `tensors` by network (G, D, G_ema) and state name, and `notes`, a sentence for each thing left out."""

    format: str
    network: NetworkConfig
    tensors: dict[str, Tensors]
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Budget:
    """What a file may cost: twice its bytes as tensors, and no more parts, by name, than any model has."""

    def __init__(self, length: int) -> None:
        self.left, self.parts = 2 * length, MAX_PARTS

    def part(self, name: Any) -> str:
        """Count one network, layer or tensor; its name if it is one."""
        self.parts -= 1
        if self.parts < 0:
            raise Malformed("more layers and tensors than any model has")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Malformed(f"a layer or tensor that is called {shown(name)}")
        return name

    def take(self, record: TensorRecord | Array) -> Tensor:
        """The record's numbers, float32."""
        self.left -= record.cost
        if self.left < 0:
            raise Malformed("more tensors than it has bytes for")
        return record.tensor()


def read_foreign(path: Path) -> Foreign:
    """The networks in a file of another program (specs: weights §0). Nothing in it is executed.

    Raises UnsafeFileError where it asks for more than weights, DataError where it is damaged or not what foxgan can load.
    """
    try:
        found = _read(path)
        if kimg := re.fullmatch(r"network-snapshot-(\d{6})", path.stem):  # the only place where NVIDIA's code tells it
            found.facts["nimg"] = int(kimg[1]) * 1000
        return found
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path}: {error}; not opened further") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"{path}: network sizes that foxgan does not know ({first['loc']}: {first['msg']})") from None
    except FoxganError as error:
        raise DataError(f"{path}: {error}") from None
    except (*DAMAGED, RuntimeError, OSError, struct.error, zipfile.BadZipFile) as error:
        words = str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: damaged or cut off ({' '.join(words.split())[:200]}); fetch it again") from None


def _read(path: Path) -> Foreign:
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
        if start.lstrip()[:1] == b"<":
            raise DataError("is a web page, not a model: the download gave a page in its place; fetch the file itself")
        if start.startswith(torchfile.ZIP_START):
            with zipfile.ZipFile(file) as archive:
                return _understand(torchfile.read_zip(archive, length), length)
        if not start.startswith(b"\x80"):
            raise DataError("is not a model that foxgan knows: expected safetensors, NVIDIA's .pkl or rosinality's .pt")
        with contextlib.closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as data:
            if start.startswith(torchfile.STREAM_START):
                return _understand(torchfile.read_stream(data, length), length)
            return _understand(read_pickle(data, length, load_blob=torchfile.load_blob), length)


def _understand(found: Any, length: int) -> Foreign:
    """The reader for what the file holds does the rest."""
    from foxgan.gan.pretrained import nvidia_tf, nvidia_torch, rosinality

    readers: tuple[tuple[Callable[[Any], bool], Callable[[Any, Budget], Foreign]], ...] = (
        (nvidia_torch.knows, nvidia_torch.read),
        (nvidia_tf.knows, nvidia_tf.read),
        (rosinality.knows, rosinality.read),
    )
    for knows, read in readers:
        if knows(found):
            return read(found, Budget(length))
    raise DataError(f"holds {_described(found)}, not the networks of a StyleGAN2 that foxgan knows")


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        names = ", ".join(str(name)[:20] for name in list(found)[:6])
        hint = " (lucidrains' format, another architecture)" if {"GAN", "version"} <= found.keys() else ""
        return f"a dictionary of {names or 'nothing'}{hint}"
    return f"a {type(found).__name__}"


def network_of(sizes: Mapping[str, Mapping[str, Any]]) -> NetworkConfig:
    """The sizes that all networks of a file, by name, agree on; DataError where they do not."""
    shared: dict[str, Any] = {}
    for name, own in sizes.items():
        for key, value in own.items():
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise Malformed(f"a {type(value).__name__} for {key}")
            if shared.setdefault(key, value) != value:
                raise DataError(
                    f"its {name} has {key} {shown(value)}, another network of it {shown(shared[key])}, which foxgan cannot hold in "
                    "one model"
                )
    return NetworkConfig.model_validate(shared)


def strength(p: Any) -> dict[str, float]:
    """How strongly D's images were augmented at the end, as a fact, if `p` can be that."""
    return {"p": float(p)} if isinstance(p, int | float) and 0 <= p < math.inf else {}
