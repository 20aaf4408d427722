"""18 training steps from given weights, latents and images, against the published implementation's losses and weights."""

import math

import pytest
import torch
from torch import nn

from foxgan.gan import losses
from foxgan.gan.stylegan2 import Generator

NAME = "sg2_training_trajectory_16"


def lazy_adam(net: nn.Module, stored: dict, interval: int) -> torch.optim.Adam:
    """Adam that, stepping interval + 1 times where it would have stepped `interval` times, forgets at the same pace."""
    c = interval / (interval + 1)
    betas = tuple(beta**c for beta in stored["betas"])
    return torch.optim.Adam(net.parameters(), lr=stored["lr"] * c, betas=betas, eps=stored["eps"])


@pytest.fixture
def trained(networks) -> dict:
    nets = networks(NAME, "G0.", "D0.")
    G, D, stored, data = nets.G, nets.D, nets.stored, nets.arrays
    G_ema = Generator(G.config)
    G_ema.load_state_dict(G.state_dict())
    g_opt = lazy_adam(G, stored, stored["g_reg_interval"])
    d_opt = lazy_adam(D, stored, stored["d_reg_interval"])
    pl_mean = torch.zeros([])
    logs = []

    def fakes(z: torch.Tensor) -> torch.Tensor:
        return G.synthesis(G.mapping(z, update_w_avg=True), noise_mode="const")

    def step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad(
            set_to_none=False
        )  # what a phase doesn't reach counts as gradient 0: Adam's step count goes on
        loss.backward()
        optimizer.step()

    for i in range(stored["steps"]):
        z, x, log = data["z"][i], data["x"][i], {}
        loss = losses.generator_loss(D(fakes(z[0]))).mean()
        step(g_opt, loss)
        log["Gmain"] = loss.item()
        if i % stored["g_reg_interval"] == 0:
            ws = G.mapping(z[1, : stored["batch"] // stored["pl_batch_shrink"]], update_w_avg=True)
            img = G.synthesis(ws, noise_mode="const")
            noise = data["pl_noise"][i] / math.sqrt(img.shape[2] * img.shape[3])
            penalty, pl_mean = losses.path_length_penalty(img, ws, pl_mean, noise)
            loss = stored["pl_weight"] * penalty.mean() * stored["g_reg_interval"]
            step(g_opt, loss)
            log["Greg"], log["pl_mean"] = loss.item(), pl_mean.item()
        with torch.no_grad():
            img = fakes(z[2])
        loss = losses.discriminator_fake_loss(D(img)).mean() + losses.discriminator_real_loss(D(x)).mean()
        step(d_opt, loss)
        log["Dmain"] = loss.item()
        if i % stored["d_reg_interval"] == 0:
            x.requires_grad_()
            loss = stored["r1_gamma"] / 2 * losses.r1_penalty(x, D(x)).mean() * stored["d_reg_interval"]
            step(d_opt, loss)
            log["Dreg"] = loss.item()
        beta = 0.5 ** (stored["batch"] / stored["ema_halflife_images"])
        with torch.no_grad():
            for average, now in zip(G_ema.parameters(), G.parameters(), strict=True):
                average.copy_(now.lerp(average, beta))
            for average, now in zip(G_ema.buffers(), G.buffers(), strict=True):
                average.copy_(now)
        logs.append(log)
    return {"logs": logs, "G1.": G, "D1.": D, "G_ema.": G_ema, "data": data}


def test_18_steps_follow_the_published_losses_and_end_at_the_published_weights(trained, golden_json):
    for found, expected in zip(trained["logs"], golden_json(NAME, "logs"), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    for prefix in ("G1.", "D1.", "G_ema."):
        for name, value in trained[prefix].state_dict().items():
            torch.testing.assert_close(value, trained["data"][prefix + name], atol=1e-4, rtol=0, msg=prefix + name)
