"""Every stage, disturbed at random moments; afterwards all is as if nothing had happened.

Stages run in a forked child that has imported all it needs (zygote.py), so that a random moment hits the work: listing, working item by
item, index, digest, manifest, swap, ledger. The everyday form takes a minute; the full one is `pytest tests/crash -m slow -s`, which
prints its counts by phase. FOXGAN_KILL_SEED chooses other moments.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from foxgan.sources.fetch import Manners
from tests.crash.conftest import Sites
from tests.crash.harness import Tally, chance
from tests.crash.trials import fill_disk, interrupt_often, kill_often, kill_one_of_two

# what is killed: kills in the everyday form and in the full one
KILLS = {
    ("plain", "photos"): (3, 120),
    ("plain", "heads"): (3, 120),
    ("plain", "crops"): (3, 120),
    ("plain", "dataset"): (3, 120),
    ("more", "photos"): (2, 80),
    ("more", "heads"): (2, 80),
    ("more", "crops"): (2, 80),
    ("more", "dataset"): (2, 80),
    ("forced", "crops"): (2, 60),
    ("workers", "photos"): (1, 10),
    ("crew", "photos"): (1, 10),
    ("plain", "model"): (2, 30),
    ("longer", "model"): (0, 10),
    ("plain", "gallery"): (0, 20),
    ("plain", "film"): (0, 20),
    ("plain", "small"): (0, 20),
    ("drawn", "detector"): (0, 20),
}


FEW = 10  # kills, about which chance decides too much
ALL = Tally("all kills of this session")


def kill(sites: Sites, kind: str, step: str, kills: int) -> None:
    tally = kill_often(sites.case(kind, step), kills)
    ALL.add(tally)
    print(f"\n{tally}")
    assert tally.hits == kills and (kills < FEW or tally.at_work >= 0.4), tally


@pytest.mark.parametrize(("kind", "step"), [case for case, (quick, _) in KILLS.items() if quick])
def test_a_killed_step_ends_as_if_nothing_had_happened(sites: Sites, kind: str, step: str) -> None:
    kill(sites, kind, step, KILLS[kind, step][0])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "step"), KILLS)
def test_a_step_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    sites: Sites, kind: str, step: str
) -> None:
    kill(sites, kind, step, KILLS[kind, step][1])


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_crawl_misses_nothing_and_asks_again_only_for_what_was_in_flight(sites: Sites, kills: int) -> None:
    case = sites.case("web", "photos")
    alone = Counter(visit.path for visit in sites.fakes.visits())
    before = len(sites.fakes.visits())
    tally = kill_often(case, kills)
    print(f"\n{tally}")
    again = Counter(visit.path for visit in sites.fakes.visits()[before:]) - multiplied(alone, tally.trials)
    pages = sum(count for path, count in again.items() if "/observations" in path)
    photos = sum(count for path, count in again.items() if "/photos/" in path)
    hits = tally.hits + tally.phases["ended"]
    print(f"{tally.trials} crawls of {alone.total()} requests, again: {pages} pages, {photos} photos")
    assert pages <= hits, "the page in flight"
    assert photos <= hits * Manners().connections, "the photos in flight"
    assert tally.at_work >= 0.4 or kills < FEW, tally


def multiplied(counts: Counter[str], times: int) -> Counter[str]:
    return Counter({key: count * times for key, count in counts.items()})


def test_most_kills_have_met_a_step_at_work() -> None:
    if not ALL.hits:
        pytest.skip("nothing was killed in this session")
    print(f"\n{ALL}")
    assert ALL.at_work >= 0.5, ALL


# what is interrupted, runs out of disk, or is made by two at once: times in the everyday form and in the full one
OTHER = {
    ("plain", "photos"): (1, 10),
    ("plain", "heads"): (1, 10),
    ("plain", "crops"): (1, 10),
    ("plain", "dataset"): (1, 10),
    ("more", "crops"): (0, 10),
    ("plain", "model"): (1, 10),
}
EVERYDAY = pytest.mark.parametrize(("kind", "step", "times"), [(*c, quick) for c, (quick, _) in OTHER.items() if quick])
FULL = pytest.mark.parametrize(("kind", "step", "times"), [(*case, full) for case, (_, full) in OTHER.items()])


def interrupt(sites: Sites, kind: str, step: str, times: int) -> None:
    tally = interrupt_often(sites.case(kind, step), times)
    print(f"\n{tally}")
    assert tally.hits >= times


@EVERYDAY
def test_an_interrupted_step_says_so_and_goes_on(sites: Sites, kind: str, step: str, times: int) -> None:
    interrupt(sites, kind, step, times)


@pytest.mark.slow
@FULL
def test_a_step_that_is_interrupted_again_and_again_goes_on(sites: Sites, kind: str, step: str, times: int) -> None:
    interrupt(sites, kind, step, times)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


FULL_DISK = re.compile("disk.* full|free some|make room|has room")


def fill(sites: Sites, kind: str, step: str, times: int, disk: Path) -> None:
    for number in range(times):
        said = fill_disk(sites.case(kind, step), disk, (number + 0.5) / (times + 1), begun=number % 3 != 1)
        assert FULL_DISK.search(said) and "defect" not in said, said
    print(f"\n{kind} {step}: {times} full disks")


@EVERYDAY
def test_a_full_disk_is_told_in_words_and_the_step_goes_on_when_there_is_room(
    sites: Sites, kind: str, step: str, times: int, disk: Path
) -> None:
    fill(sites, kind, step, times, disk)


@pytest.mark.slow
@FULL
def test_a_disk_that_is_full_at_any_point_is_told_in_words(
    sites: Sites, kind: str, step: str, times: int, disk: Path
) -> None:
    fill(sites, kind, step, times, disk)


def pair(sites: Sites, kind: str, step: str, times: int, victim: int) -> None:
    case = sites.case(kind, step)
    luck = chance(f"{case.name} two {victim}")
    for _ in range(times):
        kill_one_of_two(case, victim, luck)
    print(f"\n{case.name}: {times} pairs, {('the one at work', 'the waiting one')[victim]} killed")


@EVERYDAY
def test_a_waiting_run_takes_over_from_one_that_is_killed(sites: Sites, kind: str, step: str, times: int) -> None:
    pair(sites, kind, step, times, victim=0)


@pytest.mark.slow
@FULL
@pytest.mark.parametrize("victim", [0, 1])
def test_of_two_runs_either_may_be_killed(sites: Sites, kind: str, step: str, times: int, victim: int) -> None:
    pair(sites, kind, step, times, victim)
