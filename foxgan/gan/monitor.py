"""What a training run tells and leaves for people: `stats.jsonl`, `warnings.jsonl`, TensorBoard curves, grids of reals and fakes."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan import images
from foxgan.errors import StageError
from foxgan.gan.health import variety
from foxgan.gan.ops import to_uint8
from foxgan.gan.sampler import grid_positions
from foxgan.gan.stylegan2 import Generator
from foxgan.gan.trainer import Trainer


class TrainCallbacks:
    """What a caller may want to hear of; override what matters. Nothing that happens here can change the training."""

    def begin(self, nimg: int, total: int) -> None:
        """Training is about to go from `nimg` to `total` images."""

    def progress(self, nimg: int, total: int, sec_per_kimg: float, seconds_left: float) -> None:
        """An iteration is done."""

    def tick(self, row: dict[str, Any]) -> None:
        """A row of `stats.jsonl` is written."""

    def grid(self, path: Path) -> None:
        """A grid of reals or fakes is written."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def warning(self, text: str) -> None:
        """Something that may spoil the result."""


class RowFile:
    """A file of JSON rows; those after `offset`, where a state was saved, are dropped, and `rows` are the others and what is written."""

    def __init__(self, path: Path, offset: int) -> None:
        path.touch()
        self.file = path.open("r+b")
        self.file.truncate(offset)
        self.rows: list[dict[str, Any]] = []
        for line in self.file:
            with contextlib.suppress(ValueError):  # somebody else's change
                self.rows.append(json.loads(line))

    @property
    def offset(self) -> int:
        """Bytes that are safely on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()

    def write(self, row: dict[str, Any]) -> None:
        try:
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()
        except OSError as error:
            raise StageError(f"{self.file.name}: could not be written ({error})") from None
        self.rows.append(row)

    def close(self) -> None:
        self.file.close()


class Stats(RowFile):
    """`stats.jsonl`, one row per tick, and the same numbers for TensorBoard from `nimg` on."""

    def __init__(self, folder: Path, offset: int, nimg: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        super().__init__(folder / "stats.jsonl", offset)
        self.board = SummaryWriter(str(folder / "tb"), purge_step=nimg + 1)

    def write(self, row: dict[str, Any]) -> None:
        super().write(row)
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("nimg", "tick"):
                self.board.add_scalar(name, value, row["nimg"])
        self.board.flush()

    def close(self) -> None:
        super().close()
        self.board.close()


class Warnings(RowFile):
    """`warnings.jsonl`: each kind of warning is told once per run, however often that is interrupted."""

    def __init__(self, folder: Path, offset: int) -> None:
        super().__init__(folder / "warnings.jsonl", offset)

    def tell(self, found: Mapping[str, str], nimg: int) -> list[str]:
        """Write down those of `found` (texts by kind) that are new, and return their texts."""
        told = {row["kind"] for row in self.rows}
        new = {kind: text for kind, text in found.items() if kind not in told}
        for kind, text in new.items():
            self.write({"nimg": nimg, "kind": kind, "text": text})
        return list(new.values())


def memory_gb(device: torch.device) -> dict[str, float]:
    """Memory of this process, and its peak on a GPU, in GiB."""
    import psutil  # type: ignore[import-untyped]

    used = {"memory_gb": round(psutil.Process().memory_info().rss / 2**30, 3)}
    if device.type == "cuda":
        used["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return used


class Grids:
    """Grids of the same latents, and of reals of the same classes, over the whole run; they take no random number from it.

    Making one writes `reals.png`, whose path is `reals`.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        config, feed = trainer.config, trainer.feed
        self.folder, self.columns, self.chunk = folder, config.grid_columns, config.batch_gpu
        positions = grid_positions(feed, config.grid_rows, config.grid_columns, config.seed)
        random = torch.Generator().manual_seed(config.seed)
        self.z = torch.randn(len(positions), config.network.z_dim, generator=random).to(trainer.device)
        self.c = feed.one_hot(torch.from_numpy(positions).to(trainer.device))
        self.classes = self.c.cpu().argmax(1) if config.network.c_dim else torch.zeros(len(positions), dtype=torch.long)
        real_img = feed.images.images(feed.chosen[positions])
        self.reals = self._save("reals.png", real_img.permute(0, 2, 3, 1).numpy())
        once = np.unique(positions, return_index=True)[1]  # few images fill a grid several times
        self.variety = variety(real_img[once], self.classes[once])

    @torch.inference_mode()
    def fakes(self, G_ema: Generator, nimg: int) -> tuple[Path, float]:
        """Write `fakes-<nimg>.png`; its path, and the variety of these fakes as a share of the reals' (1 where those have none)."""
        parts = zip(torch.split(self.z, self.chunk), torch.split(self.c, self.chunk), strict=True)
        pixels = np.concatenate([to_uint8(G_ema(z, c, noise_mode="const")) for z, c in parts])
        found = variety(torch.from_numpy(pixels).permute(0, 3, 1, 2), self.classes)
        return self._save(f"fakes-{nimg:09d}.png", pixels), found / self.variety if self.variety else 1.0

    def _save(self, name: str, pixels: NDArray[np.uint8]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        images.save_grid(self.folder / name, pixels, self.columns)
        return self.folder / name
