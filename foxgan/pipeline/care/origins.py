"""What is known of pictures by their ids: from the index that lies beside them, and from the artifacts of the workspace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foxgan.errors import FoxganError
from foxgan.pipeline.care.inventory import inventory

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]
STAGES = ("scrape", "crop")  # whose ids a file itself tells: by its bytes, or by its pixels


class Origins:
    """Rows by id. The folder's own index comes first, then the newest artifact that has the picture."""

    def __init__(self, own: Iterable[Row], root: Path) -> None:
        self.own = {row["id"]: row for row in own}
        found = [f for f in inventory(root) if f.kind == "artifact" and f.stage in STAGES]
        self.folders = [f.path for f in sorted(found, key=lambda f: f.changed, reverse=True)]
        self.tables: dict[Path, pl.DataFrame | None] = {}

    def find(self, ids: Iterable[str]) -> dict[str, Row]:
        """The rows of those ids that are known."""
        wanted = set(ids)
        found = {i: self.own[i] for i in wanted & self.own.keys()}
        for row in self._elsewhere(wanted - found.keys()):
            found.setdefault(row["id"], row)
        return found

    def _elsewhere(self, wanted: set[str]) -> Iterator[Row]:
        import polars as pl

        for folder in self.folders:
            table = self._table(folder) if wanted else None
            if table is not None:
                rows = table.filter(pl.col("id").is_in(list(wanted))).to_dicts()
                wanted = wanted - {row["id"] for row in rows}
                yield from rows

    def _table(self, folder: Path) -> pl.DataFrame | None:
        """Kept rows; None where an index cannot be read, which `foxgan verify` tells."""
        from foxgan.dataset.index import read_index

        if folder not in self.tables:
            try:
                self.tables[folder] = read_index(folder)
            except FoxganError:
                self.tables[folder] = None
        return self.tables[folder]
