"""Tensors, storages, arrays and archives that claim far more than they hold."""

import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from build_nvidia_tf import records
from build_nvidia_torch import snapshot, state
from build_pickle import Call, Global, dump
from build_rosinality import checkpoint, saved
from hostile import (
    FLOATS,
    HUGE,
    NETS,
    Files,
    blob,
    load_bytes,
    persistent,
    stream,
    tensor,
    with_array,
    with_extra,
    with_weight,
)


def tensors() -> Files:
    for name, place in {
        "stride 0": ((HUGE,), (0,)),
        "two strides 0": ((2**31, 2**31), (0, 0)),
        "a size that overflows": ((2**63, 2), (0, 0)),
        "a product that overflows": ((2**32, 2**32), (0, 0)),
        "a huge size": ((HUGE,), (1,)),
        "an empty huge size": ((0, HUGE), (0, 0)),
        "a negative size": ((-1, 8), (8, 1)),
        "two negative sizes": ((-8, -8), (8, 1)),
        "negative strides": ((8, 8), (-8, -1)),
        "a huge stride": ((8, 8), (2**62, 1)),
        "a stride that overflows": ((8, 8), (2**70, 1)),
        "strides missing": ((8, 8), (1,)),
        "a negative offset": ((8, 8), (8, 1), -1),
        "a huge offset": ((8, 8), (8, 1), 2**62),
        "an offset one too far": ((8, 8), (8, 1), 1),
        "an offset that is no number": ((8, 8), (8, 1), "0"),
        "sizes that are no numbers": (("8", 8.0), (8, 1)),
        "sizes that are nothing": (None, None),
        "a size that is a number": (64, 1),
        "many dimensions": ((1,) * 10**5, (1,) * 10**5),
        "a storage that is none": ((8, 8), (8, 1), 0, [1.0] * 64),
        "a storage that is a tensor": ((8, 8), (8, 1), 0, tensor((8, 8), (8, 1))),
    }.items():
        yield name, with_weight(tensor(*place))
    yield "no arguments", with_weight(Call("torch._utils", "_rebuild_tensor_v2"))
    yield "a huge Size", with_weight(tensor(Call("torch", "Size", (HUGE,)), (0,)))
    expanded = tensor((2**14, 2**14), (0, 0))
    yield "many with stride 0", with_extra([expanded] * 3 + [tensor((2**14, 2**14), (0, 0)) for _ in range(200)])
    content = snapshot(NETS, without=("G", "D"))
    storage = load_bytes(blob(2**20, held=2**20))
    views = {
        f"x{i}": tensor((2**10, 2**10), (1, 2**10), 0, storage) for i in range(500)
    }  # transposed: not to be had for nothing
    state(content["G_ema"])["_buffers"] |= views
    yield "500 views of one storage", dump(content)


def storages() -> Files:
    for name, data in {
        "more numbers than bytes": blob(HUGE),
        "more in the count": blob(64, HUGE),
        "as many more in both": blob(HUGE, HUGE),
        "a negative number": blob(-1),
        "a negative count": blob(64, -64),
        "fewer in the count": blob(64, 8, held=8),
        "a number that is none": blob("64", 64),
        "a huge number": blob(2**100, 64),
        "a view of another": blob(view=("1", 2**40, 64)),
        "bytes in another order": blob(little_endian=False),
        "cut off": blob()[:-1],
        "nothing": b"",
        "another magic number": blob().replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2)),
        "an object that is no storage": stream([1.0] * 64),
        "a made storage": stream(Call("torch", "FloatStorage", HUGE)),
        "a made raw storage": stream(Call("torch.storage", "UntypedStorage", HUGE)),
        "an id that is no tuple": stream(persistent("storage")),
        "an id that is short": stream(persistent(("storage",))),
        "an id of another kind": stream(persistent(("module", FLOATS, "x", "y"))),
        "a class that is a text": stream(persistent(("storage", "FloatStorage", "0", "cpu", 64, None)), ["0"]),
        "a blob within": stream(load_bytes(blob())),
        "an archive": saved(torch.zeros(64)),
    }.items():
        yield name, with_weight(tensor((8, 8), (8, 1), 0, load_bytes(data)))
    for name, data in {"a number": HUGE, "a text": "x", "nothing": None, "a list": [1] * 100}.items():
        yield f"a blob that is {name}", with_weight(tensor((8, 8), (8, 1), 0, load_bytes(data)))


def arrays() -> Files:
    f4, reconstruct = np.dtype("<f4"), ("numpy.core.multiarray", "_reconstruct")

    def array(*built: Any, shape: Any = (0,)) -> Call:
        return Call(*reconstruct, Global("numpy", "ndarray"), shape, b"b", state=built or None)

    def dtype(*args: Any, **facts: Any) -> Call:
        return Call("numpy", "dtype", *args, **facts)

    raw, one = bytes(4 * 64), np.ones(1, f4)
    for name, value in {
        "a huge start": array(shape=(HUGE,)),
        "a huge start, filled": array(1, (8, 8), f4, False, raw, shape=(HUGE,)),
        "a huge shape": array(1, (HUGE,), f4, False, raw),
        "a shape that overflows": array(1, (2**62, 2**62), f4, False, raw),
        "an empty huge shape": array(1, (0, HUGE), f4, False, b""),
        "a negative shape": array(1, (-8, -8), f4, False, raw),
        "many dimensions": array(1, (1,) * 10**5, f4, False, bytes(4)),
        "too few bytes": array(1, (8, 8), f4, False, raw[:-1]),
        "too many bytes": array(1, (8, 8), f4, False, raw + b"\0"),
        "a list of bytes": array(1, (8, 8), f4, False, [0.0] * 64),
        "bytes that are a text": array(1, (8, 8), f4, False, "0" * 256),
        "no state": array(),
        "a short state": array(1),
        "objects": array(1, (8, 8), dtype("O"), False, [Call("os", "getcwd")] * 64),
        "wide bytes": array(1, (8,), dtype("V2147483647"), False, b""),
        "wide texts": array(1, (8,), dtype("U500000000"), False, b""),
        "a width set later": array(1, (8,), dtype("V1", state=(3, "|", None, None, None, 2**31 - 1, 1, 0)), False, raw),
        "fields": array(
            1, (8,), dtype("f4", state=(3, "|", None, ("a",), {"a": (f4, 2**30)}, 2**31 - 1, 1, 0)), False, raw
        ),
        "many fields": array(1, (8,), dtype("f4," * 10**5), False, raw),
        "an array inside": array(1, (8,), dtype(f"({HUGE},)f4"), False, raw),
        "a dtype of nothing": array(1, (8,), None, False, raw),
        "a made array": Call("numpy", "ndarray", (HUGE,)),
        "a number of objects": Call("numpy.core.multiarray", "scalar", dtype("O"), b"cos\ngetcwd\n)R."),
        "a number of no bytes": Call("numpy.core.multiarray", "scalar", f4, b""),
        "a number of many bytes": Call("numpy.core.multiarray", "scalar", f4, raw),
        "a huge buffer": Call("numpy.core.numeric", "_frombuffer", raw, f4, (HUGE,), "C"),
        "a buffer of objects": Call("numpy.core.numeric", "_frombuffer", raw, dtype("O"), (8, 4), "C"),
        "a buffer in another order": Call("numpy.core.numeric", "_frombuffer", raw, f4, (8, 8), "X"),
        "a number": np.float32(1),
        "another array": one,
    }.items():
        yield name, with_array(value)
    networks = records(NETS)
    del networks[2].static_kwargs["mapping_layers"]
    large = np.zeros((2**10, 2**10), f4)
    networks[2].components["mapping"].variables += [(f"Dense{i}/weight", large) for i in range(2, 500)]
    yield "one array 500 times", dump(networks[2])


def zipped(
    entries: dict[str, bytes],
    compression: int = zipfile.ZIP_STORED,
    change: Callable[[zipfile.ZipFile], None] | None = None,
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        if change:
            change(archive)
    return file.getvalue()


def archives() -> Files:
    content = {f"archive/{name}": data for name, data in unzipped(saved(checkpoint(NETS))).items()}
    key = next(name for name in content if name.startswith("archive/data/"))
    zeros = bytes(2**27)
    yield "a deflated storage", zipped(content | {key: zeros}, zipfile.ZIP_DEFLATED)
    yield "a deflated pickle", zipped(content | {"archive/data.pkl": zeros}, zipfile.ZIP_DEFLATED)
    yield "a storage packed by bzip2", zipped(content | {key: zeros}, zipfile.ZIP_BZIP2)
    yield "a deflated entry beside", zipped(content | {"archive/code.py": zeros}, zipfile.ZIP_DEFLATED)

    def claim(archive: zipfile.ZipFile) -> None:
        archive.getinfo(key).file_size = archive.getinfo(key).compress_size = HUGE

    yield "an entry that claims more", zipped(content, change=claim)

    def overlap(archive: zipfile.ZipFile) -> None:
        for name in content:
            archive.getinfo(name).header_offset = archive.getinfo(key).header_offset

    yield "entries on top of each other", zipped(content, change=overlap)
    yield "no pickle", zipped({name: data for name, data in content.items() if not name.endswith(".pkl")})
    yield "no entries", zipped({})
    yield "a storage missing", zipped({name: data for name, data in content.items() if name != key})
    yield "a storage cut", zipped(content | {key: content[key][:-4]})
    yield "100,000 entries", zipped(content | {f"archive/{i}": b"" for i in range(10**5)})
    yield "two pickles", zipped(content | {"other/data.pkl": content["archive/data.pkl"]})
    for name, pid in {
        "a huge storage": ("storage", FLOATS, "0", "cpu", HUGE),
        "a negative storage": ("storage", FLOATS, "0", "cpu", -1),
        "a storage elsewhere": ("storage", FLOATS, "../../etc/passwd", "cpu", 64),
        "a storage on a device": ("storage", FLOATS, "0", "cuda:1000000000", HUGE),
    }.items():
        changed = dump({"g_ema": {"style.1.weight": tensor((8, 8), (8, 1), 0, persistent(pid))}}, 2)
        yield name, zipped(content | {"archive/data.pkl": changed})
    views = {
        f"x{i}": tensor((2**20,), (1,), 0, persistent(("storage", FLOATS, "big", "cpu", 2**20))) for i in range(500)
    }
    yield (
        "500 views of one storage",
        zipped({"archive/data.pkl": dump({"g_ema": views}, 2), "archive/data/big": bytes(2**22)}),
    )
    expanded = checkpoint(NETS, kind="converted")
    expanded["latent_avg"] = torch.zeros(1).expand(2**36)
    yield "stride 0", saved(expanded)
    yield "stride 0 in a stream", saved(expanded, "legacy")


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
