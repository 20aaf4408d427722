"""An artifact to review: made by hand, with what strangers may have written into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.pipeline.folder import MANIFEST

HOSTILE = "</script><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>\"'&\u2028"
Row = dict[str, Any]


def write_artifact(folder: Path, rows: list[Row], stage: str = "crop", inputs: tuple[Path, ...] = ()) -> Path:
    folder.mkdir(parents=True)
    write_index(folder, rows)
    manifest = {"key": "k" * 64, "lineage": "k", "digest": f"digest of {folder.name}", "stage": stage, "seconds": {}}
    manifest["inputs"] = {"images": [{"path": str(path), "digest": ""} for path in inputs]}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def row(folder: Path, number: int, **more: Any) -> Row:
    """One with a picture of its own, 96x64."""
    path = folder.parent / "pictures" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.full((64, 96, 3), 20 * number % 256, np.uint8))
    facts = {
        "id": f"item {number:04}",
        "path": str(path),
        "width": 96,
        "height": 64,
        "score": round(1 - number / 10, 3),
    }
    return facts | {"source": "test", "source_id": f"photo {number}", "license": "CC0-1.0"} | more


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """Six items: four kept, one blurry with a picture, one too small without."""
    folder = tmp_path / "data" / "crop-0123"
    rows = [row(folder, number) for number in range(4)]
    rows.append(row(folder, 4, status="blurry", creator=HOSTILE, source_id=HOSTILE, landing_url="javascript:alert(3)"))
    rows.append(row(folder, 5, status="too_small", path=None, landing_url="https://photos.example/5"))
    rows[0]["score"] = None
    return write_artifact(folder, rows)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Makes an artifact of rows that a function of its folder gives."""

    def made(name: str, rows: Callable[[Path], list[Row]], stage: str = "crop", inputs: tuple[Path, ...] = ()) -> Path:
        folder = tmp_path / "data" / name
        return write_artifact(folder, rows(folder), stage, inputs)

    return made
