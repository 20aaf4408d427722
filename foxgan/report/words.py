"""Numbers, times and settings in the words of the report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "8 min 3 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shown(value: Any) -> str:
    """A JSON value for people: floats short, lists with commas, nothing as a dash."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case list() | tuple():
            return ", ".join(shown(v) for v in value)
        case dict():
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def size_text(size: float) -> str:
    """`12 B`, `3.4 MB`: three digits at most."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def plural(count: int, word: str) -> str:
    """ "1 photo", "1,204 photos"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def title_of(name: str) -> str:
    """A name from code ("sec_per_kimg", "no_head") as words."""
    return name.replace("_", " ").replace("-", " ").strip()


def short_path(path: str) -> str:
    """The last two parts of a path: enough to find it, and nothing about whose computer it was."""
    parts = PurePath(path.replace("\\", "/")).parts
    return "/".join(parts[-2:]) if len(parts) > 1 else path


@dataclass(frozen=True)
class Setting:
    """One param of a step. `changed` is false for what nobody chose."""

    name: str
    value: str
    changed: bool
    description: str


def settings(stage: str, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Setting]:
    """All params of a step, those that are not at their default first, each group in the order of the stage's fields."""
    fields = _fields(stage)
    found = []
    for name in [*fields, *sorted(params.keys() - fields.keys())]:
        if name not in params:
            continue
        description, default = fields.get(name, ("", _UNKNOWN))
        value = params[name]
        text = ", ".join(short_path(str(v)) for v in _as_list(value)) if name in inputs else shown(value)
        found.append(Setting(name, text, value != default, description))
    return sorted(found, key=lambda s: not s.changed)


_UNKNOWN = object()


def _fields(stage: str) -> dict[str, tuple[str, Any]]:
    """Description and default (as JSON) of every field of a stage; nothing for a stage that this foxgan does not have."""
    from foxgan.stages import MODULES, stage_class

    if stage not in MODULES:
        return {}
    cls = stage_class(stage)
    defaults = {name: info.get_default(call_default_factory=True) for name, info in cls.model_fields.items()}
    as_json = cls.model_construct(**defaults).model_dump(mode="json", warnings=False, exclude=_required(cls))
    return {name: (info.description or "", as_json.get(name, _UNKNOWN)) for name, info in cls.model_fields.items()}


def _required(cls: Any) -> set[str]:
    return {name for name, info in cls.model_fields.items() if info.is_required()}


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
