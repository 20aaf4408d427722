"""From a template to a page that is one file: it asks nobody for anything, and its policy forbids any script but ours."""

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from foxgan.report.words import duration, title_of

FOLDER = Path(__file__).parent


def render_page(
    template: str, styles: Sequence[str], scripts: Sequence[str] = ("report.js",), folder: Path = FOLDER, **values: Any
) -> str:
    """The page as text. Every text in `values` is escaped; titles of photos and names of their authors come from strangers.

    Files are looked up in `folder`, then among those of the report.
    """

    def read(names: Sequence[str]) -> str:
        paths = (folder / name if (folder / name).exists() else FOLDER / name for name in names)
        return "".join(path.read_text(encoding="utf-8") for path in paths)

    script = read(scripts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader((folder, FOLDER)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(duration=duration, title_of=title_of)
    return environment.get_template(template).render(
        style=Markup(read(styles)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def write_page(out_html: Path, html: str) -> None:
    """Write the page; it appears complete or not at all."""
    out_html.parent.mkdir(parents=True, exist_ok=True)
    temporary = out_html.with_name(f"{out_html.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8")
        os.replace(temporary, out_html)
    finally:
        temporary.unlink(missing_ok=True)
