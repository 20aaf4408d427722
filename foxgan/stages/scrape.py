"""Bring photos in: from a folder, an archive, IDX files, films, a list of web addresses, or drawn."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PrivateAttr, model_validator

from foxgan.errors import StageError, UsageError
from foxgan.sources.video_params import VideoParams
from foxgan.sources.web_params import WebParams
from foxgan.sources.words import ADVICE, ASKED, ONLY_FOR, PATHS, WEB, Kind
from foxgan.stages.base import Context, Field, Input, Keys, Stage

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.sources.candidate import Candidate, Hashes, Source

DRAWN = 200  # photos, where `limit` does not say
BLOCK = 4096  # bytes of disk that a small file fills
BATCH = {"idx": 512, "synthetic": 4, "video": 64}  # items per message to a worker


class Scrape(WebParams, VideoParams, Stage):
    """Take photos in: check that they decode, keep their bytes and where they come from."""

    name = "scrape"
    version = 2
    machine_params = frozenset({"workers", "connections", "rate", "contact"})
    horizon_params = frozenset({"limit"})
    whole_params = frozenset({"labels", "class_name", "license", "creator"})
    reads = ("source", "source_id", "size")
    takes_in = True

    source: Kind = Field(description="Where the photos come from")
    path: Input | None = Field(None, description="Folder, archive, IDX images, list of addresses, or films")
    limit: int | None = Field(None, gt=0, description="At most so many photos (default: all; synthetic: 200)")
    labels: Literal["auto", "folders", "none"] = Field(
        "auto", description="Classes and boxes: YOLO files where there are some, names of folders, or none"
    )
    labels_path: Input | None = Field(None, description="IDX labels, one file per images file (default: found by name)")
    species: Literal["fox", "wolf"] = Field("fox", description="Animal to draw")
    seed: int = Field(0, ge=0, description="Seed of the drawn photos")
    photo_size: int = Field(512, ge=64, le=4096, description="Longer side of drawn photos, in pixels")
    transparent: bool = Field(False, description="Draw cut-out animals, with nothing around them")
    class_name: str | None = Field(
        None, min_length=1, description="Class of all these photos, where a step holds one class"
    )
    min_size: int = Field(16, ge=1, description="Smallest accepted side, in pixels")
    max_pixels: int = Field(100_000_000, gt=0, le=178_000_000, description="Most pixels of a photo")
    max_file_mb: float = Field(50.0, gt=0, le=2000, description="Largest accepted file, in megabytes")
    truncated: Literal["drop", "keep"] = Field(
        "drop", description="JPEGs that break off: drop them, or keep the rows that are there, if at least half"
    )
    license: str | None = Field(None, description="License of the photos (default: unknown; drawn ones CC0-1.0)")
    creator: str | None = Field(None, description="Who made the photos")
    workers: int | None = Field(None, ge=0, description="Processes (default: one per core)")

    _listing: tuple[Source, list[Candidate]] | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, fields: Any) -> Any:
        """What depends on the source: there is no end to drawn photos, so "all" needs a number, and longer and shorter runs have to know
        it; and services have photos of all licenses."""
        source = fields.get("source") if isinstance(fields, dict) else None
        if source == "synthetic" and fields.get("limit") is None:
            return {**fields, "limit": DRAWN}
        if source in WEB and fields.get("licenses") is None:
            return {**fields, "licenses": "open"}
        return fields

    def check(self) -> None:
        """Every field must mean something to the source."""
        for name, sources in ONLY_FOR.items():
            if self.source not in sources and getattr(self, name) != type(self).model_fields[name].default:
                raise UsageError(f"scrape: `{name}` is only for {' and '.join(sources)}, not for source {self.source}")
        if self.source in WEB and not self.taxon:
            raise UsageError(f"scrape: source {self.source} needs `taxon`: what to look for, such as Vulpes vulpes")
        if self.source == "page" and not self.url:
            raise UsageError("scrape: source page needs `url`: the address of a page with pictures")
        if self.source in PATHS and not self.path:
            raise UsageError(f"scrape: source {self.source} needs `path`: {PATHS[self.source]}")

    def companions(self, path: Path) -> Sequence[Path]:
        if self.source != "idx" or self.labels_path:
            return []
        from foxgan.sources.idx import label_file

        labels = label_file(path)
        return [labels] if labels else []

    @property
    def asks_web(self) -> bool:
        return self.source == "urls" or self.source in ASKED

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        return [] if self.source in ASKED else [candidate.key for candidate in self._list(out, ctx.hashes)[1]]

    def units(self, counts: Sequence[int]) -> float:
        return float(self.limit or sum(counts))

    def disk_bytes(self, counts: Sequence[int]) -> int:
        if self.source == "synthetic":
            return round(self.units(counts) * self.photo_size**2 * 0.4)
        if self.asks_web:
            return 0
        _, candidates = self._listing or (None, [])
        return sum(c.size + BLOCK for c in candidates if not c.refusal)

    def run(self, out: Path, ctx: Context) -> None:
        try:
            if self.source in ASKED:
                with ctx.phase("crawl"):
                    self._crawl(out, ctx)
            with ctx.phase("list"):
                source, candidates = self._list(out, ctx.hashes)
            with contextlib.closing(source):
                self._run(source, candidates, out, ctx)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StageError(
                    f"{out}: the disk is full; make room and run it again, it goes on from here"
                ) from error
            raise

    def _run(self, source: Source, candidates: list[Candidate], out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import TRUTH, write_index
        from foxgan.sources.rows import truth

        if not candidates:
            what = "photos that may be taken" if self.source in ASKED else "files in it that could be photos"
            raise StageError(f"{self._place()}: no {what}; check {self._named()}")
        if self.asks_web:
            with ctx.phase("fetch"):
                candidates = self._fetch(candidates, out, ctx)
        with ctx.phase("take"):
            rows = self._rows(candidates, self._taken(source, candidates, out, ctx), out, ctx)
            frame = write_index(out, rows.drop("heads", strict=False))
        self._refuse_none(Counter(frame["status"]))
        if self.source == "synthetic" or any(candidate.labels for candidate in candidates):
            write_index(out, truth(rows, self.class_name), name=TRUTH)
        shutil.rmtree(out / "incoming", ignore_errors=True)

    def _source(self, out: Path) -> Source:
        from foxgan.sources import archive, folder, idx, services, synthetic, urls

        paths = self.path or ()
        match self.source:
            case "folder":
                return folder.Folder(paths, self._max_bytes, self.labels)
            case "archive":
                return archive.Archive(paths, self._max_bytes, self.labels)
            case "idx":
                return idx.Idx(paths, self.labels_path or ())
            case "urls":
                return urls.Urls(out / "incoming", paths, self.license, self.licenses)
            case "video":
                from foxgan.sources.video import Video  # PyAV is slow to import

                return Video(paths, self.max_pixels, self.video_params(), self._workers)
            case "synthetic":
                assert self.limit is not None
                return synthetic.Synthetic(self.limit, self.seed, self.species, self.photo_size, self.transparent)
            case service:
                return services.Found(out / "incoming", service, self.license, self.licenses)

    def _crawl(self, out: Path, ctx: Context) -> None:
        """Ask a service what it has."""
        from foxgan.sources.crawl import Asking
        from foxgan.sources.services import address, find, spider

        asked = spider(self.source, self)
        ctx.progress.start(f"asking {self.source}", self.limit or 0)
        try:
            asking = Asking(address(asked), self.asker(), self.timeout)
            find(asked, out, ctx.earlier, asking, self.limit, ctx.again, ctx.progress.advance)
        finally:
            ctx.progress.finish()

    def _list(self, out: Path, hashes: Hashes) -> tuple[Source, list[Candidate]]:
        """The source and all that it offers; asked once, as that may mean to unpack an archive."""
        from foxgan.sources.candidate import fair_sample, first_ones

        if self._listing is None:
            source = self._source(out)
            found = source.candidates(hashes)
            sampled = self.limit and self.source in ("folder", "archive", "video")
            self._listing = source, fair_sample(found, self.limit or 0) if sampled else first_ones(found, self.limit)
        return self._listing

    def _fetch(self, candidates: list[Candidate], out: Path, ctx: Context) -> list[Candidate]:
        """Download what no earlier run has; failures come back as candidates that are refused for that reason."""
        from foxgan.sources.fetch import Manners, download, place
        from foxgan.sources.held import held_bodies

        known = set(ctx.known(out, [c.key for c in candidates]))
        missing = [c.meta["image_url"] for c in candidates if not c.refusal and c.key not in known]
        missing = [url for url in missing if not place(out / "incoming", url).exists()]
        manners = Manners(
            self.timeout, self.retries, self.rate, self.connections, self._max_bytes, self.asker(), self.robots
        )
        failures: dict[str, str] = {}

        def on_done(url: str, reason: str) -> None:
            if reason:
                failures[url] = reason
            ctx.progress.advance()

        ctx.progress.start("downloads", len(missing))
        try:
            states = download(missing, out / "incoming", manners, on_done, held_bodies(ctx.akin, missing))
        finally:
            ctx.progress.finish()
        return [_fetched(c, failures, states) for c in candidates]

    def _taken(self, source: Source, candidates: list[Candidate], out: Path, ctx: Context) -> DataFrame:
        from foxgan.sources.intake import Intake, Limits

        return ctx.each(
            out,
            [{"candidate": c} for c in candidates],
            Intake,
            (source, out, Limits(self.min_size, self.max_pixels, self._max_bytes, self.truncated == "keep")),
            keys=[c.key for c in candidates],
            description="photos",
            workers=self._workers,
            batch=BATCH.get(self.source, 16),
        )

    def _rows(self, candidates: list[Candidate], taken: DataFrame, out: Path, ctx: Context) -> DataFrame:
        """The index's rows: what was known of each candidate beforehand, and what became of it; and its `heads`."""
        import polars as pl

        from foxgan.dataset.index import inherited, table
        from foxgan.sources.rows import without

        drawn = self.source == "synthetic"
        origin = {
            "source": self.source,
            "license": self.license or ("CC0-1.0" if drawn else "unknown"),
            "creator": self.creator or ("foxgan" if drawn else None),
        }
        known = table(({"source_id": c.source_id} | origin | c.meta for c in candidates), out)
        rows = inherited(taken, known.with_row_index("item"), on="item")
        if "bad_labels" in rows.columns and (malformed := int(rows["bad_labels"].sum())):
            ctx.record(malformed_labels=malformed)
            ctx.warn(
                f"{malformed} malformed lines in label files were left out; expected `class cx cy w h`, all in 0..1, and "
                "then as many points as `kpt_shape` in data.yaml says"
            )
        if self.class_name:
            rows = rows.with_columns(pl.lit(self.class_name).alias("class"))
        return without(ctx.withdrawn, rows, out).drop("item", "bad_labels", strict=False)

    def _refuse_none(self, reasons: Counter[str]) -> None:
        if reasons["kept"]:
            return
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        advice = [ADVICE[reason] for reason, _ in reasons.most_common() if reason in ADVICE] or [
            f"check {self._named()}"
        ]
        raise StageError(
            f"{self._place()}: none of {reasons.total()} files became a photo ({counts}); {'; '.join(advice)}"
        )

    def _place(self) -> str:
        drawn = "drawn photos" if self.source == "synthetic" else self.source
        return ", ".join(str(path) for path in self.path or ()) or drawn

    def _named(self) -> str:
        """The params that say which photos."""
        return "`url`" if self.source == "page" else "`taxon` and `licenses`" if self.source in WEB else "`path`"

    @property
    def _workers(self) -> int | None:
        """Films are made to bring decoders down more often than photos: they do not come into this process unasked."""
        return os.cpu_count() if self.source == "video" and self.workers is None else self.workers

    @property
    def _max_bytes(self) -> int:
        return round(self.max_file_mb * 1_000_000)


def _fetched(candidate: Candidate, failures: dict[str, str], states: dict[str, str]) -> Candidate:
    """With what is known of it after the downloads."""
    url = candidate.meta["image_url"]
    meta = {**candidate.meta, "validator": states[url]} if url in states else candidate.meta
    return replace(candidate, refusal=failures.get(url, candidate.refusal), meta=meta)
