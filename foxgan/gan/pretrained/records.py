"""What stands in a foreign pickle, as inert records: tensors, arrays, modules, dictionaries. Nothing of torch or numpy is rebuilt
by the file's own calls; every size, stride and length is checked against the bytes that are really there.

A pickle may try to put state onto whatever it has made (BUILD). So each class here either says what state means to it or
refuses it, and functions are wrapped in `Call`, which has no attributes that could be replaced.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_DIMS = 8
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
ARRAY_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class Malformed(Exception):
    """The file says something that no writer of its format says; the text names the fact."""


class Sealed:
    """A record that a pickle cannot change once it is made."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise Malformed(f"it puts a state onto a {type(self).__name__.lower()}")


class Call(Sealed):
    """What one global of the closed list means: a function of ours, under the name that the file uses."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Constant(Sealed):
    """A global that is only named, such as a storage class or a dtype."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Dict(dict[Any, Any]):
    """EasyDict and OrderedDict, made empty. State beside the entries, such as torch's `_metadata`, means nothing here."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


class Namespace:
    """An object whose state is a plain dictionary: argparse's Namespace and TensorFlow networks."""

    __slots__ = ("state",)
    state: dict[str, Any]

    def __new__(cls) -> Self:
        made = super().__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise Malformed(f"the state of a network is a {type(state).__name__}")
        self.state = state


class TFNetwork(Namespace):
    """`dnnlib.tflib.network.Network`."""

    __slots__ = ()


class Module(Sealed):
    """A persistent object of NVIDIA's PyTorch code: the name of its class and its `__dict__`."""

    __slots__ = ("class_name", "source", "state")

    def __init__(self, meta: Any) -> None:
        if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
            raise Malformed("a persistent object without a state")
        source = meta.get("module_src", "")
        if not isinstance(source, str):
            raise Malformed("a persistent object whose source is no text")
        self.class_name, self.source = shown(meta.get("class_name")), source  # the source is looked at, never run
        self.state: dict[str, Any] = meta["state"]

    def children(self) -> dict[str, "Module"]:
        modules = self.state.get("_modules")
        return {k: v for k, v in modules.items() if isinstance(v, Module)} if isinstance(modules, dict) else {}


class Storage(Sealed):
    """`numel` numbers of one dtype; `read` gives their bytes once the file has been read that far."""

    __slots__ = ("dtype", "kept", "numel", "read")

    def __init__(self, kind: object, numel: object) -> None:
        if not isinstance(kind, Constant) or kind.name not in DTYPES:
            raise Malformed("a storage of an unknown kind")
        self.dtype = DTYPES[kind.name]
        self.numel = _count(numel, "a storage's length")
        self.read: Callable[[], bytes] | None = None
        self.kept: Tensor | None = None

    def numbers(self, once: bool) -> Tensor:
        """All of them in one row; read again for each tensor unless several tensors share them (not `once`)."""
        if self.kept is not None:
            return self.kept
        data = self.read() if self.read else b""
        if len(data) != self.nbytes:
            raise Malformed(f"a storage of {len(data)} bytes that should have {self.nbytes}")
        flat = torch.frombuffer(bytearray(data), dtype=self.dtype)
        self.kept = None if once else flat
        return flat

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


class TensorRecord(Sealed):
    """A view of a storage. Every number that the view shows is one of the storage, and none is shown twice over."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> None:
        if not isinstance(storage, Storage):
            raise Malformed("a tensor without a storage")
        self.storage, self.offset = storage, _count(offset, "a tensor's offset")
        self.shape, self.strides = _counts(size, "a tensor's size"), _counts(stride, "a tensor's stride")
        if len(self.shape) != len(self.strides):
            raise Malformed(f"a tensor with {len(self.shape)} sides and {len(self.strides)} strides")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        count: int = math.prod(self.shape)
        if count > storage.numel or (count and last >= storage.numel):
            raise Malformed(f"a tensor of {list(self.shape)} in a storage of {storage.numel} numbers")

    @property
    def cost(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def tensor(self) -> Tensor:
        """The numbers as a contiguous float32 tensor of its own."""
        count = math.prod(self.shape)
        if not count:
            return torch.empty(self.shape)
        flat = self.storage.numbers(once=count == self.storage.numel)
        return flat.as_strided(self.shape, self.strides, self.offset).to(torch.float32).contiguous().clone()


class DType:
    """`numpy.dtype`, of plain numbers only."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code not in ARRAY_CODES:
            raise Malformed(f"an array of dtype {shown(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", "|", "="):
            raise Malformed("an array in another byte order than little endian")


class Array:
    """`numpy.ndarray`: empty until its state arrives."""

    __slots__ = ("array",)

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.empty(0, np.float32)

    @property
    def cost(self) -> int:
        return self.array.nbytes

    def tensor(self) -> Tensor:
        return torch.from_numpy(self.array.astype(np.float32, order="C"))

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Malformed("an array with an unknown state")
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def array_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Array:
    """numpy's way of writing arrays in protocol 5."""
    made = Array()
    made.array = _array(data, dtype, shape, "F" if order == "F" else "C")
    return made


def number(dtype: Any, data: Any) -> Any:
    """A numpy scalar as a plain number."""
    return _array(data, dtype, (), "C").item()


def counts_of(value: Any = ()) -> tuple[int, ...]:
    """`torch.Size`."""
    return _counts(value, "a size")


def shown(value: Any) -> str:
    """A value of a file for a message, on one line: numbers and short texts as they are, all else by its kind."""
    if isinstance(value, str):
        return value[:60] if value[:60].isprintable() else repr(value[:60])
    return str(value)[:60] if value is None or isinstance(value, bool | int | float) else type(value).__name__


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    sides = _counts(shape, "an array's shape")
    if not isinstance(dtype, DType) or not isinstance(data, bytes | bytearray):
        raise Malformed("an array of something else than numbers")
    count = math.prod(sides)
    if count * dtype.dtype.itemsize != len(data):
        raise Malformed(f"an array of {list(sides)} {dtype.dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(sides, order=order)


def _counts(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > MAX_DIMS:
        raise Malformed(f"{what} that is no short list of numbers")
    return tuple(_count(value, what) for value in values)


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
        raise Malformed(
            f"{what} of {str(value)[:40] if isinstance(value, int | float | str) else type(value).__name__}"
        )
    return value
