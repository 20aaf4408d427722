"""From pictures to one dataset: order, labels, refusals, and NVIDIA's layout there and back."""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from foxgan import images
from foxgan.dataset.codec import Encoding
from foxgan.dataset.croissant import CROISSANT
from foxgan.dataset.datacard import CARD_FILE
from foxgan.dataset.index import counts, index_digest, read_index, write_index
from foxgan.dataset.lmdb import lmdb_digest, open_dataset
from foxgan.dataset.provenance import ATTRIBUTION
from foxgan.errors import DataError, StageError
from foxgan.pipeline.digest import output_digest
from foxgan.stages.base import Context
from foxgan.stages.pack import Pack

ENCODINGS = get_args(Encoding)


def pictures(count, shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_crops(folder, crops, **columns):
    """An artifact as `crop` leaves it; `columns` hold one value per crop."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, crop in enumerate(crops):
        crop_id = images.pixel_digest(crop)
        path = folder / "images" / f"{crop_id}.png"
        images.write(path, crop)
        height, width, channels = crop.shape
        row = {"id": crop_id, "path": str(path), "height": height, "width": width, "channels": channels}
        rows.append({**row, **{name: values[number] for name, values in columns.items()}})
    write_index(folder, rows)
    return folder


def pack(out, **params):
    out.mkdir(exist_ok=True)
    Pack(**{"workers": 0, **params}).run(out, Context())
    return open_dataset(out)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 12, 3), (16, 16, 4)])
def test_pictures_are_packed_in_the_order_of_their_ids(tmp_path, shape, encoding):
    crops = pictures(5, shape)
    dataset = pack(tmp_path / "out", images=write_crops(tmp_path / "crops", crops), encoding=encoding)
    known = {images.pixel_digest(crop): crop for crop in crops}
    assert dataset.ids == sorted(known) and dataset.meta.encoding == encoding
    for position, crop_id in enumerate(dataset.ids):
        assert np.array_equal(dataset[position][0].permute(1, 2, 0).numpy(), known[crop_id])


def test_order_of_inputs_workers_and_encoding_do_not_change_the_meaning(tmp_path):
    a, b = (write_crops(tmp_path / str(seed), pictures(70, seed=seed)) for seed in (1, 2))
    digests = {
        pack(tmp_path / "ab", images=(a, b)).fingerprint,
        pack(tmp_path / "ba", images=(b, a), workers=2).fingerprint,
        *(pack(tmp_path / name, images=(b, a), encoding=name).fingerprint for name in ENCODINGS),
    }
    assert len(digests) == 1
    assert index_digest(tmp_path / "ab") == index_digest(tmp_path / "ba")


def test_disk_is_estimated_from_sizes_in_the_index_or_of_files(tmp_path):
    crops = write_crops(tmp_path / "crops", pictures(3, (64, 64, 3)))
    for fields, expected in (
        ({"encoding": "raw"}, 3 * (12288 + 4096)),
        ({}, 3 * (8601 + 4096)),
        ({"zip": True}, 6 * (8601 + 4096)),
    ):
        assert Pack(images=crops, **fields).disk_bytes([]) == expected
    pack(tmp_path / "out", images=crops, zip=True)
    made = tmp_path / "out" / "dataset.zip"
    assert Pack(images=(made, crops / "images")).disk_bytes([]) == made.stat().st_size + sum(
        p.stat().st_size for p in (crops / "images").iterdir()
    )


def test_license_and_labels_travel_on_in_the_index(tmp_path):
    crops = write_crops(
        tmp_path / "crops", pictures(3), license=["CC0", "CC-BY", "CC0"], label=[0, 2, 1], creator=["a", "b", "c"]
    )
    dataset = pack(tmp_path / "out", images=crops)
    packed = {row["id"]: row for row in read_index(tmp_path / "out").iter_rows(named=True)}
    for row in read_index(crops).iter_rows(named=True):
        assert packed[row["id"]] == {**row, "parent": row["id"]}
        assert dataset.labels is not None and dataset.labels[dataset.ids.index(row["id"])] == row["label"]
    assert counts(tmp_path / "out")["kept"] == 3


@pytest.mark.parametrize(
    ("columns", "labels", "expected", "names"),
    [
        ({}, "auto", None, None),
        ({"label": [3, 0, 0]}, "auto", {0, 3}, None),
        ({"label": [3, 0, 0]}, "none", None, None),
        ({"label": [3, None, 0]}, "auto", None, None),
        ({"class": ["fox", "cat", "fox"]}, "auto", {0, 1}, ["cat", "fox"]),
        ({"class": ["fox", "fox", "fox"]}, "auto", None, None),
        ({"class": ["fox", "fox", "fox"]}, "class", {0}, ["fox"]),
        ({"label": [1, 0, 1], "class": ["fox", "cat", "fox"]}, "auto", {0, 1}, ["cat", "fox"]),
        ({"label": [0, 1, 0], "class": ["fox", "cat", "fox"]}, "label", {0, 1}, ["fox", "cat"]),
        ({"label": [0, 1, 2], "class": ["fox", "cat", "fox"]}, "label", {0, 1, 2}, ["fox", "cat", "fox"]),
        ({"label": [0, 1, 0], "class": ["fox", "cat", "cat"]}, "label", {0, 1}, None),
    ],
)
def test_labels_come_from_the_index(tmp_path, columns, labels, expected, names):
    dataset = pack(tmp_path / "out", images=write_crops(tmp_path / "crops", pictures(3), **columns), labels=labels)
    assert (None if dataset.labels is None else set(dataset.labels.tolist())) == expected
    assert dataset.class_names == names


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("label", [1, None, 0], "1 of 3 items have no label"),
        ("class", None, "3 of 3 items have no class"),
        ("label", [1, -1, 0], "label -1"),
    ],
)
def test_labels_that_are_asked_for_must_be_there(tmp_path, column, values, expected):
    crops = write_crops(tmp_path / "crops", pictures(3), **({column: values} if values else {}))
    with pytest.raises(StageError, match=expected):
        pack(tmp_path / "out", images=crops, labels=column)


@pytest.mark.parametrize("known", [True, False], ids=["index tells", "index does not tell"])
def test_two_shapes_are_refused_naming_items_of_each_and_what_to_do(tmp_path, known):
    big = write_crops(tmp_path / "a", [*pictures(3, (8, 8, 3))])
    alpha = write_crops(tmp_path / "b", [*pictures(1, (8, 8, 4))])
    if not known:
        for folder in (big, alpha):
            write_index(folder, read_index(folder).drop("width", "height", "channels").to_dicts())
    with pytest.raises(StageError) as caught:
        pack(tmp_path / "out", images=(big, alpha))
    message = str(caught.value)
    assert "8x8 RGB: " in message and "8x8 RGBA: 1 items" in message and "foxgan crop --images" in message
    assert read_index(alpha)["path"][0] in message and any(path in message for path in read_index(big)["path"])
    assert not (tmp_path / "out" / "data.mdb").exists()


def test_nothing_to_pack_is_refused(tmp_path):
    crops = write_crops(tmp_path / "crops", pictures(2), status=["too_small", "broken"])
    with pytest.raises(StageError, match="no items to pack"):
        pack(tmp_path / "out", images=crops)


def test_picture_that_is_gone_or_broken_is_named(tmp_path):
    crops = write_crops(tmp_path / "crops", pictures(2))
    path = Path(read_index(crops)["path"][1])
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(DataError, match=str(path.stem)):
        pack(tmp_path / "out", images=crops)
    path.unlink()
    with pytest.raises(DataError, match=str(path.stem)):
        pack(tmp_path / "out", images=crops)


def test_photos_are_packed_by_their_pixels(tmp_path):
    (tmp_path / "photos").mkdir()
    picture = Image.fromarray(pictures(1, (8, 8, 3))[0])
    picture.save(tmp_path / "photos" / "a.jpg")
    picture.convert("P").save(tmp_path / "photos" / "b.png")
    write_index(
        tmp_path / "photos", [{"id": name, "path": str(tmp_path / "photos" / name)} for name in ("a.jpg", "b.png")]
    )
    dataset = pack(tmp_path / "out", images=tmp_path / "photos")
    for position, name in enumerate(("a.jpg", "b.png")):
        assert np.array_equal(dataset[position][0].permute(1, 2, 0), images.decode(tmp_path / "photos" / name))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nvidias_layout_there_and_back_is_the_same_dataset(tmp_path, encoding):
    crops = write_crops(tmp_path / "crops", pictures(5), **{"label": [0, 1, 2, 1, 0], "class": list("abcba")})
    dataset = pack(tmp_path / "one", images=crops, zip=True, encoding=encoding)
    with zipfile.ZipFile(tmp_path / "one" / "dataset.zip") as archive:
        archive.extractall(tmp_path / "folder")
    for source in (tmp_path / "one" / "dataset.zip", tmp_path / "folder"):
        again = pack(tmp_path / f"from-{source.name}", images=source)
        assert again.fingerprint == dataset.fingerprint and again.class_names == ["a", "b", "c"]


def test_killed_packing_ends_with_the_digest_of_an_undisturbed_one(tmp_path):
    crops = write_crops(tmp_path / "crops", pictures(200))
    code = (
        "import os, sys; from pathlib import Path; from foxgan.dataset import writer; from foxgan.stages.pack import Pack\n"
        "from foxgan.stages.base import Context; writer.FLUSH_BYTES = 2000; add = writer.Writer.add\n"
        "def killed(self, value):\n    os._exit(9) if self.count == 150 else add(self, value)\n"
        "writer.Writer.add = killed; Pack(images=sys.argv[1], workers=0).run(Path(sys.argv[2]), Context())"
    )
    out = tmp_path / "killed"
    out.mkdir()
    assert subprocess.run([sys.executable, "-c", code, str(crops), str(out)], check=False).returncode == 9
    assert [path.suffix for path in out.iterdir()] == [".tmp"]
    dataset = pack(out, images=crops)
    assert dataset.fingerprint == lmdb_digest(out) == pack(tmp_path / "straight", images=crops).fingerprint
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [ATTRIBUTION, CARD_FILE, CROISSANT, "data.mdb", "index.parquet"]
    )


def test_the_list_of_pictures_names_the_author_and_the_place_of_each(tmp_path):
    crops = pictures(3)
    names = ["A", "B", "C"]
    dataset = write_crops(tmp_path / "crops", crops, creator=names, license=["CC-BY-4.0"] * 3)
    opened = pack(tmp_path / "out", images=dataset, zip=True)
    with (tmp_path / "out" / ATTRIBUTION).open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    authors = {images.pixel_digest(crop): name for crop, name in zip(crops, names, strict=True)}
    assert [(r["id"], r["file"]) for r in listed] == [(i, f"data.mdb#{n:08}") for n, i in enumerate(opened.ids)]
    assert all(r["creator"] == authors[r["id"]] for r in listed)
    files = {file["@id"] for file in json.loads((tmp_path / "out" / CROISSANT).read_text())["distribution"]}
    assert files == {ATTRIBUTION, "index.parquet", "data.mdb", "dataset.zip"}
    assert "8x8 RGB, zstd" in (tmp_path / "out" / CARD_FILE).read_text()


def test_cards_are_no_part_of_what_the_dataset_means(tmp_path):
    crops = write_crops(tmp_path / "crops", pictures(2))
    pack(tmp_path / "out", images=crops)
    digest = output_digest(tmp_path / "out", Pack.results)
    for name in (ATTRIBUTION, CROISSANT, CARD_FILE):
        (tmp_path / "out" / name).unlink()
    assert output_digest(tmp_path / "out", Pack.results) == digest
