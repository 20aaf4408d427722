"""Stage `pack`: all pictures of one shape, with their labels, in one LMDB file that training reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foxgan.engine import Failure
from foxgan.errors import DataError, StageError
from foxgan.stages.base import Context, Field, Input, Row, Stage

if TYPE_CHECKING:
    from zipfile import ZipFile

    from foxgan.dataset.codec import Encoding, Shape
    from foxgan.images import Pixels

CARRIED = ("group", "split", "score", "class", "label", "traits")
SIZES = ("height", "width", "channels")
BATCH = 64
PAGE = 4096  # bytes; values of an LMDB fill whole pages
# bytes of a photo of 64 px by those of its pixels; less when larger
SHARES: dict[Encoding, float] = {"zstd": 0.7, "png": 0.7, "webp": 0.6, "raw": 1}


class Pack(Stage):
    """Put pictures of one shape, in the order of their ids, into an LMDB file with their labels."""

    name = "pack"
    version = 2  # since values are zstd unless asked for otherwise
    machine_params = frozenset({"workers"})
    whole_params = frozenset({"labels", "zip", "decisions"})
    reads = ("id",)
    results = ("data.mdb",)

    images: Input = Field(description="Output of `crop` (or `scrape`), or a zip or folder in NVIDIA's layout")
    labels: Literal["auto", "none", "label", "class"] = Field(
        "auto",
        description="Index column of the labels; auto: label or class, whichever every item has, if it tells them apart",
    )
    encoding: Literal["zstd", "png", "webp", "raw"] = Field(
        "zstd",
        description="All lossless. zstd: as small as png, read several times as fast; png: what other tools read, packed without "
        "encoding again; webp: smallest; raw: largest, read fastest",
    )
    decisions: Input | None = Field(
        None, description="File (or files, later ones win) that the page of `foxgan review` saved: what to leave out"
    )
    zip: bool = Field(False, description="Write dataset.zip in NVIDIA's layout, too")
    workers: int | None = Field(None, ge=0, description="Processes; default one per core, 0 for none")

    def disk_bytes(self, counts: Sequence[int]) -> int:
        return sum(map(self._disk_bytes, self.images)) * (2 if self.zip else 1)

    def _disk_bytes(self, path: Path) -> int:
        from foxgan.dataset.index import INDEX, read_index

        if not (path / INDEX).exists():  # from elsewhere
            files = path.rglob("*") if path.is_dir() else [path]
            return sum(file.stat().st_size for file in files if file.is_file())
        rows = read_index(path).select(SIZES).fill_null(0).iter_rows()
        return sum(int(SHARES[self.encoding] * height * width * channels) + PAGE for height, width, channels in rows)

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.codec import shape_text
        from foxgan.dataset.datacard import write_cards
        from foxgan.dataset.decisions import decided
        from foxgan.dataset.index import KEPT, write_index

        rows = decided((row for path in self.images for row in self._rows(path, ctx)), self.decisions or (), ctx.warn)
        rows.sort(key=lambda row: (str(row["id"]), row["status"] != KEPT))
        items = list({row["id"]: row for row in reversed(rows) if row["status"] == KEPT}.values())[::-1]
        if not items:
            raise StageError(self._advice(len(rows)))
        refuse_mixed(items)
        labels, class_names = choose_labels(items, self.labels)
        shape = self._pack(out, ctx, items, labels, class_names)
        label_of = {} if labels is None else {item["id"]: label for item, label in zip(items, labels, strict=True)}
        for row in rows:
            row |= dict(zip(SIZES, shape, strict=True)) if row["status"] == KEPT else {}
            row |= {"parent": row["id"], "label": label_of.get(row["id"])}
            row.pop("member", None)
        write_index(out, rows)
        if self.zip:
            from foxgan.dataset.interchange import write_zip
            from foxgan.dataset.lmdb import open_dataset

            with ctx.phase("zip"):
                write_zip(open_dataset(out), out / "dataset.zip")
        with ctx.phase("cards"):
            write_cards(out, self.images, f"{shape_text(shape)}, {self.encoding}")

    def _rows(self, path: Path, ctx: Context) -> list[Row]:
        from foxgan.dataset.index import INDEX, PROVENANCE, read_index

        if path.is_file() or (path.is_dir() and not (path / INDEX).exists()):
            return self._foreign_rows(path, ctx)
        columns = ["id", "parent", "status", "path", "width", "height", "channels", *PROVENANCE, *CARRIED]
        return read_index(path, kept=not self.decisions).select(columns).to_dicts()

    def _advice(self, thrown_out: int) -> str:
        places = ", ".join(map(str, self.images))
        if thrown_out:
            files = ", ".join(map(str, self.decisions or ()))
            return f"{places}: nothing is left to pack, as {files} throws out all {thrown_out}; load it into the page again"
        return f"{places}: no items to pack; the index says why they were dropped"

    def _foreign_rows(self, path: Path, ctx: Context) -> list[Row]:
        """One row per picture of a zip or folder from elsewhere; as for a crop, its id is the digest of its pixels."""
        from foxgan.dataset.index import KEPT
        from foxgan.dataset.interchange import read_listing

        listing = read_listing(path)
        names = listing.class_names or []
        rows: list[Row] = []
        for number, name in enumerate(listing.names):
            label = listing.labels[number] if listing.labels else None
            row: Row = {"path": str(path / name)} if path.is_dir() else {"path": str(path), "member": name}
            row |= {"status": KEPT, "source": path.name, "source_id": name, "label": label}
            rows.append(row | {"class": names[label] if label is not None and label < len(names) else None})
        for row, (digest, shape) in self._each(ctx, Identifier, rows, (), "Reading"):
            row["id"] = digest
            row["height"], row["width"], row["channels"] = shape
        return rows

    def _pack(
        self, out: Path, ctx: Context, items: list[Row], labels: list[int] | None, class_names: list[str] | None
    ) -> Shape:
        from foxgan.dataset.index import canonical_json
        from foxgan.dataset.store import Meta
        from foxgan.dataset.writer import Writer

        ids = [str(item["id"]) for item in items]
        _, shape = Encoder(self.encoding)(items[:1])[0]
        with Writer(out, canonical_json([self.encoding, ids])) as writer:
            for item, (value, found) in self._encoded(ctx, items[writer.count :], shape):
                if found != shape:
                    raise mixed({shape: [place(items[0])], found: [place(item)]})
                writer.add(value)
            meta = dict(zip(SIZES, shape, strict=True), count=len(ids), encoding=self.encoding, class_names=class_names)
            with ctx.phase("reading back"):
                writer.finish(Meta.model_validate(meta), ids, labels)
        return shape

    def _encoded(self, ctx: Context, items: list[Row], shape: Shape) -> Iterator[tuple[Row, tuple[bytes, Shape]]]:
        """Each item with its value and shape; what an earlier dataset holds of the same shape is copied from there."""
        from foxgan.dataset.reuse import EarlierValues

        with EarlierValues(ctx.earlier, self.encoding, shape) as earlier:
            new = [item for item in items if item["id"] not in earlier]
            ctx.record(reused=len(items) - len(new))
            fresh = self._each(ctx, Encoder, new, (self.encoding,), "Packing")
            for item in items:
                value = earlier.get(item["id"])
                yield next(fresh) if value is None else (item, (value, shape))

    def _each(
        self, ctx: Context, function: type, rows: list[Row], args: tuple[str, ...], description: str
    ) -> Iterator[tuple[Row, Any]]:
        """Each row with what `function`, which takes a batch, makes of it."""
        batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        made = ctx.engine.map(function, batches, workers=self.workers, args=args)

        def pairs() -> Iterator[tuple[Row, Any]]:
            for batch, results in zip(batches, made, strict=True):
                if isinstance(results, Failure):
                    raise StageError(f"{place(batch[0])} or one of the {len(batch) - 1} after it: {results.reason}")
                yield from zip(batch, results, strict=True)

        return ctx.track(pairs(), len(rows), description)


class Reader:
    """Reads the files of a batch; keeps a zip open for the next one."""

    def __init__(self) -> None:
        self.archive: tuple[str, ZipFile] | None = None

    def read(self, row: Row) -> bytes:
        from foxgan.dataset.interchange import open_zip, read_file, read_member

        if row["path"] is None:
            raise StageError(f"{row['id']}: the index names no file for this item, so there is nothing to pack")
        if not row.get("member"):
            return read_file(Path(row["path"]))
        if self.archive is None or self.archive[0] != row["path"]:
            self.archive = row["path"], open_zip(Path(row["path"]))
        return read_member(self.archive[1], row["member"])

    def decode(self, row: Row, data: bytes) -> Pixels:
        from foxgan import images

        try:
            return images.decode(data, mode="any")
        except images.ImageError as error:
            raise DataError(f"{place(row)}: {error}; run the step that made it again") from error


class Encoder(Reader):
    """Makes each file of a batch a value of the dataset and tells its shape. What is a plain PNG already is copied."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.encoding = encoding

    def __call__(self, rows: list[Row]) -> list[tuple[bytes, Shape]]:
        return [self.encode(row) for row in rows]

    def encode(self, row: Row) -> tuple[bytes, Shape]:
        from foxgan.dataset import codec

        data = self.read(row)
        shape = codec.png_shape(data)
        if self.encoding == "png" and shape is not None and codec.is_plain_png(data):
            return data, shape
        image = self.decode(row, data)
        return codec.encode(image, self.encoding), image.shape


class Identifier(Reader):
    """Tells the digest of the pixels, and the shape, of each file of a batch."""

    def __call__(self, rows: list[Row]) -> list[tuple[str, Shape]]:
        from foxgan.images import pixel_digest

        pictures = (self.decode(row, self.read(row)) for row in rows)
        return [(pixel_digest(picture), picture.shape) for picture in pictures]


def place(row: Row) -> str:
    """Where a person finds this item."""
    return f"{row['path']}: {row['member']}" if row.get("member") else str(row["path"] or row["id"])


def refuse_mixed(rows: list[Row]) -> None:
    """Raise StageError if the index tells of items of two shapes."""
    places = defaultdict(list)
    for row in rows:
        shape = row["height"], row["width"], row["channels"]
        if None not in shape:
            places[shape].append(place(row))
    if len(places) > 1:
        raise mixed(places)


def mixed(places: Mapping[Shape, Sequence[str]]) -> StageError:
    """The refusal of a dataset of several shapes: some items of each, and what makes them alike."""
    from foxgan.dataset.codec import MODES, shape_text

    common = sorted(places, key=lambda shape: (-len(places[shape]), shape))
    lines = [f"  {shape_text(s)}: {len(places[s])} items, such as {', '.join(places[s][:3])}" for s in common[:6]]
    lines += [f"  and {len(common) - 6} more shapes"] if len(common) > 6 else []
    height, width, channels = common[0]
    return StageError(
        "pictures of more than one shape cannot be packed into one dataset:\n"
        + "\n".join(lines)
        + f"\nmake them alike first: `foxgan crop --images ... --size {height}x{width} --channels {MODES.get(channels, 'RGB')} --fit pad`, "
        "then pack its output"
    )


def choose_labels(rows: list[Row], choice: str) -> tuple[list[int] | None, list[str] | None]:
    """Class numbers of `rows` and the names of the classes, or None. Raises StageError where the column asked for is not filled."""
    if choice == "none":
        return None, None
    if choice == "auto":
        full = [c for c in ("label", "class") if all(r[c] is not None for r in rows) and len({r[c] for r in rows}) > 1]
        return choose_labels(rows, full[0] if full else "none")
    without = [place(row) for row in rows if row[choice] is None]
    if without:
        raise StageError(
            f"labels: {choice}: {len(without)} of {len(rows)} items have no {choice} in the index, such as "
            f"{', '.join(without[:3])}; fill it, or pack with `labels: none`"
        )
    if choice == "class":
        names = sorted({row["class"] for row in rows})
        numbers = {name: number for number, name in enumerate(names)}
        return [numbers[row["class"]] for row in rows], names
    return [_label(row) for row in rows], _names_of_labels(rows)


def _label(row: Row) -> int:
    from foxgan.dataset.store import MAX_CLASSES, is_label

    if not is_label(row["label"]):
        raise StageError(f"{place(row)}: label {row['label']}; labels are class numbers from 0 to {MAX_CLASSES - 1}")
    return int(row["label"])


def _names_of_labels(rows: list[Row]) -> list[str] | None:
    """The class column in the order of the labels, if it has exactly one name for each from 0 on."""
    pairs = {(row["label"], row["class"]) for row in rows}
    names = {label: name for label, name in pairs if name is not None}
    if len(pairs) != len(names) or sorted(names) != list(range(len(names))):
        return None
    return [names[label] for label in range(len(names))]
