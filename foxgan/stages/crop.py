"""Stage `crop`: one upright picture of a fixed size around every head, or from every whole image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foxgan.errors import StageError, UsageError
from foxgan.stages.base import Context, Field, Input, Keys, Row, Size, Stage

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.images import Pixels
    from foxgan.vision.crop import Window

# What a crop keeps of the row it was cut from, beside the columns of provenance.
CARRIED = ("group", "split", "score", "class", "label", "traits")


class Crop(Stage):
    """Cut an upright square around every detected head, or bring whole images to one size.

    A crop's id is the digest of its pixels, so the index says all that the crops mean.
    """

    name = "crop"
    version = 2
    machine_params = frozenset({"workers"})
    reads = ("id", "box", "keypoints", "roll")  # the first is a digest that covers the others

    heads: Input | None = Field(
        None, description="Output of `detect`, or photos whose heads are known: one crop per head"
    )
    images: Input | None = Field(None, description="Output of `scrape`, instead of heads: one crop per whole image")
    size: Size = Field((256, 256), description="Side of a crop in pixels, or HxW")
    margin: float = Field(0.3, ge=0, le=4, description="Heads: grow the box by this share of its size")
    align: Literal["box", "level", "eyes"] = Field(
        "level",
        description="Heads: box: upright, around the box; level: turned, too, so that the eyes are level or as `align` says; eyes: the "
        "eyes at one place, too",
    )
    eye_y: float = Field(
        0.5, ge=0, le=1, description="align eyes: how far down the middle of the eyes lies, as a share of the height"
    )
    eye_distance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="align eyes: this share of the width between the eyes; null: as large as the box and margin say",
    )
    nose_distance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="align eyes: the nose this share of the width below the eyes, if that makes a turned head smaller",
    )
    nose_weight: float = Field(
        0,
        ge=0,
        le=1,
        description="Turn by the line to the nose instead of that of the eyes, by this share; for flat faces",
    )
    max_roll: float = Field(45, ge=0, le=180, description="Drop (tilted) heads that lean by more than this, in degrees")
    profiles: Literal["box", "drop"] = Field(
        "box",
        description="Heads with keypoints that do not show both eyes apart: upright around the box, or dropped (profile)",
    )
    min_confidence: float = Field(
        0.3, ge=0, le=1, description="Keypoints that are less certain than this count as hidden"
    )
    mirror: Literal["off", "left", "right"] = Field(
        "off", description="Mirror heads by eyes and nose so that all look to this side of the crop"
    )
    fit: Literal["centre", "pad", "stretch"] = Field(
        "centre", description="Whole images: keep the middle, pad to the aspect, or ignore the aspect"
    )
    max_enlarge: float = Field(1.5, ge=0.1, description="Drop (too_small) what had to be enlarged by more than this")
    max_outside: float = Field(
        0.4, ge=0, le=1, description="Drop (outside) what lies outside its photo by more than this share"
    )
    channels: Literal["RGB", "L", "RGBA", "any"] = Field("RGB", description="Channels of a crop; any: as in the photo")
    workers: int | None = Field(None, ge=0, description="Processes; default one per core, 0 for none")

    def check(self) -> None:
        if (self.heads is None) == (self.images is None):
            found = "neither" if self.heads is None else "both"
            raise UsageError(f"crop: give either heads (from `detect`) or images (from `scrape`); found {found}")

    def disk_bytes(self, counts: Sequence[int]) -> int:
        height, width = self.size
        channels = {"L": 1, "RGB": 3}.get(self.channels, 4)
        return int(sum(counts) * (0.7 * height * width * channels + 4096))  # PNGs of photos; a file fills whole blocks

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        return self._found()["id"]

    def _found(self) -> DataFrame:
        from foxgan.dataset.index import read_heads, read_index

        return read_heads(self.heads) if self.heads else read_index(self.images or ())

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import KEPT, PROVENANCE, write_index

        self.check()
        # heads of one photo follow each other, so that it is decoded once
        found = self._found().sort("parent", "id")
        done = ctx.each(
            out,
            found.select(*self.reads, "parent", "path"),
            Cropper,
            (self, str(out)),
            keys=found["id"],
            description="Cropping",
            workers=self.workers,
            batch=32,
        )
        rows = done.with_columns(parent=found["id"].gather(done["item"])).drop("item")
        tally = Counter(write_index(out, rows, parents=found.select("id", *PROVENANCE, *CARRIED))["status"])
        if not tally[KEPT]:
            raise StageError(self._advice(tally))

    def _advice(self, tally: Counter[str]) -> str:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in tally.most_common())
        return (
            f"crop: none of {tally.total()} items became a crop ({reasons or 'the input keeps none'}); for too_small lower size or raise "
            f"max_enlarge (now {self.max_enlarge}), for outside raise max_outside (now {self.max_outside}), for tilted max_roll (now "
            f"{self.max_roll}), for profile say profiles: box"
        )


class Cropper:
    """Cuts one crop per item of a batch; remembers the last photo, as its heads follow each other."""

    def __init__(self, params: Crop, out: str) -> None:
        self.params = params
        self.out = Path(out)
        self.photo: PhotoFile | None = None

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self.crop(item)] for item in items]

    def crop(self, item: Row) -> Row:
        """What the index says of the crop: its id and file, or why there is none."""
        from foxgan import images
        from foxgan.vision import crop

        try:
            photo = self._opened(item)
            cut = self._planned(item, photo)
            if isinstance(cut, str):
                return {"status": cut}
            reduced = crop.reduction(cut.window, self.params.size, photo.height, photo.width)
            pixels = photo.decoded(reduced, self.params.channels)
        except images.ImageError as error:
            return {"status": error.reason}
        except OSError:
            return {"status": "missing"}
        picture = crop.cut(pixels, cut.window, self.params.size, reduced)
        return self._saved(picture[:, ::-1] if cut.mirrored else picture) | cut.facts

    def _opened(self, item: Row) -> PhotoFile:
        if self.photo is None or self.photo.path != item["path"]:
            self.photo = None
            self.photo = PhotoFile(item["path"], (item["parent"], item["id"]))
        return self.photo

    def _planned(self, item: Row, photo: PhotoFile) -> Cut | str:
        """Where and how a crop is cut, or the reason why it is not."""
        from foxgan.vision import crop

        params = self.params
        if params.heads is None:
            cut: Cut | str = Cut(crop.whole_window(photo.height, photo.width, params.size, params.fit))
        elif box := crop.clipped_box(item["box"], photo.height, photo.width):
            cut = self.head_cut(item, box)
        else:
            return "no_box"
        if isinstance(cut, str):
            return cut
        if crop.enlargement(cut.window, params.size) > params.max_enlarge:
            return "too_small"
        # padding a whole image is what was asked for
        limit = 1.0 if params.heads is None else params.max_outside
        if limit < 1 and crop.outside_share(cut.window, photo.height, photo.width) > limit:
            return "outside"
        return cut

    def head_cut(self, item: Row, box: Sequence[float]) -> Cut | str:
        """Where the head in `box` (within its photo) is cut, or why its pose forbids it."""
        from foxgan.vision import align, crop

        params = self.params
        points = align.points_of(item["keypoints"], params.min_confidence)
        face = align.face_of(points, max(box[2] - box[0], box[3] - box[1]))
        roll = item["roll"] if params.align == "level" else None
        if params.align == "box":
            roll = 0.0
        elif roll is not None:
            box = item["box"]  # it may reach over the edge, as it says where the middle is
        elif face is not None:
            roll = face.roll(params.nose_weight)
        elif params.profiles == "drop" and item["keypoints"]:
            return "profile"
        window = crop.head_window(box, params.size, params.margin, roll or 0.0)
        if params.align == "eyes" and face is not None:
            scale = 1 / crop.enlargement(window, params.size)
            window = align.eyes_window(
                face, params.size, params.eye_y, window.roll, scale, params.eye_distance, params.nose_distance
            )
        if abs(window.roll) > params.max_roll:
            return "tilted"
        right = None if params.mirror == "off" else align.looks_right(face, window.roll)
        mirrored = right is not None and right == (params.mirror == "left")
        placed = align.keypoints_in_crop(window, params.size, points, mirrored)
        facts = {
            "roll": round(window.roll, 2),
            "mirrored": None if params.mirror == "off" else mirrored,
            "keypoints": placed,
        }
        return Cut(window, mirrored, {name: value for name, value in facts.items() if value is not None})

    def _saved(self, picture: Pixels) -> Row:
        from foxgan import images

        crop_id = images.pixel_digest(picture)
        path = Path("images", crop_id[:2], f"{crop_id}.png")
        (self.out / path.parent).mkdir(parents=True, exist_ok=True)
        images.write(self.out / path, picture)
        height, width, channels = picture.shape
        return {"id": crop_id, "path": path.as_posix(), "height": height, "width": width, "channels": channels}


@dataclass(frozen=True)
class Cut:
    """Where a crop lies in its photo, whether it is mirrored, and what the index says of that."""

    window: Window
    mirrored: bool = False
    facts: Row = field(default_factory=dict)


class PhotoFile:
    """A photo's bytes, its upright size, and its pixels at the parts of its size that were asked for. Raises ImageError and OSError."""

    def __init__(self, path: str, ids: Collection[str | None]) -> None:
        from foxgan import images
        from foxgan.dataset.index import item_id

        self.path = path
        self.data = Path(path).read_bytes()
        self.examined = (
            item_id(self.data) in ids
        )  # a photo is called by its bytes, which were looked at when it was taken in
        self.width, self.height, _ = images.probe(self.data)
        self.pixels: dict[int, Pixels] = {}

    def decoded(self, reduced: int, mode: Literal["RGB", "L", "RGBA", "any"]) -> Pixels:
        from foxgan import images

        if reduced not in self.pixels:
            decode = images.decode_examined if self.examined else images.decode
            self.pixels[reduced] = decode(self.data, mode=mode, reduced=reduced)
        return self.pixels[reduced]
