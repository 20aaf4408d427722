"""Speed of the real training step, against the machine's peak, the plain reference, float32, and the published one of a GPU.

`python -m tests.benchmarks.train_step [CASE ...]` prints JSON lines and asserts nothing. Two kinds of cases:
- large, small, tiny: each phase is timed by itself, variants in turn, and an iteration is Gmain + Greg / 4 + Dmain + Dreg / 16 + the
  rest (average, feed). Figures are made of the best times, as the peak's are, whose better one of before and after counts; but what
  ADA adds is made of medians, since its work is drawn by lot and the best would be the cheapest draw.
- a number is a side in pixels: whole steps with `cfg: auto` for one GPU and ADA at p = 0.3, beside the published table.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from foxgan.devices import choose_device, half_is_faster, keep_freed_memory
from foxgan.gan import ops
from foxgan.gan.config import TrainConfig
from foxgan.gan.trainer import Trainer
from tests.benchmarks.peak import conv_gflops, exact_fp32
from tests.benchmarks.plain import PlainGenerator, make_plain


class Case(NamedTuple):
    side: int
    channel_base: int
    batch: int
    gflop: dict[str, float]  # what a phase has to compute, however it is done


CASES = {
    "large": Case(64, 16384, 8, {"Gmain": 620.5, "Greg": 367.6, "Dmain": 880.1, "Dreg": 759}),
    "small": Case(64, 2048, 16, {"Gmain": 44.2, "Greg": 26.0, "Dmain": 62.9, "Dreg": 54.8}),
    "tiny": Case(32, 1024, 32, {"Gmain": 17.7, "Greg": 10.4, "Dmain": 25.0, "Dreg": 21.7}),
}
PER_ITERATION = {"Gmain": 1.0, "Greg": 1 / 4, "Dmain": 1.0, "Dreg": 1 / 16, "rest": 1.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "aug": "noaug"},
    "ada": {"precision": "fp32", "aug": "fixed", "p": 0.3},
    "mixed": {"precision": "mixed", "aug": "noaug"},
    "compiled": {"precision": "fp32", "aug": "noaug", "compile": True},
    "plain": {"precision": "fp32", "aug": "noaug"},
}
V100_SEC_PER_KIMG = {128: 13, 256: 22, 512: 73, 1024: 157}  # published with StyleGAN2-ADA, one GPU, cfg auto
ROUNDS = 2, 20  # at least, at most
CYCLE = 16  # steps after which every phase has run as often as it does on average

Seconds = dict[str, list[float]]  # by phase, round by round


class RandomImages:
    """A dataset of random pixels in memory."""

    num_classes, labels, fingerprint = 0, None, "random"

    def __init__(self, side: int, count: int = 64) -> None:
        self.height = self.width = side
        self.channels = 3
        shape = [count, 3, side, side]
        self.data = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices: Any) -> torch.Tensor:
        return torch.from_numpy(
            self.data.numpy()[indices]
        )  # by NumPy, as readers do: threads of torch would disturb the networks'


def trainer_of(case: str, device: str, plain: bool, **settings: Any) -> Trainer:
    """On random images of the case's size; `plain` makes it the reference."""
    side = CASES[case].side if case in CASES else int(case)
    if case in CASES:
        settings |= {"channel_base": CASES[case].channel_base, "channel_max": 512, "batch": CASES[case].batch}
    config = TrainConfig(**settings).resolved(side, side, device=device, prefer_mixed=half_is_faster(device))
    trainer = Trainer(config, RandomImages(side), torch.device(device))
    if plain:
        make_plain(trainer)
    elif device == "cpu":
        keep_freed_memory()  # as `train` does; it is for the whole process, so plain networks beside ours have it, too
    return trainer


def phases_of(trainer: Trainer) -> dict[str, Callable[[], None]]:
    """What an iteration is made of, each runnable by itself."""
    config, real = trainer.config, trainer.feed.next()

    def run(phase: Any) -> None:
        z = ops.randn([config.batch, config.network.z_dim], trainer.device, trainer.generator)
        trainer.run(phase, z, trainer.feed.random_labels(config.batch, trainer.generator), *real)

    def rest() -> None:
        trainer.feed.next()
        trainer.average()

    return {phase.name: lambda phase=phase: run(phase) for phase in trainer.phases} | {"rest": rest}


def timed(
    runs: dict[str, dict[str, Callable[[], None]]], seconds: float = 0, rounds: tuple[int, int] = ROUNDS
) -> dict[str, Seconds]:
    """All phases of all variants in turn, round after round, so that what else happens on the machine meets all alike.

    After a round that warms up, `rounds` at least and at most; in between, until `seconds` are over.
    """
    times: dict[str, Seconds] = {variant: {phase: [] for phase in phases} for variant, phases in runs.items()}
    least, most = rounds
    begin = time.perf_counter()
    for index in range(most + 1):
        if index > least and time.perf_counter() - begin > seconds:
            break
        for variant, phases in runs.items():
            for phase, function in phases.items():
                start = time.perf_counter()
                function()
                times[variant][phase].append(time.perf_counter() - start)
    return {variant: {phase: values[1:] for phase, values in phases.items()} for variant, phases in times.items()}


def iteration(seconds: Seconds, of: Callable[[list[float]], float] = min) -> float:
    return sum(PER_ITERATION[phase] * of(values) for phase, values in seconds.items())


def peak() -> dict[str, float]:
    """GFLOP/s by precision, as the networks understand it."""
    return {"fp32": conv_gflops(torch.float32), "mixed": conv_gflops(torch.bfloat16)}


def by_phases(case: str, variants: list[str], seconds: float) -> Iterator[dict[str, Any]]:
    """A record for each variant of a case of the table, on the CPU; a ratio comes with the variant it tells of."""
    before = peak()
    trainers = {}
    for variant in variants:
        plain = variant == "plain"
        trainers[variant] = trainer_of(case, "cpu", plain, **VARIANTS[variant])
    times = timed({variant: phases_of(trainer) for variant, trainer in trainers.items()}, seconds)
    after = peak()
    for trainer in trainers.values():
        trainer.feed.close()
    peaks = {precision: max(before[precision], after[precision]) for precision in before}
    for variant in variants:
        yield record(case, variant, times[variant], peaks) | ratios(variant, times, peaks)


def record(case: str, variant: str, times: Seconds, peaks: dict[str, float]) -> dict[str, Any]:
    seconds, peak_gflops = iteration(times), peaks[VARIANTS[variant]["precision"]]
    gflop = CASES[case].gflop
    gflops = sum(PER_ITERATION[phase] * gflop[phase] for phase in gflop) / seconds
    return {
        "case": case,
        "implementation": "plain" if variant == "plain" else "foxgan",
        "precision": VARIANTS[variant]["precision"],
        "aug": "bgc p=0.3" if variant == "ada" else "noaug",
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "rounds": len(times["rest"]),
        "sec_per_iteration": round(seconds, 4),
        "phase_sec": {phase: round(min(values), 4) for phase, values in times.items()},
        "gflops": round(gflops, 1),
        "peak_gflops": round(peak_gflops, 1),
        "share_of_peak": round(gflops / peak_gflops, 3),
        "phase_share_of_peak": {p: round(gflop[p] / min(times[p]) / peak_gflops, 3) for p in gflop},
        "sec_per_kimg": round(1000 * seconds / CASES[case].batch, 2),
    }


def ratios(variant: str, times: dict[str, Seconds], peaks: dict[str, float]) -> dict[str, float]:
    """What `variant` is compared with, of what ran beside it."""
    if variant == "fp32" and "plain" in times:
        return {"ratio_to_plain": round(iteration(times["plain"]) / iteration(times["fp32"]), 2)}
    if variant == "ada" and "fp32" in times:
        with_ada, without = (iteration(times[v], statistics.median) for v in ("ada", "fp32"))
        return {"ada_overhead": round(with_ada / without - 1, 3)}
    if variant == "compiled" and "fp32" in times:
        return {"speedup_to_fp32": round(iteration(times["fp32"]) / iteration(times["compiled"]), 2)}
    if variant == "mixed" and "fp32" in times:
        speedup = iteration(times["fp32"]) / iteration(times["mixed"])
        return {"speedup_to_fp32": round(speedup, 2), "bf16_to_fp32_peak": round(peaks["mixed"] / peaks["fp32"], 2)}
    return {}


def by_steps(case: str, variants: list[str], device: str, seconds: float) -> list[dict[str, Any]]:
    """Records of whole steps at `case` pixels: ours as `auto` sets it, then compiled and the plain one, if they are asked for."""
    others: dict[str, dict[str, Any]] = {"compiled": {"compile": True}, "plain": {"precision": "fp32"}}
    found = [stepped(case, trainer_of(case, device, False, p=0.3), seconds)]
    for variant in (v for v in others if v in variants):
        trainer = trainer_of(case, device, variant == "plain", p=0.3, **others[variant])
        found.append(stepped(case, trainer, seconds))
        found[0][f"ratio_to_{variant}"] = round(found[-1]["sec_per_kimg"] / found[0]["sec_per_kimg"], 2)
    return found


def stepped(case: str, trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Whole cycles of steps for at least `seconds`, after two that warm up."""
    config, device = trainer.config, trainer.device

    def cycle() -> float:
        for _ in range(CYCLE):
            trainer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    cycle()
    begin = end = cycle()
    steps = 0
    while not steps or end - begin < seconds:
        end, steps = cycle(), steps + CYCLE
    trainer.feed.close()
    return {
        "case": case,
        "implementation": "plain" if isinstance(trainer.G, PlainGenerator) else "foxgan",
        "precision": "mixed" if config.network.num_fp16_res else "fp32",
        "compiled": config.compile,
        "aug": f"{config.augpipe} p={config.p}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "batch": config.batch,
        "steps": steps,
        "sec_per_iteration": round((end - begin) / steps, 4),
        "sec_per_kimg": round(1000 * (end - begin) / steps / config.batch, 2),
        "published_v100_sec_per_kimg": V100_SEC_PER_KIMG.get(int(case)),
    }


def measure(cases: list[str], variants: list[str], device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Records of all cases."""
    for case in cases:
        if case in CASES:
            yield from by_phases(case, variants, seconds)
        else:
            yield from by_steps(case, variants, device, seconds)


def profile(case: str, variant: str, phase: str, device: str) -> None:
    """Prints the operators of one run of `phase`, which is not its first, by time."""
    trainer = trainer_of(case, device, variant == "plain", **VARIANTS[variant])
    run = phases_of(trainer)[phase]
    run()
    with torch.profiler.profile() as found:
        run()
    trainer.feed.close()
    order = f"self_{'cuda' if device == 'cuda' else 'cpu'}_time_total"
    print(found.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=50))


def options() -> argparse.Namespace:
    cuda = choose_device("auto") == "cuda"
    table, sides = list(CASES), [str(side) for side in V100_SEC_PER_KIMG]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: {', '.join(sides if cuda else table)}")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=["fp32", "ada", "mixed"], help="of the table's"
    )
    parser.add_argument("--plain", action="store_true", help="also the plain reference")
    parser.add_argument("--device", default="auto", help="of the sides; the table's cases are for CPUs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: torch's own")
    parser.add_argument("--seconds", type=float, default=10 if cuda else 40, help="spent on a case, or two rounds")
    parser.add_argument(
        "--profile",
        choices=PER_ITERATION,
        metavar="PHASE",
        help=f"list the operators of one of {', '.join(PER_ITERATION)} instead",
    )
    args = parser.parse_args()
    args.device = choose_device(args.device)
    args.cases = args.cases or (sides if args.device == "cuda" else table)
    args.variants += ["plain"] if args.plain and "plain" not in args.variants else []
    for case in args.cases:
        if case not in CASES and not case.isdigit():
            parser.error(f"case {case} does not exist; say {', '.join(CASES)} or a side in pixels")
    return args


def main() -> None:
    args = options()
    exact_fp32()
    torch.set_num_threads(args.threads)
    if args.profile:
        profile(args.cases[0], args.variants[0], args.profile, args.device)
        return
    for found in measure(args.cases, args.variants, args.device, args.seconds):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
