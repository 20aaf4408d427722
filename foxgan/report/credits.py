"""Whose pictures a model learned from, and under which licenses."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from foxgan.dataset.datacard import terms
from foxgan.licenses import POLICIES, license_url, tidy
from foxgan.report.artifacts import GENERATED, Artifacts, Row, StepReport

MAX_CREDITS = 400


@dataclass(frozen=True)
class Credit:
    """One picture's author; `url` is its landing page, or empty where that is not a web address."""

    text: str
    license: str
    url: str


@dataclass(frozen=True)
class License:
    """How many pictures have this license; `share` in percent."""

    name: str
    url: str
    count: int
    share: float


@dataclass(frozen=True)
class Credits:
    """Licenses and authors of the pictures that step `step` kept; `policy` and `terms` are sentences: what was taken in, and what the
    licenses ask."""

    step: str
    total: int
    policy: str
    terms: str
    licenses: list[License]
    creators: list[tuple[str, int]]
    credits: list[Credit]
    left_out: int


def credits_of(steps: Sequence[StepReport], artifacts: Artifacts) -> Credits | None:
    """Of the last step before the generator whose pictures have a known origin; None where there is none."""
    for step in reversed(steps):
        kept = artifacts.kept(step)
        if step.stage not in GENERATED and not kept.is_empty() and not kept["license"].is_null().all():
            return _credits(step, kept, _policy(steps))
    return None


def _policy(steps: Sequence[StepReport]) -> str:
    """Which licenses photos had to have to be taken in."""
    params = {step.name: step.manifest.get("params") or {} for step in steps if step.stage == "scrape"}
    chosen = {name: str(given["licenses"]) for name, given in params.items() if given.get("licenses")}
    told = [f"{policy} ({POLICIES.get(policy, 'of its own')}) in {name}" for name, policy in chosen.items()]
    return (
        f"Policy: {', '.join(told)}."
        if told
        else "No policy for licenses was set: whatever the sources held was taken."
    )


def _credits(step: StepReport, kept: pl.DataFrame, policy: str) -> Credits:
    told = kept["license"].fill_null("")
    kept = kept.with_columns(told.replace_strict({text: tidy(text) for text in told.unique()}, return_dtype=pl.String))
    counted = kept.group_by("license", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("license_url").drop_nulls().first()
    )
    licenses = [
        License(
            row["license"],
            web_address(row["license_url"] or license_url(row["license"])),
            row["n"],
            100 * row["n"] / kept.height,
        )
        for row in counted.sort("n", "license", descending=[True, False]).iter_rows(named=True)
    ]
    creators = kept.drop_nulls("creator").group_by("creator").len("n").sort("n", "creator", descending=[True, False])
    photos = kept.unique(["source", "source_id"], keep="first", maintain_order=True).sort("creator", "source_id")
    named = [row for row in photos.head(MAX_CREDITS).iter_rows(named=True) if row["attribution"] or row["creator"]]
    return Credits(
        step=step.name,
        total=kept.height,
        policy=policy,
        terms=terms(license.name for license in licenses),
        licenses=licenses,
        creators=[(row["creator"], row["n"]) for row in creators.head(12).iter_rows(named=True)],
        credits=[_credit(row) for row in named],
        left_out=max(0, photos.height - MAX_CREDITS),
    )


def _credit(row: Row) -> Credit:
    return Credit(row["attribution"] or row["creator"], row["license"], web_address(row["landing_url"]))


def web_address(url: str | None) -> str:
    """`url` if it is one that a click may follow (never `javascript:` and its like), else nothing."""
    return url if url and url.lower().startswith(("https://", "http://")) else ""
