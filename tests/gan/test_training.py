"""The loop: its steps against published numbers, exact resume, transfer, and what it leaves behind."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from foxgan import images
from foxgan.errors import DataError, StageError, UsageError
from foxgan.gan import losses, training
from foxgan.gan.checkpoint import latest_snapshot, numbered, save_snapshot
from foxgan.gan.config import TrainConfig
from foxgan.gan.model import load_model
from foxgan.gan.monitor import TrainCallbacks
from foxgan.gan.trainer import Trainer, ema_beta, lazy_adam
from foxgan.gan.training import Run, train

TINY = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "tick_kimg": 0.016, "snapshot_ticks": 2, "grid_ticks": 2}
TINY |= {"grid_columns": 3, "grid_rows": 2, "threads": 1, "ema_kimg": 0.1, "ada_kimg": 0.1, "ada_target": -0.9}
TINY |= {"precision": "fp32"}  # `auto` depends on the machine


class Discs:
    """Drawn discs of three sizes, which are their classes."""

    def __init__(
        self, count: int = 24, side: int = 16, channels: int = 3, labelled: bool = True, seed: int = 0
    ) -> None:
        self.height, self.width, self.channels = side, side, channels
        self.labels = np.arange(count, dtype=np.int64) % 3 if labelled else None
        self.num_classes = 3 if labelled else 0
        self.fingerprint = f"discs {count} {side} {channels} {labelled} {seed}"
        random = np.random.RandomState(seed)
        y, x = np.mgrid[:side, :side] / side
        center, radius = random.uniform(0.4, 0.6, (count, 2, 1, 1)), 0.15 + 0.1 * (np.arange(count) % 3)
        disc = np.hypot(x - center[:, 0], y - center[:, 1]) < radius[:, None, None]
        color = random.uniform(100, 255, (count, channels, 1, 1))
        self.data = torch.from_numpy((disc[:, None] * color).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices):
        return self.data[torch.as_tensor(np.asarray(indices))]


class Notes(TrainCallbacks):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.rows: list[dict] = []
        self.seen: list[int] = []

    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        self.seen.append(nimg)

    def tick(self, row):
        self.rows.append(row)

    def message(self, text):
        self.messages.append(text)

    def warning(self, text):
        self.warnings.append(text)


class Interrupting(Notes):
    """Presses Ctrl-C once `at` images are done."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        if nimg == self.at:
            signal.raise_signal(signal.SIGINT)


def config(kimg: float = 0.064, **params) -> TrainConfig:
    return TrainConfig(**{**TINY, "kimg": kimg, **params})


def meaning(folder: Path) -> dict[str, bytes]:
    """What two equal runs must agree on, to the bit: weights, states, pictures."""
    names = [*folder.glob("*.safetensors"), *folder.glob("grids/*.png")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


def untimed(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    volatile = {"sec_per_kimg", "seconds", "seconds_left", "memory_gb"}
    return [{k: v for k, v in row.items() if k not in volatile} for row in rows]


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run of 64 images that nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    train(config(), Discs(), folder)
    return folder


class Published(Trainer):
    """A trainer whose random numbers are those of the published trajectory."""

    def follow(self, data: dict[str, torch.Tensor]) -> None:
        z, x, c = data["z"][self.batch_idx], data["x"][self.batch_idx], torch.zeros(8, 0)
        self.pl_noise = data["pl_noise"][self.batch_idx] / math.sqrt(x.shape[2] * x.shape[3])
        for phase, own in zip(self.phases, [z[0], z[1], z[2], z[2]], strict=True):
            if self.batch_idx % phase.interval == 0:
                self.run(phase, own, c, x, c)
        self.average()
        self.nimg, self.batch_idx = self.nimg + 8, self.batch_idx + 1

    def _main(self, net):
        return partial(net, noise_mode="const") if net is self.G.synthesis else net

    def _g_reg(self, z, c, real_img, real_c):
        ws = self._ws(z[:4], c[:4])
        penalty, self.pl_mean = losses.path_length_penalty(
            self.G.synthesis(ws, noise_mode="const"), ws, self.pl_mean, self.pl_noise
        )
        yield penalty


def test_18_iterations_follow_the_published_trajectory(golden, golden_json):
    name = "sg2_training_trajectory_16"
    data, stored = golden(name), golden_json(name, "config")
    sizes = {key: stored[key] for key in ("batch", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max")}
    rates = {"g_lr": stored["lr"], "d_lr": stored["lr"], "gamma": stored["r1_gamma"]}
    ema = {"ema_kimg": stored["ema_halflife_images"] / 1000, "ema_rampup": "off"}
    settings = TrainConfig(**sizes, **rates, **ema, style_mixing=0, aug="noaug").resolved(16, 16)
    trainer = Published(settings, Discs(labelled=False), torch.device("cpu"))
    for net, prefix in ((trainer.G, "G0."), (trainer.D, "D0."), (trainer.G_ema, "G0.")):
        net.load_state_dict({key: data[prefix + key] for key in net.state_dict()})
    for log in golden_json(name, "logs"):
        trainer.means.sums.clear()
        trainer.follow(data)
        found = trainer.means.values()
        assert found["loss_G"] == pytest.approx(log["Gmain"], rel=1e-3)
        assert found["loss_D_real"] + found["loss_D_fake"] == pytest.approx(log["Dmain"], rel=1e-3)
    for net, prefix in ((trainer.G, "G1."), (trainer.D, "D1."), (trainer.G_ema, "G_ema.")):
        for key, value in net.state_dict().items():
            torch.testing.assert_close(value, data[prefix + key], atol=1e-4, rtol=0, msg=prefix + key)
    trainer.feed.close()


def test_lazy_regularisation_corrects_adam():
    (group,) = lazy_adam([torch.nn.Parameter(torch.zeros(1))], 0.0025, 4).param_groups
    assert group["lr"] == pytest.approx(0.8 * 0.0025)
    assert group["betas"] == (0.0, pytest.approx(0.991992, abs=1e-6))
    (group,) = lazy_adam([torch.nn.Parameter(torch.zeros(1))], 0.0025, 16).param_groups
    assert group["lr"] == pytest.approx(0.941176 * 0.0025)
    assert group["betas"][1] == pytest.approx(0.990585, abs=1e-6)


def test_half_life_of_the_average():
    assert ema_beta(16, 10**6, 5, "off") == pytest.approx(0.997784, abs=1e-6)
    assert ema_beta(16, 16000, 5, 0.05) == pytest.approx(0.986233, abs=1e-6)
    assert ema_beta(16, 0, 5, 0.05) == 0


def test_micro_batches_sum_to_the_gradient_of_twice_the_mean():
    """Two halves give the sum of two means; with minibatch statistics in groups of one, nothing else differs."""
    gradients = []
    for batch_gpu in (4, 2):
        settings = TrainConfig(**TINY | {"mbstd_group_size": 1, "batch_gpu": batch_gpu, "style_mixing": 0}).resolved(
            16, 16
        )
        trainer = Trainer(settings, Discs(labelled=False), torch.device("cpu"))
        real_img, real_c = trainer.feed.next()
        z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        for phase in trainer.phases[3:]:
            trainer.run(phase, z, real_c, real_img, real_c)
        gradients.append(trainer.D.get_parameter("b4.fc.weight").grad)
        trainer.feed.close()
    torch.testing.assert_close(gradients[1], 2 * gradients[0], rtol=1e-4, atol=1e-7)


def test_a_run_leaves_networks_numbers_and_pictures(straight):
    assert latest_snapshot(straight).name == "snapshot-000000064.safetensors"
    rows = untimed(straight)
    assert [row["nimg"] for row in rows] == [4, 16, 32, 48, 64]
    assert {"loss_G", "loss_D_real", "loss_D_fake", "r1", "pl", "p", "sign_real", "pl_mean"} <= set(rows[0])
    assert [p.name for p in sorted((straight / "grids").iterdir())] == [
        *(f"fakes-{nimg:09d}.png" for nimg in (4, 32, 64)),
        "reals.png",
    ]
    assert images.decode(straight / "grids" / "reals.png").shape[1] >= 3 * 16
    assert list((straight / "tb").glob("events*"))
    model = load_model(straight)
    assert model.info is not None and model.info["nimg"] == 64 and model.info["config"]["gamma"] > 0
    assert model.G is not None and not torch.equal(model.G.mapping.w_avg, torch.zeros(8))


def test_the_average_lags_behind_the_generator(straight):
    model = load_model(straight)
    assert model.G is not None
    average, current = (net.get_parameter("synthesis.b16.conv1.weight") for net in (model.G_ema, model.G))
    assert 0 < (average - current).abs().max() < 0.5


def test_the_last_two_snapshots_are_kept(straight):
    assert sorted(numbered(straight, "snapshot", ".safetensors")) == [32, 64]
    assert sorted(numbered(straight, "state", ".json")) == [32, 64]


def test_p_rises_where_d_overfits_and_stops_at_its_limit(straight):
    assert untimed(straight)[-1]["p"] == pytest.approx(0.6, abs=0.06)  # 15 or 16 iterations: a step of 0.16 every 4
    rows = untimed(straight)
    assert all(a["p"] <= b["p"] <= 0.85 for a, b in zip(rows, rows[1:], strict=False))


def test_an_interrupted_run_goes_on_to_the_bit(straight, tmp_path):
    for at in (8, 36):
        with pytest.raises(KeyboardInterrupt):
            train(config(), Discs(), tmp_path, callbacks=Interrupting(at))
        assert (tmp_path / f"state-{at:09d}.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    notes = Notes()
    train(config(), Discs(), tmp_path, callbacks=notes)
    assert "going on from 0.036 kimg" in notes.messages
    assert meaning(tmp_path) == meaning(straight)
    assert untimed(tmp_path) == untimed(straight)


def test_more_kimg_goes_on_as_if_straight(straight, tmp_path):
    """20 and 40 images are no multiples of a tick, so the shorter runs end with rows and snapshots that the longer one drops."""
    for kimg in (0.02, 0.04, 0.064):
        train(config(kimg), Discs(), tmp_path)
    found, expected = meaning(tmp_path), meaning(straight)
    assert {name: found[name] for name in expected} == expected
    assert untimed(tmp_path) == untimed(straight)
    assert sorted(numbered(tmp_path, "snapshot", ".safetensors")) == [32, 64]


def test_saving_often_changes_nothing(straight, tmp_path):
    train(config(save_minutes=1e-9), Discs(), tmp_path)
    assert meaning(tmp_path) == meaning(straight)


KILLED = """
import sys, os, signal
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import Discs, Notes, config, train
class Killing(Notes):
    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        if nimg == 44:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
train(config(), Discs(), Path({out!r}), callbacks=Killing())
"""


def test_a_killed_run_goes_on_to_the_bit(straight, tmp_path):
    script = KILLED.format(tests=str(Path(__file__).parent), out=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=240, check=False)
    assert done.returncode not in (0, 1), done.stderr
    assert not (tmp_path / "snapshot-000000064.safetensors").exists()
    with (tmp_path / "stats.jsonl").open("ab") as file:
        file.write(b'{"nimg": 48, "torn')
    train(config(), Discs(), tmp_path)
    assert meaning(tmp_path) == meaning(straight)
    assert untimed(tmp_path) == untimed(straight)


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_kill_in_the_last_save_leaves_no_file_too_many(straight, tmp_path, deleted):
    """What the last save keeps no more are the files of 4 images. The kill came before all, or one or two of them were deleted."""
    train(config(0.004), Discs(), tmp_path / "begun")
    shutil.copytree(straight, tmp_path / "killed")
    doomed = ["state-000000004.json", "state-000000004.safetensors", "snapshot-000000004.safetensors"]
    for name in doomed[deleted:]:
        shutil.copy(tmp_path / "begun" / name, tmp_path / "killed")
    train(config(), Discs(), tmp_path / "killed")
    assert meaning(tmp_path / "killed") == meaning(straight)
    assert not any((tmp_path / "killed" / name).exists() for name in doomed)
    assert untimed(tmp_path / "killed") == untimed(straight)


def test_a_setting_that_an_older_version_did_not_know_changes_nothing(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "old")
    state = tmp_path / "old" / "state-000000064.json"
    facts = json.loads(state.read_text())
    del facts["config"]["p_max"], facts["config"]["network"]["use_noise"]
    state.write_text(json.dumps(facts))
    notes = Notes()
    train(config(), Discs(), tmp_path / "old", callbacks=notes)
    assert "going on from 0.064 kimg" in notes.messages


def test_a_finished_run_does_nothing_again(straight):
    before = meaning(straight)
    notes = Notes()
    train(config(), Discs(), straight, callbacks=notes)
    assert notes.seen == []
    assert meaning(straight) == before


def test_ctrl_c_outside_the_main_thread_does_not_matter(tmp_path):
    thread = threading.Thread(target=train, args=(config(0.004), Discs(), tmp_path))
    thread.start()
    thread.join()
    assert latest_snapshot(tmp_path).name == "snapshot-000000004.safetensors"


def test_a_run_in_mixed_precision_goes_on_to_the_bit(tmp_path):
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    for kimg in (0.032, 0.064):
        train(config(kimg, precision="mixed"), Discs(), halves)
    train(config(precision="mixed"), Discs(), whole)
    names = ["snapshot-000000064.safetensors", "state-000000064.safetensors", "grids/fakes-000000064.png"]
    assert [(halves / n).read_bytes() for n in names] == [(whole / n).read_bytes() for n in names]


@pytest.mark.parametrize(
    ("params", "dataset", "error", "words"),
    [
        ({"gamma": 5}, {}, UsageError, "gamma: .* -> 5"),
        ({"seed": 1}, {}, UsageError, "seed: 0 -> 1"),
        ({}, {"seed": 1}, DataError, "another dataset"),
        ({"kimg": 0.02}, {}, UsageError, "already at 0.064 kimg"),
    ],
)
def test_a_folder_of_another_run_is_refused(straight, params, dataset, error, words):
    before = meaning(straight)
    with pytest.raises(error, match=words):
        train(config(**params), Discs(**dataset), straight)
    assert meaning(straight) == before


@pytest.mark.parametrize(("precision", "words"), [("auto", "STEP.device=cpu"), ("fp32", "say the same again")])
def test_a_run_that_was_begun_on_another_device_is_told_what_works(straight, tmp_path, monkeypatch, precision, words):
    monkeypatch.setattr(training, "half_is_faster", lambda device: False)
    folder = shutil.copytree(straight, tmp_path / "other")
    state = folder / "state-000000064.json"
    facts = json.loads(state.read_text())
    facts["config"]["precision"] = precision
    facts["config"]["network"] |= {"num_fp16_res": 4, "conv_clamp": 256}  # as `auto` chooses on CUDA
    state.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match=rf"network.num_fp16_res: 4 -> 0; .*{words}.*--force STEP"):
        train(config(precision=precision), Discs(), folder)


def test_transfer_starts_from_all_three_networks(straight, tmp_path):
    notes = Notes()
    slow = {"g_lr": 1e-12, "d_lr": 1e-12, "ema_kimg": 1000.0}
    path = train(config(0.004, channel_max=None, z_dim=None, **slow), Discs(seed=7), tmp_path, straight, notes)
    found, source = load_model(path), load_model(straight)
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(source, name).named_parameters():
            torch.testing.assert_close(getattr(found, name).get_parameter(key), value, atol=1e-6, rtol=0, msg=key)
    assert found.network == source.network
    assert any("tensors copied" in message and "missing" not in message for message in notes.messages)


def test_transfer_from_a_small_model_takes_its_average_as_generator(straight, tmp_path):
    source = load_model(straight)
    base = tmp_path / "base.safetensors"
    save_snapshot(base, D=source.D, G_ema=source.G_ema, network=source.network, training={}, half=True)
    path = train(config(0.004, g_lr=1e-12, d_lr=1e-12), Discs(), tmp_path / "out", base)
    found = load_model(path)
    assert found.G is not None
    for key, value in source.G_ema.named_parameters():
        torch.testing.assert_close(found.G.get_parameter(key), value, atol=2e-3, rtol=2e-3, msg=key)


def test_transfer_to_other_classes_reports_what_starts_anew(straight, tmp_path):
    notes = Notes()
    train(config(0.004, labels=False), Discs(), tmp_path, straight, notes)
    (report,) = [message for message in notes.messages if "tensors copied" in message]
    assert "unused" in report and "mapping.embed" in report


@pytest.mark.parametrize(
    ("params", "dataset", "words"),
    [
        ({"mapping_layers": 4}, {}, "mapping.fc2"),
        ({"channel_max": 16}, {}, r"b4.const \[8, 4, 4\]"),
        ({}, {"side": 24}, r"makes 16x16 \(from a grid of 4x4\), the dataset holds 24x24"),
        ({}, {"channels": 2}, "from 3 to 2 channels"),
    ],
)
def test_transfer_that_would_fill_a_network_half_is_refused(straight, tmp_path, params, dataset, words):
    with pytest.raises(DataError, match=words):
        train(config(0.004, **params), Discs(**dataset), tmp_path, straight)
    assert not list(tmp_path.glob("snapshot*"))


def test_transfer_to_another_resolution_and_to_transparency_trains_and_remembers_its_base(straight, tmp_path):
    notes = Notes()
    photos = {"count": 24, "licenses": {"CC0-1.0": 24}}
    path = train(config(0.008), Discs(side=32, channels=4), tmp_path, str(straight), notes, photos)
    assert any("resolution 16x16 -> 32x32, channels 3 -> 4" in message for message in notes.messages)
    info = load_model(path).info
    assert info["photos"] == photos and info["base"]["name"] == straight.name


def test_frozen_layers_of_d_stay_as_they_were(straight, tmp_path):
    found = load_model(train(config(0.008, freezed=4), Discs(), tmp_path, straight)).D
    source = load_model(straight).D
    assert found is not None and source is not None
    same = {key for key, value in source.named_parameters() if torch.equal(found.get_parameter(key), value)}
    assert {key.split(".")[0] for key in same} == {"b16"}
    assert "b8.conv0.weight" not in same


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_train(tmp_path, channels):
    path = train(config(0.008, p=0.5, aug="fixed", augpipe="bgcfnc"), Discs(side=24, channels=channels), tmp_path)
    assert load_model(path).network.img_channels == channels


def test_numbers_that_explode_stop_the_run_at_the_last_good_snapshot(tmp_path):
    with pytest.raises(StageError, match=r"not finite.*last good snapshot is .*snapshot-000000004"):
        train(config(0.4, d_lr=1e8, gamma=0), Discs(), tmp_path)
    assert torch.isfinite(load_model(tmp_path).G_ema.get_parameter("synthesis.b16.conv1.weight")).all()


class Breaking(Notes):
    """Lets a weight of D become infinite after 28 images, as half precision may."""

    def progress(self, nimg, total, sec_per_kimg, seconds_left):
        if nimg == 28:
            self.run.trainer.D.get_parameter("b8.conv0.weight").data[0] = math.inf


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As `train` sets it for these configs: how many threads share a sum changes its last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[10, 1e-9], ids=["saved by ticks", "saved always"])
def broken(tmp_path, request, one_thread) -> Path:
    """What a run left that broke down after 28 images; a tick has 16."""
    folder, notes = tmp_path / "broken", Breaking()
    folder.mkdir()
    settings = config(save_minutes=request.param, snapshot_ticks=1).resolved(16, 16, 3, 3)
    notes.run = Run(settings, Discs(), folder, torch.device("cpu"), notes, None)
    with pytest.raises(
        StageError, match=r"before 0.0(28|32) kimg: not finite: .*D.b8.conv0.weight.*higher gamma"
    ) as error:
        notes.run.run(None, "")
    assert f"last good snapshot is {latest_snapshot(folder)}, " in str(error.value)
    return folder


def test_nothing_that_is_not_finite_is_ever_written(broken):
    assert all(math.isfinite(value) for row in untimed(broken) for value in row.values())
    snapshots = numbered(broken, "snapshot", ".safetensors")
    assert max(snapshots) == max(numbered(broken, "state", ".json")) in (16, 24)
    for path in snapshots.values():
        model = load_model(path)
        assert model.G is not None and model.D is not None
        nets = (model.G, model.D, model.G_ema)
        assert all(torch.isfinite(value).all() for net in nets for value in net.state_dict().values())


def test_a_run_that_broke_down_goes_on_from_where_it_was_well(broken, tmp_path):
    notes = Notes()
    train(config(snapshot_ticks=1), Discs(), broken, callbacks=notes)
    assert {"going on from 0.016 kimg", "going on from 0.024 kimg"} & {*notes.messages}
    train(config(snapshot_ticks=1), Discs(), tmp_path / "straight")
    assert meaning(broken) == meaning(tmp_path / "straight")


def test_a_run_that_broke_down_takes_another_gamma_elsewhere(broken, tmp_path):
    last = latest_snapshot(broken)
    with pytest.raises(UsageError, match=rf"gamma: 0.* -> 5.*new folder; there, `resume: {last}`"):
        train(config(gamma=5, snapshot_ticks=1), Discs(), broken)
    info = load_model(train(config(0.008, gamma=5), Discs(), tmp_path / "anew", last)).info
    assert info is not None and (info["nimg"], info["config"]["gamma"]) == (8, 5)


def test_a_run_that_breaks_down_at_once_has_no_good_snapshot(tmp_path):
    with pytest.raises(StageError, match="last good snapshot is none yet"):
        train(config(d_lr=3.5e38), Discs(), tmp_path)
    assert not numbered(tmp_path, "snapshot", ".safetensors")


def test_a_high_p_is_told(tmp_path):
    notes = Notes()
    train(config(0.04, ada_kimg=0.02), Discs(120), tmp_path, callbacks=notes)
    assert len(notes.warnings) == 1 and "leak" in notes.warnings[0]


def test_an_unknown_device_is_refused_in_words(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UsageError, match="device: cuda"):
        train(config(device="cuda"), Discs(), tmp_path)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StageError, match="out: training could not go on"):
        train(config(), Discs(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom a read-only folder stops")
def test_a_read_only_folder_is_told(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(StageError):
        train(config(), Discs(), tmp_path)
