"""From one weight file to another: everything that `load_model` opens, written as foxgan's snapshot or as rosinality's checkpoint."""

from pathlib import Path

from foxgan.errors import UsageError
from foxgan.gan.checkpoint import replace_file, save_snapshot
from foxgan.gan.model import Model, load_model
from foxgan.gan.pretrained import rosinality

SUFFIXES = (".safetensors", ".pt")


def convert(source: str | Path, target: Path, half: bool = False, force: bool = False) -> Model:
    """Write the model `source` to `target`, whose ending says the format: .safetensors (foxgan) or .pt (rosinality).

    `half` stores fp16 in foxgan's format. Returns the model that was read. Raises UsageError for another ending, or where `target` exists
    and `force` is not given; DataError where rosinality's networks cannot be this model.
    """
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target}: its ending tells no format; end it with .safetensors (foxgan) or .pt (rosinality)")
    if half and target.suffix == ".pt":
        raise UsageError(f"{target}: half precision is for .safetensors; rosinality's code wants fp32")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; say --force to replace it")
    model = load_model(source)
    if target.suffix == ".pt":
        _save_rosinality(model, target)
    else:
        info = {"converted": {"from": Path(source).name, "format": model.format}} | (model.info or {})
        save_snapshot(target, G=model.G, D=model.D, G_ema=model.G_ema, network=model.network, training=info, half=half)
    return model


def _save_rosinality(model: Model, target: Path) -> None:
    import torch

    checkpoint = rosinality.checkpoint_of(model.nets, model.network)
    replace_file(target, lambda tmp: torch.save(checkpoint, tmp))
