"""The services on the web that know of openly licensed photos, and what a crawl of one has found, as a source.

A new service is a file like inaturalist.py and its line in `SERVICES`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from foxgan.sources.candidate import Candidate, Hashes, no_hashes
from foxgan.sources.crawl import Asking, Spider, crawl
from foxgan.sources.fetch import Fetched
from foxgan.sources.frontier import FILE, Frontier

SERVICES = {
    "inaturalist": ("foxgan.sources.inaturalist", "INaturalist"),
}


def spider(service: str, given: Mapping[str, Any]) -> Spider:
    """The spider of a service, with those of the `given` params that it has a field for."""
    module, name = SERVICES[service]
    cls = getattr(import_module(module), name)
    made: Spider = cls(**{f.name: given[f.name] for f in dataclasses.fields(cls) if given.get(f.name) is not None})
    return made


def find(
    spider: Spider,
    out: Path,
    earlier: Sequence[Path],
    asking: Asking,
    limit: int | None,
    again: bool = False,
    on_page: Callable[[int], None] = lambda new: None,
) -> None:
    """Ask a service until `limit` photos are known in `out`; goes on from what an interrupted run, or else an earlier crawl, has found.

    `again`: what that one has asked to the end is asked for what is new since. Raises as `crawl.crawl`.
    """
    known = next((folder / FILE for folder in earlier if (folder / FILE).is_file()), None)
    if known is not None and not (out / FILE).exists():
        temporary = out / f"{FILE}.tmp"
        shutil.copyfile(known, temporary)
        os.replace(temporary, out / FILE)
    frontier = Frontier(out)
    try:
        if again:
            frontier.reopen()
        crawl(spider, frontier, asking, limit, on_page)
    finally:
        frontier.close()


def address(spider: Spider) -> str:
    """Where the service is asked: FOXGAN_<NAME>_URL names a mirror, else its own address."""
    return os.environ.get(f"FOXGAN_{spider.name.upper()}_URL") or spider.base


@dataclass(frozen=True)
class Found(Fetched):
    """What a crawl has found; the photos' bodies are in `folder` (see `fetch.download`), its frontier beside it."""

    name: str
    limit: int | None

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        frontier = Frontier(self.folder.parent)
        try:
            for record in frontier.records(self.limit):
                meta = {
                    column: value for column, value in record.items() if value is not None and column != "source_id"
                }
                yield Candidate(record["source_id"], (record["source_id"],), meta=meta)
        finally:
            frontier.close()
