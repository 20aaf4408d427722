"""From seeds to pictures: latents by NVIDIA's seed convention, so that seed 85 of a published model is the picture known as seed 85."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foxgan.devices import keep_freed_memory
from foxgan.errors import UsageError
from foxgan.gan.backends import Backend
from foxgan.gan.compiled import CompiledSynthesis, compile_synthesis
from foxgan.gan.model import load_model
from foxgan.gan.ops import to_uint8
from foxgan.gan.stylegan2 import Generator, NoiseMode
from foxgan.images import Pixels


def load_generator(
    model: str | Path, device: str, tell: Callable[[str], object], backend: Backend = "torch"
) -> Generator:
    """G_ema of a file, of a folder or of a model by name, in evaluation mode on `device`; `tell` hears what the file did not hold.

    Its synthesis is computed by `backend`.
    """
    if device == "cpu":
        keep_freed_memory()
    loaded = load_model(model, device)
    for note in loaded.notes:
        tell(f"{model} ({loaded.format}): {note}")
    compile_synthesis(loaded.G_ema, backend)
    return loaded.G_ema


def compile_facts(G: Generator) -> dict[str, Any]:
    """What compiling the synthesis took, for a manifest."""
    compiled: Any = G.synthesis
    return {"compile_seconds": round(compiled.compile_seconds, 2)} if isinstance(compiled, CompiledSynthesis) else {}


def seeds_to_z(seeds: Sequence[int], z_dim: int) -> Tensor:
    """z [N, z_dim], float64, each row drawn from its own seed (specs: weights §3.3)."""
    return torch.from_numpy(np.concatenate([np.random.RandomState(seed).randn(1, z_dim) for seed in seeds]))


def classes_of(count: int, c_dim: int, classes: int | Sequence[int] | None = None) -> list[int | None]:
    """The class of each of `count` pictures: those asked for in turn, by default all; None for a model without classes.

    Raises UsageError for a class that the model does not have.
    """
    if classes is None:
        chosen = list(range(c_dim))
    else:
        chosen = [classes] if isinstance(classes, int) else list(classes)
        wrong = [c for c in chosen if not 0 <= c < c_dim]
        if wrong or not chosen:
            known = f"has classes 0 to {c_dim - 1}" if c_dim else "was trained without classes; leave out `classes`"
            raise UsageError(f"there is no class {', '.join(map(str, wrong)) or 'in an empty list'}: the model {known}")
    return [chosen[i % len(chosen)] if chosen else None for i in range(count)]


def one_hot(classes: Sequence[int | None], c_dim: int) -> Tensor | None:
    """Labels c [N, c_dim], float32, or None for a model without classes."""
    if not c_dim:
        return None
    return torch.nn.functional.one_hot(torch.tensor(list(classes)), c_dim).float()


def map_seeds(
    G: Generator, seeds: Sequence[int], classes: Sequence[int | None], psi: float = 1.0, cutoff: int | None = None
) -> Tensor:
    """`ws` [N, num_ws, w_dim] of `seeds`, pulled towards w_avg by `psi` in the first `cutoff` rows (None: all)."""
    device = G.mapping.w_avg.device
    c = one_hot(classes, G.config.c_dim)
    z = seeds_to_z(seeds, G.config.z_dim).float().to(device)
    ws: Tensor = G.mapping(z, c if c is None else c.to(device), psi, cutoff)
    return ws


@torch.inference_mode()
def sample(
    G: Generator,
    seeds: Sequence[int],
    classes: Sequence[int | None],
    psi: float = 1.0,
    cutoff: int | None = None,
    noise_mode: NoiseMode = "const",
) -> Pixels:
    """Pixels [N, H, W, C], one per seed, computed together. Random noise is drawn from each picture's own seed."""
    ws = map_seeds(G, seeds, classes, psi, cutoff)
    if noise_mode != "random":
        return to_uint8(G.synthesis(ws, noise_mode=noise_mode))
    return np.concatenate([_with_own_noise(G, w[None], seed) for w, seed in zip(ws, seeds, strict=True)])


def _with_own_noise(G: Generator, ws: Tensor, seed: int) -> Pixels:
    noise = torch.Generator(ws.device).manual_seed(seed)
    return to_uint8(G.synthesis(ws, noise_mode="random", generator=noise))


def traits_of(seed: int, psi: float, chosen: int | None) -> dict[str, Any]:
    """What is known of a sampled picture, for its index row."""
    return {"seed": seed, "psi": psi} | ({} if chosen is None else {"class": chosen})
