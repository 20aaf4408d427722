"""Stage `crop`: one upright picture of a fixed size around every head, or from every whole image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    machine_params = frozenset({"workers"})
    reads = ("id", "box", "keypoints")  # the first is a digest that covers the others

    heads: Input | None = Field(
        None, description="Output of `detect`, or photos whose heads are known: one crop per head"
    )
    images: Input | None = Field(None, description="Output of `scrape`, instead of heads: one crop per whole image")
    size: Size = Field((256, 256), description="Side of a crop in pixels, or HxW")
    margin: float = Field(0.3, ge=0, le=4, description="Heads: grow the box by this share of its size")
    level: bool = Field(True, description="Heads: turn the crop so that the eyes are level, where eye points are known")
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
            found.select(*self.reads, "path"),
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
            f"max_enlarge (now {self.max_enlarge}), for outside raise max_outside (now {self.max_outside})"
        )


class Cropper:
    """Cuts one crop per item of a batch; remembers the last photo, as its heads follow each other."""

    def __init__(self, params: Crop, out: str) -> None:
        self.params = params
        self.out = Path(out)
        self.photo: tuple[str, Pixels] | None = None

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        return [[self.crop(item)] for item in items]

    def crop(self, item: Row) -> Row:
        """What the index says of the crop: its id and file, or why there is none."""
        from foxgan import images
        from foxgan.vision import crop

        try:
            photo = self._decoded(item["path"])
        except images.ImageError as error:
            return {"status": error.reason}
        except OSError:
            return {"status": "missing"}
        window = self._window(item, photo)
        if window is None:
            return {"status": "no_box"}
        if crop.enlargement(window, self.params.size) > self.params.max_enlarge:
            return {"status": "too_small"}
        if self._leaves_photo(window, photo):
            return {"status": "outside"}
        return self._saved(crop.cut(photo, window, self.params.size))

    def _decoded(self, path: str) -> Pixels:
        from foxgan import images

        if self.photo is None or self.photo[0] != path:
            self.photo = path, images.decode(Path(path), mode=self.params.channels)
        return self.photo[1]

    def _window(self, item: Row, photo: Pixels) -> Window | None:
        from foxgan.vision import crop

        height, width = photo.shape[:2]
        params = self.params
        if params.heads is None:
            return crop.whole_window(height, width, params.size, params.fit)
        box = crop.clipped_box(item["box"], height, width)
        return box and crop.head_window(box, params.size, params.margin, item["keypoints"], params.level)

    def _leaves_photo(self, window: Window, photo: Pixels) -> bool:
        from foxgan.vision import crop

        if self.params.heads is None or self.params.max_outside == 1:  # padding a whole image is what was asked for
            return False
        return crop.outside_share(window, *photo.shape[:2]) > self.params.max_outside

    def _saved(self, picture: Pixels) -> Row:
        from foxgan import images

        crop_id = images.pixel_digest(picture)
        path = Path("images", crop_id[:2], f"{crop_id}.png")
        (self.out / path.parent).mkdir(parents=True, exist_ok=True)
        images.write(self.out / path, picture)
        height, width, channels = picture.shape
        return {"id": crop_id, "path": path.as_posix(), "height": height, "width": width, "channels": channels}
