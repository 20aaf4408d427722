"""YOLO networks and their weight files.

Whatever a file is, only two things are taken from it: a description of the layers, checked against a closed list, and tensors.
The network is then built here. So a .pt file (a pickle) never gets to choose what code runs, and its classes stay stand-ins.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from foxgan import __version__
from foxgan.errors import DataError, FoxganError, UnsafeFileError, UsageError
from foxgan.vision.contained import ultralytics
from foxgan.vision.known import NETWORKS
from foxgan.vision.prompts import Prompts
from foxgan.vision.ptfile import Inert, hollow, read_pt, tensors_of
from foxgan.vision.vocabulary import MODELS, OTHER_TASKS, Vocabulary, trim, vocabulary_in, work_in

Description = dict[str, Any]
T = TypeVar("T")

HEADS = ("Detect", "Segment", "Pose", "v10Detect", *MODELS)
LAYERS = frozenset(
    """A2C2f AConv ADown Bottleneck C1 C2 C2f C2fAttn C2fCIB C2PSA C3 C3Ghost C3TR C3k2 C3x CBFuse CBLinear Concat Conv DWConv ELAN1
    GhostBottleneck GhostConv ImagePoolingAttn PSA RepC3 RepNCSPELAN4 SCDown SPP SPPELAN SPPF nn.ConvTranspose2d nn.Identity nn.MaxPool2d
    nn.Upsample nn.ZeroPad2d""".split()  # noqa: SIM905  (a list literal would be 40 lines)
).union(HEADS)
MAX_LAYERS = 500  # with the repeated ones; YOLO's largest have about 100
WORDS = frozenset({"nc", "None", "nearest", "bilinear", "kpt_shape"})
ACTIVATION = re.compile(r"(torch\.)?nn\.(SiLU|ReLU|ReLU6|LeakyReLU|GELU|Mish|Hardswish)\(([\d.]{1,8}|inplace=True)?\)")


@dataclass(frozen=True)
class Net:
    """A detection network (fp32, eval) with what is known about it."""

    model: Any  # ultralytics' DetectionModel
    names: tuple[str, ...]
    imgsz: int  # longer side, in pixels, that it was trained at
    metrics: dict[str, float] = field(default_factory=dict)
    can_train: bool = True  # whether a training may go on from it


# Building


def describe(network: str, classes: int, points: int = 3) -> Description:
    """The layers of a network from `NETWORKS`; `points` of a head, for one that finds them. Raises UsageError for another name."""
    if network not in NETWORKS:
        raise UsageError(f"no network is called {network!r}; there are {', '.join(NETWORKS)}")
    plain, _, pose = network.partition("-")
    family, scale = plain[:-1], plain[-1]
    folder = Path(ultralytics("utils").ROOT) / "cfg" / "models" / family.removeprefix("yolo")
    description: Description = yaml.safe_load(
        (folder / f"{network.replace(plain, family)}.yaml").read_text(encoding="utf-8")
    )
    scales = {**description["scales"], "p": [description["scales"]["n"][0], 0.125, 1024]}
    shape = {"kpt_shape": [points, 3]} if pose else {}
    return _checked({**description, "scales": {scale: scales[scale]}, "scale": scale, "nc": classes, **shape}, network)


def build(description: Description) -> Any:
    """A freshly initialised DetectionModel (PoseModel, for points ...) from torch's global generator."""
    kind = {"Pose": "PoseModel", **MODELS}.get(description["head"][-1][2], "DetectionModel")
    return getattr(ultralytics("nn.tasks"), kind)(copy.deepcopy(description), ch=3, nc=description["nc"], verbose=False)


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
    return {
        k: description[k]
        for k in (*keys, "reg_max", "end2end", "kpt_shape", "text_model")
        if description.get(k) is not None
    }


def _flat(value: Any) -> list[Any]:
    return [word for part in value for word in _flat(part)] if isinstance(value, list | tuple) else [value]


def _assemble(
    description: Description, tensors: dict[str, torch.Tensor], source: str, vocabulary: Vocabulary | None = None
) -> Any:
    """The network with these weights. Shapes are compared before memory is spent."""
    tasks = ultralytics("nn.tasks")
    with torch.device("meta"), _SmallOnCpu():
        layers, _ = tasks.parse_model(copy.deepcopy(description), ch=3, verbose=False)
        if vocabulary is not None:
            trim(layers[-1], vocabulary)
    wanted = {f"model.{name}": tuple(t.shape) for name, t in layers.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items() if name in wanted}
    if wanted != found:
        wrong = next(n for n in wanted if wanted[n] != found.get(n))
        raise DataError(f"{source}: tensor {wrong} is {found.get(wrong, 'missing')}, its network needs {wanted[wrong]}")
    tensors = {name: tensors[name] for name in wanted}
    if hollow(tensors):
        raise UnsafeFileError(f"{source}: refused, its tensors claim to be larger than what the file holds")
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise DataError(f"{source}: weights that are not finite; its training diverged")
    with torch.random.fork_rng(devices=[]):
        model = build(description)
        if vocabulary is not None:
            trim(model.model[-1], vocabulary)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
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


def load_net(path: Path, prompts: Prompts | None = None) -> Net:
    """Read a foxgan .safetensors or an ultralytics .pt; `prompts` are for those that find what a text says.

    Raises UsageError where `prompts` are missing or cannot be taken, DataError for a damaged file, UnsafeFileError for one that wants
    more than tensors.
    """
    if path.suffix == ".safetensors":
        return _readable(path, lambda: _load_safetensors(path, prompts))
    return _readable(path, lambda: _load_pt(path, prompts))


def vocabulary_of(path: Path) -> Vocabulary | None:
    """The words of an open-vocabulary file; None for a detector of fixed classes. Raises what `load_net` raises for a bad file."""
    if path.suffix != ".pt":
        return None
    found = _readable(path, lambda: _Checkpoint.read(path)).vocabulary
    return None if found is None or found.kind == "fixed" else found


def _readable(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except FoxganError:
        raise
    except Exception as error:  # broken bytes make zipfile, pickle, json, torch and safetensors raise a dozen types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable detector ({reason}); fetch it or train it again") from error


def _load_safetensors(path: Path, prompts: Prompts | None) -> Net:
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != "foxgan-detector":
            raise DataError(f"{path}: tensors, but not a foxgan detector; `foxgan train-detector` makes one")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    config = json.loads(metadata["config"])
    names = tuple(map(str, config["names"]))
    description = _checked(config["network"], str(path))
    if description["head"][-1][2] in MODELS:
        raise DataError(f"{path}: a network that reads text, which foxgan keeps in no file of its own")
    _refuse_prompts(path, names, prompts)
    model = _named(_assemble(description, tensors, str(path)), names, description["nc"], str(path))
    return Net(model, names, sane_size(config["imgsz"], path), config["metrics"])


def _named(model: Any, names: Sequence[str], classes: int, source: str) -> Any:
    if len(names) != classes:
        raise DataError(f"{source}: {len(names)} class names for {classes} classes")
    model.names = dict(enumerate(names))
    return model


def _refuse_prompts(path: Path, names: Sequence[str], prompts: Prompts | None) -> None:
    if prompts is not None:
        raise UsageError(f"{path}: finds its own classes only ({', '.join(names[:10])}), so it takes no `prompts`")


# ultralytics' files: pickles


@dataclass(frozen=True)
class _Checkpoint:
    """What is taken from a .pt."""

    description: Description
    tensors: dict[str, torch.Tensor]
    names: tuple[str, ...]
    size: int
    vocabulary: Vocabulary | None

    @classmethod
    def read(cls, path: Path) -> _Checkpoint:
        content = read_pt(path)
        outer = content if isinstance(content, dict) else {}
        model = outer.get("ema") or outer.get("model") or content
        known = vars(model) if isinstance(model, Inert) else {}
        if not isinstance(known.get("yaml"), dict) or "names" not in known:
            raise DataError(f"{path}: no ultralytics network in it; expected a checkpoint of YOLOv8, YOLO11 or later")
        names = tuple(str(v) for v in (known["names"].values() if isinstance(known["names"], dict) else known["names"]))
        tensors = dict(tensors_of(model))
        description, vocabulary = _checked({"nc": len(names), **known["yaml"]}, str(path)), None
        if description["head"][-1][2] in MODELS:  # what it was built for; its names may be others
            own = known.get("txt_feats", known.get("pe"))
            vocabulary = replace(
                vocabulary_in(description, tensors, names, own, str(path)), license=_stated(outer.get("license"))
            )
        else:
            description = _checked({**description, "nc": len(names)}, str(path))
        trained_with = outer.get("train_args")
        size = trained_with.get("imgsz", 640) if isinstance(trained_with, dict) else 640
        return cls(description, tensors, names, sane_size(size, path), vocabulary)


def _stated(license: Any) -> str | None:
    """What a file says of its license, if that is a line of text."""
    return license[:200] if isinstance(license, str) and license.isprintable() else None


def _load_pt(path: Path, prompts: Prompts | None) -> Net:
    found = _Checkpoint.read(path)
    if found.vocabulary is None:
        _refuse_prompts(path, found.names, prompts)
        model = _named(
            _assemble(found.description, found.tensors, str(path)), found.names, found.description["nc"], str(path)
        )
        return Net(model, found.names, found.size)
    model = _assemble(found.description, found.tensors, str(path), found.vocabulary)
    names = work_in(model, found.vocabulary, prompts, str(path))
    model.names = dict(enumerate(names))
    return Net(model, names, found.size, can_train=type(model).__name__ != "WorldModel")


def sane_size(size: Any, path: Path) -> int:
    """The longer side that a file says it was trained at (or the sides). Raises DataError for what would eat the memory."""
    longer = max(size) if isinstance(size, list | tuple) else size
    if not isinstance(longer, int) or not 32 <= longer <= 4096:
        raise DataError(f"{path}: says it was trained at {size!r} pixels; expected 32 to 4096")
    return longer
