"""Photos that an earlier artifact holds and that are asked for again, as its other params decided otherwise over them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from foxgan.dataset.index import read_index
from foxgan.errors import DataError


@dataclass(frozen=True)
class Held:
    """A body as it was: its file, and what the server calls this state of it."""

    file: Path
    validator: str

    @property
    def condition(self) -> dict[str, str]:
        """The header that asks for the body only if it has changed since (RFC 9110, 13.1)."""
        name = "If-None-Match" if self.validator.endswith('"') else "If-Modified-Since"
        return {name: self.validator}

    def put(self, path: Path) -> None:
        """Have the body at `path`, too, with the time at which it was fetched."""
        with contextlib.suppress(OSError):
            return os.link(self.file, path)
        temporary = path.with_suffix(".tmp")
        shutil.copy2(self.file, temporary)
        os.replace(temporary, path)


def held_bodies(folders: Sequence[Path], urls: Sequence[str]) -> dict[str, Held]:
    """What the artifacts `folders` hold of the photos at `urls`; of several states the one in the first of them."""
    found: dict[str, Held] = {}
    asked = pl.DataFrame({"image_url": urls}, schema={"image_url": pl.String})
    for folder in folders:
        if len(found) == len(urls):
            break
        with contextlib.suppress(DataError):  # a damaged one helps nobody
            rows = read_index(folder).drop_nulls(["validator", "path"]).join(asked, on="image_url", how="semi")
            rows = rows.filter(pl.col("complete").is_null())  # of others, the file is not what the server has
            for url, path, validator in rows.select("image_url", "path", "validator").iter_rows():
                found.setdefault(url, Held(Path(path), validator))
    return found
