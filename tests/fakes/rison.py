"""The `fields` of iNaturalist's v2: all, a comma list, or RISON (nested objects of `!t`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = dict[str, Any]
"""What is wanted: names with True, or with the wanted fields of what lies inside."""

ALL: Fields = {"*": True}


def parse(text: str) -> Fields:
    """Raises ValueError for text that is none of the three."""
    if text == "all":
        return ALL
    if not text.startswith("("):
        return dict.fromkeys(text.split(","), True)
    fields, end = _object(text, 0)
    if end != len(text):
        raise ValueError(f"fields: characters behind the end, at {end}")
    return fields


def _object(text: str, start: int) -> tuple[Fields, int]:
    fields, position = Fields(), start + 1
    while position < len(text):
        colon = text.find(":", position)
        if colon < 0:
            break
        name, position = text[position:colon].strip("'"), colon + 1
        if text.startswith("(", position):
            fields[name], position = _object(text, position)
        elif text.startswith("!", position):
            fields[name], position = text[position + 1] == "t", position + 2
        else:
            raise ValueError(f"fields: expected !t or ( at {position}")
        if text.startswith(")", position):
            return fields, position + 1
        if not text.startswith(",", position):
            raise ValueError(f"fields: expected , or ) at {position}")
        position += 1
    raise ValueError("fields: no ) at the end")


def pick(value: Any, fields: Mapping[str, Any]) -> Any:
    """`value` with the wanted fields alone; `uuid` always comes along at the top."""
    if "*" in fields or fields.get("all"):
        return value
    return {"uuid": value["uuid"], **_inside(value, fields)}


def _inside(value: Any, fields: Any) -> Any:
    if isinstance(value, list):
        return [_inside(item, fields) for item in value]
    if not isinstance(value, dict) or fields is True:
        return value
    return {key: _inside(value[key], wanted) for key, wanted in fields.items() if wanted and key in value}
