"""Of copies the best is kept, with the origins of all; the others name it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from foxgan import images
from foxgan.dataset.index import TRUTH, counts, index_digest, item_id, read_heads, read_index, write_index
from foxgan.errors import StageError
from foxgan.images import Pixels
from foxgan.stages.base import Context
from foxgan.stages.duplicates import Duplicates
from foxgan.vision.synthetic import draw_cutout, draw_photo


def drawn(number: int) -> Pixels:
    picture: Pixels = draw_photo(5, number, size=320).image
    return picture


def small(picture: Pixels, factor: float = 0.5) -> Pixels:
    return images.resize(picture, round(picture.shape[0] * factor), round(picture.shape[1] * factor))


def made(folder: Path, pictures: dict[str, Pixels], **columns: dict[str, Any]) -> dict[str, str]:
    """An artifact of photos, each with its name as `source_id` and what `columns` say of it; returns the ids by name."""
    (folder / "images").mkdir(parents=True)
    rows, ids = [], {}
    for name, picture in pictures.items():
        path = folder / "images" / name
        images.write(path, picture, quality=90)
        ids[name] = item_id(path.read_bytes())
        row = {
            "id": ids[name],
            "path": str(path),
            "height": picture.shape[0],
            "width": picture.shape[1],
            "source": "test",
        }
        rows.append(row | {"source_id": name} | {c: of[name] for c, of in columns.items() if name in of})
    write_index(folder, rows)
    return ids


def run(
    folders: Path | list[Path], out: Path, context: Context | None = None, **params: Any
) -> dict[str, dict[str, Any]]:
    """The rows of the output by their `source_id`."""
    out.mkdir(exist_ok=True)
    Duplicates(images=folders, workers=0, **params).run(out, context or Context())
    return {row["source_id"]: row for row in read_index(out, kept=False).to_dicts()}


def test_the_groups_of_copies_are_one_with_all_that_is_in_them(tmp_path: Path) -> None:
    pictures = {"fox.png": drawn(0), "small.png": small(drawn(0)), "back.png": drawn(1), "wolf.png": drawn(2)}
    groups = {"fox.png": "openverse:9", "small.png": "inaturalist:1", "back.png": "inaturalist:1", "wolf.png": "x:1"}
    made(tmp_path / "in", pictures, group=groups)
    rows = run(tmp_path / "in", tmp_path / "out")
    assert rows["small.png"]["status"] == "duplicate"
    assert {name: row["group"] for name, row in rows.items()} == {
        **dict.fromkeys(("fox.png", "small.png", "back.png"), "inaturalist:1"),
        "wolf.png": "x:1",
    }
    made(tmp_path / "again", pictures, group={"small.png": "inaturalist:1"})
    assert run(tmp_path / "again", tmp_path / "out2")["fox.png"]["group"] == "inaturalist:1"


def test_the_copy_with_most_pixels_stays_with_the_origins_of_all(tmp_path: Path) -> None:
    fox = drawn(0)
    pictures = {
        "small.jpg": small(fox),
        "whole.jpg": fox,
        "mirror.png": small(fox[:, ::-1], 0.4),
        "other.jpg": drawn(1),
    }
    ids = made(tmp_path / "photos", pictures, also={"small.jpg": ["web:7"]})
    rows = run(tmp_path / "photos", tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "small.jpg": "duplicate",
        "whole.jpg": "kept",
        "mirror.png": "duplicate",
        "other.jpg": "kept",
    }
    assert {rows[name]["duplicate_of"] for name in ("small.jpg", "mirror.png")} == {ids["whole.jpg"]}
    assert rows["small.jpg"]["similarity"] > 0.8 and rows["whole.jpg"]["similarity"] is None
    assert sorted(rows["whole.jpg"]["also"]) == ["test:mirror.png", "test:small.jpg", "web:7"]
    assert rows["other.jpg"]["also"] is None
    assert counts(tmp_path / "out") == {"in": 4, "kept": 2, "dropped": {"duplicate": 2}}


def test_rows_stay_what_they_were_and_name_the_same_files(tmp_path: Path) -> None:
    ids = made(
        tmp_path / "photos",
        {"a.png": drawn(0)},
        license={"a.png": "CC-BY-4.0"},
        group={"a.png": "fox 7"},
        label={"a.png": 3},
    )
    [row] = run(tmp_path / "photos", tmp_path / "out").values()
    before = read_index(tmp_path / "photos").to_dicts()[0]
    assert {k: v for k, v in row.items() if v != before[k]}.keys() == {"phash", "sharpness"}
    assert (row["id"], row["path"]) == (ids["a.png"], str(tmp_path / "photos" / "images" / "a.png"))
    assert len(row["phash"]) == 16
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"sharp.png": lambda p: p}, {"soft.png": lambda p: images.cv2.GaussianBlur(p, (0, 0), 1.2)}),
        ({"light.jpg": lambda p: p}, {"heavy.jpg": lambda p: images.decode(images.encode_jpeg(p, 40))}),
    ],
)
def test_of_equally_large_copies_the_sharper_or_larger_file_stays(tmp_path: Path, better: Any, worse: Any) -> None:
    pictures = {name: make(drawn(2)) for name, make in (better | worse).items()}
    made(tmp_path / "photos", pictures)
    rows = run(tmp_path / "photos", tmp_path / "out")
    assert [name for name, row in rows.items() if row["status"] == "kept"] == list(better)


def test_of_equally_good_copies_the_one_with_the_more_open_license_stays(tmp_path: Path) -> None:
    pictures = {"a.png": drawn(0), "b.jpg": drawn(0)}
    made(tmp_path / "photos", pictures, license={"a.png": "CC-BY-NC-4.0", "b.jpg": "CC0-1.0"})
    rows = run(tmp_path / "photos", tmp_path / "out")
    assert rows["a.png"]["status"] == "duplicate" and rows["b.jpg"]["license"] == "CC0-1.0"


def test_different_photos_of_one_animal_stay(tmp_path: Path) -> None:
    made(tmp_path / "photos", {f"{n}.jpg": drawn(n) for n in range(8)})
    assert {row["status"] for row in run(tmp_path / "photos", tmp_path / "out").values()} == {"kept"}


def test_files_that_cannot_be_read_are_told_and_copy_nothing(tmp_path: Path) -> None:
    made(tmp_path / "photos", {"a.png": drawn(0), "b.png": drawn(1), "c.png": drawn(2)})
    (tmp_path / "photos" / "images" / "b.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "photos" / "images" / "c.png").unlink()
    rows = run(tmp_path / "photos", tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.png": "kept",
        "b.png": "broken",
        "c.png": "missing",
    }


def test_an_interrupted_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    made(tmp_path / "photos", {f"{n}.jpg": drawn(n // 2) if n % 2 else small(drawn(n // 2)) for n in range(6)})
    run(tmp_path / "photos", tmp_path / "whole")
    journal = (tmp_path / "whole" / "items.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "items.jsonl").write_bytes(b"".join(journal[:3]) + journal[3][:100])
    run(tmp_path / "photos", tmp_path / "cut")
    assert index_digest(tmp_path / "cut") == index_digest(tmp_path / "whole")
    assert (tmp_path / "cut" / "items.jsonl").read_bytes() == b"".join(journal)


def test_known_pictures_are_not_looked_at_again_and_a_copy_of_one_is_found(tmp_path: Path) -> None:
    made(tmp_path / "photos", {f"{n}.jpg": drawn(n) for n in range(3)})
    run(tmp_path / "photos", tmp_path / "first")
    for path in (tmp_path / "photos" / "images").iterdir():
        path.write_bytes(b"nobody reads this")
    made(tmp_path / "more", {"copy.jpg": small(drawn(1))})
    context = Context(earlier=[tmp_path / "first"])
    rows = run([tmp_path / "photos", tmp_path / "more"], tmp_path / "second", context, min_similarity=0.6)
    assert context.facts["reused"] == 3
    assert rows["copy.jpg"]["status"] == "duplicate" and rows["copy.jpg"]["duplicate_of"] == rows["1.jpg"]["id"]


def test_of_cut_outs_the_animal_counts(tmp_path: Path) -> None:
    cutouts = {f"{n}.png": draw_cutout(1, n, size=160).image for n in range(3)}
    made(tmp_path / "photos", cutouts | {"copy.png": images.resize(cutouts["1.png"], 110, 110)})
    rows = run(tmp_path / "photos", tmp_path / "out")
    assert [name for name, row in rows.items() if row["status"] != "kept"] == ["copy.png"]


def test_known_heads_follow_the_pictures_that_stay(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    ids = made(photos, {"a.png": drawn(0), "b.png": small(drawn(0)), "c.png": drawn(1)})
    truth = [{"id": f"head {n}", "parent": ids[n], "box": [1.0, 2.0, 30.0, 40.0]} for n in ids]
    write_index(photos, truth, name=TRUTH)
    run(photos, tmp_path / "out")
    heads = read_heads([tmp_path / "out"])
    assert sorted(heads["id"]) == ["head a.png", "head c.png"]
    assert set(heads["path"]) == {str(photos / "images" / name) for name in ("a.png", "c.png")}


def test_heads_are_refused_as_several_share_a_photo(tmp_path: Path) -> None:
    made(tmp_path / "heads", {"a.png": drawn(0)}, box={"a.png": [0.0, 0.0, 9.0, 9.0]})
    with pytest.raises(StageError, match="holds heads, .* use it before `detect` or after `crop`"):
        run(tmp_path / "heads", tmp_path / "out")


def test_an_input_without_pictures_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path, [{"id": "a", "status": "broken"}])
    with pytest.raises(StageError, match="no picture to look at"):
        run(tmp_path, tmp_path / "out")


def test_sheets_show_copies_beside_what_stays(tmp_path: Path) -> None:
    fox = drawn(0)
    other = fox.copy()
    height, width = fox.shape[:2]
    other[height // 3 : height // 2, width // 3 : width // 2] = np.clip(
        other[height // 3 : height // 2, width // 3 : width // 2].astype(int) + 25, 0, 255
    )
    made(tmp_path / "photos", {"a.png": fox, "b.png": small(fox), "c.png": other})
    rows = run(tmp_path / "photos", tmp_path / "out", min_similarity=0.97)
    statuses = pl.Series([row["status"] for row in rows.values()])
    assert sorted(os.listdir(tmp_path / "out" / "sheets")) == sorted(
        [*["copies.jpg"] * ("duplicate" in statuses), "no-copies.jpg"]
    )
    sheet = images.decode(tmp_path / "out" / "sheets" / "no-copies.jpg")
    assert sheet.shape[1] > 300


def test_where_no_file_can_be_read_that_is_told(tmp_path: Path) -> None:
    made(tmp_path / "photos", {"a.png": drawn(0)})
    (tmp_path / "photos" / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(StageError, match=r"none of 1 pictures is kept \(not_an_image: 1\); look at the files"):
        run(tmp_path / "photos", tmp_path / "out")
