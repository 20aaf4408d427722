"""The penalties and their gradients against published numbers."""

import pytest
import torch

from foxgan.gan import losses
from foxgan.gan.config import NetworkConfig
from foxgan.gan.mapping import GeneratorMapping


@pytest.fixture
def case(networks, golden):
    nets = networks("sg2_uncond_32")
    return nets.G, nets.D, golden("sg2_losses_32")


def assert_gradients(net, arrays, prefix):
    checked = 0
    for name, param in net.named_parameters():
        expected = arrays.get(prefix + name)
        if expected is None:
            assert param.grad is None or param.grad.abs().max() == 0, name
            continue
        found = torch.zeros_like(param) if param.grad is None else param.grad
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3 * scale + 1e-12, msg=name)
        checked += scale > 0
    assert checked >= 20


def test_r1_penalty_and_its_gradients_match_the_published_values(case):
    _, D, arrays = case
    x = arrays["x"].requires_grad_()
    penalty = losses.r1_penalty(x, D(x))
    torch.testing.assert_close(penalty, arrays["r1_penalty"], rtol=1e-3, atol=0)
    (0.5 * penalty.mean()).backward()
    assert_gradients(D, arrays, "r1grad.")


def test_path_length_penalty_and_its_gradients_match_the_published_values(case, monkeypatch):
    monkeypatch.setattr(losses, "PL_DECAY", 0.0)  # the published gradients hold the mean where it is
    G, _, arrays = case
    ws = G.mapping(arrays["z"])
    penalty, _ = losses.path_length_penalty(
        G.synthesis(ws, noise_mode="const"), ws, arrays["pl_mean"].float(), arrays["pl_noise"]
    )
    torch.testing.assert_close(penalty, (arrays["pl_lengths"] - 0.1).square(), rtol=1e-3, atol=0)
    (2 * penalty.mean()).backward()
    assert_gradients(G, arrays, "plgrad.")


def test_the_running_path_length_moves_by_one_percent_and_carries_no_graph(case):
    G, _, arrays = case
    ws = G.mapping(arrays["z"])
    img = G.synthesis(ws, noise_mode="const")
    _, mean = losses.path_length_penalty(img, ws, torch.tensor(2.0), arrays["pl_noise"])
    assert mean.item() == pytest.approx(2 + 0.01 * (arrays["pl_lengths"].mean().item() - 2), rel=1e-4)
    assert not mean.requires_grad


def test_path_length_of_a_linear_generator_is_the_norm_of_its_matrix():
    matrix = torch.randn(5, 3 * 4 * 4, generator=torch.Generator().manual_seed(0))
    ws = torch.zeros(4096, 1, 5, requires_grad=True)
    img = (ws[:, 0] @ matrix).reshape(-1, 3, 4, 4)
    penalty, _ = losses.path_length_penalty(img, ws, torch.tensor(0.0), generator=torch.Generator().manual_seed(1))
    # E[y'MM'y] / (H * W), less the 1 % of the mean that has moved
    expected = matrix.square().sum().item() / 16
    assert penalty.mean().item() == pytest.approx(expected, rel=0.05)


def test_generator_loss_and_its_gradients_match_the_published_values(case):
    G, D, arrays = case
    loss = losses.generator_loss(D(G(arrays["z"], noise_mode="const")))
    torch.testing.assert_close(loss, arrays["g_loss"], rtol=1e-3, atol=0)
    loss.mean().backward()
    assert_gradients(G, arrays, "gmain.")


def test_discriminator_losses_are_minus_the_log_likelihood():
    logits = torch.tensor([[-2.0], [0.5]])
    probability = logits.sigmoid()
    torch.testing.assert_close(losses.discriminator_real_loss(logits), -probability.log())
    torch.testing.assert_close(losses.discriminator_fake_loss(logits), -(1 - probability).log())


@pytest.fixture
def mapping():
    config = NetworkConfig(height=32, width=32, z_dim=16, w_dim=16, mapping_layers=1)
    return GeneratorMapping(config, torch.Generator().manual_seed(0))


def test_style_mixing_switches_once_and_for_the_whole_batch(mapping):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    plain = mapping(z)
    cutoffs = set()
    for seed in range(60):
        ws = losses.mixed_ws(mapping, z, None, 1.0, torch.Generator().manual_seed(seed))
        same = (ws == plain).all(dim=2)
        cutoff = int(same[0].sum())
        cutoffs.add(cutoff)
        assert same[:, :cutoff].all()
        assert not same[:, cutoff:].any()
        assert torch.equal(ws[:, cutoff:], ws[:, -1:].expand(-1, mapping.num_ws - cutoff, -1))
    assert cutoffs == set(range(1, mapping.num_ws))


def test_style_mixing_happens_as_often_as_asked(mapping):
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    mixed = [not torch.equal(losses.mixed_ws(mapping, z, None, 0.9, generator), mapping(z)) for _ in range(300)]
    assert sum(mixed) / 300 == pytest.approx(0.9, abs=0.06)
    assert torch.equal(losses.mixed_ws(mapping, z, None, 0.0), mapping(z))


def test_mixed_in_latents_do_not_move_the_mean_of_w(mapping):
    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    losses.mixed_ws(mapping, z, None, 1.0, torch.Generator().manual_seed(0))
    expected = mapping(z)[:, 0].mean(dim=0) * (1 - mapping.w_avg_beta)
    torch.testing.assert_close(mapping.w_avg, expected)
