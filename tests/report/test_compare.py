import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import write_index
from foxgan.report.artifacts import StepReport
from foxgan.report.compare import SEEN, Candidate, Comparison, numbers, render, write_comparison

HOSTILE = "<script>alert(1)</script>\"'"
FOLDER = Path(__file__).parents[2] / "foxgan" / "report"


def variant(psi: Any, folder: Path | None = None, state: str = "kept", **manifest: Any) -> Candidate:
    manifest = {"seconds": {"total": 2.0}, "counts": {"in": 3, "kept": 3, "dropped": {}}} | manifest
    step = StepReport(f"gallery@psi={psi}", "sample", folder, manifest if state != "run" else {}, state)
    return Candidate(step, {"psi": psi})


def page(*candidates: Candidate) -> str:
    steps = [candidate.step for candidate in candidates]
    return render(Comparison("tiny", "gallery", candidates, steps, "0.1.0", "2026-01-02T03:04:05+00:00", "foxgan x"))


def gallery(folder: Path, seeds: list[int], source: str = "sample") -> Path:
    (folder / "images").mkdir(parents=True)
    rows = []
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        path = folder / "images" / f"{seed}.png"
        images.write(path, pixels)
        row = {"id": images.pixel_digest(pixels), "path": f"images/{seed}.png", "width": 16, "height": 16}
        rows.append(row | {"source": source, "source_id": str(seed)})
    write_index(folder, rows)
    return folder


def test_numbers_that_differ_are_columns_and_the_others_are_told_apart() -> None:
    first, second = variant(0.5, facts={"fid": 20.5, "frames": 8, "device": "cpu"}), variant(
        1.0, facts={"fid": 12.0, "frames": 8, "device": "cpu"}, counts={"in": 3, "kept": 2, "dropped": {"blurry": 1}}
    )  # fmt: skip
    columns, same = numbers([first, second])
    assert columns == {
        "psi": [0.5, 1.0],
        "fid": [20.5, 12.0],
        "kept": [3, 2],
        "left out": [0, 1],
        "left out: blurry": [None, 1],
    }
    assert same == {"frames": 8, "took, seconds": 2.0}


def test_facts_of_what_follows_a_variant_stand_beside_its_own() -> None:
    one = variant(0.5, facts={"fid": 1.5})
    columns, _ = numbers([Candidate(one.step, one.varied, {"scores": {"kid": 0.25}}), variant(1.0)])
    assert columns["scores: kid"] == [0.25, None]


def test_what_is_not_finished_is_named_and_has_no_numbers() -> None:
    html = page(variant(0.5, facts={"fid": 20.5}), variant(1.0, state="run"))
    assert "2 variants of a step of stage sample, by psi; 1 finished." in html
    assert "Not finished, and so without numbers and pictures: gallery@psi=1.0." in html
    row = re.findall(r"<tr.*?</tr>", html, re.DOTALL)[2]
    assert 'class="unfinished"' in row and "not finished" in row and "20.5" not in row


def test_the_same_seeds_stand_side_by_side(tmp_path: Path) -> None:
    html = page(*(variant(psi, gallery(tmp_path / str(psi), seeds)) for psi, seeds in [(0.5, [1, 2, 3]), (1, [2, 3])]))
    assert re.findall(r'<span class="row">(.*?)</span>', html) == ["seed 2", "seed 3"]
    assert html.count('<img src="data:image/png') == 4
    assert 'title="psi=0.5, seed 2"' in html and 'title="psi=1, seed 2"' in html


def test_variants_without_items_in_common_show_their_sheets(tmp_path: Path) -> None:
    html = page(*(variant(psi, gallery(tmp_path / str(psi), [psi])) for psi in (1, 2)))
    assert 'class="row"' not in html
    assert html.count("<h3>Gallery</h3>") == 2


def test_sheets_that_are_the_same_in_all_are_left_out(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name / "grids").mkdir(parents=True)
        images.write(tmp_path / name / "grids" / "reals.png", np.zeros((8, 8, 3), np.uint8))
        images.write(tmp_path / name / "grids" / "fakes-000001000.png", np.full((8, 8, 3), int(name), np.uint8))
    html = page(variant(1, tmp_path / "1"), variant(2, tmp_path / "2"))
    assert html.count("<h3>Fakes over time</h3>") == 2
    assert "Reals" not in html


def test_a_table_of_many_has_all_but_pictures_of_some(tmp_path: Path) -> None:
    folder = gallery(tmp_path / "all", [7])
    html = page(*(variant(i, folder) for i in range(SEEN + 3)))
    assert html.count("<tr>") == SEEN + 4
    assert html.count("<img") == SEEN
    assert "3 more variants are finished, but not shown." in html


def test_a_variant_whose_files_were_deleted_keeps_its_numbers(tmp_path: Path) -> None:
    html = page(variant(1, tmp_path / "nowhere", "gone", facts={"fid": 7.25}), variant(2, gallery(tmp_path / "2", [1])))
    assert "7.25" in html and "files deleted" in html and "Not finished" not in html


def test_texts_of_strangers_stay_text(tmp_path: Path) -> None:
    html = page(*(variant(f"{HOSTILE}{i}", gallery(tmp_path / str(i), [1])) for i in range(2)))
    assert html.count("<script>") == 1 and "&lt;script&gt;" in html


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    html = page(variant(1, gallery(tmp_path / "1", [1])), variant(2, gallery(tmp_path / "2", [1])))
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "http" not in html.replace("http-equiv", "")


def test_a_page_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out" / "compare.html"
    write_comparison(out, Comparison("tiny", "gallery", [variant(1)], [], "0.1.0", "2026-01-02T03:04:05+00:00"))
    assert [path.name for path in out.parent.iterdir()] == ["compare.html"]
    with pytest.raises(TypeError):
        write_comparison(out, Comparison("tiny", "gallery", None, [], "", ""))  # type: ignore[arg-type]
    assert "gallery" in out.read_text(encoding="utf-8")


def test_the_styles_of_the_page_travel_with_the_package() -> None:
    used = set(re.findall(r'class="([\w -]+)"', (FOLDER / "compare.html.j2").read_text()))
    styles = "".join((FOLDER / name).read_text() for name in ("report.css", "compare.css"))
    missing = {name for names in used for name in names.split() if f".{name}" not in styles} - {"hero-text"}
    assert not missing
