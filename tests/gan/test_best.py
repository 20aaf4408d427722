"""The best snapshot by a metric: computed beside the training, kept, told, and the same however the run came to its end."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foxgan.errors import DataError, UsageError
from foxgan.gan.checkpoint import latest_snapshot, numbered, save_best
from foxgan.gan.config import TrainConfig
from foxgan.gan.monitor import TrainCallbacks
from foxgan.gan.training import train

TINY = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "tick_kimg": 0.016, "snapshot_ticks": 4, "grid_ticks": 2}
TINY |= {"grid_columns": 3, "grid_rows": 2, "threads": 1, "ema_kimg": 0, "aug": "noaug", "g_lr": 0.01}
TINY |= {"metric": "swd", "metric_ticks": 2, "metric_images": 10}


def hue(reals: Iterable[Tensor], fakes: Iterable[Tensor]) -> dict[str, float]:
    """A metric that goes up and down from tick to tick, and would notice other latents or reals."""
    real, fake = torch.cat([*reals]), torch.cat([*fakes])
    assert real.shape == fake.shape == (10, 3, 16, 24) and real.dtype == fake.dtype == torch.uint8
    return {"hue10": 100 - float(fake[:, 0].double().mean()), "reals": float(real.double().mean())}


class Killed(Exception):
    """What ends a run that had no time to save."""


class Killing(TrainCallbacks):
    def __init__(self, at: int) -> None:
        self.at = at

    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        if nimg == self.at:
            raise Killed


class Notes(TrainCallbacks):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text):
        self.messages.append(text)


def config(kimg: float = 0.144, **params) -> TrainConfig:
    return TrainConfig(**{**TINY, "kimg": kimg, **params})


def meaning(folder: Path) -> dict[str, bytes]:
    names = [
        *folder.glob("*.safetensors"),
        *folder.glob("grids/*.png"),
        folder / "best.json",
        folder / "warnings.jsonl",
    ]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


def scores(folder: Path, name: str = "hue10") -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return {row["nimg"]: row[name] for row in rows if name in row}


@pytest.fixture(scope="module")
def straight(tmp_path_factory, pictures) -> Path:
    """A run of 144 images whose best snapshot is neither the last one nor saved for another reason."""
    folder = tmp_path_factory.mktemp("straight")
    train(config(), pictures(110), folder, metric=hue)
    return folder


def test_the_best_snapshot_is_kept_told_and_what_the_folder_is_worth(straight):
    found = scores(straight)
    assert list(found) == [4, 32, 64, 96, 128, 144]  # the end is scored, too
    best = min(found, key=lambda nimg: found[nimg])
    assert best not in (4, 64, 128, 144)
    assert json.loads((straight / "best.json").read_text()) == {"nimg": best, "metric": "hue10", "value": found[best]}
    assert sorted(numbered(straight, "snapshot", ".safetensors")) == [best, 128, 144]
    assert sorted(numbered(straight, "state", ".json")) == [128, 144]
    assert latest_snapshot(straight).name == f"snapshot-{best:09d}.safetensors"


def test_a_metric_takes_nothing_from_the_training(straight, pictures, tmp_path):
    plain = train(config(metric="none"), pictures(110), tmp_path, metric=hue)
    assert plain.name == "snapshot-000000144.safetensors" and not (tmp_path / "best.json").exists()
    from safetensors.torch import load_file

    found, expected = load_file(plain), load_file(straight / plain.name)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(set(scores(straight, "reals").values())) == 1


@pytest.mark.parametrize("often", [{}, {"save_minutes": 1e-9}])
def test_a_killed_run_ends_with_the_same_best(straight, pictures, tmp_path, often):
    for at in (8, 36, 72, 100, 132, 140):
        with pytest.raises(Killed):
            train(config(**often), pictures(110), tmp_path, callbacks=Killing(at), metric=hue)
    train(config(**often), pictures(110), tmp_path, metric=hue)
    assert meaning(tmp_path) == meaning(straight)
    assert scores(tmp_path) == scores(straight)


def test_more_kimg_goes_on_as_if_straight(straight, pictures, tmp_path):
    """Shorter runs score their ends, which the longer one forgets, even where they were the best."""
    ends = []
    for kimg in (0.02, 0.04, 0.072, 0.1, 0.12, 0.144):
        train(config(kimg), pictures(110), tmp_path, metric=hue)
        ends.append(json.loads((tmp_path / "best.json").read_text())["nimg"])
    assert any(end in (20, 40, 72, 100, 120) for end in ends)
    found, expected = meaning(tmp_path), meaning(straight)
    assert {name: found[name] for name in expected} == expected
    assert scores(tmp_path) == scores(straight)
    assert set(numbered(tmp_path, "snapshot", ".safetensors")) == set(numbered(straight, "snapshot", ".safetensors"))


def test_a_run_that_was_killed_while_it_scored_its_end_scores_it_again(straight, pictures, tmp_path):
    def killing(reals, fakes):
        if (tmp_path / "snapshot-000000144.safetensors").exists():
            raise Killed
        return hue(reals, fakes)

    with pytest.raises(Killed):
        train(config(), pictures(110), tmp_path, metric=killing)
    train(config(), pictures(110), tmp_path, metric=hue)
    assert meaning(tmp_path) == meaning(straight) and scores(tmp_path) == scores(straight)


def test_a_finished_run_does_nothing_again(straight, pictures, tmp_path):
    folder, notes = shutil.copytree(straight, tmp_path / "again"), Notes()
    train(config(), pictures(110), folder, callbacks=notes, metric=hue)
    assert meaning(folder) == meaning(straight) and scores(folder) == scores(straight)


def test_every_score_is_told_with_the_best_so_far(pictures, tmp_path):
    notes = Notes()
    train(config(0.032), pictures(110), tmp_path, callbacks=notes, metric=lambda reals, fakes: {"odd": 3.14159})
    assert [m for m in notes.messages if "odd" in m] == [
        "odd 3.142 at 0.004 kimg (best: 3.142 at 0.004 kimg)",
        "odd 3.142 at 0.032 kimg (best: 3.142 at 0.004 kimg)",
    ]


def test_a_metric_that_is_asked_for_must_be_given(pictures, tmp_path):
    with pytest.raises(UsageError, match="metric: swd: .* no function"):
        train(config(), pictures(110), tmp_path)


def test_a_best_snapshot_that_is_gone_counts_for_nothing(straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "gone")
    latest_snapshot(folder).unlink()
    assert latest_snapshot(folder).name == "snapshot-000000144.safetensors"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"nimg": "x"}', "\x00" * 100])
def test_a_damaged_note_of_the_best_is_told(straight, tmp_path, text):
    folder = shutil.copytree(straight, tmp_path / "damaged")
    (folder / "best.json").write_text(text)
    with pytest.raises(DataError, match="best.json: .*delete it"):
        latest_snapshot(folder)


def test_an_exported_model_counts_before_the_best(straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "exported")
    (folder / "model.safetensors").touch()
    assert latest_snapshot(folder).name == "model.safetensors"
    save_best(folder, {"nimg": 4, "metric": "odd", "value": 1.0})
    assert latest_snapshot(folder).name == "model.safetensors"
