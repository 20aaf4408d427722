"""Seconds per phase of a training step; `python tests/benchmarks/train_step.py --help`. Prints, asserts nothing."""

import argparse
import time
from collections.abc import Callable

import torch

from foxgan.gan import losses
from foxgan.gan.augment import AugmentPipe
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channel-base", type=int, default=4096)
    parser.add_argument("--channel-max", type=int, default=128)
    parser.add_argument("--half", type=int, default=0, help="resolutions in half precision")
    parser.add_argument("--p", type=float, default=0.3, help="augment probability")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", help="phase whose operators are listed by time")
    return parser.parse_args()


def phases(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    config = NetworkConfig(
        height=args.size,
        width=args.size,
        channel_base=args.channel_base,
        channel_max=args.channel_max,
        num_fp16_res=args.half,
        conv_clamp=256 if args.half else None,
        mapping_layers=2,
    )
    generator = torch.Generator().manual_seed(0)
    G = Generator(config, generator).to(args.device)
    D = Discriminator(config, generator).to(args.device)
    augment = AugmentPipe.from_text("bgc").to(args.device)
    augment.p.fill_(args.p)
    z = torch.randn(args.batch, config.z_dim, generator=generator).to(args.device)
    real = torch.randn(args.batch, 3, args.size, args.size, generator=generator).clamp(-1, 1).to(args.device)
    pl_mean = torch.zeros([], device=args.device)

    def only(net: torch.nn.Module) -> None:
        G.requires_grad_(net is G)
        D.requires_grad_(net is D)

    def g_main() -> None:
        only(G)
        losses.generator_loss(D(augment(G(z), generator))).mean().backward()

    def g_reg() -> None:
        only(G)
        ws = G.mapping(z[: max(1, args.batch // 2)])
        losses.path_length_penalty(G.synthesis(ws), ws, pl_mean)[0].mean().backward()

    def d_main() -> None:
        only(D)
        with torch.no_grad():
            fake = G(z)
        losses.discriminator_fake_loss(D(augment(fake, generator))).mean().backward()
        losses.discriminator_real_loss(D(augment(real, generator))).mean().backward()

    def d_reg() -> None:
        only(D)
        img = real.detach().requires_grad_()
        losses.r1_penalty(img, D(augment(img, generator))).mean().backward()

    def augmentation() -> None:
        augment(real, generator)

    def generation() -> None:
        with torch.inference_mode():
            G(z)

    return {f.__name__: f for f in (g_main, g_reg, d_main, d_reg, augmentation, generation)}


def seconds(run: Callable[[], None], repeats: int, device: str) -> float:
    """The best of `repeats`, after one run that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    args = options()
    torch.set_num_threads(args.threads)
    runs = phases(args)
    if args.profile:
        runs[args.profile]()
        with torch.profiler.profile() as profile:
            runs[args.profile]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=50))
        return
    times = {name: seconds(run, args.repeats, args.device) for name, run in runs.items()}
    for name, value in times.items():
        print(f"{name:13} {value:8.4f} s")
    step = times["g_main"] + times["g_reg"] / 4 + times["d_main"] + times["d_reg"] / 16
    print(f"{'step':13} {step:8.4f} s   {args.batch / step:.1f} images/s, {1000 * step / args.batch:.0f} s/kimg")


if __name__ == "__main__":
    main()
