"""One rule for where networks run."""

from typing import get_args

import pytest
import torch

from foxgan.devices import Device, choose_device
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
