import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foxgan.errors import UsageError
from foxgan.pages import review as page
from foxgan.pipeline.telling.reviewing import review
from tests.pages.conftest import HOSTILE, row

FOLDER = Path(page.__file__).parent
Make = Callable[..., Path]


def data_of(path: Path) -> dict[str, Any]:
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    found: dict[str, Any] = json.loads(text)
    return found


def ids(path: Path) -> list[str]:
    return [item["id"][-1] for item in data_of(path)["items"]]


def test_the_page_has_every_item_with_what_is_known_of_it(artifact: Path) -> None:
    (path,) = review(artifact)
    assert path == artifact.parent / "reviews" / "crop-0123.html"
    data = data_of(path)
    assert (data["stage"], data["digest"], data["format"]) == ("crop", "digest of crop-0123", 1)
    items = {item["id"]: item for item in data["items"]}
    kept, blurry, small = items["item 0001"], items["item 0004"], items["item 0005"]
    assert kept["thumb"].startswith("data:image/jpeg;base64,") and (kept["width"], kept["height"]) == (96, 64)
    assert kept["status"] == "kept" and ["license", "CC0-1.0"] in kept["facts"] and "rescue" not in kept
    assert blurry["reason"] == "blurry" and blurry["rescue"] is True
    assert small["reason"] == "too small" and "thumb" not in small and "rescue" not in small
    assert small["url"] == "https://photos.example/5"


def test_the_picture_in_full_is_the_file_on_the_disk_named_from_the_page(artifact: Path, tmp_path: Path) -> None:
    (path,) = review(artifact, tmp_path / "else where" / "page.html")
    file = data_of(path)["items"][2]["file"]
    assert file == "../data/pictures/3.png" and (path.parent / file).is_file()


def test_texts_of_strangers_stay_text(artifact: Path) -> None:
    (path,) = review(artifact, title=HOSTILE)
    html = path.read_text("utf-8")
    assert html.count("<script") == 2 and "<img src=https" not in html and "\u2028" not in html.split('id="data"')[1]
    item = next(item for item in data_of(path)["items"] if item["id"] == "item 0004")
    assert item["name"] == HOSTILE and ["creator", HOSTILE] in item["facts"]
    assert item["url"] == ""  # not a web address


def test_the_page_asks_nobody_for_anything_and_runs_no_other_script(artifact: Path) -> None:
    html = review(artifact)[0].read_text("utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    assert policy.startswith("default-src 'none'; img-src data: file:;") and "'sha256-" in policy
    markup = html.split('id="data"')[0]
    assert not re.findall(r'(?:src|href)="', markup) and "http" not in markup.replace("http-equiv", "")
    assert str(artifact.parent) not in html


def test_the_lowest_scores_come_first_and_what_has_none_last(artifact: Path) -> None:
    data = data_of(review(artifact)[0])
    assert ids(review(artifact)[0]) == ["5", "4", "3", "2", "1", "0"]
    assert data["scores"] == ["score"] and data["sort"] == 0 and data["upwards"] is True
    assert ids(review(artifact, sort="-score")[0]) == ["1", "2", "3", "4", "5", "0"]
    assert ids(review(artifact, sort="index")[0]) == ["0", "1", "2", "3", "4", "5"]
    assert ids(review(artifact, sort="score", limit=2)[0]) == ["5", "4"]
    with pytest.raises(
        UsageError, match=r"--sort scor: no such score \(did you mean 'score'\?\); there are index, score"
    ):
        review(artifact, sort="scor")


def test_numbers_among_the_traits_and_sizes_are_scores_too(make: Make) -> None:
    traits = ['{"blur": 3, "tail": true}', '{"blur": 1.5}', "not JSON"]
    folder = make("a", lambda f: [row(f, i, traits=t, score=None, width=10 + i) for i, t in enumerate(traits)])
    data = data_of(review(folder, sort="blur")[0])
    assert data["scores"] == ["blur", "pixels"]
    assert [item["scores"][0] for item in data["items"]] == [1.5, 3.0, None]


def test_numbers_that_are_none_do_not_break_the_page(make: Make) -> None:
    scores = [float("nan"), float("inf"), 0.5, 0.25]
    folder = make("a", lambda f: [row(f, i, score=s, box=[float("nan")] * 4) for i, s in enumerate(scores)])
    data = data_of(review(folder)[0])
    assert [item["scores"][0] for item in data["items"]] == [0.25, 0.5, None, None]
    assert all("box" not in item for item in data["items"])


def test_many_items_go_to_several_pages(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PER_PAGE", 2)
    paths = review(make("many", lambda f: [row(f, number) for number in range(5)]))
    assert [path.name for path in paths] == ["many.html", "many-2.html", "many-3.html"]
    assert [ids(path) for path in paths] == [["4", "3"], ["2", "1"], ["0"]]
    assert '<a href="many-2.html">2</a>' in paths[0].read_text("utf-8")


def test_a_head_is_shown_by_itself_with_its_box_and_is_not_brought_back(make: Make) -> None:
    def heads(folder: Path) -> list[dict[str, Any]]:
        return [row(folder, 1, box=[8, 8, 40, 40]), row(folder, 2, box=[1, 1, 2, 2], status="too_small")]

    small, head = data_of(review(make("detect-1", heads, "detect"))[0])["items"]
    assert head["box"] == [8.0, 8.0, 40.0, 40.0] and head["file"].endswith("1.png")
    assert "rescue" not in small


def test_an_item_without_a_picture_shows_the_one_that_it_comes_from(make: Make) -> None:
    photos = make("scrape-1", lambda f: [row(f, 7)], "scrape")
    head = {"id": "head", "parent": "item 0007", "box": [8, 8, 40, 40], "status": "kept"}
    heads = make("detect-1", lambda f: [head], "detect", (photos,))
    small = {"id": "crop", "parent": "head", "status": "too_small"}
    (item,) = data_of(review(make("crop-1", lambda f: [small], "crop", (heads,)))[0])["items"]
    assert item["thumb"].startswith("data:") and item["box"] == [8.0, 8.0, 40.0, 40.0] and "rescue" not in item


def test_an_artifact_without_items_makes_an_empty_page(make: Make) -> None:
    assert data_of(review(make("none", lambda f: []))[0])["items"] == []


def test_what_cannot_be_reviewed_is_told(tmp_path: Path, artifact: Path) -> None:
    with pytest.raises(UsageError, match="not a finished output of a step; give such a folder"):
        review(tmp_path)
    with pytest.raises(UsageError, match="nowhere: not a finished output"):
        review(tmp_path / "nowhere")
    (artifact / "index.parquet").unlink()
    with pytest.raises(UsageError, match="stage crop makes no items to look at"):
        review(artifact)


def test_the_styles_of_the_page_travel_with_the_package() -> None:
    used = set(re.findall(r'class="([\w -]+)"', (FOLDER / "review.html.j2").read_text("utf-8")))
    styles = "".join(p.read_text("utf-8") for p in (FOLDER / "review.css", FOLDER.parent / "report" / "report.css"))
    assert not {name for names in used for name in names.split() if f".{name}" not in styles} - {"told-of"}
