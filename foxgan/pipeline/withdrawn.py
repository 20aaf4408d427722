"""`data/withdrawn.jsonl`: photos that may not be used any more.

A withdrawal enters the keys of the scrapes that had the photo, so the next run makes them again without it, and what follows; it
changes no finished artifact. Models that were trained with it stay, marked here, until somebody deletes them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from foxgan.errors import DataError


@dataclass(frozen=True)
class Withdrawal:
    """One photo: `sources` are the item keys of the scrapes that had it, `models` the keys of artifacts trained with it."""

    id: str
    reason: str
    time: str
    sources: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


class Withdrawals:
    """All of a workspace's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def entries(self) -> list[Withdrawal]:
        """In the order in which they were made. Raises DataError for a damaged file."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [self._entry(number, line) for number, line in enumerate(lines, 1) if line.strip()]

    def _entry(self, number: int, line: str) -> Withdrawal:
        try:
            return Withdrawal(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self.path}:{number}: not a withdrawal ({error}); mend or delete the line, and withdraw that photo again"
            ) from error

    @property
    def ids(self) -> frozenset[str]:
        """Of all withdrawn photos."""
        return frozenset(entry.id for entry in self.entries)

    def had_by(self, items: str | None) -> list[str]:
        """Ids of the photos that scrapes with this item key had before they were withdrawn."""
        return sorted({entry.id for entry in self.entries if items in entry.sources})

    def behind(self, key: str) -> list[str]:
        """Ids of the withdrawn photos that the model with this key was trained with."""
        return sorted({entry.id for entry in self.entries if key in entry.models})

    def add(self, entry: Withdrawal) -> None:
        """Append one; whole or not at all."""
        text = "".join(json.dumps(asdict(e)) + "\n" for e in [*self.entries, entry])
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
        self.__dict__.pop("entries", None)
