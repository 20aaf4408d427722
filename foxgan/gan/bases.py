"""The named base settings of StyleGAN2-ADA, and the heuristic behind `cfg: auto` (specs: training §7). No torch here."""

from typing import NamedTuple


class Base(NamedTuple):
    """Settings, and what they were tuned for: `pixels` per image, `batch` over `devices`."""

    pixels: int
    devices: int
    batch: int
    mbstd: int
    fmaps: float  # channel_base / 32768
    lr: float
    gamma: float
    ema_kimg: float


BASES = {
    "stylegan2": Base(1024**2, 8, 32, 4, 1, 0.002, 10, 10),
    "paper256": Base(256**2, 8, 64, 8, 0.5, 0.0025, 1, 20),
    "paper512": Base(512**2, 8, 64, 8, 1, 0.0025, 0.5, 20),
    "paper1024": Base(1024**2, 8, 32, 4, 1, 0.002, 2, 10),
    "cifar": Base(32**2, 2, 64, 32, 1, 0.0025, 0.01, 500),
}


def auto_base(height: int, width: int, device_count: int) -> Base:
    """The base that `cfg: auto` derives from the images' size, with H * W for the squared resolution."""
    res = max(height, width)
    batch = max(min(device_count * min(4096 // res, 32), 64), device_count)
    return Base(
        pixels=height * width,
        devices=device_count,
        batch=batch,
        mbstd=min(batch // device_count, 4),
        fmaps=1 if res >= 512 else 0.5,
        lr=0.002 if res >= 1024 else 0.0025,
        gamma=0.0002 * height * width / batch,
        ema_kimg=batch * 10 / 32,
    )
