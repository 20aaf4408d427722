"""Files of `torch.save`, read without torch: the older stream (also nested in NVIDIA's pickles) and the newer zip."""

import io
import zipfile
from typing import Any

from foxgan.errors import UnsafeFileError
from foxgan.gan.pretrained.pickles import File, read_pickle
from foxgan.gan.pretrained.records import Malformed, Storage

MAGIC = 0x1950A86A20F9469CFC6C
STREAM_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number as a pickle
PROTOCOL = 1001
MAX_STRUCTURE = 64 << 20  # bytes of the pickle beside the numbers
ZIP_START = b"PK\x03\x04"


class Storages:
    """The storages that a file refers to, by their key, each made once."""

    def __init__(self) -> None:
        self.made: dict[str, Storage] = {}

    def __call__(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or not 5 <= len(pid) <= 6 or pid[0] != "storage" or any(pid[5:]):
            raise Malformed("a reference to something else than a storage")
        _, kind, key, _, numel = pid[:5]
        if not isinstance(key, str):
            raise Malformed("a storage without a name")
        storage = self.made.setdefault(key, Storage(kind, numel))
        if storage.numel != numel:
            raise Malformed("a storage of two lengths")
        return storage


def load_blob(data: bytes) -> Any:
    """What `torch.storage._load_from_bytes` stands for: the object in a nested stream."""
    return read_stream(io.BytesIO(data), len(data))


def read_stream(file: File, length: int) -> Any:
    """The object of a legacy stream: four pickles, a list of storage keys, then for each its count and its numbers."""
    if read_pickle(file, length) != MAGIC or read_pickle(file, length) != PROTOCOL:
        raise Malformed("no stream of torch.save")
    info = read_pickle(file, length)
    if not isinstance(info, dict) or info.get("little_endian") is not True:
        raise Malformed("numbers in another byte order than little endian")
    storages = Storages()
    found = read_pickle(file, length, persistent=storages)
    keys = read_pickle(file, length)
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(storages.made)
    ):
        raise Malformed("other storages than its tensors need")
    for key in keys:
        storage = storages.made[key]
        if int.from_bytes(file.read(8), "little") != storage.numel:
            raise Malformed("a storage of another length than its tensors say")
        _attach(storage, file.read(storage.nbytes) if storage.nbytes <= length - file.tell() else b"")
    return found


def read_zip(archive: zipfile.ZipFile, length: int) -> Any:
    """The object of a zip of torch.save. Numbers are read from the zip, which has `length` bytes, when they are asked for."""
    entries = {info.filename: info for info in archive.infolist()}
    packed = next((i.filename for i in entries.values() if i.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise UnsafeFileError(
            f"its entry {packed[:80]!r} is compressed, which torch.save never does: a zip bomb can be"
        )
    if sum(info.file_size for info in entries.values()) > length:
        raise UnsafeFileError("its entries say that they are larger than the file")
    root = next((name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")), None)
    if root is None:
        raise Malformed("a zip without the data.pkl of torch.save")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise Malformed("numbers in another byte order than little endian")
    if entries[f"{root}data.pkl"].file_size > MAX_STRUCTURE:
        raise Malformed("a data.pkl that is larger than any model's")
    structure = archive.read(f"{root}data.pkl")
    storages = Storages()
    found = read_pickle(io.BytesIO(structure), len(structure), persistent=storages)
    for key, storage in storages.made.items():
        entry = entries.get(f"{root}data/{key}")
        if entry is None or entry.file_size != storage.nbytes:
            raise Malformed(f"a storage {key[:20]!r} that the zip does not hold in that length")
        storage.read = lambda name=entry.filename: archive.read(name)
    return found


def _attach(storage: Storage, data: bytes) -> None:
    if len(data) != storage.nbytes:
        raise Malformed("storages that are cut off")
    storage.read = lambda: data
