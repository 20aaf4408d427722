"""What commands have in common: options of the same name and meaning, and tables of text."""

from __future__ import annotations

import click

workspace_option = click.option(
    "--workspace", metavar="DIR", help="Folder of data/ and models/; else FOXGAN_HOME, else the current one."
)
no_wait_option = click.option("--no-wait", is_flag=True, help="End with exit code 5 where another run is at work.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
cache_option = click.option(
    "--cache", metavar="URL", help="The shared cache: a folder, s3://... or gs://...; else FOXGAN_CACHE."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Tell everything.")
set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="STEP.PARAM=VALUE",
    help="Change a param (or vars.NAME), or a whole step: 'STEP={use: STAGE, ...}'; may be repeated.",
)


def verbosity(quiet: bool, verbose: bool) -> int:
    """For `make_progress`: -1 warnings only, 0 as usual, 1 everything."""
    return -1 if quiet else int(verbose)


def aligned(lines: list[list[str]]) -> str:
    """A table of text, its columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
