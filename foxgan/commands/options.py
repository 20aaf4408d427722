"""The fields of a stage as options of its command. Values stay text here: they are read as YAML, and checked, as in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from foxgan.stages.base import Stage, fields_of_kind

KINDS = {bool: "true|false", int: "INT", float: "FLOAT", Path: "PATH"}


def option_of(cls: type[Stage], field: str) -> click.Option:
    """The option that fills `field`; it comes to the command's function as `field_<name>`."""
    info = cls.model_fields[field]
    default = "" if info.is_required() or info.default in (None, ()) else f" [{_as_written(info.default)}]"
    flag = field.replace("_", "-")
    help_text = (info.description or "").rstrip(".") + ("; required" if info.is_required() else "") + default
    if info.annotation is bool:
        return click.Option([f"--{flag}/--no-{flag}", f"field_{field}"], default=None, help=help_text)
    many = "tuple[Path" in str(info.annotation) or "list[" in str(info.annotation)
    metavar = "MODEL" if field in fields_of_kind(cls, "weights") else metavar_of(info.annotation)
    return click.Option(
        [f"--{flag}", f"field_{field}"], type=str, multiple=many, default=None, help=help_text, metavar=metavar
    )


def metavar_of(annotation: Any) -> str:
    """`INT`, `PATH`, `[png|raw]`, `[FLOAT|off]`: what an option takes."""
    words = list(dict.fromkeys(_words(annotation)))
    chosen = any(word.islower() for word in words) or len(words) > 1
    return f"[{'|'.join(words)}]" if chosen else words[0]


def _words(annotation: Any) -> Iterator[str]:
    args = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Literal:
            yield from map(str, args)
        case origin if origin in (Union, UnionType):
            for arg in args:
                yield from () if arg is type(None) else _words(arg)
        case origin if origin in (Annotated, list) or (origin is tuple and Ellipsis in args):
            yield from _words(args[0])
        case origin if origin is tuple:
            yield "HxW"
        case _:
            yield KINDS.get(annotation, "TEXT")


def _as_written(value: Any) -> str:
    """A default as the user would type it."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
