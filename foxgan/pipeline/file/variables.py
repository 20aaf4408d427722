"""`${name}` and `${env:NAME}` in a pipeline file. What would unfold without bound, or never end, is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foxgan.errors import PipelineError, did_you_mean
from foxgan.pipeline.file.yamlfile import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    Located,
    Place,
    locate,
    parse,
    shown,
    too_large,
)

_REFERENCE = re.compile(r"\$\{(?:env:(?P<env>[^{}]*)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*))\}")
_ENVIRONMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Variables:
    """The `vars` of a pipeline, each filled when it is first needed: they may use each other in any order."""

    def __init__(self, written: Mapping[str, Located]) -> None:
        self.written = written
        self.values: dict[str, Located] = {}
        self.filling: list[str] = []  # those that wait for the one that is being filled
        self.filled = self.characters = 0

    def fill_all(self) -> None:
        """Fill those that nothing uses, too, so that a mistake in them shows."""
        for name, value in self.written.items():
            self._named(name, value.place)

    def fill(self, located: Located) -> Located:
        """`located` with variables replaced: a value that is nothing but a variable keeps the variable's type."""
        value, base = located.value, located.base
        if isinstance(value, dict):
            value = {k: self.fill(v) for k, v in value.items()}
        elif isinstance(value, list):
            value = [self.fill(v) for v in value]
        elif isinstance(value, str) and "${" in value:
            first = _REFERENCE.match(value)
            if first:
                base = self._value(first, located).base  # a path starts where its beginning was written
            value = self._filled(value, located)
        return replace(located, value=value, base=base)

    def _filled(self, text: str, located: Located) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole:
            found = self._value(whole, located)
            self.filled += found.count()
            if self.filled > MAX_VALUES:
                raise too_large(located.place)
            return found.value if whole["name"] else _scalar(found.value)
        return _REFERENCE.sub(lambda reference: self._text(reference, located), text)

    def _value(self, reference: re.Match[str], located: Located) -> Located:
        if reference["name"]:
            return self._named(reference["name"], located.place)
        return self._from_environment(reference["env"], located)

    def _named(self, name: str, place: Place) -> Located:
        if name in self.values:
            return self.values[name]
        if name not in self.written:
            valid = ", ".join(self.written) or "nothing"
            raise place.error(f"unknown variable {shown(name)}{did_you_mean(name, self.written)}; `vars` has: {valid}")
        if name in self.filling:
            circle = " -> ".join([*self.filling[self.filling.index(name) :], name])
            raise place.error(f"variables use each other in a circle: {circle}; one of them must say its value")
        if len(self.filling) >= MAX_DEPTH:
            raise too_large(place)
        self.filling.append(name)
        self.values[name] = self.fill(self.written[name])
        self.filling.pop()
        return self.values[name]

    def _from_environment(self, text: str, located: Located) -> Located:
        """Text of an environment variable, whose paths start at the current folder, or the default as written in the file."""
        match = _ENVIRONMENT.fullmatch(text)
        if match is None:
            raise located.place.error(
                f"{shown('${env:' + text + '}')} names no environment variable; write ${{env:NAME}} or ${{env:NAME:-default}}"
            )
        name, default = match.groups()
        value = os.environ.get(name)
        if not value and default is not None:
            return replace(located, value=default)
        if value is None:
            raise located.place.error(
                f"environment variable {name} is not set; set it, or write ${{env:{name}:-default}}"
            )
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise located.place.error(f"environment variable {name} is not UTF-8 text") from error
        self._count(value, located.place)
        return locate(value, located.place)

    def _text(self, reference: re.Match[str], located: Located) -> str:
        value = self._value(reference, located).value
        if isinstance(value, list | dict):
            raise located.place.error(
                f"variable {reference['name']!r} is a {type(value).__name__}; only a single value fits into a text"
            )
        self._count(str(value), located.place)
        return str(value)

    def _count(self, text: str, place: Place) -> None:
        self.characters += len(text)
        if self.characters > MAX_BYTES:
            raise place.error(f"too large: variables unfold to more than {MAX_BYTES} characters")


def _scalar(text: str) -> Any:
    """`text` as YAML reads it (`0.5` is a number), as far as that is a single value; else the text as it is."""
    try:
        value = parse(text, "").plain() if text.strip() else None
    except PipelineError:
        return text
    return text if isinstance(value, list | dict) else value
