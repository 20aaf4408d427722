"""Small networks of ultralytics' open-vocabulary classes, with random weights, saved as ultralytics saves them."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan.images import Pixels
from foxgan.vision.contained import ultralytics

SIDE = 64
BACKBONE = [
    [-1, 1, "Conv", [8, 3, 2]],
    [-1, 1, "Conv", [8, 3, 2]],
    [-1, 1, "Conv", [8, 3, 2]],  # 2: P3
    [-1, 1, "Conv", [16, 3, 2]],  # 3: P4
    [-1, 1, "Conv", [16, 3, 2]],  # 4: P5
]
HEADS = {
    "yoloe": [[[2, 3, 4], 1, "YOLOEDetect", ["nc", 512, True]]],
    "yoloe-seg": [[[2, 3, 4], 1, "YOLOESegment", ["nc", 4, 8, 512, True]]],
    "yoloe-26": [[[2, 3, 4], 1, "YOLOESegment26", ["nc", 4, 8, 512, True]]],
    "world": [[2, 1, "C2fAttn", [8, 8, 1]], [[5, 3, 4], 1, "ImagePoolingAttn", [8]]]
    + [[[5, 3, 4], 1, "WorldDetect", ["nc", 512, False]]],
    "worldv2": [[2, 1, "C2fAttn", [8, 8, 1]], [[5, 3, 4], 1, "WorldDetect", ["nc", 512, True]]],
}
CLASSES = {"world": "WorldModel", "worldv2": "WorldModel", "yoloe": "YOLOEModel"}


@cache
def _made(kind: str, seed: int) -> Any:
    description = {"nc": 4, "backbone": BACKBONE, "head": HEADS[kind]}
    if kind == "yoloe-26":
        description |= {"end2end": True, "reg_max": 1, "text_model": "mobileclip2:b"}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        cls = getattr(ultralytics("nn.tasks"), CLASSES.get(kind, "YOLOESegModel"))
        model = cls(description, ch=3, nc=4, verbose=False).eval()
        for module in model.modules():  # untrained layers shrink the signal
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.fill_(0.05)
                module.running_mean.normal_(0, 0.1)
        head = model.model[-1]
        if hasattr(head, "reprta"):
            torch.nn.init.normal_(head.reprta.m.w3.weight, std=0.05)  # it starts as doing nothing
        for contrast in head.cv4:
            contrast.bias.fill_(-1.0)
            contrast.logit_scale.fill_(1.0)
    model.args = {"imgsz": SIDE}
    return model


def open_net(kind: str, seed: int = 0) -> Any:
    """A new network of ultralytics' class."""
    import copy

    return copy.deepcopy(_made(kind, seed))


def save(path: Path, model: Any, **more: Any) -> Path:
    """As ultralytics' trainer writes it."""
    model.args = ultralytics("utils").IterableSimpleNamespace(box=7.5)
    content = {"epoch": -1, "model": None, "ema": model.half(), "train_args": {"imgsz": SIDE}, "license": "AGPL-3.0"}
    torch.save(content | more, path)
    return path


def worked_in(names: list[str], seed: int = 0) -> Any:
    """A network with its classes worked in, as ultralytics' linear probing leaves it."""
    model = open_net("yoloe-seg", seed)
    texts = torch.stack([torch.from_numpy(vector(n)) for n in range(len(names))])[None]
    model.set_classes(names, model.model[-1].get_tpe(texts).detach())
    model.model[-1].fuse(model.pe)
    del model.pe
    return model


def vector(number: int) -> NDArray[np.float32]:
    """Some text's vector."""
    made = np.random.default_rng(number).normal(size=512).astype(np.float32)
    return made / np.float32(np.linalg.norm(made))


def picture(seed: int) -> torch.Tensor:
    """Coloured blocks as a network sees them."""
    blocks = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 8, 8), np.float32))
    return torch.nn.functional.interpolate(blocks, (SIDE, SIDE))


def prompt_free(names: list[str], seed: int = 0) -> Any:
    """A network with a list of names, made as ultralytics makes one."""
    model = open_net("yoloe-seg", seed)
    texts = torch.stack([torch.from_numpy(vector(n)) for n in range(len(names))])[None]
    words, single = open_net("yoloe-seg", seed), model
    words.set_classes(names, words.model[-1].get_tpe(texts).detach())
    words.model[-1].fuse(words.pe)
    vocab = torch.nn.ModuleList(layers[-1] for layers in words.model[-1].cv3)
    single.set_classes(["object"], single.model[-1].get_tpe(texts[:, :1]).detach())
    single.model[-1].fuse(single.pe)
    single.set_vocab(vocab, names)
    return single.requires_grad_(False)


def blocks(seed: int) -> Pixels:
    """The same picture as a photo."""
    return np.ascontiguousarray((picture(seed)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))


class Hostile:
    """Makes a directory called `canary` when it is unpickled by a trusting reader."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


class HostileModule(torch.nn.Module):
    def __setstate__(self, state: object) -> None:
        os.mkdir("canary")


HOSTILE = {
    "mkdir": Hostile(os.mkdir, "canary"),
    "eval": Hostile(eval, "__import__('os').mkdir('canary')"),
    "module": HostileModule(),
}
