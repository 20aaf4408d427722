"""The gate for every photo: loads a candidate, proves that it decodes, and files its bytes under their own hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from foxgan.dataset.index import KEPT, item_id
from foxgan.images import ImageError, examine, extension, write_bytes
from foxgan.sources.candidate import Candidate, Loaded, Refused, Row, Source
from foxgan.sources.mending import mended
from foxgan.sources.yolo import read_heads


@dataclass(frozen=True)
class Limits:
    """What a photo must be like: pixels of its smaller side, pixels in all, bytes of its file; whether a part of one is welcome."""

    min_size: int
    max_pixels: int
    max_bytes: int
    parts: bool = False


class Intake:
    """Takes batches of items (rows with a `candidate`) in a worker; one index row for each.

    A row's `heads` (ground truth) and `bad_labels` (malformed label lines) are for the caller, not for the index; what is known of a
    candidate beforehand is not repeated in it. Files go to `out/images/<2 hex>/<id>.<ending>`, complete or not at all.
    """

    def __init__(self, source: Source, out: Path, limits: Limits) -> None:
        self.source, self.out, self.limits = source, out, limits

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self.take(item["candidate"])] for item in items]

    def take(self, candidate: Candidate) -> Row:
        """The row of one candidate: kept and filed, or dropped with the reason as its status."""
        try:
            if candidate.refusal:
                raise Refused(candidate.refusal)
            loaded = self.source.load(candidate)
        except Refused as refused:
            return {"id": nameless_id(self.source.name, candidate), "status": refused.reason}
        row = {**loaded.meta, "id": hashlib.sha256(loaded.data).hexdigest()}
        try:
            row.update(self._accept(loaded, candidate, row["id"]))
        except Refused as refused:
            row["status"] = refused.reason
        except ImageError as error:
            row.update(self._part(loaded, candidate) or {"status": error.reason})
        return row

    def _part(self, loaded: Loaded, candidate: Candidate) -> Row | None:
        """What is there of a photo that breaks off, as a photo of its own; labels would be of the whole one."""
        if not self.limits.parts or loaded.labels is not None:
            return None
        try:
            data, complete = mended(loaded.data, self.limits.max_pixels)
            photo_id = hashlib.sha256(data).hexdigest()
            return {
                "id": photo_id,
                "complete": complete,
                **self._accept(replace(loaded, data=data, file=None), candidate, photo_id),
            }
        except (ImageError, Refused):
            return None

    def _accept(self, loaded: Loaded, candidate: Candidate, photo_id: str) -> Row:
        if len(loaded.data) > self.limits.max_bytes:
            raise Refused("too_large")
        suffix = loaded.suffix
        if loaded.shape is None:
            height, width, channels, format = examine(loaded.data, self.limits.max_pixels)
            suffix = extension(format)
        else:
            height, width, channels = loaded.shape
        row: Row = {"width": width, "height": height, "channels": channels}
        if min(height, width) < self.limits.min_size:
            return {**row, "status": "too_small"}
        row.update(status=KEPT, heads=list(loaded.heads))
        if loaded.labels is not None:
            named, points = candidate.class_names, candidate.point_shape
            row["heads"], row["bad_labels"] = read_heads(loaded.labels, width, height, named, points)
        row["path"] = f"images/{photo_id[:2]}/{photo_id}.{suffix}"
        path = self.out / row["path"]
        if not path.exists():  # a duplicate, or left by an interrupted run: the name says what is in it
            path.parent.mkdir(parents=True, exist_ok=True)
            file_bytes(path, loaded)
        return row


def file_bytes(path: Path, loaded: Loaded) -> None:
    """Make `path` hold what was loaded; as a link to its file, where it has one: to make another costs half as much as the check."""
    if loaded.file is not None:
        with contextlib.suppress(OSError):
            return os.link(loaded.file, path)
    write_bytes(path, loaded.data)


def nameless_id(source: str, candidate: Candidate) -> str:
    """The id of a photo whose bytes nobody has."""
    return item_id(source, candidate.source_id)
