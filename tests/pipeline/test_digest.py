import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foxgan.errors import DataError
from foxgan.pipeline.digest import file_meaning, output_digest, tensors_digest


def weights(path: Path, tensors: dict[str, np.ndarray], **metadata: str) -> str:
    """A safetensors file whose tensors lie in the given order."""
    header, blob = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        facts = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(blob), len(blob) + array.nbytes]}
        header[name] = facts  # type: ignore[assignment]
        blob += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)
    return tensors_digest(path)


def test_tensors_count_by_name_shape_and_value_not_by_order_or_metadata(tmp_path: Path) -> None:
    a, b = np.arange(4, dtype=np.float32), np.ones((2, 2), np.float32)
    first = weights(tmp_path / "w", {"a": a, "b": b}, made="today")
    assert weights(tmp_path / "w", {"b": b, "a": a}, made="tomorrow") == first
    assert weights(tmp_path / "w", {"b": a, "a": b}) != first
    assert weights(tmp_path / "w", {"a": a.reshape(2, 2), "b": b}) != first
    assert weights(tmp_path / "w", {"a": a + 1, "b": b}) != first


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, struct.pack("<Q", 10**9) + b"{}"])
def test_a_file_of_weights_that_is_none_is_told_before_memory_is_spent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(DataError, match="not a safetensors file"):
        tensors_digest(tmp_path / "w")


def test_pictures_count_by_their_pixels(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    picture.save(tmp_path / "a.png", compress_level=1)
    picture.save(tmp_path / "b.png", compress_level=9)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert file_meaning(tmp_path / "a.png") == file_meaning(tmp_path / "b.png")
    picture.putpixel((0, 0), (1, 2, 3))
    picture.save(tmp_path / "b.png")
    assert file_meaning(tmp_path / "a.png") != file_meaning(tmp_path / "b.png")


def test_only_files_that_carry_meaning_count(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"film")
    first = output_digest(tmp_path, ["*.mp4"])
    (tmp_path / "run.log").write_text("took 3 s")
    assert output_digest(tmp_path, ["*.mp4"]) == first
    (tmp_path / "more.mp4").write_bytes(b"film")
    assert output_digest(tmp_path, ["*.mp4"]) != first
