"""A pickle reader with a closed list of globals, all of which are stubs of ours: whatever a file asks for, nothing of it runs.

Every opcode is looked at before the first one is carried out. So a file that names anything else is refused by that name
before any call, and one that wants more memory or time than its bytes are worth is refused, too.
"""

import mmap
import pickle
import pickletools
from collections.abc import Callable
from typing import IO, Any

from foxgan.errors import UnsafeFileError
from foxgan.gan.pretrained import records
from foxgan.gan.pretrained.records import Call, Constant, Malformed

File = IO[bytes] | mmap.mmap
Name = tuple[str, str]  # of a global: module and attribute
Blob = Callable[[bytes], Any]
Persistent = Callable[[Any], Any]
MAX_TUPLE = 256  # entries of a tuple, those of its tuples included: what it costs to hash it
MAX_OPCODES = 2_000_000
MAX_ODD_KEYS = 5_000
MAX_BITS = 256  # of a whole number, for the same reason

# What picklers write in protocols 2 to 5; no text opcodes, no extension registry, nothing that is only good for tricks.
SIMPLE = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINBYTES"}
SIMPLE |= {"SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "EMPTY_TUPLE"}
TEXT = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
TO_MARK = {"APPENDS": 0, "SETITEMS": 2, "ADDITEMS": 1}  # which of the entries are hashed: none, every second, all
POPS = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}
CALLS = {"REDUCE", "NEWOBJ"}
MARK = object()


def _parameter(data: Any = None, *_: Any) -> Any:
    return data


def _globals() -> dict[Name, Any]:
    """All that a foreign file may name (specs: weights §1.3, §5.1, §7), and what it means here."""
    named: dict[str, Any] = {
        "torch_utils.persistence._reconstruct_persistent_obj": Call(records.Module),
        "dnnlib.util.EasyDict": records.Dict,
        "dnnlib.EasyDict": records.Dict,
        "dnnlib.tflib.network.Network": records.TFNetwork,
        "collections.OrderedDict": records.Dict,
        "argparse.Namespace": records.Namespace,
        "torch._utils._rebuild_parameter": Call(_parameter),
        "torch._utils._rebuild_tensor": Call(records.TensorRecord),
        "torch._utils._rebuild_tensor_v2": Call(records.TensorRecord),
        "torch.Size": Call(records.counts_of),
        "torch.device": Call(lambda *_: None),
        "numpy.dtype": Call(records.DType),
        "numpy.ndarray": Constant("ndarray"),
    }
    for package in ("numpy.core", "numpy._core"):
        named[f"{package}.multiarray.scalar"] = Call(records.number)
        named[f"{package}.multiarray._reconstruct"] = Call(records.Array)
        named[f"{package}.numeric._frombuffer"] = Call(records.array_from_buffer)
    for module in ("builtins", "__builtin__"):
        named[f"{module}.set"] = Call(lambda items=(): items)
    named |= {f"torch.{kind}": Constant(kind) for kind in records.DTYPES}
    names = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    named |= {f"torch.{name}": Constant(name) for name in names}
    return {tuple(name.rsplit(".", 1)): meaning for name, meaning in named.items()}  # type: ignore[misc]


GLOBALS = _globals()
STORAGE_BLOB = ("torch.storage", "_load_from_bytes")
BYTES = ("_codecs", "encode")  # of protocols below 3


class Reader(pickle.Unpickler):
    """Unpickles one pickle of `length` bytes with the closed list, some globals of which copy bytes: not many more than it has."""

    def __init__(self, file: File, length: int, load_blob: Blob | None, persistent: Persistent | None) -> None:
        super().__init__(file)
        self.left, self.load_blob, self.persistent = (
            2 * length,
            load_blob,
            persistent,
        )  # bytes as text, then as a storage
        self.own = {STORAGE_BLOB: Call(self._blob), BYTES: Call(self._encoded)}

    def find_class(self, module: str, name: str) -> Any:
        return self.own.get((module, name)) or GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self.persistent is None:
            raise Malformed("a reference to an object outside of it")
        return self.persistent(pid)

    def _blob(self, data: Any) -> Any:
        if self.load_blob is None or not isinstance(data, bytes):
            raise Malformed("a storage that is not bytes")
        self._spend(len(data))
        return self.load_blob(data)

    def _encoded(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise Malformed("bytes that are not written as latin1")
        self._spend(len(text))
        return text.encode("latin1")

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Malformed("more bytes in use than it has")


def read_pickle(file: File, length: int, load_blob: Blob | None = None, persistent: Persistent | None = None) -> Any:
    """What the pickle at the position of `file`, which has `length` bytes in all, holds; the position moves behind it.

    `load_blob` reads torch's nested storages, `persistent` what persistent ids stand for. Raises UnsafeFileError for a global outside
    of the list; everything else that can be wrong with a file ends as one of `DAMAGED`.
    """
    start = file.tell()
    inspect(file, length)
    end = file.tell()
    file.seek(start)
    found = Reader(file, length, load_blob, persistent).load()
    file.seek(end)
    return found


DAMAGED = (
    *(Malformed, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)


def inspect(file: File, length: int) -> None:
    """Walk over one pickle without carrying it out; see the module."""
    walk = _Walk()
    for number, (opcode, arg, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        if number > MAX_OPCODES:
            raise Malformed("more opcodes than any model has")
        if isinstance(arg, int) and opcode.name == "FRAME" and arg > length - file.tell():
            raise Malformed("a frame that is longer than the file")
        walk.follow(opcode.name, arg)


class _Walk:
    """What opcodes do to the stack and the memo, where a value is no more than MARK, a text, or how many entries a tuple has in all."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.odd_keys = 0

    def follow(self, name: str, arg: Any) -> None:
        stack = self.stack
        if name in TEXT:
            stack.append(arg)
        elif name in SIMPLE:
            if isinstance(arg, int) and arg.bit_length() > MAX_BITS:
                raise Malformed("a number that is longer than any in a model")
            stack.append(1)
        elif name == "MARK":
            stack.append(MARK)
        elif name in TUPLES or name == "TUPLE":
            parts = self._to_mark() if name == "TUPLE" else [stack.pop() for _ in range(TUPLES[name])]
            self._tuple(parts)
        elif name in TO_MARK:
            self._hashed(self._to_mark()[:: TO_MARK[name]] if TO_MARK[name] else [])
        elif name in POPS:
            self._hashed(stack[-2:-1] if name == "SETITEM" else [])
            del stack[-POPS[name] :]
        elif name in CALLS:
            arguments = stack.pop()
            stack[-1] = arguments if isinstance(arguments, int) else 1  # a size may be a tuple again
        elif name == "GLOBAL":
            _allow(*arg.split(" ", 1))
            stack.append(1)
        elif name == "STACK_GLOBAL":
            self._stack_global()
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memoize(len(self.memo) if name == "MEMOIZE" else arg)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[arg])
        elif name == "BINPERSID":
            stack[-1] = 1
        elif name not in ("PROTO", "FRAME", "STOP"):
            if name == "INST":  # what it would call tells more than how
                _allow(*arg.split(" ", 1))
            raise Malformed(f"the opcode {name}, which no writer of models needs")

    def _to_mark(self) -> list[Any]:
        """Pop all down to the last MARK, in the order in which they were put."""
        popped = []
        while (top := self.stack.pop()) is not MARK:
            popped.append(top)
        return popped[::-1]

    def _tuple(self, parts: list[Any]) -> None:
        size = 1 + sum(part if isinstance(part, int) else 1 for part in parts)
        if size > MAX_TUPLE:
            raise Malformed(f"a tuple of more than {MAX_TUPLE} entries")
        self.stack.append(size)

    def _hashed(self, keys: list[Any]) -> None:
        """Count keys whose hashes a file can choose; enough of equal hash would take for ever."""
        self.odd_keys += sum(not isinstance(key, str) for key in keys)
        if self.odd_keys > MAX_ODD_KEYS:
            raise Malformed("more keys that are no texts than any model has")

    def _stack_global(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Malformed("a global without a name")
        _allow(module, attribute)
        self.stack.append(1)

    def _memoize(self, place: int) -> None:
        if place > len(self.memo):
            raise Malformed("a memo with gaps")
        self.memo[place : place + 1] = [self.stack[-1]]


def _allow(module: str, name: str) -> None:
    if (module, name) not in GLOBALS and (module, name) not in (STORAGE_BLOB, BYTES):
        raise UnsafeFileError(f"asks for {records.shown(f'{module}.{name}')}, which is not among what model files need")
