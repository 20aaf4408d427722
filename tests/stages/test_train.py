"""Stage `train`: what it notes beside the networks, and which models it may start from."""

from pathlib import Path

import numpy as np
import torch

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.stages.base import Context
from foxgan.stages.pack import Pack
from foxgan.stages.train import Train

TINY = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "grid_columns": 2, "grid_rows": 2, "workers": 1}


def packed(folder: Path) -> Path:
    rows = []
    for i in range(4):
        crop = np.random.RandomState(i).randint(0, 255, (8, 8, 3), np.uint8)
        path, crop_id = folder / f"{i}.png", images.pixel_digest(crop)
        images.write(path, crop)
        rows.append({"id": crop_id, "path": str(path), "height": 8, "width": 8, "channels": 3})
    write_index(folder, rows)
    (folder / "set").mkdir()
    Pack(images=folder, workers=0).run(folder / "set", Context())
    return folder / "set"


def test_the_machine_is_noted_as_it_was_used(tmp_path: Path) -> None:
    dataset, before = packed(tmp_path), torch.get_num_threads()
    for threads in (None, before + 1):
        ctx = Context()
        Train(dataset=dataset, kimg=0.004, device="cpu", threads=threads, **TINY).run(tmp_path / str(threads), ctx)
        assert (ctx.facts["device"], ctx.facts["threads"]) == ("cpu", threads or before)
