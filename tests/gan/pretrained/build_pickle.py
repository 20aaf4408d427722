"""A pickler that writes any global by name, whether or not it can be imported here, and any bytes as an object."""

import io
import pickle
from types import FunctionType
from typing import Any


class Global:
    """`module.name`, written as a reference and never looked up."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *args: Any) -> Any:
        raise AssertionError("for the reader to call; the pickler only asks whether it is callable")


class Call:
    """What a reader that trusts the file gets by calling `module.name(*args)`, then setting `state`."""

    def __init__(self, module: str, name: str, *args: Any, state: Any = None) -> None:
        self.function, self.args, self.state = Global(module, name), args, state

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.function, self.args)
        return parts if self.state is None else (*parts, self.state)


class Raw(bytes):
    """Opcodes to put where an object is due."""


class EasyDict(dict):
    """Is pickled as NVIDIA's class of that name: a dict with nothing but its items."""

    __module__ = "dnnlib.util"


class Writer(pickle._Pickler):
    """`numpy_writer`, 1 or 2, is the version of numpy whose module names stand in the file."""

    def __init__(self, file: io.BytesIO, protocol: int, numpy_writer: int) -> None:
        super().__init__(file, protocol)
        self.numpy_writer = numpy_writer

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Raw):
            self.write(bytes(obj))
        elif isinstance(obj, Global):
            self._save_name(obj, obj.module, obj.name)
        else:
            super().save(obj, save_persistent_id)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__
        if self.numpy_writer == 1:
            module = module.replace("numpy._core", "numpy.core")
        self._save_name(obj, module, name or obj.__qualname__)

    def _save_name(self, obj: Any, module: str, name: str) -> None:
        if id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
            return
        if self.proto >= 4:
            super().save(module)
            super().save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {FunctionType: save_global}


def dump(obj: Any, protocol: int = 4, numpy_writer: int = 2) -> bytes:
    """`obj` as a pickle."""
    file = io.BytesIO()
    Writer(file, protocol, numpy_writer).dump(obj)
    return file.getvalue()
