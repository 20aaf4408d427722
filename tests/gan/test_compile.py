"""Training with networks that torch.compile has made over."""

import shutil

import pytest
import torch

from foxgan.errors import StageError, UsageError
from foxgan.gan.config import TrainConfig
from foxgan.gan.trainer import Trainer
from foxgan.gan.training import train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of torch's compiler, about its own affairs
TINY = {"batch": 4, "z_dim": 8, "w_dim": 8, "channel_max": 8, "threads": 1}


def test_main_phases_run_compiled_and_penalties_do_not(pictures, monkeypatch):
    calls = []

    def compiled(net):
        return lambda *args, **kwargs: calls.append(type(net).__name__) or net(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", compiled)
    images = pictures(8)
    trainer = Trainer(TrainConfig(**TINY, compile=True).resolved(16, 24), images, torch.device("cpu"))
    trainer.step()  # all four phases
    trainer.feed.close()
    assert calls == ["Synthesis", "Discriminator", "Synthesis", "Discriminator", "Discriminator"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
def test_compiled_networks_train_alike(pictures):
    weights = []
    for compile in (False, True):
        images = pictures(8)
        trainer = Trainer(TrainConfig(**TINY, compile=compile).resolved(16, 24), images, torch.device("cpu"))
        trainer.step()
        trainer.feed.close()
        weights.append({**trainer.G.state_dict(), **trainer.D.state_dict()})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-3)


def test_a_network_that_cannot_be_compiled_is_told_of(pictures, tmp_path, monkeypatch):
    def backend(graph, inputs):
        raise FileNotFoundError("no compiler")

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: compile(net, backend=backend))
    with pytest.raises(StageError, match=r"compile: true: .*no compiler.*compile: false"):
        train(TrainConfig(**TINY, kimg=0.004, compile=True), pictures(8), tmp_path)


def test_compiled_networks_are_not_recomputed():
    with pytest.raises(UsageError, match="compile and checkpointing"):
        TrainConfig(compile=True, checkpointing=True).resolved(64, 64)
