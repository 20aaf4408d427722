"""Open-vocabulary detectors: the boxes of ultralytics' own classes, vectors from every source, files and prompts that are refused."""

import copy
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_httpserver import HTTPServer

from foxgan.errors import DataError, DownloadError, StageError, UnsafeFileError, UsageError
from foxgan.images import Pixels
from foxgan.vision import known
from foxgan.vision.bpe import clip_tokenizer
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector import Detector
from foxgan.vision.detector_training import LabelledHead, LabelledPhoto, Recipe, train_detector
from foxgan.vision.embeddings import save_vectors
from foxgan.vision.prompts import Prompt, Prompts, parse, prepare
from foxgan.vision.yolo import load_net, vocabulary_of
from tests.vision import towers
from tests.vision.open_nets import (
    HEADS,
    HOSTILE,
    SIDE,
    blocks,
    open_net,
    picture,
    prompt_free,
    save,
    vector,
    worked_in,
)

NAMES = ["fox", "wolf", "bear", "tree", "house"]
ASKED = Prompts(parse(["fox head", "wolf=wolf head"]), {"fox head": vector(1), "wolf head": vector(2)})


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("FOXGAN_MODELS", str(folder))
    return folder


def first(output: Any) -> torch.Tensor:
    while isinstance(output, list | tuple):
        output = output[0]
    assert isinstance(output, torch.Tensor)
    return output.detach()


def theirs(model: Any, x: torch.Tensor, numbers: list[int]) -> torch.Tensor:
    """What ultralytics' own network finds for some texts, in the precision of its file."""
    model, texts = model.half().float(), torch.stack([torch.from_numpy(vector(n)) for n in numbers])[None]
    if hasattr(model, "txt_feats"):
        model.txt_feats, model.model[-1].nc = texts, len(numbers)
        return first(model(x))
    model.end2end = False
    return first(model.predict(x, tpe=texts))


# Networks


@pytest.mark.parametrize("kind", HEADS)
def test_a_network_finds_what_ultralytics_finds_with_the_same_texts(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "open.pt", open_net(kind))
    net = load_net(path, ASKED)
    assert (net.names, net.imgsz) == (("fox head", "wolf"), SIDE)
    for seed in (1, 2):
        expected = theirs(open_net(kind), picture(seed), [1, 2])[:, :6]
        assert expected[:, 4:].max() > 0.05  # it does find something
        assert (expected[:, 4] - expected[:, 5]).abs().max() > 1e-3  # and the texts differ
        torch.testing.assert_close(first(net.model(picture(seed))), expected, atol=2e-5, rtol=0)


def test_what_runs_of_yoloe_is_a_plain_head_without_masks(tmp_path: Path) -> None:
    model = open_net("yoloe-seg")
    net = load_net(save(tmp_path / "open.pt", copy.deepcopy(model)), ASKED)
    assert type(net.model.model[-1]) is ultralytics("nn.modules.head").Detect
    assert not any(
        part in name for name in net.model.state_dict() for part in ("savpe", "proto", "cv4", "cv5", "reprta")
    )
    weights = [sum(p.numel() for p in m.parameters()) for m in (net.model, model)]
    assert weights[0] < weights[1] / 10


def test_a_list_of_names_gives_the_scores_that_ultralytics_gives(tmp_path: Path) -> None:
    model = prompt_free(NAMES).half().float()
    x = picture(3)
    rows = first(model(x))[0]
    net = load_net(save(tmp_path / "pf.pt", copy.deepcopy(model)), Prompts(parse(["bear", "dog=wolf"])))
    assert net.names == ("bear", "dog")
    found = first(net.model(x))[0]
    passed = found[4:].amax(0) > 1e-9  # what the network's own filter lets through
    assert 0 < passed.sum() == rows.shape[1] < found.shape[1]
    torch.testing.assert_close(found[:4, passed], rows[:4], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[4:, passed], rows[[4 + 2, 4 + 1]], atol=1e-5, rtol=0)


def test_a_network_with_its_classes_worked_in_is_like_any_other(tmp_path: Path) -> None:
    path = save(tmp_path / "fixed.pt", worked_in(NAMES))
    assert vocabulary_of(path) is None
    model = worked_in(NAMES).half().float()
    expected = first(model.predict(picture(1), tpe=torch.zeros(1, len(NAMES), 512)))[:, : 4 + len(NAMES)]
    net = load_net(path)
    assert net.names == tuple(NAMES)
    torch.testing.assert_close(first(net.model(picture(1))), expected, atol=1e-5, rtol=0)
    with pytest.raises(
        UsageError, match=r"fixed\.pt: its classes are worked in \(fox, wolf, .*so it takes no `prompts`"
    ):
        load_net(path, ASKED)


def test_the_vectors_that_a_file_brings_along_are_used(tmp_path: Path) -> None:
    model = open_net("yoloe-seg")
    texts = torch.stack([torch.from_numpy(vector(n)) for n in (1, 2)])[None]
    model.set_classes(["fox", "wolf"], model.model[-1].get_tpe(texts).detach())
    path = save(tmp_path / "own.pt", copy.deepcopy(model))
    expected = theirs(open_net("yoloe-seg"), picture(1), [1, 2])[:, :6]
    every = load_net(path)
    assert every.names == ("fox", "wolf")
    torch.testing.assert_close(first(every.model(picture(1))), expected, atol=2e-3, rtol=0)  # kept in half precision
    prompts, source, _ = prepare(path, ["wolf"], None)
    assert (source, prompts.vectors) == (None, {})
    one = load_net(path, prompts)
    torch.testing.assert_close(first(one.model(picture(1)))[:, 4], expected[:, 5], atol=2e-3, rtol=0)


def test_two_hundred_prompts_are_looked_for_at_once(tmp_path: Path) -> None:
    texts = [f"head number {n}" for n in range(200)]
    for kind in ("yoloe-seg", "worldv2"):
        path = save(tmp_path / f"{kind}.pt", open_net(kind))
        prompts = Prompts(parse(texts), {text: vector(n) for n, text in enumerate(texts)})
        net = load_net(path, prompts)
        expected = theirs(open_net(kind), picture(1), list(range(200)))[:, :204]
        torch.testing.assert_close(first(net.model(picture(1))), expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("kind", ["yoloe-seg", "worldv2"])
def test_a_detector_with_prompts_finds_heads_of_their_classes(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "open.pt", open_net(kind))
    photos = [blocks(seed) for seed in range(4)]
    detector = Detector(path, device="cpu", conf=0.01, prompts=ASKED)
    found = detector.detect(photos)
    assert {head.name for heads in found for head in heads} == {"fox head", "wolf"}
    assert found == [detector.detect([photo])[0] for photo in photos]
    only = Detector(path, device="cpu", conf=0.01, classes=["wolf"], prompts=ASKED).detect(photos)
    assert {head.name for heads in only for head in heads} == {"wolf"}


# What is refused


def test_a_network_that_reads_text_wants_some(tmp_path: Path) -> None:
    path = save(tmp_path / "open.pt", open_net("yoloe-seg"))
    with pytest.raises(UsageError, match=r"open\.pt: finds what a text says; .* prompts: \[fox head\]"):
        Detector(path)
    with pytest.raises(UsageError, match="nothing tells it what 'fox' looks like"):
        load_net(path, Prompts(parse(["fox"])))
    with pytest.raises(UsageError, match=r"knows a list of 5 names; write which .* prompts: \[fox\]"):
        load_net(save(tmp_path / "pf.pt", prompt_free(NAMES)))


def test_a_name_that_is_not_in_the_list_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = save(tmp_path / "pf.pt", prompt_free(NAMES))
    prompts, source, _ = prepare(path, ["fax"], None)
    assert source is None
    with pytest.raises(UsageError, match=r"'fax' is none of them \(did you mean 'fox'\?\)"):
        load_net(path, prompts)


def test_prompts_for_a_network_of_fixed_classes_are_refused(tmp_path: Path) -> None:
    description = {"nc": 1, "backbone": [[-1, 1, "Conv", [8, 3, 2]]] * 3, "head": [[[2], 1, "Detect", ["nc"]]]}
    model = ultralytics("nn.tasks").DetectionModel(description, ch=3, verbose=False)
    model.names = {0: "fox"}
    path = save(tmp_path / "plain.pt", model)
    with pytest.raises(UsageError, match=r"plain\.pt: finds its own classes only, so it takes no `prompts`"):
        prepare(path, ["fox head"], None)
    with pytest.raises(UsageError, match=r"plain\.pt: finds its own classes only \(fox\)"):
        Detector(path, prompts=ASKED)
    with pytest.raises(UsageError, match="fox-heads.*takes no `prompts`"):
        prepare(known.find_detector("fox-heads"), ["fox head"], None)
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UsageError, match="an ONNX file finds its own classes only"):
        Detector(tmp_path / "a.onnx", prompts=ASKED)


def test_weights_of_another_task_are_told(tmp_path: Path) -> None:
    description = {"nc": 2, "backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[-1, 1, "Classify", ["nc"]]]}
    model = ultralytics("nn.tasks").ClassificationModel(description, ch=3, verbose=False)
    model.names = {0: "fox", 1: "wolf"}
    with pytest.raises((DataError, UnsafeFileError), match="Classify"):
        prepare(save(tmp_path / "cls.pt", model), ["fox head"], None)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", HOSTILE)
def test_an_open_file_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "evil.pt", open_net(kind), extra=HOSTILE[name])
    for attempt in (lambda: prepare(path, ["fox"], None), lambda: load_net(path, ASKED), lambda: Detector(path)):
        with pytest.raises(UnsafeFileError, match=r"evil\.pt: refused"):
            attempt()
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([[[2, 3, 4], 1, "YOLOEDetect", ["nc", 10**9, True]]], UnsafeFileError, "would be larger than any detector"),
        ([[[2, 3, 4], 1, "YOLOEDetect", ["nc", 4096, True]]], DataError, "its network needs|not a readable"),
        ([[[2, 3, 4], 1, "YOLOEDetect", ["nc", "__import__('os').mkdir('canary')", True]]], UnsafeFileError, "refused"),
        ([[[2, 3, 4], 1, "LRPCHead", ["nc"]]], UnsafeFileError, "which is no layer of a detector"),
        ([[[2, 3, 4], 1, "WorldDetect", ["nc", 256, True]]], DataError, "its network needs"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_before_memory_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = open_net("yoloe")
    model.yaml["head"] = rows
    with pytest.raises(error, match=message):
        load_net(save(tmp_path / "odd.pt", model), ASKED)
    assert not (tmp_path / "canary").exists()


def test_vectors_in_a_file_that_only_seem_large_are_refused(tmp_path: Path) -> None:
    model = open_net("worldv2")
    model.txt_feats = torch.zeros(1).expand(1, 4, 512)
    with pytest.raises(DataError, match="the vectors of its 4 names are damaged"):
        load_net(save(tmp_path / "odd.pt", model))


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "open.pt", open_net("yoloe"))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(DataError, match=r"open\.pt: not a weight file, or only a part of it"):
        prepare(path, ["fox"], None)


def test_training_goes_on_from_yoloe_but_not_from_world(tmp_path: Path) -> None:
    path = save(tmp_path / "world.pt", open_net("worldv2"))
    with pytest.raises(UsageError, match=r"finds what a text says, which no training goes on from"):
        train_detector(
            tmp_path / "t", [LabelledPhoto(tmp_path, (LabelledHead("fox", (0, 0, 1, 1)),))], [], Recipe(str(path))
        )


# Prompts


def test_a_prompt_is_a_text_or_a_class_and_a_text() -> None:
    assert parse([" fox  head ", "wolf = head of a wolf"]) == (
        Prompt("fox head", "fox head"),
        Prompt("wolf", "head of a wolf"),
    )
    assert Prompts(parse(["fox=a", "fox=b"])).names == ("fox", "fox")
    assert len(parse([f"head {n}" for n in range(1000)])) == 1000


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "none in the list"),
        ([""], "'' says nothing"),
        (["  "], "says nothing"),
        (["fox="], "'fox=' says nothing"),
        (["=fox head"], "says nothing"),
        (["fox", "fox "], "'fox' is there twice"),
        (["fox\nhead"], "expected a line"),
        (["f" * 201], "at most 200 letters"),
        ([str(n) for n in range(1001)], "1001 of them, at most 1000"),
    ],
)
def test_prompts_that_say_nothing_are_refused(prompts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(prompts)


# Encoders and public files


def test_vectors_come_from_a_file_of_embeddings_by_path(tmp_path: Path) -> None:
    path = save(tmp_path / "open.pt", open_net("yoloe-26"))
    with pytest.raises(
        UsageError, match="text encoder mobileclip2, which cannot be read here; give a file of embeddings"
    ):
        prepare(path, ["fox head"], None)
    save_vectors(tmp_path / "own.safetensors", {"fox head": vector(1) * 7})
    prompts, source, _ = prepare(path, ["fox=fox head"], str(tmp_path / "own.safetensors"))
    assert source is not None
    assert source.file == "own.safetensors"
    expected = theirs(open_net("yoloe-26"), picture(1), [1])[:, :5]
    torch.testing.assert_close(first(load_net(path, prompts).model(picture(1))), expected, atol=2e-5, rtol=0)
    with pytest.raises(UsageError, match="no such file, and no text encoder is called so; there are clip-vit-b-32"):
        prepare(path, ["fox head"], str(tmp_path / "gone.safetensors"))


def test_an_encoder_that_cannot_be_had_says_where_to_put_it(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    path = save(tmp_path / "open.pt", open_net("yoloe-seg"))
    entry = known.ENCODERS["mobileclip-blt"]
    away = replace(entry, file=replace(entry.file, url=httpserver.url_for("/nothing.pt")))
    monkeypatch.setitem(known.ENCODERS, "mobileclip-blt", away)
    clip_tokenizer.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "clip", None)
        with pytest.raises(StageError, match=r"pip install 'foxgan\[text\]'"):
            prepare(path, ["fox head"], None)
    assert not httpserver.log  # nothing is downloaded that could not be used
    monkeypatch.syspath_prepend(towers.install(tmp_path / "site"))
    wanted = (
        rf"nothing\.pt could not be downloaded: .*put it at {models}/mobileclip_blt\.pt .*or give a file of embeddings"
    )
    with pytest.raises(DownloadError, match=wanted):
        prepare(path, ["fox head"], None)
    (models / "mobileclip_blt.ts").touch()  # what ultralytics has put there serves as well
    assert known.find_encoder("mobileclip-blt") == models / "mobileclip_blt.ts"


def test_a_public_detector_is_downloaded_once(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    path = save(tmp_path / "open.pt", open_net("yoloe-seg"))
    httpserver.expect_ordered_request("/files/yoloe-11s-seg.pt").respond_with_data(
        path.read_bytes(), content_type="a/b"
    )
    monkeypatch.setattr(known, "ULTRALYTICS", httpserver.url_for("/files/"))
    assert known.local_detector("yoloe-11s-seg.pt") is None
    for _ in range(2):
        assert known.find_detector("yoloe-11s-seg.pt") == models / "yoloe-11s-seg.pt"
    assert len(httpserver.log) == 1
    detector = Detector("yoloe-11s-seg.pt", device="cpu", conf=0.01, prompts=ASKED)
    assert any(detector.detect([blocks(1)]))
    (models / "yoloe-11s-seg.pt").write_bytes(path.read_bytes() + b"\0")
    os.utime(models / "yoloe-11s-seg.pt", (1, 1))
    with pytest.raises(DataError, match=r"yoloe-11s-seg\.pt: its sha256 is .* delete the file and name it again"):
        known.find_detector("yoloe-11s-seg.pt")


def test_blocks_are_what_the_networks_see() -> None:
    seen: Pixels = blocks(1)
    assert (np.abs(seen.transpose(2, 0, 1) / 255 - picture(1)[0].numpy()) < 1 / 255).all()
