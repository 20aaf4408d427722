from pathlib import Path

import av
import numpy as np
import pytest
import torch

from foxgan.errors import DataError, StageError
from foxgan.latents import film, interpolation


def read(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def shades(count: int) -> list[np.ndarray]:
    return [np.full((32, 48, 3), 10 * i, np.uint8) for i in range(count)]


def test_a_loop_visits_every_keyframe_and_its_end_leads_to_its_start() -> None:
    keyframes = torch.arange(3.0).reshape(3, 1, 1, 1)
    values = torch.stack(list(interpolation.loop(keyframes, 4, "none"))).ravel()
    assert values.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 1.5, 1, 0.5])


def test_smooth_easing_is_slow_at_keyframes_and_meets_even_speed_half_way() -> None:
    t = interpolation.timeline(8, "smooth")
    assert t[0] == 0 and t[4] == pytest.approx(0.5)
    assert t[1] < interpolation.timeline(8, "none")[1]


def test_cells_of_a_grid_lie_row_by_row() -> None:
    cells = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1).repeat(2, axis=2)
    assert interpolation.tiled(cells, 2, 3)[..., 0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]


def test_a_film_has_every_frame_in_order_at_the_asked_speed(tmp_path: Path) -> None:
    assert film.write_film(tmp_path / "a.mp4", iter(shades(17)), fps=12, crf=5) == 17
    frames = read(tmp_path / "a.mp4")
    assert [round(f.mean() / 10) for f in frames] == list(range(17))
    with av.open(tmp_path / "a.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.pix_fmt, stream.frames) == (12, "yuv420p", 17)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        film.write_film(tmp_path / name, shades(9))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_film_without_frames_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        film.write_film(tmp_path / "a.mp4", [])
    assert not list(tmp_path.iterdir())


def test_frames_are_enlarged_and_get_even_sides() -> None:
    grey = np.arange(15, dtype=np.uint8).reshape(3, 5, 1) * 10
    frame = film.to_film_frame(grey, 3, "nearest")
    assert frame.shape == (10, 16, 3)
    assert np.array_equal(frame[1:9:3, 1:15:3, 0], grey[..., 0])
    assert film.to_film_frame(grey, 2).shape == (6, 10, 3)
    assert film.watchable_scale(64, 64) == 6 and film.watchable_scale(1024, 512) == 1


def test_transparent_pixels_of_a_film_are_white() -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    assert (film.to_film_frame(clear, 2) == 255).all()


def test_a_film_that_cannot_be_written_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="could not be written"):
        film.write_film(tmp_path / "gone" / "a.mp4", shades(1))
