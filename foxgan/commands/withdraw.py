"""`foxgan withdraw`: a photo that nobody may use any more."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from foxgan.commands.common import json_option, workspace_option


@click.command("withdraw", short_help="Take a photo out of everything that is made from now on.")
@click.argument("item", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with the note.")
@workspace_option
@json_option
def withdraw_command(item: str, reason: str, workspace: str | None, as_json: bool) -> None:
    """Let no run from now on use the photo ID: the `id` of a photo, head or crop in an index (or its beginning), or source:source_id.

    The next run makes without it whatever had it. Models that were trained with it are marked in data/withdrawn.jsonl and in `status`.
    """
    from foxgan.pipeline.care.withdrawing import withdraw
    from foxgan.pipeline.run import workspace as folder_of
    from foxgan.pipeline.store import Store

    store = Store(folder_of(workspace))
    try:
        entry, models = withdraw(store, item, reason)
    finally:
        store.close()
    folders = [str(made.folder) for made in models]
    if as_json:
        print(json.dumps(asdict(entry) | {"folders": folders}, indent=1))
        return
    print(f"withdrawn: {entry.id}")
    print("trained with it: " + (", ".join(folders) if folders else "no model"))
    print(
        "`foxgan run` now makes without it what had it; `foxgan gc` deletes older artifacts, in which its file still lies"
    )
