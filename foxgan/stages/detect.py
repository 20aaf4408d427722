"""Stage `detect`: find the heads in photos, one index row per head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from foxgan.devices import Device
from foxgan.errors import StageError, UsageError
from foxgan.stages.base import Context, Input, Keys, Row, Stage, Weights
from foxgan.stages.prompting import prepared
from foxgan.vision.backends import BACKEND_HELP, Backend, choose_backend

if TYPE_CHECKING:
    from polars import DataFrame

    from foxgan.vision.detector import Found
    from foxgan.vision.prompts import Prompts
    from foxgan.vision.tracks import Frame

# What a head keeps of its photo, beside the columns of provenance. Not its keypoints: those there are truth, these a finding.
CARRIED = ("path", "width", "height", "group", "split", "label")


class Detect(Stage):
    """Find heads in photos: a box, a score and a class for each; a photo may hold several."""

    name = "detect"
    version = 3
    machine_params = frozenset({"device", "batch", "workers"})
    borrows = True
    reads = ("id",)  # of a photo: the digest of its bytes

    images: Input = Field(description="Output of `scrape`")
    model: Weights = Field(
        "fox-heads", description="Output of `train-detector`, a .safetensors, .onnx or .pt file, or a known name"
    )
    prompts: list[str] | None = Field(
        None,
        description="What a YOLOE or YOLO-World model looks for: `fox head`, or `class=text` for several texts a class",
    )
    encoder: Weights | None = Field(
        None, description="Text encoder or file of embeddings for `prompts`; default: what the model was trained with"
    )
    conf: float = Field(0.25, ge=0.001, le=1, description="Smallest score of a head")
    iou: float = Field(0.5, ge=0, le=1, description="Boxes that overlap by more than this are one head")
    classes: list[str] | None = Field(None, description="Names of the classes to keep; default: all of the model's")
    max_heads: int = Field(20, ge=1, le=1000, description="Keep the best so many of a photo")
    min_head: int = Field(0, ge=0, description="Drop (too_small) heads with a shorter side below this, in pixels")
    size: int | None = Field(
        None, ge=32, le=4096, description="Scale a photo's longer side to this; default: what the model was trained at"
    )
    tiles: Annotated[
        Literal["off", "auto"] | Annotated[int, Field(ge=2, le=16)],
        BeforeValidator(lambda v: "off" if v is False else v),  # what YAML makes of it
    ] = Field(
        "off",
        description="Look again at large photos in so many overlapping tiles along their longer side, for small heads: 3 takes about 10 "
        "times as long; auto: as many as show them at full scale, and fewer",
    )
    device: Device = Field("auto", description="auto: CUDA if there is one, else the CPU")
    backend: Backend = Field("auto", description=BACKEND_HELP)
    batch: int = Field(64, ge=1, le=1024, description="Photos looked at before their heads are noted")
    workers: int = Field(0, ge=0, description="Processes; 0: this one, whose network already uses all cores")

    @classmethod
    def find_weights(cls, name: str) -> Path | None:
        from foxgan.vision.known import ENCODERS, local_detector

        return None if name in ENCODERS else local_detector(name)

    def check(self) -> None:
        from foxgan.vision.prompts import parse

        if self.prompts is not None:
            parse(self.prompts)
        elif self.encoder is not None:
            raise UsageError(
                "detect: encoder: reads `prompts`, and there are none; write what to look for or leave it out"
            )

    def item_keys(self, out: Path, ctx: Context) -> Keys:
        from foxgan.dataset.index import read_index

        return read_index(self.images)["id"]

    def run(self, out: Path, ctx: Context) -> None:
        import torch

        from foxgan.dataset.index import KEPT, PROVENANCE, read_index, write_index

        backend, device = choose_backend(self.backend, self.device, self.model)
        ctx.record(device=device, backend=backend, threads=torch.get_num_threads())
        photos = read_index(self.images).sort("id")
        if photos.is_empty():
            raise StageError("detect: its input has no photo to look at; see why its index dropped them all")
        prompts = prepared(self, ctx)
        found = ctx.each(
            out,
            photos.select(*self.reads, "path", "source"),
            Finder,
            (self, prompts),
            keys=photos["id"],
            description="Finding heads",
            workers=self.workers,
            batch=self.batch,
        )
        found = _grouped(found, photos)
        rows = found.with_columns(parent=photos["id"].gather(found["item"])).drop("item")
        statuses = write_index(out, rows, parents=photos.select("id", *PROVENANCE, *CARRIED))["status"]
        heads = int((statuses == KEPT).sum())
        if not heads:
            raise StageError(self._advice(len(photos), sorted(set(statuses))))
        ctx.record(photos=len(photos), heads=heads, heads_per_photo=round(heads / len(photos), 3))

    def _advice(self, photos: int, reasons: list[str]) -> str:
        return (
            f"detect: no head in any of {photos} photos ({', '.join(reasons)}) with model {self.model}; try a lower conf (now "
            f"{self.conf}), a smaller min_head (now {self.min_head}), other classes, or train a detector on such photos"
        )


class Finder:
    """Looks at a batch of photos; built once per worker, with its network."""

    def __init__(self, params: Detect, prompts: Prompts | None = None) -> None:
        from foxgan.vision.detector import Detector

        self.params = params
        self.detector = Detector(
            params.model,
            params.size,
            params.device,
            params.conf,
            params.iou,
            params.classes,
            params.max_heads,
            params.backend,
            params.tiles,
            prompts,
        )

    def __call__(self, items: list[Row]) -> list[list[Row]]:
        is_film = [item["source"] == "video" for item in items]
        found = self.detector.detect_files([Path(item["path"]) for item in items], glances=any(is_film))
        rows = [[{"status": photo}] if isinstance(photo, str) else self._rows(photo) for photo in found]
        for is_frame, photo, results in zip(is_film, found, rows, strict=True):
            if is_frame and not isinstance(photo, str):
                results[0]["features"] = photo.glance
        return [
            [row | {"id": _id(item["id"], row)} for row in results] for item, results in zip(items, rows, strict=True)
        ]

    def _rows(self, photo: Found) -> list[Row]:
        size = {"height": photo.height, "width": photo.width}
        rows = []
        for head in photo.heads:
            x0, y0, x1, y1 = head.box
            small = {"status": "too_small"} if min(x1 - x0, y1 - y0) < self.params.min_head else {}
            points = {"keypoints": list(head.keypoints)} if head.keypoints else {}
            rows.append({"box": list(head.box), "score": head.score, "class": head.name, **points, **size, **small})
        return rows or [{"status": "no_head", **size}]


def _id(photo: str, result: Row) -> str:
    """Photo, box and keypoints are what a head means."""
    from foxgan.dataset.index import item_id

    return item_id(photo, result["box"], result.get("keypoints")) if "box" in result else item_id(photo, None)


def _grouped(found: DataFrame, photos: DataFrame) -> DataFrame:
    """The rows without what frames of films are known by; where a film's frames fall into several groups, with a group of their own."""
    import polars as pl

    from foxgan.vision.tracks import frame_of, parted

    if "features" not in found.columns:
        return found
    films: dict[str, list[tuple[float, int, Frame]]] = {}
    names = photos.select("group", "source", "source_id").to_dicts()
    for (item,), rows in found.group_by("item", maintain_order=True):
        photo, text = names[item], rows["features"][0]
        if text is None or photo["source"] != "video" or not photo["group"] or "#" not in photo["source_id"]:
            continue
        second = float(photo["source_id"].rpartition("#")[2])
        films.setdefault(photo["group"], []).append((second, item, frame_of(second, text, _shares(rows))))
    groups: dict[int, str] = {}
    for film, frames in films.items():
        frames.sort(key=lambda frame: frame[:2])
        numbers = parted([frame for *_, frame in frames])
        if len(set(numbers)) > 1:
            groups |= {item: f"{film}#{number}" for (_, item, _), number in zip(frames, numbers, strict=True)}
    group = found["item"].replace_strict(groups, default=None, return_dtype=pl.String)
    return found.drop("features").with_columns(group=group)


def _shares(rows: DataFrame) -> list[tuple[float, float, float, float]]:
    """The boxes of a photo's heads, as shares of its sides."""
    if "box" not in rows.columns:
        return []
    known = rows.select("box", "width", "height").drop_nulls("box").iter_rows()
    return [(b[0] / width, b[1] / height, b[2] / width, b[3] / height) for b, width, height in known]
