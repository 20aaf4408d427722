"""Early warnings: what may spoil a training, in words, as soon as it can be measured. Each function is silent with an empty text.

Every threshold lives here, with its reason. None of these measures can change a training.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foxgan.gan.ada import WARN_AT
from foxgan.gan.config import ResolvedConfig
from foxgan.gan.sampler import ImageSet, Indices

Rows = Sequence[Mapping[str, Any]]  # of stats.jsonl, the newest last

THUMB = 16  # pixels, the sides of what is compared
FEW = 100  # images: with fewer, D knows each by heart before G has learned anything
TWINS = 0.995  # correlation of two thumbnails: recompressed, resized and brightened copies lie above it
TWIN_SHARE = 0.01
TWIN_IMAGES, TWIN_PIXELS = 5000, 200_000_000  # looked at, at most: seconds, whatever the size
CERTAIN = 0.9  # mean sign of D: right on 95 % of the images
TICKS = 10  # in a row
COLLAPSED, DIVERSE = 0.5, 0.8  # of the reals' diversity
GRIDS = 3  # in a row
BY_THEN = 100_000  # images after which fakes of any training differ


def image_warnings(images: ImageSet, chosen: Indices, config: ResolvedConfig, transfer: bool) -> dict[str, str]:
    """What can be said of the images at `chosen` before training begins, by kind of warning."""
    found = {"few_images": few_images(len(chosen), config, transfer), "twins": twins(images, chosen)}
    return {kind: text for kind, text in found.items() if text}


def run_warnings(rows: Rows, config: ResolvedConfig) -> dict[str, str]:
    """What the numbers so far say, by kind of warning."""
    found = {"p": p_near_limit(rows, config), "d_wins": d_wins(rows, config), "alike": fakes_alike(rows)}
    return {kind: text for kind, text in found.items() if text}


def few_images(count: int, config: ResolvedConfig, transfer: bool) -> str:
    """Below `FEW`; names what helps and is not in use yet."""
    if count >= FEW:
        return ""
    help_ = ["more photos (some hundreds)"]
    help_ += [] if config.mirror else ["mirror: true"]
    help_ += [] if transfer else ["resume, to start from a model of something alike"]
    help_ += [] if config.freezed else ["freezed together with resume"]
    return (
        f"only {count} images: D will soon know each by heart, and fakes become copies of them or noise; "
        f"what helps: {', '.join(help_)}"
    )


def twins(images: ImageSet, chosen: Indices) -> str:
    """Of at most `TWIN_IMAGES` images (fewer large ones), drawn evenly, more than `TWIN_SHARE` are nearly equal to an earlier one.

    Nearly equal: thumbnails that correlate above `TWINS`. Of the drawn and photographed sets this was tried on, at most 0.25 % of
    different pictures do; of JPEG copies at quality 70 and copies 10 % brighter, nearly all.
    """
    most = min(TWIN_IMAGES, max(TWIN_PIXELS // (images.height * images.width), 1))
    if len(chosen) > most:
        chosen = np.sort(np.random.RandomState(0).permutation(chosen)[:most])
    parts = (images.images(part) for part in np.array_split(chosen, math.ceil(len(chosen) / 64)))
    thumbs = torch.cat([thumbnails(part) for part in parts])
    patterns = F.normalize(thumbs - thumbs.mean(1, keepdim=True), dim=1)
    pairs = (patterns @ patterns.T).triu(1) > TWINS
    copies = pairs.any(0)
    count = int(copies.sum())
    if count <= TWIN_SHARE * len(chosen):
        return ""
    copy = int(copies.nonzero()[0])
    first, second = int(chosen[int(pairs[:, copy].nonzero()[0])]), int(chosen[copy])
    return (
        f"{count} of {len(chosen):,} images ({count / len(chosen):.1%}) are nearly equal to another one (such as numbers "
        f"{first} and {second}): "
        "D sees these more often, learns them by heart first, and fakes will look like them; leave the copies out of the photos"
    )


def thumbnails(pictures: Tensor) -> Tensor:
    """Pictures, uint8 [N, C, H, W], reduced to at most 16x16 pixels and flattened: float32 [N, values]."""
    size = min(THUMB, pictures.shape[2]), min(THUMB, pictures.shape[3])
    return F.adaptive_avg_pool2d(pictures.float(), size).flatten(1)


def variety(pictures: Tensor, groups: Tensor) -> float:
    """The mean distance between two pictures of the same group (grey levels per pixel); 0 where no group has two.

    pictures: uint8 [N, C, H, W]; groups: their classes [N], so that classes that differ don't hide fakes that are alike in each.
    """
    thumbs = thumbnails(pictures)
    pairs = (groups[:, None] == groups[None]).triu(1)
    distances = torch.cdist(thumbs, thumbs)[pairs]
    return float(distances.mean()) / math.sqrt(thumbs.shape[1]) if len(distances) else 0.0


def d_accuracy(row: Mapping[str, Any]) -> float:
    """The share of images, half reals and half fakes, that D tells rightly, from the mean signs of its logits."""
    return 0.5 + (float(row["sign_real"]) - float(row["sign_fake"])) / 4


def p_near_limit(rows: Rows, config: ResolvedConfig) -> str:
    """`ada` has raised p to where augmentations begin to leak, or as far as it may."""
    p, nimg = float(rows[-1]["p"]), rows[-1]["nimg"]
    if config.aug != "ada" or p <= 0 or p < min(WARN_AT, config.p_max - 1e-6):
        return ""
    return (
        f"augment probability {p:.2f} at {nimg / 1000:.1f} kimg: D overfits, and augmentations may leak into the fakes "
        f"(limit p_max {config.p_max}); more photos, mirror: true or transfer from a model help"
    )


def d_wins(rows: Rows, config: ResolvedConfig) -> str:
    """For `TICKS` ticks D was right on 95 % of reals and of fakes alike, while G's loss grew from their first to their second half.

    At the optimum D cannot tell them and its signs average 0; `ada` holds the reals' at 0.6. Where D separates both almost
    perfectly, its slope at the fakes no longer says where the reals are (Arjovsky and Bottou 2017). It may do so for a while in
    transfer or with few images, with G catching up: hence so many ticks, and the growing loss.
    """
    last = rows[-TICKS:]
    if len(last) < TICKS or not all(
        row.get("sign_real", 0) >= CERTAIN and row.get("sign_fake", 0) <= -CERTAIN for row in last
    ):
        return ""
    before, after = (sum(row["loss_G"] for row in half) for half in (last[: TICKS // 2], last[TICKS // 2 :]))
    if after <= before:
        return ""
    augment = "aug: ada, " if config.aug == "noaug" else ""
    return (
        f"D has told reals from fakes almost without error for {TICKS} ticks ({d_accuracy(last[-1]):.1%} right at "
        f"{last[-1]['nimg'] / 1000:.1f} kimg) while the loss of G grew to {last[-1]['loss_G']:.1f}: G learns little from such a D; "
        f"try a gamma 2 to 4 times as high, {augment}more photos, or go back to an earlier snapshot"
    )


def fakes_alike(rows: Rows) -> str:
    """In `GRIDS` grids the fakes' `diversity` (variety, as a share of the reals') was below that of two pictures shown by turns.

    A set of k pictures in equal shares has 1 - 1/k of the variety, so two have half. A generator that has just begun to learn may
    draw one blot for all: only fakes count that were `DIVERSE` before (the first ones are noise), or still are not after 100 kimg.
    Healthy runs stayed above 0.65, and most at 0.8 to 1.2.
    """
    seen = [float(row["diversity"]) for row in rows if "diversity" in row][1:]
    if len(seen) < GRIDS or max(seen[-GRIDS:]) >= COLLAPSED or (max(seen) < DIVERSE and rows[-1]["nimg"] < BY_THEN):
        return ""
    return (
        f"the fakes are growing alike: {seen[-1]:.0%} of the reals' diversity at {rows[-1]['nimg'] / 1000:.1f} kimg (at best "
        f"{max(seen):.0%}): G makes a few pictures only (mode collapse); go back to an earlier snapshot and try a gamma "
        "2 to 4 times as high, a larger batch, or lower g_lr and d_lr"
    )
