"""Drawing 256x256 pictures on the CPU, by everything that can; prints JSON lines, asserts nothing.

`python -m tests.benchmarks.synthesis [--batch 1 16] [--keep-memory]`. All take turns, batch by batch, and the best of the rounds
counts: `ratio_to_plain` compares with `plain.py` in the same rounds. `grey_levels_off` are against torch in float32.
`system_share` is what the system took of the processor's time: mostly for memory that was given back and asked for again, of
which plain does most. `--keep-memory` does away with that, for all alike.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from foxgan.devices import keep_freed_memory
from foxgan.errors import UsageError
from foxgan.gan.backends import Backend
from foxgan.gan.compiled import CompiledSynthesis, compile_synthesis
from foxgan.gan.config import NetworkConfig
from foxgan.gan.ops import to_uint8
from foxgan.gan.stylegan2 import Generator
from tests.benchmarks.peak import conv_gflops
from tests.benchmarks.plain import PlainGenerator

SIDE, CHANNEL_BASE, CHANNEL_MAX = 256, 16384, 512
ROUNDS = {1: 7, 16: 2}  # by batch


def generator() -> Generator:
    """A random one, always the same, whose pictures have the contrast of photos (a deviation of half the range)."""
    config = NetworkConfig(
        height=SIDE,
        width=SIDE,
        channel_base=CHANNEL_BASE,
        channel_max=CHANNEL_MAX,
        z_dim=512,
        w_dim=512,
        mapping_layers=2,
    )
    G = Generator(config, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    for name, value in G.synthesis.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.1)
    contrast = G.synthesis(some_ws(G, 1), "const").std()
    for name, value in G.synthesis.named_parameters():
        if name.endswith("torgb.weight"):
            value.div_(2 * contrast)
    return G


def some_ws(G: Generator, batch: int) -> Tensor:
    ws: Tensor = G.mapping(torch.randn(batch, G.config.z_dim, generator=torch.Generator().manual_seed(1)))
    return ws


def drawers(G: Generator) -> dict[str, Any]:
    """Synthesis networks by name, those whose library or processor is here."""
    found: dict[str, Any] = {"plain": PlainGenerator(G).synthesis}
    for backend in get_args(Backend):
        twin = Generator(G.config)
        twin.load_state_dict(G.state_dict())
        try:
            compile_synthesis(twin.requires_grad_(False), backend)
            found[backend] = twin.synthesis
        except UsageError as error:
            print(json.dumps({"path": backend, "left_out": str(error)}), flush=True)
    return found


def in_turns(jobs: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of each job, the best of `rounds`, and the system's share of the processor's time in all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    cpu = {name: np.zeros(2) for name in jobs}  # user, system
    for _ in range(rounds):
        for name, job in jobs.items():
            start, before = time.perf_counter(), os.times()
            job()
            seconds[name].append(time.perf_counter() - start)
            cpu[name] += np.subtract(os.times(), before)[:2]
    return {name: (min(seconds[name]), float(cpu[name][1] / max(cpu[name].sum(), 0.01))) for name in jobs}


def flops(G: Generator) -> int:
    """Floating point operations of the network's convolutions and matrix products, for one picture."""
    with FlopCounterMode(display=False) as counter:
        G.synthesis(some_ws(G, 1), "const")
    return counter.get_total_flops()


def measure(batches: Sequence[int] = tuple(ROUNDS)) -> Iterator[dict[str, Any]]:
    with torch.no_grad():
        G = generator()
        nets, work = drawers(G), flops(G)
        for batch in batches:
            jobs = {name: partial(net, some_ws(G, batch), "const") for name, net in nets.items()}
            pixels = {name: to_uint8(job()).astype(int) for name, job in jobs.items()}  # compiles and warms up
            before = [conv_gflops(torch.float32), conv_gflops(torch.bfloat16)]
            found = in_turns(jobs, ROUNDS[batch])
            fp32, bf16 = map(max, before, [conv_gflops(torch.float32), conv_gflops(torch.bfloat16)])
            for name, net in nets.items():
                seconds, system_share = found[name]
                speed = work * batch / seconds / 1e9
                off = np.abs(pixels[name] - pixels["torch"])
                record = {
                    "path": name,
                    "batch": batch,
                    "ms_per_image": round(1000 * seconds / batch, 1),
                    "ratio_to_plain": round(found["plain"][0] / seconds, 2),
                    "gflops": round(speed, 1),
                    "share_of_peak": round(speed / (bf16 if name.endswith("bf16") else fp32), 3),
                    "system_share": round(system_share, 3),
                    "grey_levels_off": {"mean": round(float(off.mean()), 3), "max": int(off.max())},
                }
                if isinstance(net, CompiledSynthesis):
                    record["compile_seconds"] = round(net.compile_seconds, 2)
                    net.compile_seconds = 0
                yield record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--keep-memory", action="store_true")
    args = parser.parse_args()
    if args.keep_memory:
        keep_freed_memory()
    for record in measure(args.batch):
        print(json.dumps(record | {"memory_kept": args.keep_memory}), flush=True)


if __name__ == "__main__":
    main()
