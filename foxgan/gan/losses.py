"""The losses of StyleGAN2: non-saturating logistic, R1 penalty, path length regularisation, and style mixing.

Each is per image and without weight; how often a penalty runs and what makes up for it is the training loop's affair.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.gan import ops
from foxgan.gan.mapping import GeneratorMapping

PL_DECAY = 0.01


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(G(z))) [N, 1]: the non-saturating loss (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits)


def discriminator_fake_loss(fake_logits: Tensor) -> Tensor:
    """-log(1 - sigmoid(D(G(z)))) [N, 1]."""
    return F.softplus(fake_logits)


def discriminator_real_loss(real_logits: Tensor) -> Tensor:
    """-log sigmoid(D(x)) [N, 1]."""
    return F.softplus(-real_logits)


def r1_penalty(real_img: Tensor, real_logits: Tensor) -> Tensor:
    """Squared norm [N] of D's gradient at real images (Mescheder et al. 2018, eq. 9); the loss is gamma / 2 times its mean.

    `real_img` requires grad and is what came before augmentation; `real_logits` were computed from it.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_img, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_length_penalty(
    img: Tensor,
    ws: Tensor,
    pl_mean: Tensor,
    pl_noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Squared distance [N] of each image's path length from its running mean, and the new mean (StyleGAN2, eq. 4).

    `img` [N, C, H, W] was computed from `ws` [N, num_ws, w_dim], which requires grad. `pl_noise` is the random image y,
    divided by sqrt(H * W); drawn from `generator` if not given. The batch's own mean takes part in the gradient.
    """
    if pl_noise is None:
        pl_noise = ops.randn(img.shape, img.device, generator) / math.sqrt(img.shape[2] * img.shape[3])
    (gradient,) = torch.autograd.grad((img * pl_noise).sum(), ws, create_graph=True)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    new_mean = pl_mean.lerp(lengths.mean(), PL_DECAY)
    return (lengths - new_mean).square(), new_mean.detach()


def mixed_ws(
    mapping: GeneratorMapping,
    z: Tensor,
    c: Tensor | None,
    mixing_prob: float,
    generator: torch.Generator | None = None,
    update_w_avg: bool = True,
) -> Tensor:
    """`ws` of `z`; with probability `mixing_prob`, rows from a random one on come from other z (StyleGAN, sec. 3.1)."""
    ws: Tensor = mapping(z, c, update_w_avg=update_w_avg)
    if mixing_prob <= 0 or mapping.num_ws < 2:
        return ws
    chance, place = ops.rand([2], torch.device("cpu"), generator).tolist()
    if chance >= mixing_prob:
        return ws
    cutoff = 1 + int(place * (mapping.num_ws - 1))  # 1..num_ws - 1, one for the whole batch
    other: Tensor = mapping(ops.randn(z.shape, z.device, generator), c)
    return torch.cat([ws[:, :cutoff], other[:, cutoff:]], dim=1)
