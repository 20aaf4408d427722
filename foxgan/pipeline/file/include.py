"""`include:` in a pipeline file: what it and the files that it includes say together.

The including file has the last word. A file that is included twice counts once, at the first place, so that what others have
changed in it stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from foxgan.errors import PipelineError, did_you_mean
from foxgan.pipeline.file.matrix import layered
from foxgan.pipeline.file.yamlfile import Located, Place, Spent, load, mapping, shown
from foxgan.shipped import find_shipped, shipped_names

KEYS = ("name", "include", "vars", "steps")
MAX_FILES = 20
MAX_LEVELS = 8


@dataclass
class Written:
    """A pipeline as written: `root` and `top` are the file that was asked for, the others come from all files."""

    root: Located
    top: dict[str, Located]
    variables: dict[str, Located] = field(default_factory=dict)
    steps: dict[str, Located] = field(default_factory=dict)


def read_files(path: Path) -> Written:
    """What the file at `path` says, upon all that it includes. Raises PipelineError with the places that led there."""
    reader = _Reader()
    root, top = reader.read(path)
    return Written(root, top, reader.variables, reader.steps)


class _Reader:
    def __init__(self) -> None:
        self.variables: dict[str, Located] = {}
        self.steps: dict[str, Located] = {}
        self.spent = Spent()
        self.known: set[str] = set()  # real paths of all files so far
        self.reading: list[Path] = []  # the chain of files from the first to this one
        self.places: list[Place] = []  # where each of them, but the first, is included

    def read(self, path: Path) -> tuple[Located, dict[str, Located]]:
        """Take in a file, after those that it includes."""
        self.known.add(os.path.realpath(path))
        self.reading.append(path)
        root = self._load(path)
        top = mapping(root, "a pipeline file", KEYS)
        for entry in _entries(top.get("include")):
            self._include(entry, path)
        self.variables |= mapping(top["vars"], "vars") if "vars" in top else {}
        for name, body in mapping(top["steps"], "steps").items() if "steps" in top else ():
            self.steps[name] = _merged(name, self.steps[name], body) if name in self.steps else body
        self.reading.pop()
        return root, top

    def _load(self, path: Path) -> Located:
        try:
            return load(path, self.spent)
        except PipelineError as error:
            raise PipelineError(f"{error}{self._chain()}") from error

    def _include(self, entry: Located, including: Path) -> None:
        path = self._find(entry, including)
        real = os.path.realpath(path)
        if real in map(os.path.realpath, self.reading):
            circle = " -> ".join(str(p) for p in [*self.reading, path])
            raise self._error(entry, f"files include each other in a circle: {circle}; one of them must not")
        if len(self.reading) > MAX_LEVELS:
            raise self._error(entry, f"files include each other more than {MAX_LEVELS} levels deep")
        if real not in self.known:
            if len(self.known) >= MAX_FILES:
                raise self._error(entry, f"more than {MAX_FILES} files; put some of them together")
            self.places.append(entry.place)
            self.read(path)
            self.places.pop()

    def _find(self, entry: Located, including: Path) -> Path:
        name = entry.value
        path = os.path.join(including.parent, os.path.expanduser(name))
        if "\0" not in name and os.path.isfile(path):
            return Path(path)
        shipped = find_shipped("pipelines", name)
        if shipped is None:
            names = shipped_names("pipelines")
            raise self._error(
                entry,
                f"include: {shown(name)} is neither an existing file ({os.path.abspath(path)[:200]!r}) nor a shipped "
                f"pipeline{did_you_mean(name, names)}; shipped: {', '.join(names)}",
            )
        return shipped

    def _error(self, entry: Located, text: str) -> PipelineError:
        return entry.place.error(f"{text}{self._chain()}")

    def _chain(self) -> str:
        """How one gets from the first file to the one that is being read."""
        return f" (included at {', then '.join(map(str, self.places))})" if self.places else ""


def _entries(located: Located | None) -> Iterator[Located]:
    """The paths or names of an `include:`."""
    if located is None:
        return
    for entry in located.value if isinstance(located.value, list) else [located]:
        if not isinstance(entry.value, str) or not entry.value:
            raise entry.place.error(
                f"include is {shown(located.plain())}; write a path, the name of a shipped pipeline, or a list of them"
            )
        yield entry


def _merged(name: str, lower: Located, upper: Located) -> Located:
    """A step as an included file has it, with the params of the including file over it."""
    return replace(upper, value=layered(mapping(lower, f"step {name}"), mapping(upper, f"step {name}")))
