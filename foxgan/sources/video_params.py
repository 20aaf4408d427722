"""Which frames of a film become photos, without PyAV, so that a command line can offer it at once."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Pick = Literal["first", "sharpest", "scene"]


def _as_every(value: Any) -> Any:
    """`2s` and `50f` in one spelling, so that equal ones have one cache key."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value}s"
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([sf])\s*", value) if isinstance(value, str) else None
    if not found or float(found[1]) <= 0 or (found[2] == "f" and not float(found[1]).is_integer()):
        raise ValueError(f"{value!r} is no stretch of film; write seconds (2s, 0.5s) or frames (50f)")
    return f"{float(found[1]):.15g}{found[2]}"


class VideoParams(BaseModel):
    """One frame, or none, is taken of every stretch of film."""

    model_config = ConfigDict(frozen=True)

    every: Annotated[str, BeforeValidator(_as_every)] = Field(
        "1s", description="Take one frame in so much film: seconds (`2s`) or frames (`50f`)"
    )
    pick: Pick = Field(
        "first", description="Which: the first, the sharpest, or the first after a cut (none where there is no cut)"
    )
    min_change: float = Field(
        4.0,
        ge=0,
        le=255,
        description="Drop a frame if no part of it differs by so many grey levels from the last; 0: keep",
    )
    scene_change: float = Field(
        24.0, gt=0, le=255, description="Grey levels by which the whole picture changes at a cut, on average"
    )

    def video_params(self) -> "VideoParams":
        """These params alone, of a stage that has more."""
        return VideoParams(**{name: getattr(self, name) for name in VideoParams.model_fields})

    @property
    def stretch(self) -> tuple[float, bool]:
        """How long a stretch is, and whether that counts frames, not seconds."""
        return float(self.every[:-1]), self.every.endswith("f")
