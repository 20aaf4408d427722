"""What a stage raises becomes words and an exit code."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, PlainSerializer

from foxgan.pipeline.failures import explained


def interrupted(value: Any) -> None:
    raise KeyboardInterrupt


class Params(BaseModel):
    """Ctrl-C comes while it is written down."""

    path: Annotated[int, PlainSerializer(interrupted)] = 1


def test_a_ctrl_c_that_a_library_has_wrapped_is_still_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), explained("step crops", tmp_path / "out"):
        Params().model_dump()
    assert list(tmp_path.iterdir()) == [], "no log of a defect"
