"""Stage `train-detector`: from photos with labelled heads to a head detector, with its score on photos it has not seen."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from foxgan.devices import Device, choose_device
from foxgan.errors import StageError
from foxgan.stages.base import Context, Input, Row, Stage, Weights

if TYPE_CHECKING:
    from foxgan.vision.detector_training import LabelledPhoto, Recipe

AUTO, KNOWS_HEADS, FROM_SCRATCH = "auto", "fox-heads", "yolo11p"
FEW = 300  # photos up to which a network that knows drawn heads is better than one that knows nothing
STEPS = 2400  # of the optimizer, that a training should have
EPOCHS = (40, 150)  # fewest and most, where nobody says
SCORES_COUNT = 10  # photos from which scores tell something
PREVIEWS = 24  # photos on the contact sheet
WORST = 48  # mistakes on theirs
CONF = 0.25  # smallest score of a head on either
BATCH = 4  # photos looked at together; large ones fill the memory


class TrainDetector(Stage):
    """Train a YOLO network on labelled heads, from scratch or from given weights."""

    name = "train-detector"
    version = 2
    room = "models"
    machine_params = frozenset({"device", "threads"})
    results = ("detector.safetensors",)

    images: Input = Field(description="Output of `scrape` with labelled heads: YOLO labels, or drawn photos")
    model: Weights = Field(
        AUTO,
        description="A network to train from scratch (yolo11p, yolo11n ... yolo11x, with -pose for points, too), or weights to go on "
        f"from; auto: {KNOWS_HEADS} for up to {FEW} photos to learn from, else {FROM_SCRATCH}",
    )
    size: int = Field(320, ge=32, le=2048, multiple_of=32, description="Scale a photo's longer side to this, in pixels")
    epochs: int | None = Field(
        None, ge=1, le=10_000, description="Times that all photos are seen; default: 40 to 150, more for fewer photos"
    )
    batch: int = Field(16, ge=1, le=1024, description="Photos per step")
    patience: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a better score; default: a third of all, at least 30"
    )
    val_share: float = Field(0.15, gt=0, lt=1, description="Share of photos to score on, where the input has no split")
    seed: int = Field(0, ge=0, lt=2**31, description="Of weights, order and augmentation")
    device: Device = Field("auto", description="auto: CUDA if there is one, else the CPU")
    threads: int | None = Field(None, ge=1, description="Threads on the CPU; default: torch's choice")
    workers: int = Field(4, ge=0, description="Processes that load photos; on the CPU the training process does it")

    def units(self, counts: Sequence[int]) -> float:
        photos = sum(counts)
        return float(photos * (self.epochs or usual_epochs(photos, self.batch)))

    @classmethod
    def find_weights(cls, name: str) -> Path | None:
        from foxgan.vision.known import NETWORKS, local_detector

        return None if name in (AUTO, *NETWORKS) else local_detector(name)

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.vision.detector_training import train_detector
        from foxgan.vision.yolo import save_detector

        train, val = self._photos()
        recipe = self._recipe(len(train))
        ctx.record(device=recipe.device, threads=recipe.threads, model=Path(recipe.model).name, epochs=recipe.epochs)
        ctx.info(f"{len(train)} photos to learn from, {len(val)} to score on; {recipe.epochs} epochs of {recipe.model}")
        if len(val) < SCORES_COUNT:
            ctx.warn(f"only {len(val)} photos to score on: the scores tell little; label more, or raise val_share")
        ctx.progress.start("Training the detector", recipe.epochs)
        try:
            net = train_detector(out / "training", train, val, recipe, ctx.progress.advance)
        finally:
            ctx.progress.finish()
        save_detector(out / "detector.safetensors", net, half=True)
        counts = self._show(out, val)
        facts = {**net.metrics, "train_photos": len(train), "val_photos": len(val), **counts}
        (out / "metrics.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        shutil.move(out / "training" / "run" / "results.csv", out / "epochs.csv")
        shutil.rmtree(out / "training")
        ctx.record(**facts)

    def _recipe(self, photos: int) -> Recipe:
        """How to learn from so many photos: what was left to us is chosen here."""
        import torch

        from foxgan.vision.detector_training import Recipe

        chosen = KNOWS_HEADS if photos <= FEW else FROM_SCRATCH
        epochs = self.epochs or usual_epochs(photos, self.batch)
        return Recipe(
            model=chosen if self.model == AUTO else self.model,
            imgsz=self.size,
            epochs=epochs,
            batch=self.batch,
            patience=self.patience or max(30, epochs // 3),
            seed=self.seed,
            device=choose_device(self.device),
            threads=self.threads or torch.get_num_threads(),
            workers=self.workers,
        )

    def _photos(self) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
        """Photos to learn from and to score on. Raises StageError where nothing is labelled."""
        from foxgan.dataset.index import TRUTH, read_index
        from foxgan.vision.detector_training import LabelledHead, LabelledPhoto

        labelled = [folder for folder in self.images if (folder / TRUTH).is_file()]
        if not labelled:
            raise StageError(
                f"train-detector: {', '.join(map(str, self.images))}: no labelled heads ({TRUTH}); scrape a folder or archive "
                "in YOLO format (images/train, labels/train with one `class x y width height` per line and head, data.yaml), "
                "or drawn photos (source: synthetic)"
            )
        heads: dict[str, list[LabelledHead]] = defaultdict(list)
        for row in read_index(labelled, name=TRUTH).sort("id").iter_rows(named=True):
            if row["box"] is not None:
                heads[row["parent"]].append(LabelledHead(row["class"] or "head", row["box"], row["keypoints"] or ()))
        photos = read_index(labelled).sort("id").to_dicts()
        train, val = (
            [LabelledPhoto(Path(row["path"]), tuple(heads[row["id"]])) for row in rows]
            for rows in split(photos, self.val_share)
        )
        return train, val

    def _show(self, out: Path, val: Sequence[LabelledPhoto]) -> dict[str, int]:
        """Contact sheets of the photos that it was scored on, and of its worst mistakes there; returns how many it makes."""
        from foxgan import images
        from foxgan.vision import misses

        shown: list[Any] = []
        texts: list[str] = []
        rated: list[tuple[Any, Path]] = []
        for photo, pixels, heads in self._looked_at(out, val):
            if len(shown) < PREVIEWS:
                shown.append(images.contact_sheet([pixels], boxes=[[head.box for head in heads]]))
                texts.append(" ".join(f"{head.name} {head.score:.2f}" for head in heads) or "none")
            found = misses.misses([(head.name, head.box) for head in photo.heads], heads)
            rated += [(miss, photo.path) for miss in found]
        if shown:
            images.write(out / "preview.jpg", images.contact_sheet(shown, texts), 90)
        if rated:
            worst = misses.worst(rated, WORST)
            tiles = ((misses.close_up(images.decode(path), miss), miss.words) for miss, path in worst)
            images.write(out / "worst_misses.jpg", misses.sheet(tiles), 90)
        tally = Counter(miss.kind for miss, _ in rated)
        return {f"val_{kind}": tally[kind] for kind in misses.KINDS}

    def _looked_at(self, out: Path, photos: Sequence[LabelledPhoto]) -> Iterator[tuple[LabelledPhoto, Any, Any]]:
        """Every photo that is readable, its pixels, and the heads that the new detector finds there."""
        from foxgan import images
        from foxgan.vision.detector import Detector

        detector = Detector(out / "detector.safetensors", device="cpu", conf=CONF)
        for start in range(0, len(photos), BATCH):
            part = []
            for photo in photos[start : start + BATCH]:
                try:
                    part.append((photo, images.decode(photo.path)))
                except (images.ImageError, OSError):
                    continue
            found = detector.detect([pixels for _, pixels in part])
            yield from ((*each, heads) for each, heads in zip(part, found, strict=True))


def usual_epochs(photos: int, batch: int) -> int:
    """So many that there are enough steps, within reason."""
    least, most = EPOCHS
    return min(max(round(STEPS * batch / max(photos, 1)), least), most)


def split(photos: Sequence[Row], val_share: float) -> tuple[list[Row], list[Row]]:
    """Photos to learn from and to score on: as they say themselves, else by a hash of their group, so that more photos
    never move the old ones. Those of a `test` split are in neither. Raises StageError for fewer than two groups."""
    given = [p for p in photos if p["split"] not in (None, "test")]
    val = [p for p in given if p["split"] != "train"]
    if val:
        return [p for p in photos if p["split"] in (None, "train")], val
    rest = [p for p in photos if p["split"] != "test"]
    order = sorted({draw_of(p) for p in rest})
    if len(order) < 2:
        raise StageError(
            f"train-detector: {len(rest)} photos of {len(order)} groups; needs two, to learn from and to score on"
        )
    limit = min(max(val_share, order[0]), order[-2])  # at least one group on either side
    return [p for p in rest if draw_of(p) > limit], [p for p in rest if draw_of(p) <= limit]


def draw_of(photo: Row) -> float:
    """A number in 0..1 that is the same for all photos of a group."""
    from foxgan.dataset.index import item_id

    return int(item_id("split", photo["group"] or photo["id"])[:13], 16) / 16**13
