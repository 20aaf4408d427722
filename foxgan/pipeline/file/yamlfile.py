"""YAML with places: every value remembers file, line and column, and what PyYAML lets pass in silence is an error.

`yaml.compose` gives nodes with marks; only plain scalars, lists and mappings are turned into values, so no tag can build anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foxgan.errors import PipelineError, UsageError, did_you_mean

MAX_BYTES = 200_000  # of a file and all that it includes; PyYAML reads 100 to 300 kB a second
MAX_VALUES = 10_000  # an alias or a variable counts each time it is used, so a bomb of them ends here
MAX_DEPTH = 20
MAX_BITS = 64  # of a whole number; Python does not even print those of thousands of digits


@dataclass(frozen=True)
class Place:
    """Where a value stands, for messages."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def error(self, text: str) -> PipelineError:
        """A PipelineError whose message begins with this place."""
        return PipelineError(f"{self}: {text}")


@dataclass(frozen=True)
class Located:
    """A value (scalar, list of Located, or dict of str -> Located) with its place; `key_place` is where its key stands.

    `base`: the folder at which a path in it starts: that of the file, or the current one for what is typed.
    """

    value: Any
    place: Place
    key_place: Place
    base: Path | None = None

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    def count(self) -> int:
        """How many values there are in it, itself included."""
        children = self.value.values() if isinstance(self.value, dict) else self.value
        return 1 + (sum(c.count() for c in children) if isinstance(self.value, dict | list) else 0)


def locate(value: Any, place: Place) -> Located:
    """A plain value as Located, all of it at `place`: for what is typed on a command line."""
    if isinstance(value, dict):
        value = {str(k): locate(v, place) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        value = [locate(v, place) for v in value]
    return Located(value, place, place, Path.cwd())


@dataclass
class Spent:
    """How much was read so far: the limits hold for a file and all that it includes together."""

    bytes: int = 0
    values: int = 0


def load(path: Path, spent: Spent | None = None) -> Located:
    """The checked content of a YAML file. Raises PipelineError for everything that is not plain, unique and bounded."""
    spent = spent or Spent()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror})") from error
    before, spent.bytes = spent.bytes, spent.bytes + len(raw)
    if spent.bytes > MAX_BYTES:
        others = f" after {before} in files read before it" if before else ""
        raise PipelineError(
            f"{path}: {len(raw)} bytes{others}; a pipeline file has at most {MAX_BYTES}, with all that it includes"
        )
    try:
        return parse(raw.decode("utf-8"), str(path), path.parent, spent)
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not UTF-8 text (byte {error.start}); is it a pipeline file?") from error


def parse(text: str, name: str, base: Path | None = None, spent: Spent | None = None) -> Located:
    """As `load`, from a string; `name` stands for the file in messages, and paths in it start at `base`."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise PipelineError(f"{name}: the file is empty")
        return _Converter(loader, name, base, spent or Spent()).convert(node, _place(node, name), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        raise place.error(f"not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise PipelineError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise PipelineError(f"{name}: nested too deep") from error


def parse_option(text: str, option: str) -> Located:
    """The value of a command-line option, read as YAML. Raises UsageError."""
    try:
        return locate(parse(text, option).plain() if text.strip() else None, Place(option))
    except PipelineError as error:
        raise UsageError(str(error)) from error


def _place(node: yaml.Node, name: str) -> Place:
    return Place(name, node.start_mark.line + 1, node.start_mark.column + 1)


class _Converter:
    def __init__(self, loader: yaml.SafeLoader, name: str, base: Path | None, spent: Spent) -> None:
        self.loader, self.name, self.base, self.spent = loader, name, base, spent

    def convert(self, node: yaml.Node, key_place: Place, depth: int) -> Located:
        place = _place(node, self.name)
        self.spent.values += 1
        if self.spent.values > MAX_VALUES or depth > MAX_DEPTH:
            raise too_large(place)
        if isinstance(node, yaml.MappingNode):
            return Located(self.mapping(node, depth), place, key_place, self.base)
        if isinstance(node, yaml.SequenceNode):
            return Located([self.convert(n, place, depth + 1) for n in node.value], place, key_place, self.base)
        try:
            value = self.loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError, LookupError, AttributeError) as error:
            # what PyYAML raises for tags that do not fit their text, such as `!!bool maybe`
            raise place.error(f"{shown(node.value)} with tag {node.tag} is not a plain value") from error
        if not isinstance(value, str | int | float | bool | None):
            raise place.error(
                f"{shown(node.value)} is read as a {type(value).__name__}; put it in quotes if text is meant"
            )
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise place.error(f"a number of {value.bit_length()} bits; {MAX_BITS} are the most there is use for")
        return Located(value, place, key_place, self.base)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
        result: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key_place = _place(key_node, self.name)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise key_place.error("a key must be a plain name")
            if key in result:
                first = result[key].key_place
                raise key_place.error(
                    f"{shown(key)} stands here a second time; first at line {first.line}. Rename or remove one"
                )
            result[key] = self.convert(value_node, key_place, depth + 1)
        return result


def mapping(located: Located, what: str, valid: tuple[str, ...] | None = None) -> dict[str, Located]:
    """The entries of a mapping. Raises PipelineError where it is none, or has a key that is not among `valid`."""
    if not isinstance(located.value, dict):
        raise located.place.error(
            f"{what} must be a mapping (`key: value` lines, or {{}}), found {shown(located.plain())}"
        )
    for key, value in located.value.items():
        if valid is not None and key not in valid:
            raise value.key_place.error(
                f"unknown key {shown(key)}{did_you_mean(key, valid)}; valid here: {', '.join(valid)}"
            )
    return dict(located.value)


def shown(value: Any) -> str:
    """`value` as a message shows it: on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def too_large(place: Place) -> PipelineError:
    """The error for a file that unfolds to more than a pipeline can need."""
    return place.error(
        f"too large: more than {MAX_VALUES} values or {MAX_DEPTH} levels (aliases and variables counted each time)"
    )
