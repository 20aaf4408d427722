"""Files that claim far more than they hold, or send a careless reader in circles: refused at once, with next to no memory."""

import contextlib
import time
from pathlib import Path

import hostile
import hostile_tensors
import pytest
from build_nvidia_torch import nvidia_torch
from checks import check_message, reports

import foxgan

CLAIMS = (
    hostile.pickles,
    hostile.tuples,
    hostile.modules,
    hostile_tensors.tensors,
    hostile_tensors.storages,
    hostile_tensors.arrays,
    hostile_tensors.archives,
)
# where no reader need look, or need not believe: what is loaded in spite of it must be right
IDLE = ("100,000 entries", "two pickles", "a huge start, filled", "a buffer in another order")
IDLE += ("in a called set", "as type", "as version", "as module_src", "as unknown", "as a shape")
MAX_SECONDS = 10  # a second alone, more where other tests share the machine
MAX_GROWTH = 100 << 20


def test_claims_are_refused_before_they_cost_time_or_memory(tmp_path) -> None:
    folder, good = tmp_path / "hostile", tmp_path / "good.pkl"
    folder.mkdir()
    good.write_bytes(nvidia_torch(hostile.NETS))
    count = 0
    for claims in CLAIMS:
        for name, data in claims():
            (folder / f"{claims.__name__}, {name}").write_bytes(data)
            count += 1
    found = reports(good, folder)
    expected = found.pop("good")["nets"]
    assert len(found) == count
    for name, report in found.items():
        assert not report["watched"], (name, report["watched"])
        assert report["seconds"] < MAX_SECONDS and report["grown"] < MAX_GROWTH, name
        if report["outcome"] == "loaded":
            assert name.endswith(IDLE), name
            assert all(net == expected[kind] for kind, net in report["nets"].items()), name
        else:
            assert report["outcome"] == "refused", (name, report["message"])
            check_message(report["message"], Path(report["path"]))
            assert "MemoryError" not in report["message"], name  # it was believed up to the limit of the child


@pytest.mark.parametrize("kind", ["dict of numbers", "dict of pairs", "set of numbers", "set of pairs"])
def test_keys_of_one_hash_take_no_longer_than_others(tmp_path, kind: str) -> None:
    ordinary, colliding = (seconds(tmp_path, hostile.keys(kind, colliding)) for colliding in (False, True))
    assert colliding < 5 * ordinary + 0.5


def seconds(folder: Path, data: bytes) -> float:
    """How long it takes to load or refuse these bytes."""
    path = folder / "foreign.pkl"
    path.write_bytes(data)
    start = time.perf_counter()
    with contextlib.suppress(foxgan.FoxganError):
        foxgan.load_model(path)
    return time.perf_counter() - start
