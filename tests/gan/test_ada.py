"""The controller's step, bounds and statistics."""

import pytest
import torch

from foxgan.gan.ada import AdaController


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
