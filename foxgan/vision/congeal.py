"""Aligning heads with each other without any labels: congealing (Learned-Miller 2006) on oriented gradients (as Huang et al. 2007).

Every head is moved, turned and scaled until its gradients agree with the mean of the others, which gets sharper by that, from coarse to
fine. One mean blurs what differs with pose and coat, so the last rounds have several: clusters of heads that look alike, mirror images
among them, which also keep the set from leaning to one side. What varies much over the set, the background above all, counts little.

The pictures and their motions are those of `motions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from foxgan.images import Pixels
from foxgan.vision.motions import SCALE, SIDE, blurred, cluster, focus, mirrored, moved, slopes_of, undone

BOX_SPREAD = (0.15, 0.15, 0.12, 0.12)  # how far motions are expected to go: what boxes leave open
POINTS_SPREAD = (0.1, 0.08, 0.04, 0.04)  # ... and keypoints
LIMITS = (0.3, 1.0, 0.3, 0.3)  # and may go at most
PART = 512  # heads computed together
TRUST = 0.025  # gradients of neighbouring pixels are not independent, so that they tell less than their number says
OWN = 0.7  # share of its cluster in a head's mean; the rest is that of all
CLUSTER, CLUSTERS = 25, 32  # heads per cluster, at least; clusters at most
FEW = 6  # heads that make no mean
STRIDE = 4  # pixels that clusters are found on


@dataclass(frozen=True)
class Level:
    """Rounds with pictures shrunk `by` a number and blurred (sigma in their pixels), in which what is near the middle counts more (sigma
    in halves of a side).

    Before there are clusters, the mean is that of the heads that agree `best` (a share).
    """

    by: int
    sigma: float
    rounds: int
    focus: float
    best: float = 1.0
    clusters: bool = False


LEVELS = (
    Level(2, 1.2, 8, 0.5, best=0.3),
    Level(2, 0.7, 8, 0.5, best=0.3),
    Level(1, 1.0, 6, 0.5, best=0.3),
    Level(1, 0.7, 6, 0.5, best=0.4),
    Level(1, 1.0, 6, 0.4, clusters=True),
    Level(1, 0.6, 8, 0.4, clusters=True),
    Level(1, 0.5, 8, 0.4, clusters=True),
)
ROUNDS = sum(level.rounds for level in LEVELS)


@dataclass(frozen=True)
class Aligned:
    """The motions that agree best, and how well (-1 to 1) each head agreed with its mean before and does now."""

    motions: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def congeal(
    fields: Sequence[Pixels],
    start: NDArray[np.float64],
    spread: NDArray[np.float64],
    max_roll: float,
    clusters: int | None = None,
    track: Callable[[range], Iterable[int]] = iter,
) -> Aligned:
    """Align heads by their `gradients`, from the motions `start`, which are right to within `spread` (both [N, 4]); no head is turned by
    more than `max_roll` degrees. `track` gives the rounds back as they may begin.
    """
    work = Congealing(np.stack(fields), start, spread, max_roll)
    levels = [level for level in LEVELS for _ in range(level.rounds)]
    for number in track(range(ROUNDS)):
        level = levels[number]
        if number == 0 or level is not levels[number - 1]:
            work.begin(level, clusters)
        work.round(level)
    return work.result()


class Congealing:
    """The state between two rounds: where the heads lie, which mean each follows, and the means."""

    def __init__(
        self, fields: Pixels, start: NDArray[np.float64], spread: NDArray[np.float64], max_roll: float
    ) -> None:
        self.fields = torch.from_numpy(fields)
        self.start = torch.from_numpy(start).float()
        self.motions = self.start.clone()
        self.certainty = torch.diag_embed(torch.from_numpy(spread).float() ** -2)
        self.max_roll = float(np.deg2rad(max_roll))
        self.count = len(fields)
        self.labels = torch.zeros(2 * self.count, dtype=torch.long)  # of the heads, then of their mirror images
        self.members = torch.ones(self.count, dtype=torch.bool)  # heads that make the means
        self.blurred: list[Tensor] = []

    def begin(self, level: Level, clusters: int | None) -> None:
        """Blur the gradients, find the clusters and their means."""
        self.blurred = [
            blurred(F.avg_pool2d(part.float() / SCALE, level.by), level.sigma).half()
            for part in torch.split(self.fields, PART)
        ]
        self.near = focus(SIDE // level.by, level.focus)
        if level.clusters:
            self.members[:] = True
        self._means(1)
        if level.clusters and (number := clusters or max(1, min(CLUSTERS, self.count // CLUSTER))) > 1:
            self.labels = cluster(torch.cat([self._small(False), self._small(True)]), number)
            self._means(number)

    def _parts(self) -> Iterable[tuple[slice, Tensor]]:
        begin = 0
        for part in self.blurred:
            yield slice(begin, begin + len(part)), part.float()
            begin += len(part)

    def _pictures(self, heads: slice, part: Tensor) -> Tensor:
        """The aligned pictures of some heads, then their mirror images."""
        seen = moved(part, self.motions[heads])
        return torch.cat([seen, mirrored(seen)])

    def _both(self, heads: slice) -> Tensor:
        """The places of some heads and of their mirror images among all."""
        numbers = torch.arange(heads.start, heads.stop)
        return torch.cat([numbers, numbers + self.count])

    def _small(self, mirror: bool) -> Tensor:
        """What clusters are found by, [N, ...]: the aligned pictures without their mean, weighted and coarse."""
        weight = self.weight.sqrt()
        seen = (self._pictures(heads, part).chunk(2)[mirror] for heads, part in self._parts())
        return torch.cat([F.avg_pool2d((s - self.mean) * weight, STRIDE).flatten(1) for s in seen])

    def _means(self, number: int) -> None:
        """The means of all heads and of `number` clusters, and the weights of the pixels, where the heads lie now."""
        shape = self.blurred[0].shape[1:]
        sums, squares, counts = torch.zeros(number, *shape), torch.zeros(shape), torch.zeros(number)
        labels = self.labels if number > 1 else torch.zeros_like(self.labels)
        for heads, part in self._parts():
            seen = self._pictures(heads, part)
            chosen = self.members[heads].repeat(2)
            seen, own = seen[chosen], labels[self._both(heads)][chosen]
            sums.index_add_(0, own, seen)
            counts.index_add_(0, own, torch.ones(len(own)))
            squares += (seen**2).sum(0)
        self.mean = sums.sum(0) / counts.sum()
        variance = (squares / counts.sum() - self.mean**2).clamp(min=0)
        self.weight = self.near / (variance + 0.1 * variance.mean() + 1e-6)
        enough = (counts >= FEW).view(-1, 1, 1, 1)
        own_mean = sums / counts.clamp(min=1).view(-1, 1, 1, 1)
        share = OWN if number > 1 else 1.0
        self.means = torch.where(enough, share * own_mean + (1 - share) * self.mean, self.mean)
        self.labels = labels

    def round(self, level: Level) -> None:
        """Move every head towards the mean it follows; then the means are taken anew."""
        slopes = [slopes_of(mean) for mean in self.means]
        weighted = [s * self.weight.reshape(-1, 1) for s in slopes]
        bends = torch.stack([s.T @ w for s, w in zip(slopes, weighted, strict=True)]) * TRUST
        agreed = torch.empty(self.count)
        for heads, part in self._parts():
            seen, own = self._pictures(heads, part), self.labels[self._both(heads)]
            pull = torch.empty(len(own), 4)
            for label in torch.unique(own).tolist():
                rows = own == label
                pull[rows] = (seen[rows] - self.means[label]).flatten(1) @ weighted[label] * TRUST
            if level.best < 1:
                agreed[heads] = self._agreement(seen, own)
            self._move(heads, pull, bends[own])
        self._hold()
        if level.best < 1 and self.count > FEW:
            self.members = agreed >= agreed.sort().values[int((1 - level.best) * self.count)]
        self._means(len(self.means))

    def _move(self, heads: slice, pull: Tensor, bends: Tensor) -> None:
        """One Gauss-Newton step of some heads: that of a head and that of its mirror image, halfway."""
        moves = []
        for sign, pulls, bend in zip((1.0, -1.0), pull.chunk(2), bends.chunk(2), strict=True):
            flip = torch.tensor([1.0, sign, sign, 1.0])
            gone = ((self.motions[heads] - self.start[heads]) * flip)[..., None]
            wanted = pulls[..., None] + self.certainty[heads] @ gone
            step = torch.linalg.solve(bend + self.certainty[heads], wanted)[..., 0].clamp(-0.15, 0.15)
            moves.append(undone(self.motions[heads] * flip, step) * flip)
        self.motions[heads] = (moves[0] + moves[1]) / 2

    def _hold(self) -> None:
        """Keep the set as a whole where it was, and every head within the limits."""
        gone = self.motions - self.start
        gone -= gone.mean(0) * torch.tensor(
            [1.0, 0.0, 0.0, 1.0]
        )  # with mirror images, turning and moving aside cancel out
        limits = torch.tensor(LIMITS)
        self.motions = self.start + gone.clamp(-limits, limits)
        self.motions[:, 1] = self.motions[:, 1].clamp(-self.max_roll, self.max_roll)

    def _agreement(self, seen: Tensor, own: Tensor) -> Tensor:
        """The weighted cosine between heads and the means they follow; that of the mirror images counts as much."""
        weight = self.weight.flatten()
        sizes = (seen.flatten(1) ** 2 @ weight).sqrt() * (self.means.flatten(1) ** 2 @ weight).sqrt()[own]
        products = torch.empty(len(own))
        for label in torch.unique(own).tolist():
            rows = own == label
            products[rows] = seen[rows].flatten(1) @ (self.means[label].flatten() * weight)
        return (products / sizes.clamp(min=1e-6)).view(2, -1).mean(0)

    def result(self) -> Aligned:
        """The motions; a head that does not agree better with its mean than it did stays where it was."""
        scores = []
        ends = self.motions
        for motions in (self.start, ends):
            self.motions = motions
            agreed = [self._agreement(self._pictures(h, p), self.labels[self._both(h)]) for h, p in self._parts()]
            scores.append(torch.cat(agreed))
        before, after = scores
        better = after > before
        motions = torch.where(better[:, None], ends, self.start)
        return Aligned(*(t.double().numpy() for t in (motions, before, torch.maximum(before, after))))
