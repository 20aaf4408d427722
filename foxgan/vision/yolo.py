"""YOLO networks and their weight files.

Whatever a file is, only two things are taken from it: a description of the layers, checked against a closed list, and tensors.
The network is then built here. So a .pt file (a pickle) never gets to choose what code runs, and its classes stay stand-ins.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from foxgan import __version__
from foxgan.errors import DataError, UnsafeFileError, UsageError
from foxgan.vision.contained import ultralytics
from foxgan.vision.known import NETWORKS

Description = dict[str, Any]

HEADS = ("Detect", "Segment", "Pose", "v10Detect")
OTHER_TASKS = {
    "Classify": "classification",
    "OBB": "oriented boxes",
    "OBB26": "oriented boxes",
    "SemanticSegment": "semantic segmentation",
    "Depth": "depth",
}
LAYERS = frozenset(
    """A2C2f AConv ADown Bottleneck C1 C2 C2f C2fCIB C2PSA C3 C3Ghost C3TR C3k2 C3x CBFuse CBLinear Concat Conv DWConv ELAN1
    GhostBottleneck GhostConv PSA RepC3 RepNCSPELAN4 SCDown SPP SPPELAN SPPF nn.ConvTranspose2d nn.Identity nn.MaxPool2d
    nn.Upsample nn.ZeroPad2d""".split()  # noqa: SIM905  (a list literal would be 40 lines)
).union(HEADS)
MAX_LAYERS = 500  # with the repeated ones; YOLO's largest have about 100
WORDS = frozenset({"nc", "None", "nearest", "bilinear", "kpt_shape"})
ACTIVATION = re.compile(r"(torch\.)?nn\.(SiLU|ReLU|ReLU6|LeakyReLU|GELU|Mish|Hardswish)\(([\d.]{1,8}|inplace=True)?\)")
INERT = re.compile(  # classes that ultralytics' files name; none of them is ever looked up
    r"(ultralytics|torch\.nn\.modules|torch\.nn\.parameter)\.[\w.]+"
    r"|builtins\.getattr|pathlib\.(_local\.)?\w+Path|numpy\.(dtype|_?core\.multiarray\.scalar)|torch\.(Size|device)"
)


@dataclass(frozen=True)
class Net:
    """A detection network (fp32, eval) with what is known about it."""

    model: Any  # ultralytics' DetectionModel
    names: tuple[str, ...]
    imgsz: int  # longer side, in pixels, that it was trained at
    metrics: dict[str, float] = field(default_factory=dict)


# Building


def describe(network: str, classes: int) -> Description:
    """The layers of a network from `NETWORKS`. Raises UsageError for another name."""
    if network not in NETWORKS:
        raise UsageError(f"no network is called {network!r}; there are {', '.join(NETWORKS)}")
    family, scale = network[:-1], network[-1]
    folder = Path(ultralytics("utils").ROOT) / "cfg" / "models" / family.removeprefix("yolo")
    description: Description = yaml.safe_load((folder / f"{family}.yaml").read_text(encoding="utf-8"))
    scales = {**description["scales"], "p": [description["scales"]["n"][0], 0.125, 1024]}
    return _checked({**description, "scales": {scale: scales[scale]}, "scale": scale, "nc": classes}, network)


def build(description: Description) -> Any:
    """A freshly initialised DetectionModel from torch's global generator."""
    return ultralytics("nn.tasks").DetectionModel(copy.deepcopy(description), ch=3, verbose=False)


def _checked(description: Any, source: str) -> Description:
    """Only what describes layers, each from the closed list and of sane size. Raises UnsafeFileError or DataError."""
    try:
        rows = [*description["backbone"], *description["head"]]
        scales = description.get("scales") or {}
        numbers = [description["nc"], *(v for scale in scales.values() for v in scale)]
        names = [row[2] for row in rows]
        words = [w for row in rows for w in _flat([row[0], row[1], row[3]])]
        activation = description.get("activation")
        depths = [1, description.get("depth_multiple", 1), *(scale[0] for scale in scales.values())]
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{source}: its description of the network is not one of ultralytics' ({error!r})") from error
    if names and isinstance(names[-1], str) and names[-1] in OTHER_TASKS:
        raise DataError(
            f"{source}: a network for {OTHER_TASKS[names[-1]]} (it ends in {names[-1]}), which gives no upright boxes; expected a "
            f"detector, which ends in one of {', '.join(HEADS)}"
        )
    strange = [n for n in names if n not in LAYERS]
    strange += [w for w in words if isinstance(w, str) and w not in WORDS]
    if activation is not None and not (isinstance(activation, str) and ACTIVATION.fullmatch(activation)):
        strange.append(activation)
    if strange:
        raise UnsafeFileError(f"{source}: refused, its network names {strange[0]!r}, which is no layer of a detector")
    numbers += [description.get(k, 0) for k in ("depth_multiple", "width_multiple", "reg_max")]
    numbers += [w for w in words if not isinstance(w, str | None | bool)]
    sane = all(isinstance(n, int | float) and abs(n) <= 4096 for n in numbers)
    if not sane or len(rows) > 200 or max(depths) * sum(max(row[1], 1) for row in rows) > MAX_LAYERS:
        raise UnsafeFileError(f"{source}: refused, its network would be larger than any detector foxgan knows")
    if names[-1] not in HEADS:
        raise DataError(f"{source}: a network that ends in {names[-1]}, not in a detector's head ({', '.join(HEADS)})")
    keys = ("nc", "scales", "scale", "backbone", "head", "depth_multiple", "width_multiple", "activation")
    return {k: description[k] for k in (*keys, "reg_max", "end2end", "kpt_shape") if description.get(k) is not None}


def _flat(value: Any) -> list[Any]:
    return [word for part in value for word in _flat(part)] if isinstance(value, list | tuple) else [value]


def _assemble(description: Description, tensors: dict[str, torch.Tensor], names: Sequence[str], source: str) -> Any:
    """The network with these weights. Shapes are compared before memory is spent."""
    description = _checked(description, source)
    if len(names) != description["nc"]:
        raise DataError(f"{source}: {len(names)} class names for {description['nc']} classes")
    tasks = ultralytics("nn.tasks")
    with torch.device("meta"), _SmallOnCpu():
        layers, _ = tasks.parse_model(copy.deepcopy(description), ch=3, verbose=False)
    wanted = {f"model.{name}": tuple(t.shape) for name, t in layers.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items() if name in wanted}
    if wanted != found:
        wrong = next(n for n in wanted if wanted[n] != found.get(n))
        raise DataError(f"{source}: tensor {wrong} is {found.get(wrong, 'missing')}, its network needs {wanted[wrong]}")
    tensors = {name: tensors[name] for name in wanted}
    stored = {(s := t.untyped_storage()).data_ptr(): s.nbytes() for t in tensors.values()}
    if sum(t.nbytes for t in tensors.values()) > sum(stored.values()):  # by strides of 0, a few bytes seem any number
        raise UnsafeFileError(f"{source}: refused, its tensors claim to be larger than what the file holds")
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise DataError(f"{source}: weights that are not finite; its training diverged")
    with torch.random.fork_rng(devices=[]):
        model = build(description)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    model.names = dict(enumerate(names))
    return model.eval()


class _SmallOnCpu(TorchFunctionMode):
    """Beside the device "meta": `arange`, which on that one imports torch's compiler (a second, 160 MB), makes its few numbers for real."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        place = {"device": "cpu"} if func is torch.arange else {}
        return func(*args, **place, **(kwargs or {}))


# foxgan's own file


def save_detector(path: Path, net: Net, *, half: bool = False) -> None:
    """Write tensors and, as JSON metadata, all that `load_net` needs. `half` stores fp16: half the size, the same boxes within a pixel."""
    config = {
        "network": _checked(net.model.yaml, str(path)),
        "names": list(net.names),
        "imgsz": net.imgsz,
        "metrics": net.metrics,
        "foxgan": __version__,
    }
    dtype = torch.float16 if half else torch.float32
    state = net.model.state_dict().items()
    tensors = {n: t.detach().cpu().to(dtype if t.is_floating_point() else t.dtype).contiguous() for n, t in state}
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, {"format": "foxgan-detector", "config": json.dumps(config, sort_keys=True)})
    os.replace(temporary, path)


def load_net(path: Path) -> Net:
    """Read a foxgan .safetensors or an ultralytics .pt. Raises DataError, or UnsafeFileError for a file that wants more than tensors."""
    try:
        return _load_safetensors(path) if path.suffix == ".safetensors" else _load_pt(path)
    except DataError:
        raise
    except Exception as error:  # broken bytes make zipfile, pickle, json, torch and safetensors raise a dozen types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable detector ({reason}); fetch it or train it again") from error


def _load_safetensors(path: Path) -> Net:
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != "foxgan-detector":
            raise DataError(f"{path}: tensors, but not a foxgan detector; `foxgan train-detector` makes one")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    config = json.loads(metadata["config"])
    names = tuple(map(str, config["names"]))
    model = _assemble(config["network"], tensors, names, str(path))
    return Net(model, names, sane_size(config["imgsz"], path), config["metrics"])


# ultralytics' files: pickles


class _Inert:
    """Stands for every class that a checkpoint names. Made from anything, does nothing, keeps the attributes it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _load_pt(path: Path) -> Net:
    checkpoint = _unpickle(path)
    model = checkpoint.get("ema") or checkpoint.get("model") if isinstance(checkpoint, dict) else checkpoint
    known = vars(model) if isinstance(model, _Inert) else {}
    if not isinstance(known.get("yaml"), dict) or "names" not in known:
        raise DataError(f"{path}: no ultralytics network in it; expected a checkpoint of YOLOv8, YOLO11 or later")
    names = [str(v) for v in (known["names"].values() if isinstance(known["names"], dict) else known["names"])]
    tensors = dict(_tensors(model, ""))
    network = _assemble({**known["yaml"], "nc": len(names)}, tensors, names, str(path))
    trained_with = checkpoint.get("train_args") if isinstance(checkpoint, dict) else None
    size = trained_with.get("imgsz", 640) if isinstance(trained_with, dict) else 640
    return Net(network, tuple(names), sane_size(size, path))


def sane_size(size: Any, path: Path) -> int:
    """The longer side that a file says it was trained at (or the sides). Raises DataError for what would eat the memory."""
    longer = max(size) if isinstance(size, list | tuple) else size
    if not isinstance(longer, int) or not 32 <= longer <= 4096:
        raise DataError(f"{path}: says it was trained at {size!r} pixels; expected 32 to 4096")
    return longer


def _unpickle(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        if pickled:
            raise UnsafeFileError(f"{path}: refused, a bare pickle; detectors are zip files as torch.save writes them")
        raise DataError(f"{path}: not a weight file, or only a part of it; expected a zip file as torch.save writes it")
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise UnsafeFileError(f"{path}: refused, its parts are compressed, which torch never does")
    registered = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()  # what a library has registered is not good enough for a file from outside
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        strange = [name for name in wanted if not INERT.fullmatch(name)]
        if strange:
            raise UnsafeFileError(f"{path}: refused, it would call {strange[0]}; a detector needs nothing of the kind")
        torch.serialization.add_safe_globals([(_Inert, name) for name in wanted])
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(f"{path}: refused, it is more than tensors ({str(error).splitlines()[0]})") from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(registered)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """What `state_dict` would give, read from the attributes of the stand-ins."""
    for kind in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, kind, {}).items():
            if isinstance(tensor, torch.Tensor):
                yield prefix + name, tensor.detach()
    for name, child in getattr(module, "_modules", {}).items():
        yield from _tensors(child, f"{prefix}{name}.")
