"""Stage `train`: what it notes beside the networks, and which models it may start from."""

import json
from pathlib import Path

import numpy as np
import torch

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.stages.base import Context
from foxgan.stages.context import Silent
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


def test_a_metric_leaves_the_best_snapshot_and_its_score(tmp_path: Path) -> None:
    dataset, ctx = packed(tmp_path), Context()
    params = {"kimg": 0.024, "tick_kimg": 0.008, "metric": "swd", "metric_ticks": 1, "metric_images": 6}
    Train(dataset=dataset, device="cpu", **params, **TINY).run(tmp_path / "out", ctx)
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    assert best["metric"] == "swd6" and ctx.facts["snapshot"] == f"snapshot-{best['nimg']:09d}.safetensors"
    rows = [json.loads(line) for line in (tmp_path / "out" / "stats.jsonl").read_text().splitlines()]
    assert best["value"] == min(row["swd6"] for row in rows) and {"swd6_8", "diversity", "d_accuracy"} <= rows[0].keys()


def test_warnings_reach_the_user(tmp_path: Path) -> None:
    class Heard(Silent):
        def message(self, level: str, text: str) -> None:
            heard.append((level, text))

    heard: list[tuple[str, str]] = []
    Train(dataset=packed(tmp_path), kimg=0.004, device="cpu", **TINY).run(tmp_path / "out", Context(progress=Heard()))
    assert [text for level, text in heard if level == "warning"][0].startswith("only 4 images")
    assert [text for level, text in heard if "cfg auto on cpu: " in text or text.startswith("networks: 8x8x3")] != []
