"""`foxgan models`: what trained generators there are, and their files on this computer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foxgan.commands.common import aligned

if TYPE_CHECKING:
    from foxgan.gan.pretrained.catalog import PublicModel

SEARCHED = ("name", "domain", "dataset", "license")


@click.group("models", short_help="List and download trained generators.")
def models() -> None:
    """Trained generators that others have published, and those that come with foxgan."""


@models.command("list", short_help="Show the models that can be named.")
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of them as JSON.")
def list_command(text: str | None, as_json: bool) -> None:
    """Show the models that can be used by their names, or those with TEXT in their name, domain, dataset or license."""
    from foxgan.shipped import models_folder

    word = (text or "").lower()
    rows = [row for row in _rows() if any(word in str(row[key] or "").lower() for key in SEARCHED)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if rows:
        print(aligned([["name", "pixels", "domain", "license", "here"], *map(_cells, rows)]))
    else:
        print(f"no model has {text!r} in its {', '.join(SEARCHED)}")
    print(f"files lie in {models_folder()} (FOXGAN_MODELS names another folder)")


def _rows() -> Iterator[dict[str, Any]]:
    """What `list --json` tells of every model, shipped ones first."""
    from foxgan.gan.pretrained.catalog import PublicModel, catalog, models_folder
    from foxgan.shipped import LICENSE, find_shipped, picture_size, shipped_names

    unknown = dict.fromkeys(PublicModel.model_fields)
    for name in shipped_names("models"):
        path = find_shipped("models", name)
        assert path is not None
        height, width = picture_size(path)
        known = {"name": name, "height": height, "width": width, "domain": "shipped", "license": LICENSE}
        yield unknown | known | {"format": "foxgan", "noncommercial": False, "path": str(path), "here": True}
    for model in catalog().values():
        path = models_folder() / model.file
        yield model.model_dump() | {"path": str(path), "here": path.is_file()}


def _cells(row: dict[str, Any]) -> list[str]:
    pixels = f"{row['height']}x{row['width']}" if row["height"] else "?"
    limits = " (non-commercial)" if row["noncommercial"] else ""
    return [
        row["name"],
        pixels,
        row["domain"],
        f"{row['license'] or 'unknown'}{limits}",
        "yes" if row["here"] else "no",
    ]


@models.command("pull", short_help="Download models; what is here is only checked.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def pull_command(names: tuple[str, ...]) -> None:
    """Download public models by NAME and print where they are. After an interruption the same command goes on from there."""
    from foxgan.gan.pretrained.catalog import catalog, local_path, pull
    from foxgan.pipeline.telling.progress import make_progress
    from foxgan.stages.weights import Megabytes

    for name in names:
        local_path(name)  # a wrong name is told before anything is downloaded
    progress = make_progress(0)
    for name in names:
        progress.message("info", _terms(catalog()[name]))
        try:
            print(pull(name, Megabytes(progress, name)))
        finally:
            progress.finish()


def _terms(model: PublicModel) -> str:
    limits = "for non-commercial use only" if model.noncommercial else None
    words = [model.license or "license unknown", limits, model.note]
    source = model.license_url or model.page
    return f"{model.name}: by {model.author or 'unknown'}, {', '.join(filter(None, words))}{f' ({source})' if source else ''}"


@click.command("convert", short_help="Write a model in another format.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--half", is_flag=True, help="Store half precision (.safetensors only): half the size.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def convert_command(source: str, target: Path, half: bool, force: bool, as_json: bool) -> None:
    """Write the model IN (a file, a folder of `train`, or a model's name) to OUT: .safetensors (foxgan) or .pt (rosinality).

    IN may be foxgan's, NVIDIA's (.pkl of PyTorch or TensorFlow) or rosinality's. Nothing that is in it is run.
    """
    from foxgan.gan.convert import convert

    model = convert(source, target, half, force)
    n, report = model.network, model.report
    if as_json:
        names = {"copied": report.copied, "new": report.missing, "left_out": model.notes}
        print(json.dumps({"out": str(target), "format": model.format, "network": n.model_dump()} | names, indent=1))
        return
    labels = f" of {n.c_dim} classes" if n.c_dim else ""
    print(
        f"{source}: {model.format}, {', '.join(model.nets)}, {n.height}x{n.width} with {n.img_channels} channels{labels}"
    )
    for text in (str(report), *model.notes):
        print(text)
    print(f"wrote {target}")
