"""What a contact sheet is made of, for the template to draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from foxgan.report.pictures import Picture


@dataclass(frozen=True)
class Box:
    """An outline in the pixels of its photo; dashed for the truth, solid for what was found."""

    x: float
    y: float
    width: float
    height: float
    kind: Literal["found", "truth"]
    label: str = ""


@dataclass(frozen=True)
class Shot:
    """One picture of a sheet; without `picture` there is only the text."""

    picture: Picture | None
    caption: str = ""
    badge: str = ""
    boxes: Sequence[Box] = ()


@dataclass(frozen=True)
class Sheet:
    """Pictures that belong together: photos of any shape, tiles that are all alike, dropped items, a strip of which one is
    seen at a time, wide pictures one below the other; or a film, whose one shot is its poster and `film` its address."""

    title: str
    kind: Literal["photos", "tiles", "dropped", "strip", "wide", "film"]
    shots: Sequence[Shot]
    note: str = ""
    film: str | None = None


def sheet_of(
    title: str, kind: Literal["photos", "tiles", "strip", "wide"], shots: Sequence[Shot], note: str = ""
) -> Sheet | None:
    """A sheet of those `shots` that have a picture; None where there is none."""
    visible = [shot for shot in shots if shot.picture]
    return Sheet(title, kind, visible, note) if visible else None
