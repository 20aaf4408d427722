"""Early warnings: each speaks up on what was made for it, and is silent on what is well."""

from typing import Any

import numpy as np
import pytest
import torch

from foxgan.gan import health
from foxgan.gan.config import ResolvedConfig, TrainConfig


def settings(**params: Any) -> ResolvedConfig:
    return TrainConfig(**params).resolved(16, 24)


def rows(count: int, **numbers: Any) -> list[dict[str, Any]]:
    """So many ticks; a number may be a function of the tick."""
    healthy = {"sign_real": 0.5, "sign_fake": -0.5, "loss_G": 1.0, "p": 0.1} | numbers
    return [
        {"nimg": 4000 * i} | {k: v(i) if callable(v) else v for k, v in healthy.items()} for i in range(1, count + 1)
    ]


def winning(count: int = health.TICKS, **numbers: Any) -> list[dict[str, Any]]:
    return rows(count, **{"sign_real": 0.97, "sign_fake": -0.99, "loss_G": lambda i: 2 + i / 10} | numbers)


def test_few_images_are_told_with_what_helps_and_is_not_in_use_yet():
    text = health.few_images(20, settings(), transfer=False)
    assert text.startswith("only 20 images")
    assert all(word in text for word in ("photos", "mirror", "resume", "freezed"))
    text = health.few_images(99, settings(mirror=True, freezed=2), transfer=True)
    assert not any(word in text for word in ("mirror", "resume", "freezed"))
    assert health.few_images(100, settings(), transfer=False) == ""


def test_near_duplicates_are_counted_and_two_of_them_named(pictures):
    doubled = pictures(100, copies=100)
    text = health.twins(doubled, np.arange(200))
    assert text.startswith("100 of 200 images (50.0%)") and "numbers 0 and 100" in text
    subset = np.r_[50:100, 150:200]
    assert "50 of 100 images (50.0%)" in health.twins(doubled, subset) and "numbers 50 and 150" in health.twins(
        doubled, subset
    )
    assert health.twins(pictures(100, copies=1), np.arange(101)) == ""


def test_different_pictures_are_no_duplicates_and_flat_ones_neither(pictures):
    assert health.twins(pictures(200), np.arange(200)) == ""
    flat = pictures(200)
    flat.data[:] = 7
    assert health.twins(flat, np.arange(200)) == ""


def test_not_more_pictures_are_looked_at_than_take_seconds(pictures, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "TWIN_PIXELS", 16 * 24 * 60)
    assert " of 60 images" in health.twins(pictures(100, copies=100), np.arange(200))


def test_variety_is_that_of_two_pictures_where_they_are_shown_by_turns(pictures):
    drawn, one = pictures(64).data, torch.zeros(64, dtype=torch.long)
    whole = health.variety(drawn, one)
    assert health.variety(drawn[:2].repeat(32, 1, 1, 1), one) == pytest.approx(whole / 2, rel=0.1)
    assert health.variety(drawn[:1].repeat(64, 1, 1, 1), one) == pytest.approx(0, abs=0.01)


def test_classes_that_differ_do_not_hide_fakes_that_are_alike_in_each(pictures):
    each_class_one_picture = pictures(8).data.repeat(8, 1, 1, 1)
    assert health.variety(each_class_one_picture, torch.arange(8).repeat(8)) == pytest.approx(0, abs=0.01)
    assert health.variety(pictures(3).data, torch.arange(3)) == 0


def test_a_d_that_has_won_for_long_is_told():
    (text,) = health.run_warnings(winning(), settings()).values()
    assert "99.0% right at 40.0 kimg" in text and "grew to 3.0" in text and "gamma" in text


@pytest.mark.parametrize(
    "numbers",
    [
        winning(health.TICKS - 1),
        winning(loss_G=lambda i: 5 - i / 10),  # G catches up
        winning(sign_real=lambda i: 0.6 if i == 4 else 1.0),  # not without a break
        winning(sign_fake=-0.8),
        rows(30, loss_G=lambda i: i),
    ],
)
def test_a_d_that_may_still_lose_is_not(numbers: list[dict[str, Any]]):
    assert health.run_warnings(numbers, settings()) == {}


def test_fakes_that_grow_alike_are_told():
    (text,) = health.run_warnings(rows(5, diversity=lambda i: 0.9 if i < 3 else 0.3), settings()).values()
    assert "30% of the reals' diversity at 20.0 kimg (at best 90%)" in text


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (rows(20, diversity=0.2), False),  # of a new generator
        (rows(20, diversity=lambda i: 1.5 if i == 1 else 0.2), False),  # whose first fakes are noise
        (rows(25, diversity=0.2), True),  # 100 kimg
        (rows(5, diversity=lambda i: 0.9 if i < 4 else 0.3), False),  # twice
        (rows(5, diversity=lambda i: 0.9 if i < 3 else 0.6), False),
        ([*rows(3, diversity=0.9), *rows(3), *rows(3, diversity=0.1)], True),  # not every tick has a grid
        (rows(5), False),
    ],
)
def test_fakes_of_a_generator_that_has_just_begun_are_not(numbers: list[dict[str, Any]], told: bool):
    assert (list(health.run_warnings(numbers, settings())) == ["alike"]) is told


@pytest.mark.parametrize(
    ("p", "params", "told"),
    [
        (0.81, {}, True),
        (0.5, {"p_max": 0.5}, True),
        (0.79, {}, False),
        (0.9, {"aug": "fixed"}, False),
        (0.0, {"p_max": 0.0}, False),
    ],
)
def test_a_p_at_its_limit_is_told(p: float, params: dict[str, Any], told: bool):
    assert (list(health.run_warnings(rows(3, p=p), settings(**params))) == ["p"]) is told


def test_accuracy_counts_reals_and_fakes_alike():
    assert health.d_accuracy({"sign_real": 1, "sign_fake": -1}) == 1
    assert health.d_accuracy({"sign_real": 1, "sign_fake": 1}) == 0.5
    assert health.d_accuracy({"sign_real": 0.6, "sign_fake": -0.8}) == pytest.approx(0.85)
