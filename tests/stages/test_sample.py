import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from foxgan import images
from foxgan.dataset.index import counts, index_digest, read_index
from foxgan.errors import DataError, UsageError
from foxgan.gan.checkpoint import save_snapshot
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Generator
from foxgan.stages.base import Context
from foxgan.stages.interpolate import Interpolate
from foxgan.stages.sample import Sample, grid_columns


def model(folder: Path, **sizes: Any) -> Path:
    """A train artifact that holds one snapshot of a tiny generator."""
    defaults = {"height": 16, "width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_max": 8}
    config = NetworkConfig.model_validate(defaults | sizes)
    G = Generator(config, torch.Generator().manual_seed(0))
    folder.mkdir(exist_ok=True)
    save_snapshot(folder / "snapshot-000001000.safetensors", G_ema=G, network=config, training={})
    return folder


def run(stage: Sample | Interpolate, out: Path) -> Context:
    out.mkdir(exist_ok=True)
    ctx = Context()
    stage.run(out, ctx)
    return ctx


def pixels(folder: Path) -> list[bytes]:
    return [images.decode(p, mode="any").tobytes() for p in sorted((folder / "images").iterdir())]


def test_every_seed_becomes_a_picture_that_the_index_describes(tmp_path: Path) -> None:
    run(Sample(model=str(model(tmp_path / "model")), seeds="3,5-6", psi=1, device="cpu"), tmp_path / "out")
    rows = read_index(tmp_path / "out").to_dicts()
    assert [Path(r["path"]).name for r in rows] == ["seed0003.png", "seed0005.png", "seed0006.png"]
    assert [json.loads(r["traits"]) for r in rows] == [{"psi": 1.0, "seed": s} for s in (3, 5, 6)]
    assert rows[0]["id"] == images.pixel_digest(images.decode(Path(rows[0]["path"]), mode="any"))
    assert images.decode(tmp_path / "out" / "grid.png").shape == (32, 32, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_keep_the_channels_of_the_model(tmp_path: Path, channels: int) -> None:
    folder = model(tmp_path / "model", img_channels=channels, height=28, width=28)
    run(Sample(model=str(folder), seeds="0", device="cpu"), tmp_path / "out")
    assert images.decode(tmp_path / "out" / "images" / "seed0000.png", mode="any").shape == (28, 28, channels)
    run(Interpolate(model=str(folder), seeds="0-1", frames=2, device="cpu"), tmp_path / "film")
    assert images.decode(tmp_path / "film" / "poster.png").shape == (364, 364, 3)


def test_an_interrupted_run_goes_on_to_the_same_digest(tmp_path: Path) -> None:
    stage = Sample(model=str(model(tmp_path / "model")), seeds="0-6", batch=3, device="cpu")
    run(stage, tmp_path / "whole")
    run(stage, tmp_path / "torn")
    for name in ("index.parquet", "grid.png", "images/seed0004.png"):
        (tmp_path / "torn" / name).unlink()
    kept = (tmp_path / "torn" / "images" / "seed0000.png").stat().st_mtime_ns
    run(stage, tmp_path / "torn")
    assert (tmp_path / "torn" / "images" / "seed0000.png").stat().st_mtime_ns == kept
    assert index_digest(tmp_path / "torn") == index_digest(tmp_path / "whole")
    assert pixels(tmp_path / "torn") == pixels(tmp_path / "whole")


def test_psi_0_is_one_picture_under_every_seed(tmp_path: Path) -> None:
    run(Sample(model=str(model(tmp_path / "model")), seeds="0-3", psi=0, device="cpu"), tmp_path / "out")
    assert len(set(pixels(tmp_path / "out"))) == 1
    assert counts(tmp_path / "out")["kept"] == 1


def test_a_model_with_classes_shows_them_in_turn_one_column_each(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", c_dim=3)
    run(Sample(model=str(folder), seeds="0-5", device="cpu"), tmp_path / "out")
    assert read_index(tmp_path / "out")["label"].to_list() == [0, 1, 2, 0, 1, 2]
    assert images.decode(tmp_path / "out" / "grid.png").shape == (32, 48, 3)
    run(Sample(model=str(folder), seeds="0-1", classes=2, device="cpu"), tmp_path / "one")
    assert read_index(tmp_path / "one")["label"].to_list() == [2, 2]
    assert Sample(model="m", classes=2) == Sample(model="m", classes=[2])  # one spelling, so one key
    with pytest.raises(UsageError, match="0 to 2"):
        run(Sample(model=str(folder), seeds="0", classes=[0, 3], device="cpu"), tmp_path / "none")


def test_seeds_have_one_spelling_and_wrong_ones_are_refused_before_any_work() -> None:
    assert Sample(model="m", seeds=[0, 1, 2]).seeds == Sample(model="m", seeds="0-2").seeds
    with pytest.raises(ValidationError, match="1,5,7-9"):
        Sample(model="m", seeds="first ten")


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no public model is called 'no-such-model'"):
        run(Sample(model="no-such-model"), tmp_path / "out")
    with pytest.raises(DataError, match="no-such.safetensors: no such file; expected a model"):
        run(Sample(model="no-such.safetensors"), tmp_path / "out")


def test_grids_are_wide_and_have_a_column_per_class() -> None:
    assert (grid_columns(60, 0), grid_columns(60, 10), grid_columns(1, 0), grid_columns(60, 100)) == (10, 10, 1, 10)


def test_a_film_has_the_asked_frames_and_its_last_frame_leads_to_its_first(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", height=28, width=28)
    stage = Interpolate(model=str(folder), seeds="0-2", frames=6, fps=10, easing="none", psi=1, crf=1, device="cpu")
    ctx = run(stage, tmp_path / "out")
    with av.open(tmp_path / "out" / "film.mp4") as container:
        frames = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]
    assert len(frames) == ctx.facts["frames"] == 18
    steps = [np.abs(a - b).mean() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]
    assert steps[-1] < 2 * max(steps[:-1]) and min(steps) > 0
    assert np.abs(images.decode(tmp_path / "out" / "poster.png").astype(int) - frames[0]).mean() < 4


def test_a_film_of_several_cells_shares_out_its_seeds(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    stage = Interpolate(model=str(folder), seeds="0-11", columns=3, rows=2, frames=2, scale=1, device="cpu")
    ctx = run(stage, tmp_path / "out")
    assert ctx.facts["frames"] == 4
    assert images.decode(tmp_path / "out" / "poster.png").shape == (32, 48, 3)


@pytest.mark.parametrize("seeds", ["0", "0-4", "0-3"])
def test_seeds_that_cannot_be_shared_out_are_refused_before_any_work(seeds: str) -> None:
    stage = Interpolate(model="m", seeds=seeds, columns=3)
    with pytest.raises(UsageError, match="6, 9, 12"):
        stage.check()


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_another_backend_draws_the_same_pictures_and_films_within_a_grey_level(tmp_path: Path, backend: str) -> None:
    if not all(map(find_spec, ["onnx", "openvino" if backend == "openvino" else "onnxruntime"])):
        pytest.skip("the extra `cpu` is not installed")
    folder = str(model(tmp_path / "model"))
    found = {}
    for name in ("torch", backend):
        ctx = run(Sample(model=folder, seeds="0-6", batch=3, device="cpu", backend=name), tmp_path / name)
        assert ctx.facts["device"] == "cpu" and ("compile_seconds" in ctx.facts) == (name != "torch")
        found[name] = np.frombuffer(b"".join(pixels(tmp_path / name)), np.uint8).astype(int)
    assert np.abs(found["torch"] - found[backend]).max() <= 1
    stage = Interpolate(model=folder, seeds="0-3", frames=2, columns=2, scale=1, device="auto", backend=backend)
    assert run(stage, tmp_path / "film").facts["frames"] == 4
    posters = [images.decode(path / "poster.png") for path in (tmp_path / "film", film_of(stage, tmp_path / "plain"))]
    assert np.abs(posters[0].astype(int) - posters[1]).max() <= 1


def film_of(stage: Interpolate, out: Path) -> Path:
    """The same film, by torch."""
    run(stage.model_copy(update={"backend": "torch", "device": "cpu"}), out)
    return out


@pytest.mark.parametrize("stage", [Sample, Interpolate])
def test_a_backend_of_the_cpu_on_a_gpu_is_refused_before_any_work(stage: type[Sample | Interpolate]) -> None:
    with pytest.raises(UsageError, match="onnx runs on the CPU alone"):
        stage(model="m", backend="onnx", device="cuda").check()
