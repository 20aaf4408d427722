"""What a command line changes in a pipeline file: `--set step.param=value` and `--set vars.name=value`, there and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foxgan.errors import PipelineError, UsageError, did_you_mean
from foxgan.pipeline.file.yamlfile import Located, Place, locate, parse_option


def parse_override(text: str) -> tuple[str, Any]:
    """("step.param", value) of a `--set step.param=value`; the value is read as YAML. Raises UsageError."""
    target, equals, value = text.partition("=")
    target = target.strip()
    if not equals or target.count(".") != 1:
        raise UsageError(f"--set {text}: write it as step.param=value, or vars.name=value")
    return target, parse_option(value, f"--set {target}").plain()


def split_overrides(
    overrides: Mapping[str, Any], variables: dict[str, Located], steps: dict[str, Located]
) -> dict[str, dict[str, Any]]:
    """Overrides by step; those of `vars` are put into `variables`."""
    by_step: dict[str, dict[str, Any]] = {}
    for target, value in overrides.items():
        owner, dot, param = target.partition(".")
        if owner == "vars":
            if param not in variables:
                raise PipelineError(
                    f"--set {target}: no such variable; `vars` has: {', '.join(variables) or 'nothing'}"
                )
            variables[param] = locate(value, Place(f"--set {target}"))
        elif not dot or owner not in steps:
            raise PipelineError(
                f"--set {target}: no step {owner!r}{did_you_mean(owner, steps)}; steps: {', '.join(steps)}"
            )
        else:
            by_step.setdefault(owner, {})[param] = value
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
