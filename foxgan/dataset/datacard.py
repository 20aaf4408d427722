"""The cards of a dataset: `DATA_CARD.md` for people and `croissant.json` for machines, beside `ATTRIBUTION.csv`.

They tell what the index and the manifests of the steps before tell, and say what nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from foxgan.dataset.croissant import write_croissant
from foxgan.dataset.provenance import ATTRIBUTION, Origins, Passed, origins_of, steps_before, write_attribution
from foxgan.images import write_bytes
from foxgan.licenses import POLICIES, UNKNOWN, forbids_changes, forbids_commerce

CARD_FILE = "DATA_CARD.md"
SHOWN = 50  # classes and licenses in a table; the rest is counted


def write_cards(folder: Path, inputs: Sequence[Path], what: str) -> None:
    """Put attribution and cards of the dataset in `folder`, made from `inputs`, into it; `what` says in a few words what it holds."""
    name = folder.name.removesuffix(".new")  # where --force builds it
    origins = origins_of(folder)
    write_attribution(folder, folder)
    card = data_card(name, what, origins, steps_before(inputs))
    write_bytes(folder / CARD_FILE, card.encode())
    write_croissant(folder, name, what, origins)


def data_card(name: str, what: str, origins: Origins, steps: Sequence[Passed]) -> str:
    """The card as Markdown."""
    parts = [
        f"# {cell(name)}",
        f"{origins.count:,} pictures: {what}. [{ATTRIBUTION}]({ATTRIBUTION}) tells of each of them where it comes from, who made it and "
        "under which license; pictures were cut, scaled or encoded anew on their way into the dataset.",
        "## Sources",
        _table("source", {cell(name): count for name, count in origins.sources.items()}),
        "## Licenses",
        _table("license", {_linked(name, origins.pages): count for name, count in origins.licenses.items()}),
        _policy(steps),
        terms(origins.licenses),
        "## Classes" if origins.classes else "",
        _table("class", {cell(name): count for name, count in origins.classes.items()}),
        "## Left out",
        _left_out(steps),
        "## What is not known",
        _unknown(origins),
        "## Somebody wants their picture out",
        "`foxgan withdraw ID --reason TEXT`, with an `id` or `source:source_id` of the list, takes it out of everything that is made from "
        "then on, and names the models that were trained with it. Whoever has a copy of this dataset needs to be told.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def cell(text: str) -> str:
    """`text` on one line of a table, whatever strangers called themselves or their license."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def counted(reasons: Mapping[str, int]) -> str:
    """`{"too_small": 12}` as `too_small 12`."""
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())


def _table(head: str, rows: Mapping[str, int]) -> str:
    """Numbers of pictures by names that are fit for a table; nothing for none."""
    lines = [f"| {name} | {count:,} |" for name, count in rows.items()]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"| {len(lines) - SHOWN:,} more | {sum(list(rows.values())[SHOWN:]):,} |"]
    return "\n".join([f"| {head} | pictures |", "|---|---|", *lines]) if rows else ""


def _linked(name: str, pages: Mapping[str, str]) -> str:
    return f"[{name}]({pages[name]})" if name in pages else cell(name)


def _policy(steps: Sequence[Passed]) -> str:
    policies = {step.name: step.policy for step in steps if step.policy}
    if not policies:
        return "No policy for licenses was set: whatever the sources held was taken."
    told = (
        f"`{cell(policy)}` ({POLICIES.get(policy, 'of its own')}) in {cell(name)}" for name, policy in policies.items()
    )
    return f"Policy: {', '.join(told)}."


def terms(licenses: Iterable[str]) -> str:
    """What `licenses` ask of who uses the pictures, in sentences; empty for nothing."""
    names, sentences = list(licenses), []
    if any("BY" in name.split("-") for name in names):
        sentences.append("Name the authors of CC BY pictures, and say that they were changed.")
    if any("SA" in name.split("-") for name in names):
        sentences.append("Pass on what is made of share-alike (SA) pictures under the same license.")
    if any(map(forbids_commerce, names)):
        sentences.append("Some pictures are for non-commercial use only.")
    if any(map(forbids_changes, names)):
        sentences.append("The license of some pictures forbids to pass on what was made of them.")
    return " ".join(sentences)


def _left_out(steps: Sequence[Passed]) -> str:
    rows = [
        f"| {cell(s.name)} | {cell(s.stage)} | {s.given:,} | {s.kept:,} | {cell(counted(s.dropped))} |" for s in steps
    ]
    head = ["| step | stage | in | kept | left out, by reason |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else "Of the steps before, nothing is known any more."


def _unknown(origins: Origins) -> str:
    known = [
        f"- the license of {origins.licenses[UNKNOWN]:,} pictures" if UNKNOWN in origins.licenses else "",
        f"- the author of {origins.nameless:,} pictures" if origins.nameless else "",
        "- whether licenses and authors are as the sources tell, and what was found on the pictures beside their subject: people, places, "
        "marks. Nobody has checked that.",
    ]
    return "\n".join(filter(None, known))
