"""`foxgan label`: a page on which a person draws and corrects boxes and points."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foxgan.commands.common import quiet_option

if TYPE_CHECKING:
    from foxgan.pages.label import Labelling


@click.command("label", short_help="Open a page to draw and correct the boxes of heads on, by keys and mouse.")
@click.argument("photos", metavar="ARTIFACT|FOLDER")
@click.option("--labels", metavar="DIR", help="Labelled photos, in YOLO format; default: <name>-labelled.")
@click.option("--classes", metavar="NAME,NAME", help="Classes of heads; default: what is known, or `head`.")
@click.option("--model", metavar="MODEL", help="A detector that proposes heads; photos it is least sure of come first.")
@click.option("--points", metavar="NAME,NAME", help="Points of a head to label, such as left_eye,right_eye,nose.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; default: a free one.")
@quiet_option
def label_command(
    photos: str, labels: str | None, classes: str | None, model: str | None, points: str | None, port: int, quiet: bool
) -> None:
    """Label the photos in ARTIFACT (of scrape or detect) or in a FOLDER, in a browser on this machine.

    Every change is saved at once, into --labels: photos, label files and data.yaml, as `foxgan scrape --source folder` reads them, and
    then `foxgan train-detector`. A folder in YOLO format (images/, labels/) is labelled where it is. Ctrl-C ends; start again to go on.
    """
    from foxgan.pages.label import Labelling
    from foxgan.pages.label_server import LabelServer

    place = Path(photos).expanduser()
    session = Labelling(place, Path(labels).expanduser() if labels else None, _names(classes), _names(points), model)
    with contextlib.closing(session), LabelServer(session, port) as server:
        if session.suggester:
            session.suggester.start()
        print(server.address, flush=True)
        _tell(session, quiet)
        if not quiet:
            click.echo("label: open the address in a browser; Ctrl-C ends, and nothing is lost", err=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)
        _tell(session, quiet)


def _names(text: str | None) -> list[str] | None:
    """The parts of a comma-separated option; None where it was not given."""
    return None if text is None else [name.strip() for name in text.split(",")]


def _tell(session: Labelling, quiet: bool) -> None:
    if not quiet:
        done, total = len(session.done), len(session.photos)
        click.echo(f"label: {done} of {total} photos are labelled, in {session.labels.folder}", err=True)
