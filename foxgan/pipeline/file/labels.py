"""Values as parts of names: `psi=0.5` in `gallery@psi=0.5`. A step's name is also that of a link to its folder, on every system."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

MAX_LABEL = 32  # characters of a value
MAX_VARIANT = 120  # characters behind the @
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def labels(values: Sequence[Any]) -> list[str]:
    """A label for each value: as written where that is safe, else cleaned and with a short hash.

    No two are the same, nor the same but for upper and lower case, which Windows and macOS take for one name.
    """
    found: list[str] = []
    taken: set[str] = set()
    for value in values:
        text = _text(value)
        clean = _UNSAFE.sub("_", text).strip(".")[:MAX_LABEL]
        label, digits = clean, 6
        if clean != text or not clean or clean.casefold() in taken:
            label = _hashed(clean or "empty", value, digits)
        while label.casefold() in taken:
            digits += 1
            label = _hashed(clean or "empty", value, digits)
        taken.add(label.casefold())
        found.append(label)
    return found


def joined(parts: Sequence[str]) -> str:
    """What stands behind the @; cut, with a hash of all of it, where it is too long for a file's name."""
    text = ",".join(parts)
    return text if len(text) <= MAX_VARIANT else _hashed(text[: MAX_VARIANT - 7].rstrip("."), text, 6)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _hashed(label: str, value: Any, digits: int) -> str:
    return f"{label}-{hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:digits]}"
