"""Files that ask for code: refused by the name they ask for, wherever it stands, and nothing of it is ever called."""

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from build_nets import Nets, network, random_nets
from build_nvidia_tf import records
from build_nvidia_torch import init_kwargs, snapshot, state
from build_pickle import Call, EasyDict, Global, Raw, dump
from build_rosinality import checkpoint, saved
from checks import assert_refused, assert_same_state, loaded

import foxgan
from foxgan.errors import UnsafeFileError

Name = tuple[str, str]
NAMES: list[Name] = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("subprocess", "Popen"),
    ("importlib", "import_module"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("shutil", "rmtree"),
    ("runpy", "run_path"),
    ("pathlib", "Path"),
    ("torch", "load"),
    ("torch.serialization", "load"),
    ("torch.hub", "load"),
    ("torch.jit", "load"),
    ("torch", "nn.Module"),
    ("torch._utils", "_import_dotted_name"),
    ("torch.storage", "_load_from_bytes.__globals__"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy", "memmap"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy", "ndarray.tofile"),
    ("collections", "OrderedDict.__class__"),
    ("collections", "Counter"),
    ("_codecs", "lookup"),
    ("argparse", "ArgumentParser"),
    ("argparse", "FileType"),
    ("dnnlib.util", "call_func_by_name"),
    ("dnnlib.util", "open_url"),
    ("torch_utils.persistence", "import_hook"),
    ("torch_utils.persistence", "persistent_class"),
    ("dnnlib.tflib.network", "import_handler"),
    ("foxgan.errors", "FoxganError"),
    ("foxgan", "run"),
    ("", ""),
    ("os.path", "join"),
    ("OS", "System"),
]


@pytest.fixture(scope="module")
def nets() -> Nets:
    return random_nets(network(height=8, width=8, z_dim=8))


def called(name: Name, canary: Path) -> Call:
    """A call that leaves `canary` where it works as `system`, `eval` or `exec`."""
    text = f"touch {canary}" if "system" in name[1].lower() else f"open({str(canary)!r}, 'w')"
    return Call(*name, text)


def stream(content: Any) -> bytes:
    """The stream of torch's older format that an NVIDIA pickle holds for each storage."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, 2) for part in head) + dump(content, 2) + pickle.dumps([], 2)


def with_weight(nets: Nets, weight: Any) -> dict[str, Any]:
    content = snapshot(nets)
    state(content["G_ema"], "mapping", "fc0")["_parameters"]["weight"] = weight
    return content


def meta(content: dict[str, Any]) -> dict[str, Any]:
    return content["G_ema"].args[0]


def put(target: dict[Any, Any], key: Any, value: Any) -> None:
    target[key] = value


TORCH: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "beside the networks": lambda s, x: put(s, "progress", x),
    "as a network": lambda s, x: put(s, "D", x),
    "among the facts of the data set": lambda s, x: put(s["training_set_kwargs"], "path", x),
    "in the meta of a module": lambda s, x: put(meta(s), "other", x),
    "as the name of a class": lambda s, x: put(meta(s), "class_name", x),
    "as a state": lambda s, x: put(meta(s), "state", x),
    "among attributes": lambda s, x: put(state(s["G_ema"], "synthesis", "b8"), "act_gain", x),
    "among parameters": lambda s, x: put(state(s["G_ema"], "mapping", "fc0")["_parameters"], "weight", x),
    "among hooks": lambda s, x: put(state(s["G_ema"])["_forward_hooks"], 0, x),
    "among keywords": lambda s, x: put(init_kwargs(s["G_ema"]), "z_dim", x),
    "among positions": lambda s, x: put(state(s["G_ema"]), "_init_args", (x,)),
    "in a set": lambda s, x: put(state(s["G_ema"]), "_non_persistent_buffers_set", (x, x)),
    "in place of the meta": lambda s, x: setattr(s["G"], "args", (x,)),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", TORCH)
def test_a_call_anywhere_in_a_pickle_is_refused(tmp_path, nets, place: str, protocol: int) -> None:
    for name in (("os", "system"), ("builtins", "eval"), ("torch", "load")):
        content = snapshot(nets)
        TORCH[place](content, called(name, tmp_path / "canary"))
        assert_refused(tmp_path, dump(content, protocol), ".".join(name), error=UnsafeFileError)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_every_global_but_the_listed_ones_is_refused_by_name(tmp_path, nets, name: Name, protocol: int) -> None:
    canary = tmp_path / "canary"
    tf = records(nets)
    tf[2].static_kwargs["func"] = called(name, canary)
    for content in (
        snapshot(nets, extra={"x": called(name, canary)}),  # a call
        snapshot(nets, extra={"x": Global(*name)}),  # only a reference
        with_weight(nets, Call("torch.storage", "_load_from_bytes", stream(called(name, canary)))),
        tf,
        called(name, canary),
    ):
        assert_refused(tmp_path, dump(content, protocol), ".".join(name), error=UnsafeFileError)
    assert not canary.exists()


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_every_global_but_the_listed_ones_is_refused_in_files_of_torch(tmp_path, nets, name: Name, container) -> None:
    canary = tmp_path / "canary"
    data = dump({"g_ema": {}, "args": called(name, canary)}, 2)
    data = zipped({"archive/data.pkl": data, "archive/version": b"3\n"}) if container == "zip" else streamed(data)
    assert_refused(tmp_path, data, ".".join(name), error=UnsafeFileError, name="000123.pt")
    assert not canary.exists()


def streamed(data: bytes) -> bytes:
    return stream(None).replace(pickle.dumps(None, 2), data)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_calls_that_spell_themselves_otherwise_are_refused(tmp_path, nets) -> None:
    canary = tmp_path / "canary"
    argument = dump(f"touch {canary}", 2)[2:-1]
    for opcodes in (
        b"cos\nsystem\n" + argument + b"\x85\x81",  # NEWOBJ
        b"\x8c\x02os\x8c\x06system\x93" + argument + b"\x85}\x92",  # NEWOBJ_EX
        b"\x8c\x02os\x94\x8c\x06system\x94\x93" + argument + b"\x85R",
    ):
        assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Raw(opcodes)})), "os.system", error=UnsafeFileError)
    for opcodes in (b"(" + argument + b"ios\nsystem\n", b"(cos\nsystem\n" + argument + b"o"):  # INST, OBJ
        assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Raw(opcodes)})))
    for opcodes in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):  # EXT: the reader's own table of names
        assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Raw(opcodes)})))
    for opcodes in (b"Pos.system\n", argument + b"Q", b"\x97", b"\x97\x98"):  # persistent ids, buffers from elsewhere
        assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Raw(opcodes)}), 5))
    assert not canary.exists()


SETTERS: dict[str, Callable[[Any], Any]] = {
    "an ordered dict": lambda x: Call("collections", "OrderedDict", state=x),
    "an easy dict": lambda x: Call("dnnlib.util", "EasyDict", state=x),
    "a module": lambda x: Call("torch_utils.persistence", "_reconstruct_persistent_obj", {}, state=x),
    "a namespace": lambda x: Call("argparse", "Namespace", state=x),
    "a class": lambda x: Raw(b"ccollections\nOrderedDict\n" + dump(x, 2)[2:-1] + b"b"),
    "a function": lambda x: Raw(b"ctorch.storage\n_load_from_bytes\n" + dump(x, 2)[2:-1] + b"b"),
    "a dtype": lambda x: Call("numpy", "dtype", "f4", state=x),
    "an array": lambda x: Call(
        "numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"), (0,), b"b", state=x
    ),
}


@pytest.mark.parametrize("what", SETTERS)
def test_a_state_sets_no_attribute_of_ours(tmp_path, nets, what: str) -> None:
    """Every later load in this process would suffer."""
    for attributes in (
        {"__class__": 1, "__code__": 2, "items": 3, "__setitem__": 4, "keys": 5},
        (None, {"items": 3}),
        7,
        "x",
    ):
        path = tmp_path / "foreign.pkl"
        path.write_bytes(dump(snapshot(nets, extra={"x": SETTERS[what](attributes)}), 2))
        try_to_load(path)
    assert_same_state(loaded(tmp_path, dump(snapshot(nets), 2)).G_ema, nets.G_ema)
    assert OrderedDict(a=1).items() == {"a": 1}.items()
    assert np.dtype("f4").itemsize == 4
    assert vars(argparse.Namespace(a=1)) == {"a": 1}


def try_to_load(path: Path) -> None:
    try:
        foxgan.load_model(path)
    except foxgan.FoxganError as error:
        assert str(path) in str(error)


def test_a_listed_name_is_no_license_for_what_hangs_on_it(tmp_path, nets) -> None:
    for module, name in (
        ("builtins", "set.__init__"),
        ("numpy", "dtype.__class__"),
        ("collections", "OrderedDict.clear"),
    ):
        for protocol in (2, 4):
            content = snapshot(nets, extra={"x": Call(module, name)})
            assert_refused(tmp_path, dump(content, protocol), f"{module}.{name}", error=UnsafeFileError)


def test_text_is_encoded_by_latin1_alone(tmp_path, nets) -> None:
    """Other codecs are imported by their name, unpack bombs or take quadratic time."""
    for codec in ("foxgan.cli", "zlib_codec", "bz2", "idna", "hex", "rot13", 5, None):
        assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Call("_codecs", "encode", "text", codec)})))


def test_a_dict_of_another_class_is_not_taken_for_one(tmp_path, nets) -> None:
    class Ordered(EasyDict):
        __module__ = "os"
        __qualname__ = "environ"

    assert_refused(tmp_path, dump(snapshot(nets, extra={"x": Ordered(a=1)})), "os.environ", error=UnsafeFileError)


def test_a_module_that_torch_saved_whole_is_refused_inside_a_checkpoint(tmp_path, nets) -> None:
    content = checkpoint(nets) | {"model": torch.nn.Linear(2, 2)}
    for container in ("zip", "legacy"):
        data = saved(content, container)
        assert_refused(tmp_path, data, "torch.nn.modules.linear.Linear", error=UnsafeFileError, name="000123.pt")
