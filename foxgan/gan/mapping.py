"""The mapping networks: input noise and labels to what the other networks are told of an image."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foxgan.errors import UsageError
from foxgan.gan import ops
from foxgan.gan.config import NetworkConfig


class FullyConnected(nn.Module):
    """Linear layer with equalized learning rate: weights are stored at standard deviation 1 / lr_multiplier."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lrelu: bool = False,
        lr_multiplier: float = 1,
        bias_init: float = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lrelu = lrelu
        self.weight = nn.Parameter(torch.randn(out_features, in_features, generator=generator) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x * self.weight_gain, self.weight, self.bias * self.bias_gain)
        return ops.lrelu_(x) * ops.ACTIVATION_GAIN if self.lrelu else x


class Mapping(nn.Module):
    """Normalized z [N, z_dim] and embedded label c [N, c_dim] through `num_layers` layers to w [N, w_dim].

    The label's embedding and the layers but the last are w_dim wide, unless `embed_features` and `layer_features` say otherwise.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_layers: int,
        lr_multiplier: float,
        generator: torch.Generator | None = None,
        embed_features: int | None = None,
        layer_features: int | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_layers = z_dim, c_dim, num_layers
        embed_features = (embed_features or w_dim) if c_dim else 0
        if c_dim:
            self.embed = FullyConnected(c_dim, embed_features, generator=generator)
        widths = [z_dim + embed_features, *[layer_features or w_dim] * (num_layers - 1), w_dim]
        for i in range(num_layers):
            layer = FullyConnected(
                widths[i], widths[i + 1], lrelu=True, lr_multiplier=lr_multiplier, generator=generator
            )
            self.add_module(f"fc{i}", layer)

    def to_w(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        parts = [] if z is None else [ops.normalize_2nd_moment(z.float())]
        if self.c_dim:
            if c is None or c.shape[-1] != self.c_dim:
                found = "none" if c is None else f"shape {list(c.shape)}"
                raise UsageError(
                    f"this network has {self.c_dim} classes and needs labels c [N, {self.c_dim}]; found {found}"
                )
            parts.append(ops.normalize_2nd_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


class GeneratorMapping(Mapping):
    """z to one w per layer of the synthesis network, with the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            config.mapping_layers,
            config.mapping_lr_multiplier,
            generator,
            config.embed_features,
            config.layer_features,
        )
        self.num_ws = config.num_ws
        self.w_avg_beta = config.w_avg_beta
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """`ws` [N, num_ws, w_dim]; the first `truncation_cutoff` rows (None: all) are w_avg + psi * (w - w_avg)."""
        w = self.to_w(z, c)
        if update_w_avg:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if truncation_psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws, truncation_psi)
        if truncation_cutoff is None:
            return truncated
        return torch.cat([truncated[:, :truncation_cutoff], ws[:, truncation_cutoff:]], dim=1)
