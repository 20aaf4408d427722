"""The controller's step, bounds and statistics."""

import pytest
import torch

from foxgan.gan.ada import AdaController
from foxgan.gan.config import TrainConfig
from foxgan.gan.trainer import Trainer


def controller(p: float = 0.0, target: float = 0.6, kimg: float = 500, p_max: float = 0.85) -> AdaController:
    return AdaController(torch.tensor(p), target, kimg, p_max)


@pytest.mark.parametrize(("kimg", "step"), [(500, 1.28e-4), (100, 6.4e-4)])
def test_a_step_of_16_images_is_that_of_the_paper(kimg, step):
    ada = controller(kimg=kimg)
    ada.observe(torch.ones(16))
    ada.update(16)
    assert ada.p.item() == pytest.approx(step)


def test_p_follows_the_mean_sign_of_all_passes_since_the_last_update():
    ada = controller(p=0.5)
    ada.observe(torch.tensor([1.0, 2.0, 3.0]))  # signs: mean 1
    ada.observe(torch.tensor([-0.1, -5.0]))  # pooled: 0.2, below the target
    ada.update(16)
    assert ada.p.item() < 0.5
    ada.observe(torch.tensor([0.1]))
    ada.update(16)
    assert ada.p.item() == pytest.approx(0.5)


def test_p_stays_between_0_and_its_limit():
    ada = controller(kimg=0.01, p_max=0.7)
    ada.observe(torch.ones(4))
    ada.update(16)
    assert ada.p.item() == pytest.approx(0.7)
    for _ in range(2):
        ada.observe(-torch.ones(4))
        ada.update(16)
    assert ada.p.item() == 0


def test_without_news_p_stays():
    ada = controller(p=0.3)
    ada.update(16)
    assert ada.p.item() == pytest.approx(0.3)


def test_speed_does_not_hang_on_how_often_p_changes():
    often, seldom = (AdaController(torch.tensor(0.0), 0.6, 500, 0.85, interval) for interval in (2, 8))
    for ada, updates in ((often, 8), (seldom, 2)):
        for _ in range(updates):
            ada.observe(torch.ones(16))
            ada.update(16)
    assert often.p.item() == pytest.approx(seldom.p.item()) == pytest.approx(16 * 16 / 500_000)


def trainer(images, **params) -> Trainer:
    sizes = {
        "batch": 4,
        "channel_max": 4,
        "z_dim": 4,
        "w_dim": 4,
        "mapping_layers": 1,
        "d_reg_interval": 2,
        "workers": 1,
    }
    config = TrainConfig(**sizes | params).resolved(images.height, images.width)
    return Trainer(config, images, torch.device("cpu"))


def test_dmain_and_dreg_both_report_and_p_moves_every_interval(pictures):
    made = trainer(pictures(8), ada_interval=3, ada_target=-0.999, ada_kimg=1)
    counts = []
    for _ in range(4):
        made.step()
        counts.append(made.ada.count)
    assert counts == [8, 12, 0, 4]  # R1 runs in steps 0 and 2; after three steps p changes and all begins anew
    assert made.augment.p.item() in (0, pytest.approx(4 * 3 / 1000))
    made.feed.close()


@pytest.mark.parametrize(("params", "p"), [({"aug": "fixed"}, 0.2), ({"aug": "fixed", "p": 0.9}, 0.9)])
def test_a_fixed_p_never_moves(pictures, params, p):
    made = trainer(pictures(8), ada_interval=1, **params)
    made.step()
    assert made.ada is None and made.augment.p.item() == pytest.approx(p)
    made.feed.close()


def test_noaug_is_stylegan2_without_ada(pictures):
    made = trainer(pictures(8), aug="noaug")
    img = torch.zeros(1, 3, 16, 24)
    assert made.ada is None and made.augment is None and made._augmented(img) is img
    made.feed.close()
