"""Prompts: what an open-vocabulary detector is asked to find, in words. Nothing heavy is imported here.

A prompt is a text (`fox head`), which then is the name of the class, or `class=text`, so that several texts may mean one class
(`fox=fox head`, `fox=head of a red fox`), and others be there to be told apart only (`dog=dog head`, with `classes: [fox]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from foxgan.errors import DownloadError, UsageError
from foxgan.vision.known import encoder_of, find_encoder, is_here

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foxgan.download import OnProgress
    from foxgan.vision.embeddings import Source

MAX_PROMPTS = 1000
MAX_LETTERS = 200


@dataclass(frozen=True)
class Prompt:
    """A text, and the class that it means."""

    name: str
    text: str


@dataclass(frozen=True)
class Prompts:
    """What to look for. `vectors` are those of the texts by a text encoder (fp32); what is missing there, the detector knows itself."""

    asked: tuple[Prompt, ...]
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(prompt.text for prompt in self.asked)

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each text; one class may come several times."""
        return tuple(prompt.name for prompt in self.asked)


class Prepared(NamedTuple):
    """Prompts that a detector can work with; `source` is where their vectors come from (None: from the detector itself)."""

    prompts: Prompts
    source: Source | None
    license: str | None  # of the detector, as its file states it


def parse(prompts: Sequence[Any]) -> tuple[Prompt, ...]:
    """The prompts as written in a pipeline. Raises UsageError for none, too many, empty, equal or endless ones."""
    if not prompts:
        raise UsageError(
            "prompts: none in the list; write what to look for, such as [fox head], or leave `prompts` out"
        )
    if len(prompts) > MAX_PROMPTS:
        raise UsageError(f"prompts: {len(prompts)} of them, at most {MAX_PROMPTS} can be looked for at a time")
    parsed = tuple(_parsed(prompt) for prompt in prompts)
    twice = {prompt.text for n, prompt in enumerate(parsed) if prompt.text in {p.text for p in parsed[:n]}}
    if twice:
        raise UsageError(f"prompts: {sorted(twice)[0]!r} is there twice")
    return parsed


def _parsed(prompt: str) -> Prompt:
    name, mark, text = (part.strip() for part in prompt.partition("="))
    text = text if mark else name
    if not name or not text:
        raise UsageError(
            f"prompts: {prompt!r} says nothing to look for; write a text (fox head) or class=text (fox=fox head)"
        )
    if max(len(name), len(text)) > MAX_LETTERS or not (name + text).isprintable():
        raise UsageError(f"prompts: {prompt[:40]!r}: expected a line of at most {MAX_LETTERS} letters")
    return Prompt(" ".join(name.split()), " ".join(text.split()))


def prepare(
    weights: Path, prompts: Sequence[str], encoder: str | None, on_progress: OnProgress | None = None
) -> Prepared:
    """The prompts with the vectors that the detector in `weights` needs.

    `encoder` is a text encoder or a file of embeddings: a path or a known name; None: the one that the detector was trained with.
    Raises UsageError for a detector of fixed classes, and whatever is wrong with the encoder.
    """
    from foxgan.vision.bpe import clip_tokenizer
    from foxgan.vision.embeddings import vectors_of
    from foxgan.vision.yolo import vocabulary_of

    asked = parse(prompts)
    vocabulary = vocabulary_of(weights)
    if vocabulary is None:
        raise UsageError(
            f"{weights}: finds its own classes only, so it takes no `prompts` (null leaves them out); `classes` chooses among "
            "them, and a YOLOE or YOLO-World file (yoloe-11s-seg.pt) finds what a text says"
        )
    texts = [p.text for p in asked if encoder is not None or p.text not in vocabulary.names]
    if vocabulary.kind == "list" or not texts:
        return Prepared(Prompts(asked), None, vocabulary.license)
    name = encoder or encoder_of(vocabulary.family)
    if name is None:
        raise UsageError(
            f"{weights}: was trained with the text encoder {vocabulary.family}, which cannot be read here; give a file of "
            f"embeddings as `encoder`, or one of its own names: {', '.join(vocabulary.names[:10]) or 'none'}"
        )
    if not is_here(name):
        clip_tokenizer()  # without it, a download would be for nothing
    try:
        path = find_encoder(name, on_progress)
    except DownloadError as error:
        raise DownloadError(f"{error}; or give a file of embeddings as `encoder`") from error
    vectors, source = vectors_of(texts, path, vocabulary.family)
    return Prepared(Prompts(asked, dict(vectors)), source, vocabulary.license)
