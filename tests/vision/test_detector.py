"""Head detector: results, weight files, and files that must not be trusted."""

import importlib
import io
import json
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from foxgan.errors import DataError, StageError, UnsafeFileError, UsageError
from foxgan.images import ImageError, Pixels, decode, resize
from foxgan.vision.contained import ultralytics
from foxgan.vision.detector import Detector, Head
from foxgan.vision.detector_training import LabelledHead, LabelledPhoto, write_yolo_folder
from foxgan.vision.known import find_detector
from foxgan.vision.synthetic import draw_photo
from foxgan.vision.yolo import Net, build, describe, load_net, save_detector

SIDE = 64
TINY = {
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[2], 1, "Detect", ["nc"]]],
}


@cache
def small_net(classes: int = 1) -> Net:
    """An untrained network whose head is set so that boxes come out with scores that differ from place to place."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = build(TINY | {"nc": classes}).eval()
        head = model.model[-1]
        torch.nn.init.normal_(head.cv3[0][-1].weight, std=1000.0)  # untrained layers shrink the signal
        head.cv3[0][-1].bias.fill_(-2.0)
        head.cv2[0][-1].bias.copy_(-2.0 * (torch.arange(16.0) - 1).abs().repeat(4))  # about a stride to each side
    names = ("fox", "wolf", "bear")[:classes]
    model.names = dict(enumerate(names))
    return Net(model, names, SIDE, {"map50": 0.5})


def picture(seed: int, height: int = 80, width: int = 100) -> Pixels:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return resize(blocks, height, width)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "detector.safetensors"
    save_detector(path, small_net(2))
    return path


@pytest.fixture(scope="module")
def every(weights: Path) -> list[Head]:
    """All heads of `picture(1)`."""
    return Detector(weights, device="cpu", conf=0.01, max_heads=300).detect([picture(1)])[0]


# Boxes


def test_boxes_lie_inside_the_photo_best_first_and_are_exact_in_float32(every: list[Head]) -> None:
    assert len(every) > 1
    assert [h.score for h in every] == sorted((h.score for h in every), reverse=True)
    for head in every:
        x0, y0, x1, y1 = head.box
        assert 0 <= x0 < x1 <= 100
        assert 0 <= y0 < y1 <= 80
        assert tuple(np.float32(head.box).tolist()) == head.box
        assert head.name in ("fox", "wolf")


def test_a_photo_gives_the_same_heads_alone_and_in_a_batch_of_mixed_sizes(weights: Path) -> None:
    detector = Detector(weights, device="cpu", conf=0.01)
    photos = [picture(1), picture(2, 120, 60), picture(3), picture(4, 50, 50), picture(5)]
    assert detector.detect(photos) == [detector.detect([photo])[0] for photo in photos]


def test_no_photos_give_no_results(weights: Path) -> None:
    assert Detector(weights, device="cpu").detect([]) == []


def test_max_heads_keeps_the_best(weights: Path, every: list[Head]) -> None:
    assert Detector(weights, device="cpu", conf=0.01, max_heads=2).detect([picture(1)])[0] == every[:2]


def test_conf_keeps_only_what_scores_higher(weights: Path, every: list[Head]) -> None:
    middle = (every[0].score + every[-1].score) / 2
    some = Detector(weights, device="cpu", conf=middle).detect([picture(1)])[0]
    assert 0 < len(some) < len(every)
    assert all(h.score >= middle for h in some)


def test_classes_keep_only_heads_of_that_name(weights: Path) -> None:
    photos = [picture(seed) for seed in range(6)]
    for name in ("fox", "wolf"):
        found = Detector(weights, device="cpu", conf=0.001, classes=[name]).detect(photos)
        assert {h.name for heads in found for h in heads} == {name}


def test_an_unknown_class_is_refused_with_the_known_ones(weights: Path) -> None:
    with pytest.raises(UsageError, match="no class 'cat', only fox, wolf"):
        Detector(weights, classes=["cat"])


def test_boxes_of_two_classes_on_one_place_are_one_head(weights: Path) -> None:
    loose = Detector(weights, device="cpu", conf=0.001, iou=1.0, max_heads=300).detect([picture(1)])[0]
    strict = Detector(weights, device="cpu", conf=0.001, iou=0.0, max_heads=300).detect([picture(1)])[0]
    assert len(strict) < len(loose)
    for i, a in enumerate(strict):
        for b in strict[:i]:
            width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
            height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
            assert min(width, height) <= 1 / 8  # rounding and clipping only


# Keypoints


@cache
def pose_net(dimensions: int = 3) -> Net:
    """Finds what `small_net` finds; its two points lie to the left of each box's place and beyond its right, the second one unseen."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        description = TINY | {"nc": 1, "kpt_shape": [2, dimensions], "head": [[[2], 1, "Pose", ["nc", "kpt_shape"]]]}
        model = build_pose(description).eval()
        plain = small_net().model.state_dict()
        model.load_state_dict({k: plain.get(k, v) for k, v in model.state_dict().items()})
        last = model.model[-1].cv4[0][-1]
        last.weight.zero_()
        values = [-0.25, 0.25, 9.0, 0.75, 0.25, -9.0] if dimensions == 3 else [-0.25, 0.25, 0.75, 0.25]
        last.bias.copy_(torch.tensor(values))
    model.names = {0: "fox"}
    return Net(model, ("fox",), SIDE)


def build_pose(description: dict[str, object]) -> torch.nn.Module:
    return ultralytics("nn.tasks").PoseModel(deepcopy(description), ch=3, verbose=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_pose_network_gives_points_in_the_photo_with_none_for_those_that_are_not_seen(
    tmp_path: Path, backend: str
) -> None:
    save_detector(tmp_path / "a.safetensors", pose_net())
    detector = Detector(tmp_path / "a.safetensors", device="cpu", conf=0.01, max_heads=300, backend=backend)  # type: ignore[arg-type]
    heads = detector.detect([picture(1, 160, 200)])[0]
    plain = Detector(weights_of(tmp_path, small_net()), device="cpu", conf=0.01, max_heads=300, backend="torch")
    if backend == "torch":
        assert [h.box for h in heads] == [h.box for h in plain.detect([picture(1, 160, 200)])[0]]
    assert heads
    for head in heads:
        assert head.keypoints is not None
        x, y, *unseen = head.keypoints
        assert unseen == [None, None]
        assert x is not None and y is not None
        assert x * 16 == round(x * 16)
        # places of boxes are 8 pixels apart, and the first point is in the middle of two; above are 6 rows of grey
        assert (x * SIDE / 200) % 8 == pytest.approx(4, abs=0.1)
        assert (y * 51 / 160 + 6) % 8 == pytest.approx(4, abs=0.1)
        assert head.box[0] - 20 <= x <= head.box[2]


def weights_of(folder: Path, net: Net) -> Path:
    save_detector(folder / "plain.safetensors", net)
    return folder / "plain.safetensors"


def test_points_without_a_word_on_whether_they_are_seen_all_count(tmp_path: Path) -> None:
    save_detector(tmp_path / "a.safetensors", pose_net(2))
    heads = Detector(tmp_path / "a.safetensors", device="cpu", conf=0.01).detect([picture(1)])[0]
    assert heads
    assert all(h.keypoints and len(h.keypoints) == 4 and None not in h.keypoints for h in heads)


def test_a_network_without_points_gives_none(every: list[Head]) -> None:
    assert {h.keypoints for h in every} == {None}


# Odd photos


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2), (7, 900)])
@pytest.mark.parametrize("tiles", ["off", "auto"])
def test_photos_of_any_shape_are_looked_at(weights: Path, shape: tuple[int, int], tiles: str) -> None:
    detector = Detector(weights, device="cpu", conf=0.001, tiles=tiles)  # type: ignore[arg-type]
    for head in detector.detect([picture(3, *shape)])[0]:
        x0, y0, x1, y1 = head.box
        assert 0 <= x0 < x1 <= shape[1]
        assert 0 <= y0 < y1 <= shape[0]


def test_a_photo_with_five_hundred_heads_gives_as_many_as_were_asked_for(weights: Path) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    crowd = resize(blocks, 800, 800)
    found = [
        Detector(weights, 800, "cpu", 0.001, iou=0.0, max_heads=n, backend="torch").detect([crowd])[0]
        for n in (1000, 500, 20)
    ]
    assert len(found[0]) > 500
    assert [len(heads) for heads in found[1:]] == [500, 20]
    assert found[0][:500] == found[1]


def test_tiles_find_heads_that_are_too_small_in_the_whole() -> None:
    photo = draw_photo(5, 4, "fox", 400, max_animals=1)
    box = np.array(photo.animals[0].box)
    share = 110 / (box[2] - box[0])
    wide = resize(draw_photo(6, 1, "fox", 400, max_animals=0).image, 1500, 2600)
    small = resize(photo.image, *(round(side * share) for side in photo.image.shape[:2]))
    wide[500 : 500 + small.shape[0], 900 : 900 + small.shape[1]] = small
    truth = box * share + [900, 500, 900, 500]
    found = {}
    for tiles in ("off", 3):
        heads = Detector("fox-heads", device="cpu", tiles=tiles).detect([wide])[0]  # type: ignore[arg-type]
        found[tiles] = [h for h in heads if np.abs(np.subtract(h.box, truth)).max() < 25]
    assert (len(found["off"]), len(found[3])) == (0, 1)


def test_files_give_what_their_pixels_give_or_the_reason_why_not(tmp_path: Path, weights: Path) -> None:
    from foxgan import images

    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(paths[:2]):
        images.write(path, picture(n, 90, 120 + n))
    paths[2].write_bytes(b"\x89PNG")
    for tiles in ("off", "auto"):
        detector = Detector(weights, device="cpu", conf=0.01, tiles=tiles)  # type: ignore[arg-type]
        found = detector.detect_files(paths)
        assert found[2:] == ["broken", "missing"]
        for n, photo in enumerate(found[:2]):
            assert not isinstance(photo, str)
            assert (photo.height, photo.width) == (90, 120 + n)
            assert photo.heads == detector.detect([picture(n, 90, 120 + n)])[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(90, 120), (900, 1200)])
def test_photos_of_phones_are_looked_at_upright(
    tmp_path: Path, weights: Path, orientation: int, shape: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(1, *shape)).save(tmp_path / "a.png", exif=exif)
    upright = decode(tmp_path / "a.png")
    detector = Detector(weights, device="cpu", conf=0.01, backend="torch")
    [found] = detector.detect_files([tmp_path / "a.png"])
    assert not isinstance(found, str)
    assert (found.height, found.width) == upright.shape[:2]
    [expected] = detector.detect([upright])
    assert len(found.heads) == len(expected) > 0
    side = max(shape)
    for a, b in zip(found.heads, expected, strict=True):
        np.testing.assert_allclose(a.box, b.box, atol=side / 50)  # scaled before it is turned: within a grey level


# foxgan's own file


def test_a_saved_detector_finds_the_same_heads(tmp_path: Path) -> None:
    net = small_net()
    save_detector(tmp_path / "a.safetensors", net)
    again = load_net(tmp_path / "a.safetensors")
    assert (again.names, again.imgsz, again.metrics) == (net.names, net.imgsz, net.metrics)
    for name, tensor in net.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_half_precision_halves_the_file_and_keeps_the_heads(tmp_path: Path) -> None:
    net = small_net()
    save_detector(tmp_path / "full.safetensors", net)
    save_detector(tmp_path / "half.safetensors", net, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "full.safetensors").stat().st_size
    full, half = (Detector(tmp_path / f"{n}.safetensors", device="cpu", conf=0.01) for n in ("full", "half"))
    a, b = full.detect([picture(1)])[0][0], half.detect([picture(1)])[0][0]
    assert np.abs(np.subtract(a.box, b.box)).max() < 1


def rewrite(path: Path, **changes: object) -> Path:
    """The detector file with other metadata."""
    net = small_net()
    save_detector(path, net)
    config = {"network": json.loads(json.dumps(net.model.yaml)), "names": ["fox"], "imgsz": 64, "metrics": {}}
    config["network"].update(changes)
    state = {n: t.contiguous() for n, t in net.model.state_dict().items()}
    save_file(state, path, {"format": "foxgan-detector", "config": json.dumps(config)})
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "__import__('pathlib').Path('canary').touch()"},
        {"activation": "nn.SiLU(__import__('os').mkdir('canary'))"},
        {"backbone": [[-1, 1, "TorchVision", [512, "resnet18", "DEFAULT"]]]},
        {"backbone": [[-1, 1, "Conv", [64, "__import__('os').mkdir('canary')", 2]]]},
        {"backbone": [[-1, 1, "nn.Linear", [10]]]},
        {"backbone": [[-1, 1, "Conv", [10**9, 3, 2]]]},
        {"scales": {"p": [10**6, 1.0, 1024]}, "scale": "p"},
        {"nc": 10**9},
        {"backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 4000, "Conv", [8, 3, 1]], [-1, 1, "Conv", [8, 3, 2]]]},
        {"backbone": [[-1, 60, "C2f", [8, True]]], "scales": {"p": [10, 1.0, 1024]}, "scale": "p"},
    ],
)
def test_a_file_whose_network_wants_more_than_layers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeFileError, match=r"bad\.safetensors: refused"):
        load_net(rewrite(tmp_path / "bad.safetensors", **changes))
    assert not (tmp_path / "canary").exists()


def test_a_network_that_does_not_fit_its_tensors_is_refused_before_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its network needs"):
        load_net(rewrite(tmp_path / "a.safetensors", scales={"p": [0.5, 400.0, 4096]}, scale="p"))


@pytest.mark.parametrize(
    ("config", "tensor", "message"),
    [
        ({"names": ["fox", "wolf"]}, 0.0, "2 class names for 1 classes"),
        ({"imgsz": 10**6}, 0.0, "expected 32 to 4096"),
        ({}, float("nan"), "not finite"),
    ],
)
def test_a_detector_file_that_makes_no_sense_is_told(
    tmp_path: Path, config: dict[str, object], tensor: float, message: str
) -> None:
    path = rewrite(tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        metadata, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata["config"] = json.dumps(json.loads(metadata["config"]) | config)
    state["model.0.conv.weight"][0] += tensor
    save_file(state, path, metadata)
    with pytest.raises(DataError, match=message):
        load_net(path)


def test_tensors_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="not a foxgan detector"):
        load_net(tmp_path / "a.safetensors")


def test_a_truncated_file_is_told_as_unreadable(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"a\.safetensors: not a readable detector"):
        load_net(tmp_path / "a.safetensors")


# ultralytics' .pt


def save_pt(path: Path, model: object, **extra: object) -> Path:
    torch.save({"model": None, "ema": model, "train_args": {"imgsz": SIDE}, **extra}, path)
    return path


def test_a_pt_of_ultralytics_finds_the_same_heads_as_its_network(tmp_path: Path) -> None:
    net = deepcopy(small_net(2))
    net.model.args = ultralytics("utils").IterableSimpleNamespace(box=7.5)
    net.model.criterion = net.model.init_criterion()
    save_pt(tmp_path / "best.pt", net.model.half(), metrics={"f": np.float64(0.5)}, origin=Path("x"))
    loaded = load_net(tmp_path / "best.pt")
    assert (loaded.names, loaded.imgsz) == (("fox", "wolf"), SIDE)
    save_detector(tmp_path / "same.safetensors", loaded)
    a, b = (
        Detector(tmp_path / n, device="cpu", conf=0.01).detect([picture(1)]) for n in ("best.pt", "same.safetensors")
    )
    assert a == b
    assert a[0]


def stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape in a few bytes: all its elements are one."""
    return tensor.flatten()[:1].clone().expand(tensor.shape)


def test_a_pt_whose_tensors_only_seem_large_is_refused(tmp_path: Path) -> None:
    net = deepcopy(small_net()).model
    for module in net.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                module._parameters[name] = torch.nn.Parameter(stand_in(value.detach()))
    with pytest.raises(UnsafeFileError, match="claim to be larger"):
        load_net(save_pt(tmp_path / "evil.pt", net))


def test_a_tensor_that_the_network_has_no_use_for_is_never_looked_at(tmp_path: Path) -> None:
    net = deepcopy(small_net()).model
    net.register_buffer("bomb", torch.ones(1).expand(10**12))  # a terabyte, were it checked
    assert load_net(save_pt(tmp_path / "odd.pt", net)).names == ("fox",)


class Hostile:
    """Makes a directory called `canary` when it is unpickled by a trusting reader."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


class HostileModule(torch.nn.Module):
    def __setstate__(self, state: object) -> None:
        os.mkdir("canary")


HOSTILE = {
    "system": Hostile(os.system, f"{sys.executable} -c \"import os; os.mkdir('canary')\""),
    "mkdir": Hostile(os.mkdir, "canary"),
    "eval": Hostile(eval, "__import__('os').mkdir('canary')"),
    "import": Hostile(importlib.import_module, "antigravity"),
    "module": HostileModule(),
    "in_layers": OrderedDict(conv=Hostile(os.mkdir, "canary")),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "whole"])
def test_a_hostile_pt_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    content = HOSTILE[name] if form == "whole" else {"ema": HOSTILE[name], "train_args": {}}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(UnsafeFileError, match=r"evil\.pt: refused"):
        Detector(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("class_name", "arguments"),
    [
        ("ultralytics.nn.tasks DetectionModel", ({"activation": "__import__('os').mkdir('canary')"},)),
        ("ultralytics.utils.downloads safe_download", ("http://127.0.0.1:9/canary",)),
        ("torch.nn.modules.module Module", ()),
    ],
)
def test_a_class_that_ultralytics_files_may_name_is_never_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_name: str, arguments: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    module, name = class_name.split()
    plain = io.BytesIO()
    pickler = pickle.Pickler(plain, protocol=2)
    pickler.dump(arguments)
    called = b"\x80\x02c" + f"{module}\n{name}\n".encode() + plain.getvalue()[2:-1] + b"R."
    torch.save({}, "evil.pt")
    with zipfile.ZipFile("evil.pt") as source, zipfile.ZipFile("worse.pt", "w") as target:
        for entry in source.namelist():
            target.writestr(entry, called if entry.endswith("data.pkl") else source.read(entry))
    with pytest.raises(DataError, match="no ultralytics network in it"):
        load_net(tmp_path / "worse.pt")
    assert not (tmp_path / "canary").exists()


def test_what_a_library_has_allowed_does_not_hold_for_files_from_outside(tmp_path: Path) -> None:
    path = save_pt(tmp_path / "evil.pt", Hostile(os.mkdir, str(tmp_path / "canary")))
    with torch.serialization.safe_globals([(os.mkdir, "posix.mkdir"), (os.mkdir, "nt.mkdir")]):
        before = torch.serialization.get_safe_globals()
        with pytest.raises(UnsafeFileError):
            load_net(path)
        assert set(torch.serialization.get_safe_globals()) == set(before)
    assert not (tmp_path / "canary").exists()


def test_a_compressed_pt_is_refused_as_it_could_be_a_bomb(tmp_path: Path) -> None:
    save_pt(tmp_path / "a.pt", torch.zeros(100_000))
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as source,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    with pytest.raises(UnsafeFileError, match="compressed"):
        load_net(tmp_path / "bomb.pt")


@pytest.mark.parametrize("content", [b"", b"not weights at all\n", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_weights_is_told_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pt: not a weight file"):
        load_net(tmp_path / "a.pt")


def test_a_truncated_pt_is_told_as_unreadable(tmp_path: Path) -> None:
    save_pt(tmp_path / "a.pt", small_net().model)
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"b\.pt: not a weight file, or only a part"):
        load_net(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("kind", "layers", "message"),
    [
        ("ClassificationModel", [[-1, 1, "Classify", ["nc"]]], "a network for classification .it ends in Classify."),
        ("OBBModel", [[[2], 1, "OBB", ["nc", 1]]], "a network for oriented boxes .it ends in OBB."),
    ],
)
def test_a_pt_for_another_task_is_told(tmp_path: Path, kind: str, layers: list[object], message: str) -> None:
    model = getattr(ultralytics("nn.tasks"), kind)({**TINY, "head": layers, "nc": 2}, ch=3, verbose=False)
    with pytest.raises(
        DataError, match=rf"a\.pt: {message}, which gives no upright boxes; expected a detector"
    ) as told:
        Detector(save_pt(tmp_path / "a.pt", model))
    assert not isinstance(told.value, UnsafeFileError)


def test_masks_of_a_segmentation_network_are_left_out(tmp_path: Path) -> None:
    layers = [[[2], 1, "Segment", ["nc", 4, 8]]]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ultralytics("nn.tasks").SegmentationModel({**TINY, "head": layers, "nc": 1}, ch=3, verbose=False).eval()
    plain = small_net().model.state_dict()
    model.load_state_dict({k: plain.get(k, v) for k, v in model.state_dict().items()})
    model.names = {0: "fox"}
    found = Detector(save_pt(tmp_path / "a.pt", model), SIDE, "cpu", 0.01, backend="torch").detect([picture(1)])
    same = Detector(weights_of(tmp_path, small_net()), SIDE, "cpu", 0.01, backend="torch").detect([picture(1)])
    assert found == same
    auto = Detector(tmp_path / "a.pt", SIDE, "cpu", 0.01).detect([picture(1)])
    assert auto[0]


def test_a_pt_of_some_other_network_is_told(tmp_path: Path) -> None:
    save_pt(tmp_path / "a.pt", torch.nn.Sequential(torch.nn.Linear(2, 2)))
    with pytest.raises(DataError, match="no ultralytics network in it"):
        load_net(tmp_path / "a.pt")


# ONNX


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_exported_onnx_finds_the_same_heads(tmp_path: Path, dynamic: bool) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `cpu` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `cpu` is not installed")
    net = deepcopy(small_net(2))
    save_detector(tmp_path / "a.safetensors", net)
    export_onnx(net, tmp_path / "a.onnx", dynamic)
    model = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(model, {"names": "{0: 'fox', 1: 'wolf'}", "imgsz": "[64, 64]"})
    onnx.save(model, tmp_path / "a.onnx")
    photos = [picture(1, 64, 64), picture(2, 64, 64)]
    ours = Detector(tmp_path / "a.safetensors", SIDE, "cpu", 0.05, backend="torch").detect(photos)
    theirs = Detector(tmp_path / "a.onnx", conf=0.05).detect(photos)
    assert any(ours)
    for a, b in zip(ours, theirs, strict=True):
        assert [h.name for h in a] == [h.name for h in b]
        np.testing.assert_allclose([h.box for h in a], [h.box for h in b], atol=0.2)


def export_onnx(net: Net, path: Path, dynamic: bool) -> None:
    import warnings

    net.model.model[-1].export = True
    axes = {"images": {0: "n", 2: "h", 3: "w"}, "output0": {0: "n", 2: "boxes"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.model,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes=axes if dynamic else None,
            dynamo=False,
        )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"task": "obb"}, "a network for the task 'obb', which finds no boxes; expected one for detect, segment, pose"),
        ({"kpt_shape": "[2, 9]"}, r"its kpt_shape is \[2, 9\]"),
        ({"names": "__import__('os')"}, "its names are not readable"),
    ],
)
def test_an_onnx_for_another_task_is_told(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `cpu` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `cpu` is not installed")
    export_onnx(deepcopy(small_net()), tmp_path / "a.onnx", False)
    model = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(DataError, match=rf"a\.onnx: {message}"):
        Detector(tmp_path / "a.onnx")


def test_a_text_file_called_onnx_is_told_as_unreadable(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `cpu` is not installed")
    (tmp_path / "a.onnx").write_text("hello")
    with pytest.raises(DataError, match=r"a\.onnx: not a readable ONNX detector"):
        Detector(tmp_path / "a.onnx")


def test_onnx_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(StageError, match=r"foxgan\[cpu\]"):
        Detector(tmp_path / "a.onnx")


# Names


def test_a_folder_means_the_detector_in_it(weights: Path) -> None:
    assert find_detector(weights.parent) == weights


def test_a_public_name_is_looked_up_in_the_models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path))
    with pytest.raises(UsageError, match=r"yolo99n\.pt: no such file here and none in .*; public: yoloe-11s-seg"):
        find_detector("yolo99n.pt")
    (tmp_path / "yolo99n.pt").touch()
    assert find_detector("yolo99n.pt") == tmp_path / "yolo99n.pt"


@pytest.mark.parametrize("name", ["no-such-detector", "no/such/file.pt"])
def test_an_unknown_detector_is_told_with_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match=r"shipped:|\.safetensors"):
        find_detector(name)


def test_a_network_name_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="yolo11p"):
        describe("yolo99z", 1)


# Contained


def test_importing_ultralytics_changes_no_environment_and_switches_its_reports_off() -> None:
    before = dict(os.environ)
    utils, events = ultralytics("utils"), ultralytics("utils.events")
    assert dict(os.environ) == before
    assert utils.SETTINGS["sync"] is False
    assert events.events.enabled is False
    assert Path.home() not in Path(utils.SETTINGS_FILE).parents or "foxgan-yolo-" in str(utils.SETTINGS_FILE)


def test_labels_are_written_as_normalised_centres_and_sizes(tmp_path: Path) -> None:
    from foxgan import images

    images.write(tmp_path / "a.png", picture(1, 100, 200))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    photos = [
        LabelledPhoto(tmp_path / "broken.png", ()),
        LabelledPhoto(
            tmp_path / "a.png", (LabelledHead("fox", (20, 10, 60, 50)), LabelledHead("wolf", (-5, 0, 100, 120)))
        ),
    ]
    write_yolo_folder(tmp_path / "yolo", "train", photos, ("fox", "wolf"), 64)
    assert [p.name for p in (tmp_path / "yolo/images/train").iterdir()] == ["000001.jpg"]
    assert images.decode(tmp_path / "yolo/images/train/000001.jpg").shape == (32, 64, 3)
    lines = (tmp_path / "yolo/labels/train/000001.txt").read_text().splitlines()
    assert [list(map(float, line.split())) for line in lines] == [[0, 0.2, 0.3, 0.2, 0.4], [1, 0.25, 0.5, 0.5, 1.0]]


def test_ultralytics_leaves_pillow_as_it_was():
    ultralytics("utils.nms")
    with pytest.raises(ImageError) as caught:
        decode(b"some text, no picture")
    assert caught.value.reason == "not_an_image"
