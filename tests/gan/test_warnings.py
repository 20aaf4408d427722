"""Warnings of a whole run: told once, written down, and the same however often the run is interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from foxgan.gan.config import TrainConfig
from foxgan.gan.monitor import TrainCallbacks
from foxgan.gan.training import Run, train

TINY: dict[str, Any] = {
    "batch": 4,
    "z_dim": 8,
    "w_dim": 8,
    "channel_max": 8,
    "tick_kimg": 0.008,
    "threads": 1,
    "aug": "noaug",
}
TINY |= {"grid_columns": 4, "grid_rows": 4, "grid_ticks": 1, "ema_kimg": 0, "kimg": 0.12}


class Notes(TrainCallbacks):
    def __init__(self, stop_at: int = 0) -> None:
        self.warnings: list[str] = []
        self.stop_at = stop_at

    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        if nimg == self.stop_at:
            raise KeyboardInterrupt

    def warning(self, text):
        self.warnings.append(text)


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "warnings.jsonl").read_text().splitlines()]


def test_a_healthy_run_is_silent(pictures, tmp_path):
    notes = Notes()
    train(TrainConfig(**TINY | {"kimg": 0.2}), pictures(120), tmp_path, callbacks=notes)
    assert notes.warnings == [] == written(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert all(0.3 < row["diversity"] < 3 and 0 <= row["d_accuracy"] <= 1 for row in rows)


def test_what_the_images_lack_is_told_before_training(pictures, tmp_path):
    notes = Notes()
    train(TrainConfig(**TINY | {"kimg": 0.004}), pictures(10, copies=10), tmp_path, callbacks=notes)
    assert [row["kind"] for row in written(tmp_path)] == ["few_images", "twins"]
    assert [row["text"] for row in written(tmp_path)] == notes.warnings
    assert notes.warnings[0].startswith("only 20 images") and notes.warnings[1].startswith("10 of 20 images")


def test_only_the_images_that_are_trained_on_count(pictures, tmp_path):
    notes = Notes()
    train(TrainConfig(**TINY | {"kimg": 0.004, "subset": 30}), pictures(120), tmp_path, callbacks=notes)
    assert len(notes.warnings) == 1 and notes.warnings[0].startswith("only 30 images")


def test_a_d_that_always_wins_is_told_once(pictures, tmp_path):
    notes = Notes()
    train(TrainConfig(**TINY | {"g_lr": 1e-12, "d_lr": 0.005, "gamma": 0}), pictures(120), tmp_path, callbacks=notes)
    assert [row["kind"] for row in written(tmp_path)] == ["d_wins"]
    assert len(notes.warnings) == 1 and "almost without error for 10 ticks" in notes.warnings[0]


def test_a_generator_that_collapses_is_told(pictures, tmp_path):
    class Collapsing(Notes):
        def progress(self, nimg, total, sec_per_kimg, seconds_left):
            if nimg == 60:
                for name, parameter in run.trainer.G.named_parameters():
                    if "affine.weight" in name:  # no style depends on w any more
                        parameter.data.zero_()

    images, notes = pictures(120), Collapsing()
    settings = TrainConfig(**TINY | {"g_lr": 1e-12, "use_noise": False}).resolved(16, 24)
    run = Run(settings, images, tmp_path, torch.device("cpu"), notes, None)
    run.run(None, "")
    (row,) = written(tmp_path)
    assert row["kind"] == "alike" and row["nimg"] == 80 and "0% of the reals' diversity" in row["text"]
    assert notes.warnings == [row["text"]]


@pytest.mark.parametrize("save_minutes", [10, 1e-9])
def test_interruptions_repeat_no_warning(pictures, tmp_path, save_minutes):
    """What was told after the last save is told again: the run goes on from there, and knows nothing of it."""
    params = TINY | {"g_lr": 1e-12, "d_lr": 0.005, "gamma": 0, "kimg": 0.14, "save_minutes": save_minutes}
    straight, often = tmp_path / "straight", tmp_path / "often"
    train(TrainConfig(**params), pictures(20), straight)
    assert [row["kind"] for row in written(straight)] == ["few_images", "d_wins"]
    told = []
    for stop_at in (4, 40, written(straight)[1]["nimg"] + 8, 0):
        notes = Notes(stop_at)
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                train(TrainConfig(**params), pictures(20), often, callbacks=notes)
        else:
            train(TrainConfig(**params), pictures(20), often, callbacks=notes)
        told.append(len(notes.warnings))
    assert written(often) == written(straight)
    assert told == ([1, 1, 1, 1] if save_minutes == 10 else [1, 1, 1, 0])
