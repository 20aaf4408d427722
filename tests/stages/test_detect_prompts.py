"""Stage `detect` with a network that finds what a text says."""

import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from pydantic import ValidationError

from foxgan import images
from foxgan.dataset.index import item_id, read_index, write_index
from foxgan.errors import UsageError
from foxgan.stages.base import Context
from foxgan.stages.detect import Detect
from foxgan.vision import known
from foxgan.vision.bpe import clip_tokenizer
from foxgan.vision.embeddings import save_vectors
from tests.vision import towers
from tests.vision.open_nets import blocks, open_net, save, vector


class Heard:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def start(self, description: str, total: float) -> None:
        pass

    def advance(self, amount: float = 1, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass

    def message(self, level: str, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(3):
        images.write(folder / "images" / f"{number}.png", blocks(number))
        rows.append({"id": item_id(number), "path": f"images/{number}.png"})
    write_index(folder, rows)
    return folder


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def detect(photos: Path, out: Path, **params: object) -> tuple[pl.DataFrame, Context, list[str]]:
    out.mkdir()
    heard = Heard()
    ctx = Context(progress=heard)
    stage = Detect(images=(photos,), device="cpu", backend="torch", conf=0.01, **params)  # type: ignore[arg-type]
    stage.check()
    stage.run(out, ctx)
    return read_index(out), ctx, heard.texts


@pytest.mark.parametrize("workers", [0, 1])
def test_heads_are_named_by_their_prompts_and_the_terms_are_told_once(
    tmp_path: Path, models: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The whole way: public names, a text encoder, its vectors, heads."""
    monkeypatch.syspath_prepend(towers.install(tmp_path / "site"))
    monkeypatch.setattr(sys.modules["foxgan.vision.bpe"], "MERGES", len(towers.MERGES))
    clip_tokenizer.cache_clear()
    save(models / "yoloe-11s-seg.pt", open_net("yoloe-seg"))
    torch.save(towers.tower(towers.MobileClip).state_dict(), models / "mobileclip_blt.pt")
    prompts = ["fox head", "wolf=head of a wolf", "wolf=a wolf"]
    heads, ctx, texts = detect(photos, tmp_path / "a", model="yoloe-11s-seg.pt", prompts=prompts, workers=workers)
    assert set(heads["class"]) == {"fox head", "wolf"}
    assert [text for text in texts if "AGPL-3.0" in text] == [
        "detect: yoloe-11s-seg.pt: AGPL-3.0 (ultralytics); what is built with it has to keep to that license"
    ]
    assert [text for text in texts if "research" in text] == [
        "detect: mobileclip_blt.pt, which reads the prompts: Apple's, for research only"
    ]
    assert ctx.facts["model_license"] == "AGPL-3.0 (ultralytics)"
    assert ctx.facts["encoder_license"] == "Apple's, for research only"
    assert len(ctx.facts["encoder_sha256"]) == 64
    again, _, _ = detect(photos, tmp_path / "b", model="yoloe-11s-seg.pt", prompts=prompts)  # by the cache of vectors
    assert again.drop("path").equals(heads.drop("path"))


def test_a_file_of_embeddings_takes_the_place_of_the_encoder(tmp_path: Path, photos: Path) -> None:
    save(tmp_path / "open.pt", open_net("worldv2"))
    save_vectors(tmp_path / "own.safetensors", {"fox head": vector(1), "dog head": vector(2)})
    where = {"model": str(tmp_path / "open.pt"), "encoder": str(tmp_path / "own.safetensors")}
    heads, ctx, texts = detect(photos, tmp_path / "a", prompts=["fox head"], **where)
    assert set(heads["class"]) == {"fox head"}
    assert (ctx.facts["encoder"], ctx.facts["encoder_license"]) == (
        "own.safetensors",
        "license unknown: ask its author",
    )
    assert ctx.facts["model_license"] == "AGPL-3.0"  # as the file states it
    others, _, _ = detect(photos, tmp_path / "b", prompts=["fox head", "dog head"], classes=["fox head"], **where)
    assert set(others["class"]) == {"fox head"}


def test_prompts_are_checked_before_anything_runs(photos: Path) -> None:
    with pytest.raises(UsageError, match="none in the list"):
        Detect(images=(photos,), prompts=[]).check()
    with pytest.raises(UsageError, match="says nothing to look for"):
        Detect(images=(photos,), prompts=["fox head", " "]).check()
    with pytest.raises(UsageError, match="encoder: reads `prompts`, and there are none"):
        Detect(images=(photos,), encoder="clip-vit-b-32").check()
    with pytest.raises(ValidationError):
        Detect(images=(photos,), prompts="fox head")  # type: ignore[arg-type]


def test_a_known_name_counts_by_itself_and_is_not_downloaded_when_a_pipeline_is_checked(models: Path) -> None:
    for name in (*known.PUBLIC, *known.ENCODERS):
        assert Detect.find_weights(name) is None
    with pytest.raises(UsageError, match=r"yoloe-11xs-seg\.pt: no such file .*\(did you mean 'yoloe-11s-seg\.pt'\?\)"):
        Detect.find_weights("yoloe-11xs-seg.pt")
    assert not list(models.iterdir())
