"""Two thousand broken copies of weight files: each is refused in a line, or loads as whole networks of finite numbers."""

from collections import Counter
from pathlib import Path

import pytest
from build_nets import Nets, network, random_nets
from build_nvidia_tf import nvidia_tf
from build_nvidia_torch import nvidia_torch
from build_rosinality import rosinality
from checks import check_message, reports
from mutations import unframed

COPIES = {
    "nvidia torch": 700,
    "nvidia torch, framed": 100,
    "nvidia torch, protocol 3": 200,
    "nvidia tf": 400,
    "zip": 300,
    "stream": 300,
}


def written(name: str, nets: Nets) -> bytes:
    """A small file of each format."""
    if name == "nvidia torch":
        return unframed(nvidia_torch(nets, layout="sg3", protocol=5, without=("G",)))
    if name == "nvidia torch, protocol 3":
        return nvidia_torch(nets, protocol=3, numpy_writer=1, old_torch=True, frozen=1, without=("D",))
    if name == "nvidia torch, framed":
        return nvidia_torch(nets, without=("D",))
    if name == "nvidia tf":
        return unframed(nvidia_tf(nets))
    return rosinality(nets, container="zip" if name == "zip" else "legacy")


@pytest.mark.parametrize("name", COPIES)
def test_a_broken_file_is_refused_or_loads_whole(tmp_path, name: str) -> None:
    nets = random_nets(network(height=8, width=8, z_dim=4, w_dim=4, channel_base=32, channel_max=4))
    good = tmp_path / "good.pkl"
    good.write_bytes(written(name, nets))
    found = reports(good, COPIES[name])
    expected = found.pop("good")["nets"]
    assert len(found) == COPIES[name]
    for copy, report in found.items():
        assert not report["watched"], (copy, report["watched"])
        assert report["outcome"] != "broken", (copy, report["message"])
        if report["outcome"] == "refused":
            check_message(report["message"], Path(report["path"]))
        else:
            assert all(net == expected[kind] for kind, net in report["nets"].items()), copy
    count = Counter(report["outcome"] for report in found.values())
    assert count["refused"] > COPIES[name] / 2, "the changes hardly touch what is read"
