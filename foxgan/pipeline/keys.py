"""Keys: what names an artifact before it exists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from foxgan.stages.base import Stage, fields_of_kind


@dataclass(frozen=True)
class Key:
    """What names an artifact (`full`), and what it has in common with others.

    `lineage` is the same without horizon params, shared by shorter and longer runs. `items` covers only what decides over a single item
    (stage, version, params, weights), for stages that work item by item: artifacts that share it can take items over from each other.
    """

    full: str
    lineage: str
    horizon: dict[str, Any] = field(default_factory=dict)
    items: str | None = None


def make_key(stage: Stage, inputs: dict[str, list[str]], withdrawn: Sequence[str] = ()) -> Key:
    """The key of `stage` over the digests of its inputs. Params at their default and machine params are left out.

    `withdrawn`: ids of photos that it would take in if they had not been withdrawn.
    """
    cls = type(stage)
    params = ordinary_params(stage)
    facts: dict[str, Any] = {"stage": cls.name, "version": cls.version, "inputs": inputs}
    if withdrawn:
        facts["withdrawn"] = sorted(withdrawn)
    horizon = {name: getattr(stage, name) for name in sorted(cls.horizon_params)}
    lineage = {k: v for k, v in params.items() if k not in cls.horizon_params}
    return Key(
        _sha256({**facts, "params": params}), _sha256({**facts, "params": lineage}), horizon, items_key(stage, inputs)
    )


def ordinary_params(stage: Stage) -> dict[str, Any]:
    """The params that count, as JSON values: neither references nor machine params, and not at their default."""
    cls = type(stage)
    references = {f for kind in ("artifact", "weights") for f in fields_of_kind(cls, kind)}
    return stage.model_dump(mode="json", exclude=references | cls.machine_params, exclude_defaults=True)


def items_key(stage: Stage, inputs: dict[str, list[str]]) -> str | None:
    """What decides over a single item besides the item itself; None for stages that do not work item by item."""
    cls = type(stage)
    if not cls.reads:
        return None
    weights = fields_of_kind(cls, "weights")
    whole = cls.horizon_params | cls.whole_params
    # items stand for themselves
    given = {name: digests if name in weights else [] for name, digests in inputs.items() if name not in whole}
    params = {k: v for k, v in ordinary_params(stage).items() if k not in whole}
    return _sha256({"stage": cls.name, "version": cls.version, "params": params, "inputs": given})


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
