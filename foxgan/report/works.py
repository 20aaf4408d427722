"""What models leave for people, apart from items: grids over the course of a training, films, plots."""

import re
from pathlib import Path

from foxgan import images
from foxgan.errors import DataError
from foxgan.report.artifacts import StepReport
from foxgan.report.pictures import data_uri, load, spread
from foxgan.report.shots import Sheet, Shot, sheet_of
from foxgan.report.words import duration, title_of

WIDE = 960  # longest side of a grid, in pixels
PIXEL_ART = 420  # grids up to this side hold pictures of a few dozen pixels
GRIDS = 12
GRID_PIXELS = 30_000_000  # decoded for all grids of a training together
MAX_FILM = 12 << 20  # bytes
SHOWN_ELSEWHERE = ("grid.png", "poster.png")


def fakes(folder: Path) -> Sheet | None:
    """Grids of the same latents over the course of a training: the first, the last, and as many between as stay cheap."""
    found = [
        (int(m[1]), p) for p in folder.glob("grids/*.png") if (m := re.fullmatch(r"fakes-(\d{1,15})\.png", p.name))
    ]
    grids = sorted(found)
    if not grids:
        return None
    try:
        width, height, _ = images.probe(grids[0][1])
    except (OSError, DataError):
        return None
    chosen = spread(grids, max(2, min(GRIDS, GRID_PIXELS // (width * height))))
    shots = [Shot(load(path, WIDE, 80, PIXEL_ART), f"{nimg / 1000:,.1f} kimg") for nimg, path in chosen]
    return sheet_of("Fakes over time", "strip", shots, "The same latents, from the first images to the last.")


def reals(folder: Path) -> Sheet | None:
    """What a training saw, beside what it made."""
    shot = Shot(load(folder / "grids" / "reals.png", WIDE, 80, PIXEL_ART), "What the generator learns from")
    return sheet_of("Reals, for comparison", "wide", [shot])


def film(step: StepReport, folder: Path) -> Sheet | None:
    """The film inside the page; only its poster where it is too large for that."""
    path = folder / "film.mp4"
    if not path.is_file():
        return None
    poster = [Shot(load(folder / "poster.png", WIDE // 2), "First frame of the film")]
    size = path.stat().st_size
    if size > MAX_FILM:
        return Sheet(
            "Film", "film", poster, f"{size / 2**20:.0f} MiB are too much for this page; open film.mp4 in the folder."
        )
    seconds = step.facts.get("film_seconds")
    note = f"{duration(seconds)}, looped" if isinstance(seconds, int | float) else ""
    return Sheet("Film", "film", poster, note, data_uri(path.read_bytes(), "video/mp4"))


def near(folder: Path) -> Sheet | None:
    """What a stage that drops pictures left of those nearest to its thresholds, kept and dropped."""
    shots = [Shot(load(path, WIDE), title_of(path.stem)) for path in sorted(folder.glob("sheets/*.jpg"))]
    return sheet_of("Near the thresholds", "wide", shots, "What was only just kept, and what was only just dropped.")


def plots(folder: Path) -> Sheet | None:
    """Pictures that a stage left at the top of its folder."""
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in (".png", ".jpg") and p.name not in SHOWN_ELSEWHERE][:4]
    title = title_of(paths[0].stem).capitalize() if len(paths) == 1 else "Plots"
    return sheet_of(title, "wide", [Shot(load(p, WIDE), "" if len(paths) == 1 else title_of(p.stem)) for p in paths])
