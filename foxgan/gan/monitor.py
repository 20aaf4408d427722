"""What a training run leaves for people: `stats.jsonl`, TensorBoard curves, and grids of reals and fakes."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foxgan import images
from foxgan.errors import StageError
from foxgan.gan.ops import to_uint8
from foxgan.gan.sampler import Feed, grid_positions
from foxgan.gan.stylegan2 import Generator
from foxgan.gan.trainer import Trainer


class StatsFile:
    """`stats.jsonl`, one row per tick, and the same numbers for TensorBoard; rows after `offset`, where a state was saved, go."""

    def __init__(self, folder: Path, offset: int, nimg: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        path = folder / "stats.jsonl"
        path.touch()
        self.file = path.open("r+b")
        self.file.truncate(offset)
        self.file.seek(offset)
        self.board = SummaryWriter(str(folder / "tb"), purge_step=nimg + 1)

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
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("nimg", "tick"):
                self.board.add_scalar(name, value, row["nimg"])
        self.board.flush()

    def close(self) -> None:
        self.file.close()
        self.board.close()


def memory_gb(device: torch.device) -> dict[str, float]:
    """Memory of this process, and its peak on a GPU, in GiB."""
    import psutil  # type: ignore[import-untyped]

    used = {"memory_gb": round(psutil.Process().memory_info().rss / 2**30, 3)}
    if device.type == "cuda":
        used["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return used


class Grids:
    """Grids of the same latents, and of reals of the same classes, over the whole run; they take no random number from it."""

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        config = trainer.config
        self.folder, self.columns, self.chunk = folder, config.grid_columns, config.batch_gpu
        self.positions = grid_positions(trainer.feed, config.grid_rows, config.grid_columns, config.seed)
        random = torch.Generator().manual_seed(config.seed)
        self.z = torch.randn(len(self.positions), config.network.z_dim, generator=random).to(trainer.device)
        self.c = trainer.feed.one_hot(torch.from_numpy(self.positions).to(trainer.device))

    def reals(self, feed: Feed) -> Path:
        """Write `reals.png` and return its path."""
        path = self.folder / "reals.png"
        self._save(path, feed.images.images(feed.chosen[self.positions]).permute(0, 2, 3, 1).numpy())
        return path

    @torch.inference_mode()
    def fakes(self, G_ema: Generator, nimg: int) -> Path:
        """Write `fakes-<nimg>.png` and return its path."""
        path = self.folder / f"fakes-{nimg:09d}.png"
        parts = zip(torch.split(self.z, self.chunk), torch.split(self.c, self.chunk), strict=True)
        self._save(path, np.concatenate([to_uint8(G_ema(z, c, noise_mode="const")) for z, c in parts]))
        return path

    def _save(self, path: Path, pixels: NDArray[np.uint8]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        images.save_grid(path, pixels, self.columns)
