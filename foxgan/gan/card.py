"""Whose photos and whose weights are in a model, and the model card that tells it.

The facts lie in every snapshot under `photos` and `base`, so a model that was given away, or trained further, still knows them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foxgan.dataset.datacard import cell, counted, terms
from foxgan.dataset.provenance import ATTRIBUTION
from foxgan.errors import UsageError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import Model
from foxgan.gan.pretrained.catalog import public_model
from foxgan.licenses import forbids_commerce, is_limited
from foxgan.shipped import LICENSE, find_shipped

CARD_FILE = "MODEL_CARD.md"
Facts = dict[str, Any]
COLORS = {1: "grey", 3: "RGB", 4: "RGBA"}
SETTINGS = ("batch", "gamma", "aug", "augpipe", "mirror", "freezed", "precision", "seed")


def photos_of(dataset: Path) -> Facts:
    """How many images a packed dataset holds, by license and by source, and how many people made them, as its index tells."""
    from foxgan.dataset.index import INDEX
    from foxgan.dataset.provenance import origins_of

    if not (dataset / INDEX).exists():
        return {}
    found = origins_of(dataset)
    facts = {"count": found.count, "licenses": found.licenses, "sources": found.sources}
    return facts | {"creators": len(found.creators), "nameless": found.nameless}


def base_of(name: str | Path, model: Model) -> Facts:
    """Where the weights of `model`, which was asked for as `name`, come from, and under which license they may be used."""
    facts: Facts = {"name": Path(name).name, "format": model.format}
    info = model.info or {}
    known = public_model(name)
    if known is not None:
        facts |= {"name": known.name, "license": known.license, "license_url": known.license_url}
        facts |= {"noncommercial": known.noncommercial, "page": known.page}
    elif _is_shipped(name):
        facts |= {"license": LICENSE, "noncommercial": False}
    elif model.format == "foxgan":
        base, licenses = info.get("base"), (info.get("photos") or {}).get("licenses", {})
        limited = any(map(forbids_commerce, licenses))
        facts |= {"base": base, "noncommercial": limited or (base or {}).get("noncommercial", False)}
    return {key: value for key, value in facts.items() if value is not None}


def terms_of(base: Mapping[str, Any]) -> str:
    """In a few words, what may be done with weights whose origin `base` tells."""
    words = [str(base[key]) for key in ("license", "license_url") if base.get(key)]
    if base.get("noncommercial"):
        words.append("for non-commercial use only")
    return ", ".join(words) or (
        "free of others' terms" if "noncommercial" in base else "license unknown: ask its author"
    )


def _is_shipped(name: str | Path) -> bool:
    path = find_shipped("models", Path(name).stem)
    return path is not None and (str(name) == path.stem or Path(name).absolute() == path.absolute())


def refuse_clash(base: Facts, photos: Facts, accepted: bool) -> None:
    """UsageError if weights for non-commercial use would take in photos that are all free for every use, unless this was accepted.

    The model could be used for less than its photos, which nobody may notice later.
    """
    licenses = photos.get("licenses", {})
    is_open = bool(licenses) and not any(is_limited(name) for name in licenses)
    if base.get("noncommercial") and is_open and not accepted:
        raise UsageError(
            f"{base['name']} may not be used freely ({terms_of(base)}), while all {photos['count']:,} images are free for any use: "
            "the trained model would be non-commercial, too; say accept_license: true to go on, or start from another model"
        )


def model_card(name: str, network: NetworkConfig, info: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    classes = f" of {network.c_dim} classes" if network.c_dim else ""
    kind = COLORS.get(network.img_channels, f"{network.img_channels}-channel")
    base, photos, config = info.get("base") or {}, info.get("photos") or {}, info.get("config") or {}
    rows = {
        "makes": f"{network.height}x{network.width} {kind} pictures{classes}",
        "networks": f"StyleGAN2, {network.g_architecture} G and {network.d_architecture} D, channel_base {network.channel_base}, "
        f"channel_max {network.channel_max}, z {network.z_dim}, w {network.w_dim}, {network.mapping_layers} mapping layers",
        "trained": f"{info['nimg'] / 1000:g} kimg" if "nimg" in info else "",
        "settings": ", ".join(f"{key} {config[key]}" for key in SETTINGS if config.get(key) not in (None, False)),
        "images": _images(photos),
        "taken from": counted(photos.get("sources", {})),
        "made by": _creators(photos),
        "started from": _base(base),
        "converted from": (info.get("converted") or {}).get("format", ""),
    }
    table = "\n".join(f"| {key} | {cell(value)} |" for key, value in rows.items() if value)
    shape = [1, network.img_channels, network.height, network.width]
    return f"""# {name}

| | |
|---|---|
{table}

```python
import foxgan, torch

G = foxgan.load_model("{name}").G_ema
img = G(torch.randn(1, {network.z_dim}){_label(network)}, truncation_psi=0.7)  # {shape} in [-1, 1]
```

## Rights

What the model makes is as free as the pictures and weights that it learned from. {_rights(base, photos)}
"""


def write_card(folder: Path, name: str, network: NetworkConfig, info: Mapping[str, Any]) -> None:
    """Put the card of the model called `name` into its folder; it refers to the list of images, if that is there."""
    card = model_card(name, network, info)
    if (folder / ATTRIBUTION).exists():
        card += f"\n[{ATTRIBUTION}]({ATTRIBUTION}) names the author, license and page of every image.\n"
    (folder / CARD_FILE).write_text(card, encoding="utf-8")


def _label(network: NetworkConfig) -> str:
    return f", torch.eye({network.c_dim})[:1]" if network.c_dim else ""


def _images(photos: Mapping[str, Any]) -> str:
    if not photos:
        return ""
    return f"{photos['count']:,}; licenses: {counted(photos['licenses'])}"


def _creators(photos: Mapping[str, Any]) -> str:
    known, nameless = photos.get("creators", 0), photos.get("nameless", 0)
    people = f"{known:,} {'person' if known == 1 else 'people'}" if known else ""
    return ", ".join(filter(None, [people, f"of {nameless:,} images the author is not known" if nameless else ""]))


def _base(base: Mapping[str, Any]) -> str:
    if not base:
        return ""
    words = [f"{base['name']} ({base['format']}; {terms_of(base)})", str(base.get("page", ""))]
    return " ".join(words).strip() + (f", itself from {_base(base['base'])}" if base.get("base") else "")


def _rights(base: Mapping[str, Any], photos: Mapping[str, Any]) -> str:
    sentences = []
    if base.get("noncommercial"):
        sentences.append(f"The weights of {base['name']} that it started from are for non-commercial use only.")
    licenses = photos.get("licenses", {})
    if "unknown" in licenses:
        sentences.append(f"The license of {licenses['unknown']:,} images is unknown.")
    sentences += filter(None, [terms(licenses)])
    return " ".join(sentences) or "No restriction is known."
