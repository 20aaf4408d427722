"""One iteration of StyleGAN2-ADA training, and all that changes from one to the next, so that it can be saved and restored exactly.

Everything random comes from one `torch.Generator` and the sampler's; the global ones are never touched.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foxgan.gan import losses, ops
from foxgan.gan.ada import AdaController
from foxgan.gan.augment import AugmentPipe
from foxgan.gan.config import ResolvedConfig
from foxgan.gan.sampler import Feed, ImageSet
from foxgan.gan.stylegan2 import Discriminator, Generator


@dataclass
class Phase:
    """A loss and its step. Regularisation runs on one of `interval` iterations, and its gradients count that many times.

    `losses` yields per-image losses one after another, so that the graph of one is gone before the next is built.
    """

    name: str
    interval: int
    weight: float  # 0 leaves the phase out
    net: nn.Module
    optimizer: torch.optim.Adam
    losses: Callable[[Tensor, Tensor, Tensor, Tensor], Iterator[Tensor]]  # of z, c, real_img, real_c


class Means:
    """Running means of what is reported in a tick, kept on the device so that nobody waits for them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        values = values.detach().float()
        entry = torch.stack([values.sum(), torch.full([], values.numel(), device=values.device)])
        self.sums[name] = self.sums[name] + entry if name in self.sums else entry

    def values(self) -> dict[str, float]:
        return {name: float(entry[0] / entry[1]) for name, entry in self.sums.items()}


def lazy_adam(params: list[nn.Parameter], lr: float, reg_interval: int) -> torch.optim.Adam:
    """Adam with the correction for lazy regularisation: interval + 1 steps do the work of `interval` (StyleGAN2, app. B)."""
    share = reg_interval / (reg_interval + 1)
    betas = 0.0, 0.99**share
    return torch.optim.Adam(params, lr=lr * share, betas=betas, eps=1e-8, fused=True)  # one pass over all, not eight


def ema_beta(batch: int, nimg: int, ema_kimg: float, rampup: float | str) -> float:
    """Share of the old average that is kept at a step of `batch` images after `nimg`; half-life at most `rampup` of those."""
    half_life = ema_kimg * 1000
    if not isinstance(rampup, str):
        half_life = min(half_life, nimg * rampup)
    return math.pow(0.5, batch / max(half_life, 1e-8))


class Trainer:
    """G, D, G_ema with their optimizers, the augment pipe with its controller, the feed of reals, and the clock `nimg`."""

    def __init__(self, config: ResolvedConfig, images: ImageSet, device: torch.device) -> None:
        self.config, self.device = config, device
        network = config.network
        weights = torch.Generator().manual_seed(config.seed)  # on the CPU, so that every device starts the same
        self.G = Generator(network, weights).to(device).requires_grad_(False)
        self.D = Discriminator(network, weights).to(device)
        if device.type == "cpu":  # the layout of the maps, or every convolution would turn its weights around
            self.G.to(memory_format=torch.channels_last)
            self.D.to(memory_format=torch.channels_last)
        self.G.synthesis.checkpointing = self.D.checkpointing = config.checkpointing
        self.D.freeze(config.freezed)
        self.G_ema = copy.deepcopy(self.G).eval()
        mains: tuple[nn.Module, ...] = (self.G.synthesis, self.D) if config.compile else ()
        self.compiled = {net: torch.compile(net) for net in mains}
        self.trainable: dict[nn.Module, list[nn.Parameter]] = {
            self.G: list(self.G.parameters()),
            self.D: [p for p in self.D.parameters() if p.requires_grad],
        }
        self.D.requires_grad_(False)
        self.optimizers = {
            "G": lazy_adam(self.trainable[self.G], config.g_lr, config.g_reg_interval),
            "D": lazy_adam(self.trainable[self.D], config.d_lr, config.d_reg_interval),
        }
        self.augment: AugmentPipe | None = None
        self.ada: AdaController | None = None
        if config.aug != "noaug":
            self.augment = AugmentPipe.from_text(config.augpipe, network.img_channels).to(device).requires_grad_(False)
            self.augment.p.fill_(config.p)
            if config.aug == "ada":
                self.ada = AdaController(
                    self.augment.p, config.ada_target, config.ada_kimg, config.p_max, config.ada_interval
                )
        self.feed = Feed(
            images,
            config.batch,
            c_dim=network.c_dim,
            mirror=config.mirror,
            subset=config.subset,
            seed=config.seed,
            workers=config.workers,
            device=device,
        )
        self.generator = torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(config.seed)
        self.pl_mean = torch.zeros([], device=device)
        self.nimg = self.batch_idx = 0
        self.means = Means(device)
        self.phases = [
            Phase("Gmain", 1, 1, self.G, self.optimizers["G"], self._g_main),
            Phase("Greg", config.g_reg_interval, config.pl_weight, self.G, self.optimizers["G"], self._g_reg),
            Phase("Dmain", 1, 1, self.D, self.optimizers["D"], self._d_main),
            Phase("Dreg", config.d_reg_interval, config.gamma / 2, self.D, self.optimizers["D"], self._d_reg),
        ]

    def step(self) -> None:
        """One iteration: the phases that are due, the average, the clock, and the augment probability."""
        config = self.config
        real_img, real_c = self.feed.next()
        for phase in self.phases:
            # latents are drawn for phases that are not due, too: what is random does not hang on the intervals
            z = ops.randn([config.batch, config.network.z_dim], self.device, self.generator)
            c = self.feed.random_labels(config.batch, self.generator)
            if self.batch_idx % phase.interval == 0 and phase.weight:
                self.run(phase, z, c, real_img, real_c)
        self.average()
        self.nimg += config.batch
        self.batch_idx += 1
        if self.ada is not None and self.batch_idx % config.ada_interval == 0:
            self.ada.update(config.batch)

    def run(self, phase: Phase, *batches: Tensor) -> None:
        """One optimizer step of `phase` on z [batch, z_dim], c, real_img [batch, C, H, W] and real_c."""
        params = self.trainable[phase.net]
        phase.optimizer.zero_grad(set_to_none=True)
        for param in params:
            param.requires_grad_(True)
        for micro in zip(*(torch.split(batch, self.config.batch_gpu) for batch in batches), strict=True):
            for loss in phase.losses(*micro):  # gradients of micro-batches are summed, as in the reference
                torch.autograd.backward(loss.mean() * (phase.weight * phase.interval))
        for param in params:
            param.requires_grad_(False)
            if param.grad is None:
                param.grad = torch.zeros_like(param)
            else:
                torch.nan_to_num(param.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=param.grad)
        phase.optimizer.step()

    def _augmented(self, img: Tensor) -> Tensor:
        return img if self.augment is None else self.augment(img, generator=self.generator)

    def _ws(self, z: Tensor, c: Tensor) -> Tensor:
        return losses.mixed_ws(self.G.mapping, z, c, self.config.style_mixing, self.generator)

    def _main(self, net: nn.Module) -> Callable[..., Tensor]:
        """`net` for a main phase: compiled, if asked for. Penalties go without: compiled graphs can't be differentiated twice."""
        return self.compiled.get(net, net)

    def _g_main(self, z: Tensor, c: Tensor, real_img: Tensor, real_c: Tensor) -> Iterator[Tensor]:
        img = self._main(self.G.synthesis)(self._ws(z, c), generator=self.generator)
        logits = self._main(self.D)(self._augmented(img), c)
        loss = losses.generator_loss(logits)
        self.means.add("loss_G", loss)
        yield loss

    def _g_reg(self, z: Tensor, c: Tensor, real_img: Tensor, real_c: Tensor) -> Iterator[Tensor]:
        half = max(1, len(z) // 2)  # a smaller batch is enough, and saves the memory that the second derivative takes
        ws = self._ws(z[:half], c[:half])
        img = self.G.synthesis(ws, generator=self.generator)
        penalty, self.pl_mean = losses.path_length_penalty(img, ws, self.pl_mean, generator=self.generator)
        self.means.add("pl", penalty)
        yield penalty

    def _d_main(self, z: Tensor, c: Tensor, real_img: Tensor, real_c: Tensor) -> Iterator[Tensor]:
        with torch.no_grad():
            fake_img = self._main(self.G.synthesis)(self._ws(z, c), generator=self.generator)
        fake_logits = self._main(self.D)(self._augmented(fake_img), c)
        fake_loss = losses.discriminator_fake_loss(fake_logits)
        self.means.add("loss_D_fake", fake_loss)
        self.means.add("sign_fake", fake_logits.sign())
        yield fake_loss
        real_logits = self._main(self.D)(self._augmented(real_img), real_c)
        real_loss = losses.discriminator_real_loss(real_logits)
        self.means.add("loss_D_real", real_loss)
        self._observe(real_logits)
        yield real_loss

    def _d_reg(self, z: Tensor, c: Tensor, real_img: Tensor, real_c: Tensor) -> Iterator[Tensor]:
        real_img = real_img.detach().requires_grad_(True)
        real_logits = self.D(self._augmented(real_img), real_c)
        penalty = losses.r1_penalty(real_img, real_logits)
        self.means.add("r1", penalty)
        self._observe(real_logits)
        yield penalty

    def _observe(self, real_logits: Tensor) -> None:
        self.means.add("sign_real", real_logits.sign())
        if self.ada is not None:
            self.ada.observe(real_logits)

    @torch.no_grad()
    def average(self) -> None:
        """Move G_ema towards G."""
        beta = ema_beta(self.config.batch, self.nimg, self.config.ema_kimg, self.config.ema_rampup)
        torch._foreach_lerp_(list(self.G_ema.parameters()), list(self.G.parameters()), 1 - beta)
        for average, current in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            average.copy_(current)

    def broken(self) -> str:
        """What has become NaN or infinite, in words; empty while all is well."""
        bad = [name for name, value in self.means.values().items() if not math.isfinite(value)]
        for name, net in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            bad += [f"{name}.{key}" for key, value in net.state_dict().items() if not torch.isfinite(value).all()][:3]
        return ", ".join(bad)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a later process needs besides the networks, as tensors and as JSON values."""
        tensors = {f"feed.{name}": value for name, value in self.feed.state().items()}
        tensors |= {f"means.{name}": value for name, value in self.means.sums.items()}
        tensors |= {"generator": self.generator.get_state(), "pl_mean": self.pl_mean}
        for name, optimizer in self.optimizers.items():
            for index, entry in optimizer.state_dict()["state"].items():
                tensors |= {f"adam.{name}.{index}.{key}": value for key, value in entry.items()}
        if self.augment is not None:
            tensors["p"] = self.augment.p
        if self.ada is not None:
            tensors["ada_signs"] = self.ada.signs
        facts = {"batch_idx": self.batch_idx, "ada_count": self.ada.count if self.ada else 0}
        return tensors, facts

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what `state` gave, to the bit."""
        self.nimg, self.batch_idx = facts["nimg"], facts["batch_idx"]
        self.feed.load_state({name: tensors[f"feed.{name}"] for name in ("order", "random", "waiting")})
        self.generator.set_state(tensors["generator"])
        self.pl_mean = tensors["pl_mean"].to(self.device)
        self.means.sums = {
            name[6:]: value.to(self.device) for name, value in tensors.items() if name.startswith("means.")
        }
        for name, optimizer in self.optimizers.items():
            entries: dict[int, dict[str, Tensor]] = {}
            params = optimizer.param_groups[0]["params"]
            for key, value in tensors.items():
                if key.startswith(f"adam.{name}."):
                    _, _, index, field = key.split(".")
                    # in the memory layout of its parameter, too
                    like = value if field == "step" else params[int(index)]
                    entries.setdefault(int(index), {})[field] = torch.empty_like(like).copy_(value)
            optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
        if self.augment is not None:
            self.augment.p.copy_(tensors["p"])
        if self.ada is not None:
            self.ada.signs.copy_(tensors["ada_signs"])
            self.ada.count = facts["ada_count"]
