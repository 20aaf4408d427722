"""Which photos show one animal, where several places tell of it, each in its own way."""

from collections.abc import Iterable, Sequence

import polars as pl

_ELSEWHERE = r"^\w+:(\w+:\d+)$"  # `gbif:inaturalist:33` is what iNaturalist itself calls `inaturalist:33`


def united(frame: pl.DataFrame, more: Iterable[Sequence[str]] = ()) -> pl.DataFrame:
    """The same rows, with one `group` where several have a picture in common: one id, or one origin (`source:source_id`).

    `more`: further groups that are one. What iNaturalist knows gives the name, as it is it that knows which photos show one animal.
    """
    if "group" not in frame.columns or not frame["group"].count():
        return frame
    names = _names([*_in_common(frame), *more])
    return frame.with_columns(pl.col("group").replace(names)) if names else frame


def _in_common(frame: pl.DataFrame) -> list[list[str]]:
    """Groups that have a picture in common, each time."""
    known = [frame.select("group", key="id")]
    if {"source", "source_id"} <= {*frame.columns}:
        known.append(frame.select("group", key=pl.concat_str("source", "source_id", separator=":")))
    if "also" in frame.columns:
        known.append(frame.select("group", key="also").explode("key"))
    keys = pl.concat(known).drop_nulls().with_columns(pl.col("key").str.replace(_ELSEWHERE, "$1")).unique()
    shared = keys.filter(pl.len().over("key") > 1)
    return shared.group_by("key").agg("group")["group"].to_list()


def _names(links: Sequence[Sequence[str]]) -> dict[str, str]:
    """What groups are called that are linked with others, be it by way of further ones."""
    above: dict[str, str] = {}

    def top(group: str) -> str:
        while (higher := above.get(group, group)) != group:
            above[group] = above.get(higher, higher)
            group = higher
        return group

    for link in links:
        tops = sorted({top(group) for group in link}, key=lambda group: (not group.startswith("inaturalist:"), group))
        above |= dict.fromkeys(tops[1:], tops[0])
    return {group: top(group) for group in above}
