"""What the tests of all three formats ask of a file: that it brings the same networks back, or is refused in one clear line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from build_nets import Nets, labels
from torch import Tensor, nn

import foxgan
from foxgan.errors import DataError, FoxganError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import Model


def loaded(folder: Path, data: bytes, name: str = "network-snapshot-000123.pkl") -> Model:
    """What foxgan makes of these bytes as a file."""
    path = folder / name
    path.write_bytes(data)
    model = foxgan.load_model(path)
    assert isinstance(model, Model)
    return model


def assert_refused(
    folder: Path, data: bytes, *words: str, error: type[FoxganError] = DataError, name: str = "foreign.pkl"
) -> None:
    """The bytes are refused by `error` (or its child) in one line of readable length with the path and `words` in it."""
    path = folder / name
    path.write_bytes(data)
    with pytest.raises(error) as caught:
        foxgan.load_model(path)
    check_message(str(caught.value), path)
    for word in words:
        assert word in str(caught.value)


def check_message(message: str, path: Path) -> None:
    assert str(path) in message
    assert message.isprintable(), message
    assert len(message) < 1000 + len(str(path)), message


def assert_same_sizes(found: NetworkConfig, expected: NetworkConfig, but: tuple[str, ...] = ()) -> None:
    """Both describe the same networks; None and the width it stands for count as equal, and so do settings without effect."""
    assert _effective(found, but) == _effective(expected, but)


def _effective(config: NetworkConfig, but: tuple[str, ...]) -> dict[str, Any]:
    facts = config.model_dump(exclude=set(but)) | {"channels": [block.channels for block in config.blocks]}
    facts["layer_features"] = config.layer_features or config.w_dim
    facts["embed_features"] = config.c_dim and (config.embed_features or config.w_dim)
    facts["cmap_dim"] = config.c_dim and (config.cmap_dim or config.channels(4))
    if not config.c_dim:
        del facts["d_mapping_layers"], facts["d_mapping_lr_multiplier"]
    return facts


def assert_same_state(found: nn.Module | None, expected: nn.Module, but: tuple[str, ...] = (), atol: float = 0) -> None:
    """Equal names, and equal tensors but for those whose name ends with one of `but`."""
    assert found is not None and not found.training
    state = found.state_dict()
    assert list(state) == list(expected.state_dict())
    for name, tensor in expected.state_dict().items():
        assert state[name].dtype == torch.float32 and state[name].is_contiguous(), name
        if not name.endswith(but or ("-",)):
            torch.testing.assert_close(
                state[name], tensor, atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
            )


def assert_same_function(model: Model, nets: Nets, atol: float, noise_mode: Any = "const") -> None:
    """Equal pictures from equal z and class, equal logits for equal pictures."""
    z = torch.randn(4, nets.config.z_dim, generator=torch.Generator().manual_seed(1))
    img = torch.randn(
        4, nets.config.img_channels, nets.config.height, nets.config.width, generator=torch.Generator().manual_seed(2)
    )
    c = labels(nets.config, 4)
    for found, expected in ((model.G_ema, nets.G_ema), (model.G, nets.G)):
        if found is not None:
            _assert_close(found(z, c, noise_mode=noise_mode), expected(z, c, noise_mode=noise_mode), atol)
    if model.D is not None:
        _assert_close(model.D(img, c), nets.D(img, c), atol)


def _assert_close(found: Tensor, expected: Tensor, atol: float) -> None:
    assert expected.std() > 100 * atol  # else anything would do
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def reports(good: Path, which: Path | int) -> dict[str, dict[str, Any]]:
    """What a process of its own says of `good` and of the files in a folder, or of so many broken copies of `good`; by name."""
    script = Path(__file__).with_name("child.py")
    done = subprocess.run([sys.executable, script, good, str(which)], capture_output=True, text=True, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died with {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    return {line["name"]: line for line in lines if "name" in line}
