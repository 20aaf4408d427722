"""The services on the web that know of openly licensed photos, and what a crawl of one has found, as a source.

A new service is a file like inaturalist.py and its line in `SERVICES`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from foxgan.licenses import Policy, license_url, tidy
from foxgan.sources.candidate import Candidate, Hashes, licensed, no_hashes
from foxgan.sources.crawl import Asking, Spider, crawl
from foxgan.sources.fetch import Fetched
from foxgan.sources.frontier import FILE, Frontier
from foxgan.sources.web_params import WebParams

SERVICES = {
    "inaturalist": ("foxgan.sources.inaturalist", "INaturalist"),
    "commons": ("foxgan.sources.commons", "Commons"),
    "openverse": ("foxgan.sources.openverse", "Openverse"),
    "gbif": ("foxgan.sources.gbif", "Gbif"),
    "flickr": ("foxgan.sources.flickr", "Flickr"),
    "page": ("foxgan.sources.page", "WebPages"),
}
WIDTHS = {
    "original": 2048,
    "large": 1024,
    "medium": 500,
    "small": 240,
}  # pixels, at services that scale as they are asked


def spider(service: str, params: WebParams) -> Spider:
    """The spider of a service, with those of the params that it has a field for."""
    module, name = SERVICES[service]
    cls = getattr(import_module(module), name)
    given = {
        "taxon": params.taxon,
        "text": params.taxon,
        "policy": params.licenses,
        "variant": params.variant,
        "width": WIDTHS[params.variant],
        "quality_grade": params.quality_grade,
        "basis_of_record": params.basis_of_record,
        "mature": params.mature,
        "url": params.url,
        "pages": params.pages,
        "robots": params.robots,
    }
    made: Spider = cls(**{field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given})
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
    """Where the service is asked: FOXGAN_<NAME>_URL names a mirror, else its own address; a web page is its own."""
    return os.environ.get(f"FOXGAN_{spider.name.upper()}_URL") or spider.base or str(getattr(spider, "url", ""))


@dataclass(frozen=True)
class Found(Fetched):
    """What a crawl has found; the photos' bodies are in `folder` (see `fetch.download`), its frontier beside it.

    `license`: what the user knows of all of them. `policy`: which of them may be taken; None: all.
    """

    name: str
    license: str | None = None
    policy: Policy | None = None

    def candidates(self, hashes: Hashes = no_hashes) -> Iterator[Candidate]:
        frontier = Frontier(self.folder.parent)
        try:
            for record in frontier.records():
                meta = {
                    column: value for column, value in record.items() if value is not None and column != "source_id"
                }
                if self.license:
                    meta["license"] = tidy(self.license)
                    meta["license_url"] = license_url(meta["license"])
                yield licensed(Candidate(record["source_id"], (record["source_id"],), meta=meta), self.policy)
        finally:
            frontier.close()
