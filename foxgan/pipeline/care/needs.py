"""How artifacts, pipelines and running work hang together: what is needed, and by whom."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from foxgan.errors import FoxganError
from foxgan.pipeline.care.inventory import NAME, ROOMS, Found, is_own
from foxgan.pipeline.folder import WORK, beside, read_json
from foxgan.pipeline.store import Store
from foxgan.stages import MODULES, stage_class


class World:
    """How artifacts, pipelines and running work hang together."""

    def __init__(self, store: Store, found: list[Found]) -> None:
        self.store = store
        self.found = found
        self.artifacts = {item.path: item for item in found if item.kind == "artifact"}
        self.names = {path.name: path for path in self.artifacts}
        self.lenders = {p: self._inputs(i.manifest) for p, i in self.artifacts.items() if _borrows(i.stage)}

    def needed(self) -> dict[Path, str]:
        """What pipelines stand on and what running work may read or write, with the reason."""
        named = self.store.ledger.named()
        steps = {use for uses in named.values() for use in uses}
        kept = dict(self._read_by_work())
        for pipeline, step, target in links(self.store.root):
            if (pipeline, step) not in steps and target in self.artifacts:  # the ledger was deleted
                kept[target] = f"{pipeline}: {step}"
        kept |= dict(self._named_by_path(named))
        for item in self.artifacts.values():
            if uses := named.get(item.key):
                more = f" and {len(uses) - 1} more" if len(uses) > 1 else ""
                kept[item.path] = "{}: {}".format(*uses[0]) + more
        return kept

    def _named_by_path(self, named: Mapping[str, list[tuple[str, str]]]) -> Iterator[tuple[Path, str]]:
        """Artifacts that a pipeline file gives by their path: inputs that none of the pipeline's own steps has ever stood for."""
        own: defaultdict[str, set[str]] = defaultdict(set)
        for pipeline, step in (use for uses in named.values() for use in uses):
            own[pipeline].update(self.store.ledger.used(pipeline, step))
        for key, uses in named.items():
            for place in _places((self.store.ledger.manifest(key) or {}).get("inputs", {})):
                path = self._at(str(place.get("path")))
                for pipeline, step in uses:
                    if path and self.artifacts[path].key not in own[pipeline]:
                        yield path, f"{pipeline}: {step} reads it"

    def _read_by_work(self) -> Iterator[tuple[Path, str]]:
        """What is locked; and what those who hold the locks read, or everything where they don't tell."""
        for home in locked(self.store.root):
            yield from ((f.path, "at work now") for f in self.found if f.home == home)
            inputs: Any = None
            for folder in (beside(home), home):
                with contextlib.suppress(FoxganError):
                    inputs = inputs or (read_json(folder / WORK) or {}).get("inputs")
            read = self.artifacts if inputs is None else self._inputs({"inputs": inputs})
            yield from ((path, f"{home.name} is at work, and may read it") for path in read if path != home)

    def _lent_to(self, borrower: Path) -> set[Path]:
        """All whose files an artifact names: a lender may itself have borrowed them."""
        found: set[Path] = set()
        waiting = [borrower]
        while waiting:
            fresh = set(self.lenders.get(waiting.pop(), ())) - found
            found |= fresh
            waiting += fresh
        return found

    def _inputs(self, manifest: Mapping[str, Any]) -> list[Path]:
        """The artifacts that are inputs of one: by the name of the folder, or, where that is gone, by what it held."""
        found = []
        for place in _places(manifest.get("inputs", {})):
            path = self._at(str(place.get("path")))
            same = (p for p, i in self.artifacts.items() if i.manifest["digest"] == place.get("digest"))
            if path := path or next(same, None):
                found.append(path)
        return found

    def _at(self, path: str) -> Path | None:
        """The artifact at a path or link, also where the workspace has moved since."""
        name = Path(os.path.realpath(path)).name
        return self.names.get(name) or self.names.get(Path(path).name)

    def in_order(self, items: Iterable[Found]) -> list[Found]:
        """Rests of killed work first, then the oldest; what lends files goes after the last one that borrows them."""
        last: dict[Path, float] = {}
        borrowers: Counter[Path] = Counter()  # who lends to a lender has more of them than that one
        for borrower in self.lenders:
            for lender in self._lent_to(borrower):
                last[lender] = max(last.get(lender, 0.0), self.artifacts[borrower].changed)
                borrowers[lender] += 1
        optional = ("artifact", "unfinished")

        def rank(item: Found) -> tuple[bool, float, int, str]:
            changed = max(item.changed, last.get(item.path, 0.0))
            return item.kind in optional, changed, borrowers[item.path], item.path.name

        return sorted(items, key=rank)


def _borrows(stage: str) -> bool:
    return stage not in MODULES or stage_class(stage).borrows  # of a stage that is not known, the worst is assumed


def _places(inputs: Any) -> Iterator[dict[str, Any]]:
    """All inputs of a manifest; a note of running work tells paths alone."""
    for places in inputs.values() if isinstance(inputs, dict) else ():
        for place in places:
            yield place if isinstance(place, dict) else {"path": place}


def links(root: Path) -> Iterator[tuple[str, str, Path]]:
    """`data/<pipeline>/<step>` that lead, or have led, to an artifact: pipeline, step and artifact."""
    for link in sorted((root / "data").glob("*/*")):
        if NAME.fullmatch(link.parent.name):
            continue
        target = None
        if link.is_symlink():
            target = Path(os.path.normpath(link.parent / os.readlink(link)))
        elif link.suffix == ".txt" and link.is_file() and link.stat().st_size < 5000:  # where links are not allowed
            target = Path(link.read_text(encoding="utf-8", errors="replace").removesuffix("\n"))
        if target is not None and is_own(target) and target.parent.parent == root:
            yield link.parent.name, link.name.removesuffix(".txt"), target


def locked(root: Path) -> Iterator[Path]:
    """Folders on which a process works now. The note beside a lock stays as it is: it may tell of one that was killed."""
    from filelock import FileLock, Timeout

    for room in ROOMS:
        for path in sorted((root / room / ".locks").glob("*.lock")):
            held = FileLock(path)
            try:
                held.acquire(timeout=0)
            except Timeout:
                yield root / room / path.stem
            else:
                held.release()
