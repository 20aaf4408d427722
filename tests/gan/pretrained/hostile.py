"""Pickles that claim far more than they hold, or make a careless reader recurse, hash or copy without end."""

import itertools
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from build_nets import network, random_nets
from build_nvidia_tf import records
from build_nvidia_torch import init_kwargs, snapshot, state
from build_pickle import Call, EasyDict, Global, Raw, dump

HUGE, WORD = 2**40, struct.Struct("<Q")
NETS = random_nets(network(height=8, width=8, z_dim=8))
RECORD = ("torch_utils.persistence", "_reconstruct_persistent_obj")
FLOATS = Global("torch", "FloatStorage")
Files = Iterator[tuple[str, bytes]]


def stream(content: Any, keys: list[Any] = (), tail: bytes = b"", **head: Any) -> bytes:
    """A stream of torch's older format: header, an object, names of storages, their bytes."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}} | head
    parts = (0x1950A86A20F9469CFC6C, 1001, facts)
    return b"".join(pickle.dumps(part, 2) for part in parts) + dump(content, 2) + dump(list(keys), 2) + tail


def persistent(pid: Any) -> Raw:
    """An object that the reader must fetch by `pid`."""
    return Raw(dump(pid, 2)[2:-1] + b"Q")


def blob(
    numel: Any = 64, count: int | None = None, held: int = 64, key: Any = "0", view: Any = None, **head: Any
) -> bytes:
    """A storage as an NVIDIA pickle holds it, which says `numel`, then `count`, and has `held` floats."""
    pid = ("storage", FLOATS, key, "cpu", numel, view)
    counted = struct.pack("<q", numel if count is None else count)
    return stream(persistent(pid), [key] if isinstance(key, str) else [], counted + bytes(4 * held), **head)


def load_bytes(data: Any) -> Call:
    return Call("torch.storage", "_load_from_bytes", data)


def tensor(size: Any, stride: Any, offset: Any = 0, storage: Any = None) -> Call:
    storage = load_bytes(blob()) if storage is None else storage
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, size, stride, False, OrderedDict())


def with_weight(weight: Any) -> bytes:
    """A PyTorch snapshot in which one weight, of 8 x 8, is something else."""
    content = snapshot(NETS, without=("G", "D"))
    state(content["G_ema"], "mapping", "fc0")["_parameters"]["weight"] = weight
    return dump(content)


def with_extra(value: Any) -> bytes:
    return dump(snapshot(NETS, without=("G", "D"), extra={"x": value}))


def with_array(value: Any) -> bytes:
    """TensorFlow networks in which one variable, of [6, 8], is something else."""
    networks = records(NETS)
    variables = networks[2].components["mapping"].variables
    variables[0] = (variables[0][0], value)
    return dump(networks)


def pickles() -> Files:
    for name, opcodes in {
        "memo 2**31": b"]r\xff\xff\xff\x7f",
        "memo 2**32 - 1": b"]r\xff\xff\xff\xff",
        "memo in digits": b"]p99999999999999999999\n",
        "negative memo": b"]p-5\n",
        "memo that is not there": b"j\xff\xff\xff\x7f",
        "a frame of 2**62 bytes": b"\x95" + WORD.pack(2**62),
        "a text of 2**62 bytes": b"\x8d" + WORD.pack(2**62),
        "bytes of 2**62 bytes": b"\x8e" + WORD.pack(2**62),
        "a bytearray of 2**62 bytes": b"\x96" + WORD.pack(2**62),
        "a bytearray of 2**40 bytes": b"\x96" + WORD.pack(HUGE),
        "a text of 4 GB": b"X\xff\xff\xff\xff",
        "bytes of 4 GB": b"B\xff\xff\xff\xff",
        "a number of 2 GB": b"\x8b\xff\xff\xff\x7f",
        "a number of -1 bytes": b"\x8b\xff\xff\xff\xff",
        "a number of a million digits": b"I" + b"9" * 10**6 + b"\n",
        "a long of a million digits": b"L" + b"9" * 10**6 + b"L\n",
        "a number of a megabyte": b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6,
        "a float of a million digits": b"F" + b"9" * 10**6 + b"\n",
        "a million marks": b"(" * 10**6,
        "a million pops": b"0" * 10**6,
        "a million lists in each other": b"]" * 10**6 + b"a" * (10**6 - 1),
        "a million dicts in each other": b"}" + b"K\x01}" * 10**6 + b"s" * 10**6,
        "a megabyte of text without an end": b"c" + b"a" * 10**6,
    }.items():
        yield name, with_extra(Raw(opcodes))
        yield f"{name}, alone", b"\x80\x04" + opcodes + b"."


def tuples() -> Files:
    """2**60 or 10**6 levels in few bytes: whoever hashes, compares or prints one needs as many steps."""
    bombs = {
        "doubled": b")" + b"q\x00h\x00\x86" * 60,
        "doubled lists": b"(]" + b"q\x00]h\x00ah\x00a" * 60 + b"t",
        "deep": b")" + b"\x85" * 10**5,
        "deeper": b")" + b"\x85" * 10**6,
    }
    for name, opcodes in bombs.items():
        bomb = Raw(opcodes)
        yield f"{name}, as key", with_extra(Raw(b"}" + opcodes + b"Ns"))
        yield f"{name}, as key of many", with_extra(Raw(b"}(" + opcodes + b"Nu"))
        yield f"{name}, in a set", with_extra(Raw(b"\x8f(" + opcodes + b"\x90"))
        yield f"{name}, in a frozen set", with_extra(Raw(b"(" + opcodes + b"\x91"))
        yield f"{name}, in a called set", with_extra(Call("builtins", "set", [bomb]))
        yield f"{name}, in an ordered dict", with_extra(Call("collections", "OrderedDict", [[bomb, 1]]))
        yield f"{name}, in an easy dict", with_extra(Call("dnnlib.util", "EasyDict", [[bomb, 1]]))
        yield f"{name}, as a global", with_extra(Raw(opcodes + b"\x8c\x01x\x93"))
        yield f"{name}, as a persistent id", stream(Raw(opcodes + b"Q"))
        yield (
            f"{name}, as the key of a storage",
            stream(persistent(("storage", FLOATS, bomb, "cpu", 1, None))),
        )
        yield (
            f"{name}, as the place of a storage",
            stream(persistent(("storage", FLOATS, "0", bomb, 1, None))),
        )
        yield f"{name}, as a list of storages", stream(None, [[bomb]])
        yield f"{name}, alone", b"\x80\x04" + opcodes + b"."
        yield f"{name}, as a key alone", b"\x80\x04}" + opcodes + b"Ns."
        yield f"{name}, as a size", with_weight(tensor(bomb, (1,)))
        yield f"{name}, as an argument", with_weight(Call("torch._utils", "_rebuild_tensor_v2", bomb))
        yield f"{name}, as a shape", with_array(Call("numpy.core.multiarray", "_reconstruct", bomb))
        for place in ("class_name", "type", "version", "module_src", "state"):
            content = snapshot(NETS, without=("G", "D"))
            content["G_ema"].args[0][place] = bomb
            yield f"{name}, as {place}", dump(content)
        for keyword in ("z_dim", "img_resolution", "mapping_kwargs", "synthesis_kwargs", "unknown"):
            content = snapshot(NETS, without=("G", "D"))
            init_kwargs(content["G_ema"])[keyword] = bomb
            yield f"{name}, as {keyword}", dump(content)
        content = snapshot(NETS, without=("G", "D"))
        state(content["G_ema"])["_init_args"] = bomb
        yield f"{name}, as positions", dump(content)
        networks = records(NETS)
        networks[2].static_kwargs["resolution"] = bomb
        yield f"{name}, as a resolution", dump(networks)
        networks = records(NETS)
        networks[2].version = bomb
        yield f"{name}, as a version", dump(networks)


def keys(kind: str, colliding: bool, count: int = 20_000) -> bytes:
    """A dict or a set of so many numbers or pairs; if `colliding`, of one hash, so that each is compared with all before it."""
    if "numbers" in kind:
        step = PRIME if colliding else PRIME + 2  # numbers hash modulo this prime
        found = [_number(k * step) for k in range(1, count + 1)]
    else:
        found = [_number(k) + _number(_partner(k) if colliding else k) + b"\x86" for k in _pairs(count)]
    if "set" in kind:
        return with_extra(Raw(b"\x8f(" + b"".join(found) + b"\x90"))
    return with_extra(Raw(b"}(" + b"N".join(found) + b"Nu"))


PRIME, WORD_MASK = 2**61 - 1, 2**64 - 1


def _number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _partner(first: int) -> int:
    """What makes the pair hash like all others: a tuple's hash is xxHash, and its first step is undone by the second entry."""
    lane = (0x27D4EB2F165667C5 + first * 0xC2B2AE3D27D4EB4F) & WORD_MASK
    lane = ((lane << 31 | lane >> 33) & WORD_MASK) * 0x9E3779B185EBCA87
    second = -lane * pow(0xC2B2AE3D27D4EB4F, -1, 2**64) & WORD_MASK
    return second - (second > WORD_MASK >> 1) * 2**64


def _pairs(count: int) -> Iterator[int]:
    """First entries whose partner hashes as itself."""
    fitting = (k for k in itertools.count(1) if abs(_partner(k)) < PRIME)
    return itertools.islice(fitting, count)


def modules() -> Files:
    """Networks in networks, and a network that holds itself."""

    def text(word: str) -> bytes:
        return b"\x8c" + bytes([len(word)]) + word.encode()

    reconstruct = text(RECORD[0]) + text(RECORD[1]) + b"\x93"
    opening = (
        reconstruct + b"}(" + text("class_name") + text("Generator") + text("state") + b"}(" + text("_modules") + b"}("
    )
    for depth in (500, 10**5):
        nested = (opening + text("a")) * depth + b"N" + b"uuu\x85R" * depth
        yield f"{depth} in each other", b"\x80\x04}" + text("G_ema") + nested + b"s."
    inside = b"}\x94" + reconstruct + b"h\x00\x85R\x940h\x00(" + text("class_name") + text("Generator") + text("state")
    inside += b"}(" + text("_modules") + b"}(" + text("a") + b"h\x01uuu0"
    yield "inside itself", b"\x80\x04" + inside + b"}" + text("G_ema") + b"h\x01s."
    content = snapshot(NETS, without=("G", "D"))
    synthesis = state(content["G_ema"])["_modules"]["synthesis"]
    state(content["G_ema"])["_modules"] |= {f"copy{i}": synthesis for i in range(10**4)}
    yield "the same often", dump(content)
    level: dict[str, Any] = {"G_ema": content["G_ema"]}
    for _ in range(40):
        meta = {"class_name": "Generator", "state": {"_modules": {"a": level["G_ema"], "b": level["G_ema"]}}}
        level = {"G_ema": Call(*RECORD, meta | {"type": "class"})}
    yield "doubled 40 times", dump(level)
    networks = records(NETS)
    networks[2].components["mapping"].components = EasyDict(
        {f"c{i}": networks[2].components["synthesis"] for i in range(10**4)}
    )
    yield "the same component often", dump(networks)
    part = networks[0]
    for _ in range(40):
        part = type(part)(**vars(part) | {"components": EasyDict(synthesis=part, mapping=part)})
    yield "components doubled 40 times", dump((part, networks[1], part))
