"""Light on drawn animals: a painted canvas is shaded as the rounded surface that its masks suggest."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foxgan.vision.synthetic_brush import Canvas, Floats


@dataclass(frozen=True)
class Light:
    """Where light comes from (unit vector; y down, z towards the viewer) and its colours; `rim` is the glow of lit edges."""

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]
    rim: float = 0.0


def apply_light(canvas: Canvas, heights: Sequence[tuple[float, Floats, float]], unit: float, light: Light) -> None:
    """Shade `canvas` as a surface that is the sum of (height, mask, blur), heights and blurs in `unit` pixels.

    Computed on a smaller copy: light on a blurred surface has no fine detail.
    """
    tall, wide = canvas.alpha.shape
    shrink = max(unit / 32, 1.0)
    size = (max(round(wide / shrink), 2), max(round(tall / shrink), 2))
    surface = np.zeros(size[::-1], np.float32)
    for height, mask, blur in heights:
        small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        surface += np.float32(height * unit / shrink) * cv2.GaussianBlur(small, (0, 0), blur * unit / shrink)
    slope_y, slope_x = np.gradient(surface)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    x, y, z = light.direction
    towards = -(slope_x * x + slope_y * y)
    lit = np.clip(0.34 + 0.66 * (towards + z) / length, 0, 1)[..., None]
    colour = np.asarray(light.colour, np.float32)
    shade = (np.asarray(light.ambient, np.float32) + lit * colour).astype(np.float32)
    canvas.rgb *= cv2.resize(shade, (wide, tall), interpolation=cv2.INTER_LINEAR)
    edge = np.clip(towards / length - 0.35, 0, 1) * (1 - 1 / length) * light.rim
    canvas.rgb += cv2.resize(
        (edge[..., None] * colour).astype(np.float32), (wide, tall), interpolation=cv2.INTER_LINEAR
    )
    np.clip(canvas.rgb, 0, 1, out=canvas.rgb)
