"""What a command line changes in a pipeline file: `--set step.param=value`, `--set vars.name=value`, or a whole step, there and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foxgan.errors import UsageError, did_you_mean
from foxgan.pipeline.file.yamlfile import Located, Place, locate, parse_option, shown


def parse_override(text: str) -> tuple[str, Any]:
    """("step.param", value) of a `--set step.param=value`, ("step", {...}) of one that replaces a step; read as YAML. Raises UsageError."""
    target, equals, value = text.partition("=")
    target = target.strip()
    found = parse_option(value, f"--set {target}").plain() if target else None
    is_step = target and "." not in target and isinstance(found, dict)
    if not equals or not (is_step or target.count(".") == 1):
        raise UsageError(
            f"--set {text}: write it as step.param=value, vars.name=value, or 'step={{use: STAGE, ...}}', which replaces the step"
        )
    return target, found


def split_overrides(
    overrides: Mapping[str, Any], variables: dict[str, Located], steps: dict[str, Located]
) -> dict[str, dict[str, Any]]:
    """Overrides of params by step; those of `vars` are put into `variables`, and whole steps into `steps`.

    Raises PipelineError.
    """
    by_step: dict[str, dict[str, Any]] = {}
    for target, value in overrides.items():
        owner, dot, param = target.partition(".")
        place = Place(f"--set {target}")
        if owner == "vars" and dot:
            if param not in variables:
                raise place.error(f"no such variable; `vars` has: {', '.join(variables) or 'nothing'}")
            variables[param] = locate(value, place)
        elif owner not in steps:
            raise place.error(f"no step {owner!r}{did_you_mean(owner, steps)}; steps: {', '.join(steps)}")
        elif dot:
            by_step.setdefault(owner, {})[param] = value
        elif isinstance(value, Mapping):
            steps[owner] = locate(dict(value), place)
        else:
            raise place.error(
                f"found {shown(value)} for a whole step; write {owner}.PARAM=VALUE, or '{owner}={{use: STAGE, PARAM: VALUE ...}}', which "
                "replaces the step"
            )
    return by_step


def typed(pipeline: str | Path, overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """The words for it; the page that shows them does not tell whose computer it was."""
    given = os.path.basename(pipeline) if os.path.isabs(pipeline) else str(pipeline)
    return (given, *(word for target, value in overrides.items() for word in ("--set", f"{target}={_option(value)}")))


def _option(value: Any) -> str:
    """As `parse_option` reads it."""
    if isinstance(value, str) and parse_option(value, "").plain() == value:
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
