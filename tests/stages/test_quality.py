"""Each check drops what fails it, with its own reason; scores stay in the index, and a person has the last word."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from foxgan import images
from foxgan.dataset.index import TRUTH, counts, item_id, read_index, write_index
from foxgan.errors import StageError
from foxgan.images import Pixels, cv2
from foxgan.stages.base import Context
from foxgan.stages.quality import CHECKS, Quality, judged
from foxgan.vision.quality import measure_sharpness
from foxgan.vision.synthetic import draw_photo

SCORES = ("sharpness", "brightness", "clipped", "colour", "border", "overlay")
OFF = {check.param: None for check in CHECKS}


def good() -> Pixels:
    picture: Pixels = draw_photo(3, 4, size=320).image
    return picture


def framed(picture: Pixels) -> Pixels:
    found = picture.copy()
    found[:30] = found[-30:] = 0
    return found


def written(picture: Pixels) -> Pixels:
    ground = cv2.GaussianBlur(picture, (0, 0), 3)
    cv2.putText(ground, "PHOTO AGENCY 2019", (10, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    return ground


BAD = {
    "too_small": lambda p: images.resize(p, 40, 50),
    "odd_aspect": lambda p: p[100:170],
    "border": framed,
    "too_dark": lambda p: (p * 0.1).astype(np.uint8),
    "too_bright": lambda p: (250 - (255 - p) * 0.01).astype(np.uint8),
    "clipped": lambda p: np.where(p > np.median(p), 255, 0).astype(np.uint8),
    "grey": lambda p: np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, 2),
    "blurry": lambda p: cv2.GaussianBlur(p, (0, 0), 6),
    "overlay": written,
}


def made(folder: Path, pictures: dict[str, Pixels], **columns: Any) -> dict[str, str]:
    """An artifact of photos; returns the ids by name."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for name, picture in pictures.items():
        path = folder / "images" / f"{name}.png"
        images.write(path, np.ascontiguousarray(picture))
        size = {"height": picture.shape[0], "width": picture.shape[1]}
        rows.append(
            {
                "id": item_id(path.read_bytes()),
                "path": str(path),
                "source": "test",
                "source_id": name,
                **size,
                **columns,
            }
        )
    write_index(folder, rows)
    return {row["source_id"]: row["id"] for row in rows}


def run(folder: Path, out: Path, context: Context | None = None, **params: Any) -> dict[str, dict[str, Any]]:
    out.mkdir(exist_ok=True)
    Quality(images=folder, workers=0, **params).run(out, context or Context())
    return {row["source_id"]: row for row in read_index(out, kept=False).to_dicts()}


def statuses(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["status"] for name, row in rows.items()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good photo under four names, and one for each reason."""
    folder = tmp_path_factory.mktemp("quality") / "photos"
    nice = {f"good {n}": np.roll(good(), n, axis=1) for n in range(9)}
    made(folder, nice | {reason: spoil(good()) for reason, spoil in BAD.items()}, license="CC0-1.0", group="fox 7")
    return folder


def test_each_bad_picture_is_dropped_for_its_own_reason(tmp_path: Path, photos: Path) -> None:
    rows = run(photos, tmp_path / "out")
    assert statuses(rows) == {name: "kept" if name.startswith("good") else name for name in rows}
    assert counts(tmp_path / "out")["dropped"] == dict.fromkeys(sorted(BAD), 1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.param)
def test_null_switches_a_check_off_and_a_threshold_alone_is_held(tmp_path: Path, photos: Path, check: Any) -> None:
    default = Quality.model_fields[check.param].default
    assert statuses(run(photos, tmp_path / "off", **OFF))[check.reason] == "kept"
    alone = statuses(run(photos, tmp_path / "on", **(OFF | {check.param: default})))
    assert alone[check.reason] == check.reason
    assert {reason for name, reason in alone.items() if name.startswith("good")} == {"kept"}


def test_scores_and_what_rows_were_are_in_the_index(tmp_path: Path, photos: Path) -> None:
    rows = run(photos, tmp_path / "out")
    before = {row["source_id"]: row for row in read_index(photos).to_dicts()}
    for name, row in rows.items():
        changed = {k for k, v in row.items() if v != before[name][k]}
        assert changed - {"status"} == set(SCORES)
    assert not (tmp_path / "out" / "images").exists()


def test_another_threshold_takes_all_scores_from_the_earlier_output(tmp_path: Path, photos: Path) -> None:
    run(photos, tmp_path / "first")
    context = Context(earlier=[tmp_path / "first"])
    rows = run(photos, tmp_path / "second", context, min_sharpness=None)
    assert context.facts["reused"] == len(rows)
    assert rows["blurry"]["status"] == "kept"


def test_a_set_of_grey_pictures_is_not_called_grey(tmp_path: Path) -> None:
    pictures = {f"{n}": np.roll(good(), n, axis=0)[..., :1] for n in range(3)}
    made(tmp_path / "photos", pictures)
    assert set(statuses(run(tmp_path / "photos", tmp_path / "out")).values()) == {"kept"}


def test_files_that_cannot_be_read_keep_that_reason(tmp_path: Path) -> None:
    made(tmp_path / "photos", {"a": good(), "b": good()[::-1], "c": good()[:, ::-1]})
    (tmp_path / "photos" / "images" / "b.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "photos" / "images" / "c.png").unlink()
    assert statuses(run(tmp_path / "photos", tmp_path / "out")) == {"a": "kept", "b": "broken", "c": "missing"}


def test_where_nothing_is_kept_the_reasons_are_told(tmp_path: Path) -> None:
    made(tmp_path / "photos", {"a": BAD["blurry"](good())})
    with pytest.raises(StageError, match=r"none of 1 pictures is kept \(blurry: 1\); loosen"):
        run(tmp_path / "photos", tmp_path / "out")


def test_a_person_has_the_last_word_but_on_files_without_pixels(tmp_path: Path) -> None:
    pictures = {"a": BAD["blurry"](good()), "b": good(), "c": good()[::-1], "d": good()[:, ::-1]}
    ids = made(tmp_path / "photos", pictures)
    (tmp_path / "photos" / "images" / "c.png").write_bytes(b"\x89PNG but no more")
    choices = {ids["a"]: "keep", ids["b"]: "drop", ids["c"]: "keep", "elsewhere": "drop"}
    decisions = {item: {"decision": choice} for item, choice in choices.items()}
    (tmp_path / "choices.json").write_text(json.dumps({"foxgan_decisions": 1, "decisions": decisions}))
    out = run(tmp_path / "photos", tmp_path / "out", decisions=tmp_path / "choices.json")
    assert statuses(out) == {"a": "kept", "b": "thrown_out", "c": "broken", "d": "kept"}


def test_a_person_has_the_last_word(tmp_path: Path, photos: Path) -> None:
    ids = {row["source_id"]: row["id"] for row in read_index(photos).to_dicts()}
    said = {ids["blurry"]: {"decision": "keep"}, ids["good 1"]: {"decision": "drop"}}
    (tmp_path / "said.json").write_text(json.dumps({"foxgan_decisions": 1, "decisions": said}))
    without = statuses(run(photos, tmp_path / "without"))
    context = Context(earlier=[tmp_path / "without"])
    rows = statuses(run(photos, tmp_path / "out", context, decisions=tmp_path / "said.json"))
    assert context.facts["reused"] == len(rows)
    assert {name: status for name, status in rows.items() if status != without[name]} == {
        "blurry": "kept",
        "good 1": "thrown_out",
    }


def test_scores_at_the_threshold_are_kept_and_missing_ones_fail_nothing() -> None:
    rows = pl.DataFrame({"id": ["a", "b", "c"], "sharpness": [0.5, 0.49, None], "status": [None, None, None]})
    found = judged(rows.with_columns(pl.col("status").cast(pl.String)), OFF | {"min_sharpness": 0.5})
    assert found["status"].to_list() == ["kept", "blurry", "kept"]


def test_sheets_show_what_is_nearest_to_each_threshold(tmp_path: Path, photos: Path) -> None:
    near = measure_sharpness(good()) / 1.5
    run(photos, tmp_path / "out", max_overlay=None, min_sharpness=near)
    names = {path.stem for path in (tmp_path / "out" / "sheets").iterdir()}
    assert names == {check.reason for check in CHECKS} - {"overlay"}
    sheet = images.decode(tmp_path / "out" / "sheets" / "blurry.jpg")
    assert sheet.shape[1] > 8 * 160  # eight that are kept, and below them what is dropped
    assert sheet.shape[0] > 2 * 160
    dark = images.decode(tmp_path / "out" / "sheets" / "too_dark.jpg")
    assert dark.shape[0] < 2 * 160  # what is far from being dropped says nothing


def test_known_heads_follow(tmp_path: Path) -> None:
    ids = made(tmp_path / "photos", {"a": good(), "blurry": BAD["blurry"](good())})
    heads = [{"id": f"head of {n}", "parent": i, "box": [1.0, 2.0, 30.0, 40.0]} for n, i in ids.items()]
    write_index(tmp_path / "photos", heads, name=TRUTH)
    run(tmp_path / "photos", tmp_path / "out")
    assert read_index(tmp_path / "out", name=TRUTH)["id"].to_list() == ["head of a"]
