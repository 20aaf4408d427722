"""YAML with places: every value remembers file, line and column, and what PyYAML lets pass in silence is an error.

`yaml.compose` gives nodes with marks; only plain scalars, lists and mappings are turned into values, so no tag can build anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foxgan.errors import PipelineError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # an alias counts each time it is used, so a bomb of aliases ends here
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")


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
    """A value (scalar, list of Located, or dict of str -> Located) with its place; `key_place` is where its key stands."""

    value: Any
    place: Place
    key_place: Place

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value


def load(path: Path) -> Located:
    """The checked content of a YAML file. Raises PipelineError for everything that is not plain, unique and bounded."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise PipelineError(f"{path}: {len(raw)} bytes; a pipeline file has at most {MAX_BYTES}")
    try:
        return parse(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not UTF-8 text (byte {error.start}); is it a pipeline file?") from error


def parse(text: str, name: str) -> Located:
    """As `load`, from a string; `name` stands for the file in messages."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise PipelineError(f"{name}: the file is empty")
        return _Converter(loader, name).convert(node, _place(node, name), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        raise place.error(f"not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise PipelineError(f"{name}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise PipelineError(f"{name}: nested too deep") from error
    finally:
        loader.dispose()


def _place(node: yaml.Node, name: str) -> Place:
    return Place(name, node.start_mark.line + 1, node.start_mark.column + 1)


class _Converter:
    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self.loader, self.name, self.nodes = loader, name, 0

    def convert(self, node: yaml.Node, key_place: Place, depth: int) -> Located:
        place = _place(node, self.name)
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > 50:
            raise place.error(f"too large: more than {MAX_NODES} values or 50 levels (aliases counted each time)")
        if isinstance(node, yaml.MappingNode):
            return Located(self.mapping(node, depth), place, key_place)
        if isinstance(node, yaml.SequenceNode):
            return Located([self.convert(n, place, depth + 1) for n in node.value], place, key_place)
        try:
            return Located(self.loader.construct_object(node), place, key_place)
        except (yaml.constructor.ConstructorError, ValueError) as error:
            raise place.error(f"{node.value!r} with tag {node.tag} is not a plain value") from error

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
                    f"{key!r} stands here a second time; first at line {first.line}. Rename or remove one"
                )
            result[key] = self.convert(value_node, key_place, depth + 1)
        return result


def substitute(located: Located, variables: dict[str, Any]) -> Located:
    """`located` with `${name}` replaced: a value that is nothing but a variable keeps the variable's type."""
    value = located.value
    if isinstance(value, dict):
        value = {k: substitute(v, variables) for k, v in value.items()}
    elif isinstance(value, list):
        value = [substitute(v, variables) for v in value]
    elif isinstance(value, str) and "${" in value:
        value = _fill(value, variables, located.place)
    return Located(value, located.place, located.key_place)


def _fill(text: str, variables: dict[str, Any], place: Place) -> Any:
    def look_up(match: re.Match[str]) -> Any:
        name = match.group(1)
        if name not in variables:
            raise place.error(f"unknown variable {name!r}; `vars` has: {', '.join(sorted(variables)) or 'nothing'}")
        return variables[name]

    whole = _VARIABLE.fullmatch(text)
    return look_up(whole) if whole else _VARIABLE.sub(lambda m: str(look_up(m)), text)
