"""One rule for where networks run."""

from typing import get_args

import pytest
import torch

from foxgan.devices import Device, choose_device, half_is_faster
from foxgan.errors import UsageError
from foxgan.stages import MODULES, stage_class


def test_auto_is_cuda_else_the_cpu_and_mps_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("mps")) == ("cpu", "mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"


@pytest.mark.parametrize("name", ["cuda", "toaster"])
def test_a_device_that_is_not_here_is_refused_by_naming_those_that_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=f"device: {name}, .* only cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", MODULES)
def test_every_stage_offers_the_same_devices(name: str) -> None:
    field = stage_class(name).model_fields.get("device")
    assert field is None or get_args(field.annotation) == get_args(Device)


@pytest.mark.parametrize(
    ("device", "found", "faster"),
    [
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"amx_bf16": True}, True),
        ("cpu", {"avx512_f": True, "avx512_bf16": False}, False),
        ("cuda", {}, True),
        ("mps", {"avx512_bf16": True}, False),
    ],
)
def test_half_precision_is_for_devices_with_units_for_it(
    device: str, found: dict[str, bool], faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert half_is_faster(device) == faster


def test_a_torch_that_cannot_tell_what_a_cpu_has_leaves_it_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not half_is_faster("cpu")
