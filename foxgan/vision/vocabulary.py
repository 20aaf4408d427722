"""Open-vocabulary networks (YOLOE: Wang et al. 2025, YOLO-World: Cheng et al. 2024): from their words to a detector that is as plain
as any other.

The prompts are worked into the last layer of a YOLOE head, so that what runs is a `Detect` head without masks and without text.
YOLO-World attends to its text on the way, so there the text stays beside the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from foxgan.errors import DataError, UsageError, did_you_mean
from foxgan.vision.contained import ultralytics
from foxgan.vision.prompts import Prompts

MODELS = {
    "WorldDetect": "WorldModel",
    "YOLOEDetect": "YOLOEModel",
    "YOLOESegment": "YOLOESegModel",
    "YOLOESegment26": "YOLOESegModel",
}
"""Heads that read text, and ultralytics' class of the networks that end in them."""
OTHER_TASKS = {
    "Classify": "classification",
    "OBB": "oriented boxes",
    "OBB26": "oriented boxes",
    "SemanticSegment": "semantic segmentation",
    "Depth": "depth",
}
"""Heads that give no upright boxes, and what they are for."""

SIZE = 512  # of all vectors of text
UNUSED = (
    "savpe",
    "proto",
    "cv5",
    "one2one_cv2",
    "one2one_cv3",
    "one2one_cv4",
    "one2one_cv5",
)  # masks, examples, a second head
LOWEST = 0.001  # what the filter of a network with a list of names lets pass
NOTHING = -30.0  # a logit: a score of 1e-13


@dataclass(frozen=True)
class Vocabulary:
    """The words of a file. `kind`: it reads `text`, has a `list` of names to choose from, or classes that are `fixed`.

    `vectors` [names, 512] are those of its names, as far as it brings them along.
    """

    kind: Literal["text", "list", "fixed"]
    family: str
    names: tuple[str, ...]
    vectors: torch.Tensor | None = None
    license: str | None = None  # of the weights, as the file states it


def vocabulary_in(
    description: dict[str, Any], tensors: dict[str, torch.Tensor], names: Sequence[str], own: Any, source: str
) -> Vocabulary:
    """What the tensors of an open-vocabulary file say of its words; `own` is what it keeps as vectors of its `names`."""
    is_world = description["head"][-1][2] == "WorldDetect"
    family = "clip" if is_world else str(description.get("text_model", "mobileclip:blt")).partition(":")[0]
    head = f"model.{len(description['backbone']) + len(description['head']) - 1}."
    parts = {name.removeprefix(head).partition(".")[0] for name in tensors if name.startswith(head)}
    if not is_world and "lrpc" in parts:
        return Vocabulary("list", family, tuple(names))
    if not is_world and "cv4" not in parts:
        return Vocabulary("fixed", family, tuple(names))
    if not isinstance(own, torch.Tensor) or own.numel() != len(names) * SIZE or not names:
        return Vocabulary("text", family, ())
    if own.untyped_storage().nbytes() < own.nbytes or not torch.isfinite(own).all():
        raise DataError(f"{source}: the vectors of its {len(names)} names are damaged")
    return Vocabulary("text", family, tuple(names), own.detach().reshape(len(names), SIZE).float())


def trim(head: Any, vocabulary: Vocabulary) -> None:
    """Leave of a freshly made YOLOE head what boxes need, in the form in which the file has it."""
    for name in UNUSED:
        if hasattr(head, name):
            delattr(head, name)
    if vocabulary.kind == "text":
        return
    del head.cv4, head.reprta
    count, levels = len(vocabulary.names), list(zip(head.cv2, head.cv3, strict=True))
    if vocabulary.kind == "fixed":
        for _, scores in levels:
            scores[-1] = nn.Conv2d(scores[-1].in_channels, count, 1)
        return
    made = []
    for level, (boxes, scores) in enumerate(levels):
        channels = scores[-1].in_channels
        parts = nn.Conv2d(channels, count, 1), nn.Conv2d(channels, 1, 1), boxes[-1]
        made.append(ultralytics("nn.modules.head").LRPCHead(*parts, enabled=level != 2))
        del boxes[-1], scores[-1]
    head.lrpc = nn.ModuleList(made)


def work_in(model: Any, vocabulary: Vocabulary, prompts: Prompts | None, source: str) -> tuple[str, ...]:
    """Make the network find what the prompts say; returns the name of each of its classes. Raises UsageError for what it cannot know."""
    head = model.model[-1]
    if vocabulary.kind == "list":
        numbers = _chosen(vocabulary, prompts, source)
        _plain(model, *_listed_layers(head, numbers))
        assert prompts is not None
        return prompts.names
    if vocabulary.kind == "fixed":
        if prompts is not None:
            raise UsageError(
                f"{source}: its classes are worked in ({', '.join(vocabulary.names)}), so it takes no `prompts`"
            )
        _plain(model, head.cv2, head.cv3)
        return vocabulary.names
    if prompts is None and vocabulary.vectors is None:
        raise UsageError(f"{source}: finds what a text says; write what to look for, such as prompts: [fox head]")
    is_world = isinstance(head, ultralytics("nn.modules.head").WorldDetect)
    with torch.no_grad():
        vectors = _vectors(head, vocabulary, prompts, is_world, source)[None]
        if is_world:
            model.txt_feats, head.nc = vectors, vectors.shape[1]
        else:
            head.fuse(vectors)
            _plain(model, head.cv2, head.cv3)
    return vocabulary.names if prompts is None else prompts.names


def _vectors(head: Any, vocabulary: Vocabulary, prompts: Prompts | None, is_world: bool, source: str) -> torch.Tensor:
    """A row for each prompt: the encoder's vector as the head wants it, or the file's own."""
    if prompts is None:
        assert vocabulary.vectors is not None
        return vocabulary.vectors
    rows = []
    for text in prompts.texts:
        if text in prompts.vectors:
            vector = torch.from_numpy(prompts.vectors[text])
            rows.append(vector if is_world else head.get_tpe(vector[None])[0])
        elif text in vocabulary.names and vocabulary.vectors is not None:
            rows.append(vocabulary.vectors[vocabulary.names.index(text)])
        else:
            raise UsageError(
                f"{source}: nothing tells it what {text!r} looks like; a text encoder makes a vector of it"
            )
    return torch.stack(rows)


def _chosen(vocabulary: Vocabulary, prompts: Prompts | None, source: str) -> list[int]:
    """Positions of the prompts in the list of names."""
    what = f"{source}: knows a list of {len(vocabulary.names):,} names"
    if prompts is None:
        raise UsageError(f"{what}; write which of them to look for, such as prompts: [{vocabulary.names[0]}]")
    numbers = {name: number for number, name in enumerate(vocabulary.names)}
    unknown = [text for text in prompts.texts if text not in numbers]
    if unknown:
        raise UsageError(
            f"{what}, and {unknown[0]!r} is none of them{did_you_mean(unknown[0], numbers)}; the file without -pf in its name "
            "takes any text"
        )
    return [numbers[text] for text in prompts.texts]


class _Filtered(nn.Module):
    """Scores of some names, none where the network's own filter sees nothing."""

    def __init__(self, names: nn.Conv2d, sees: nn.Conv2d | None) -> None:
        super().__init__()
        self.names, self.sees = names, sees

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.names(x)
        return scores if self.sees is None else torch.where(self.sees(x).sigmoid() > LOWEST, scores, NOTHING)


def _listed_layers(head: Any, numbers: list[int]) -> tuple[Any, Any]:
    """The layers for boxes and for scores of a network with a list of names, with some of the names only."""
    boxes, scores = nn.ModuleList(), nn.ModuleList()
    for box, score, last in zip(head.cv2, head.cv3, head.lrpc, strict=True):
        weight = last.vocab.weight.detach()[numbers]
        names = nn.Conv2d(weight.shape[1], len(numbers), 1)
        names.weight = nn.Parameter(weight.reshape(*weight.shape[:2], 1, 1))
        names.bias = nn.Parameter(last.vocab.bias.detach()[numbers])
        boxes.append(nn.Sequential(*box, last.loc))
        scores.append(nn.Sequential(*score, _Filtered(names, last.pf if last.enabled else None)))
    return boxes, scores


def _plain(model: Any, boxes: Any, scores: Any) -> None:
    """Replace the head of `model` by a `Detect` with these layers, also in its description: trainings can start from it."""
    old = model.model[-1]
    last = scores[0][-1]
    count = (last.names if isinstance(last, _Filtered) else last).out_channels
    head = ultralytics("nn.modules.head").Detect(
        count, old.reg_max, ch=(16,) * old.nl
    )  # small layers, replaced at once
    head.cv2, head.cv3, head.dfl, head.stride = boxes, scores, old.dfl, old.stride
    head.i, head.f, head.type, head.np = old.i, old.f, old.type, sum(p.numel() for p in head.parameters())
    model.model[-1] = head.eval()
    rows = model.yaml["head"]
    model.yaml = {k: v for k, v in model.yaml.items() if k not in ("end2end", "text_model")}
    model.yaml |= {"nc": count, "head": [*rows[:-1], [*rows[-1][:2], "Detect", ["nc"]]]}
