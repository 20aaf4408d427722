import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foxgan import images
from foxgan.dataset.index import counts, write_index
from foxgan.latents.film import write_film
from foxgan.report.report import PipelineReport, StepReport, write_report

HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>\"'"


class Page(HTMLParser):
    """Tags with their attributes, and all text, of a report."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in attributes.items())]


def picture(seed: int, height: int = 40, width: int = 60, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def step(folder: Path, stage: str, after: list[str] | None = None, **manifest: Any) -> StepReport:
    manifest = {"stage": stage, "seconds": {"total": 2.0, "digest": 0.1}} | manifest
    if (folder / "index.parquet").exists():
        manifest["counts"] = counts(folder)
    return StepReport(folder.name, stage, folder, manifest, "made", after or [])


def report(tmp_path: Path, *steps: StepReport) -> Page:
    out = tmp_path / "out" / "report.html"
    machine = {"system": "Linux", "cores": 2}
    run = PipelineReport("tiny", "2026-01-02T03:04:05+00:00", 7.0, "0.1.0", machine, steps, "foxgan run tiny.yaml")
    write_report(out, run)
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture
def photos(tmp_path: Path) -> StepReport:
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for i in range(3):
        images.write(folder / "images" / f"{i}.png", picture(i))
        origin = {
            "source": "web",
            "source_id": f"{i}",
            "license": "CC-BY-4.0",
            "creator": HOSTILE,
            "attribution": HOSTILE,
        }
        urls = {"license_url": "https://creativecommons.org/licenses/by/4.0/", "landing_url": "javascript:alert(3)"}
        rows.append(
            {"id": f"p{i}", "path": str(folder / "images" / f"{i}.png"), "width": 60, "height": 40, **origin, **urls}
        )
    rows += [{"id": f"x{i}", "status": "not_an_image", "source": "web", "source_id": HOSTILE} for i in range(2)]
    write_index(folder, rows)
    write_index(folder, [{"id": "t0", "parent": "p0", "box": [1, 2, 21, 32]}], "truth.parquet")
    return step(folder, "scrape", params={"limit": 5, "source": HOSTILE}, facts={"note": HOSTILE})


@pytest.fixture
def heads(tmp_path: Path, photos: StepReport) -> StepReport:
    folder = tmp_path / "heads"
    folder.mkdir()
    rows: list[dict[str, Any]] = [{"id": "h0", "parent": "p0", "box": [2, 3, 20, 30], "score": 0.875}]
    rows += [{"id": f"n{i}", "parent": f"p{i}", "status": "no_head"} for i in (1, 2)]
    write_index(folder, rows)
    inputs = {"images": [{"path": str(photos.folder), "digest": "d"}]}
    return step(folder, "detect", ["photos"], inputs=inputs, facts={"heads_per_photo": 0.333})


def gallery(folder: Path, channels: int = 3, side: int = 28) -> StepReport:
    (folder / "images").mkdir(parents=True)
    rows = []
    for seed in range(3):
        pixels = picture(seed, side, side, channels)
        images.write(folder / "images" / f"{seed}.png", pixels)
        traits = json.dumps({"psi": 0.7, "seed": seed})
        row = {
            "id": images.pixel_digest(pixels),
            "path": str(folder / "images" / f"{seed}.png"),
            "width": side,
            "height": side,
        }
        rows.append(row | {"source": "sample", "source_id": str(seed), "traits": traits, "label": seed})
    write_index(folder, rows)
    return step(folder, "sample", ["model"])


def test_texts_of_strangers_stay_text(tmp_path: Path, photos: StepReport) -> None:
    page = report(tmp_path, photos)
    assert len(page.all("script")) == 1
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert HOSTILE in page.text
    assert "javascript:" not in page.html


def test_the_page_asks_nobody_for_anything(tmp_path: Path, photos: StepReport, heads: StepReport) -> None:
    film = tmp_path / "film"
    film.mkdir()
    write_film(film / "film.mp4", [picture(i, 32, 32) for i in range(3)])
    images.write(film / "poster.png", picture(0, 32, 32))
    page = report(tmp_path, photos, heads, gallery(tmp_path / "gallery"), step(film, "interpolate"))
    loaded = [a[k] for t, a in page.tags for k in ("src", "srcset", "data", "poster", "href") if k in a and t != "a"]
    assert len(loaded) > 8 and all(address.startswith("data:") for address in loaded)
    assert not re.search(r"@import|url\(", page.html)
    assert "default-src 'none'" in page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    links = {a["href"] for a in page.all("a")}
    assert {link for link in links if not link.startswith("#")} == {"https://creativecommons.org/licenses/by/4.0/"}


def test_the_funnel_tells_what_was_kept_and_why_the_rest_was_not(
    tmp_path: Path, photos: StepReport, heads: StepReport
) -> None:
    page = report(tmp_path, photos, heads, gallery(tmp_path / "gallery"))
    funnel = page.html.split('id="funnel"')[1].split("</section>")[0]
    for text in ("3 of 5", "2 not an image", "1 of 3", "2 no head"):
        assert text in funnel
    assert "gallery" not in funnel  # generated pictures are not photos


def test_found_heads_and_the_truth_are_drawn_on_their_photo(
    tmp_path: Path, photos: StepReport, heads: StepReport
) -> None:
    page = report(tmp_path, photos, heads)
    assert len(page.all("rect", **{"class": "truth", "x": "1.0", "y": "2.0", "width": "20.0", "height": "30.0"})) == 2
    assert len(page.all("rect", **{"class": "found", "x": "2.0", "width": "18.0"})) == 1
    assert "0.88" in page.text


def test_dropped_items_show_their_reason_and_the_photo_they_come_from(
    tmp_path: Path, photos: StepReport, heads: StepReport
) -> None:
    page = report(tmp_path, photos, heads)
    left_out = page.html.split('id="heads"')[1].split("Left out")[1].split("</section>")[0]
    assert left_out.count("<img") == 2 and left_out.count(">no head<") == 2


def test_a_single_step_makes_a_page(tmp_path: Path) -> None:
    page = report(tmp_path, gallery(tmp_path / "gallery"))
    assert len(page.all("h1")) == 1 and "gallery" in page.text and "Truncation psi 0.7" in page.text


def test_a_pipeline_that_has_done_nothing_yet_makes_a_page(tmp_path: Path) -> None:
    waiting = StepReport("photos", "scrape", state="unknown")
    page = report(
        tmp_path, waiting, StepReport("heads", "no-such-stage", tmp_path / "gone", state="run", after=["photos"])
    )
    assert "still to do: photos, heads" in page.text
    assert not page.all("img")


def test_a_failed_step_says_why(tmp_path: Path, photos: StepReport) -> None:
    failed = StepReport("heads", "detect", None, {}, "failed", ["photos"], f"no heads found {HOSTILE}")
    page = report(tmp_path, photos, failed)
    assert "Stopped at “heads”" in page.text and f"no heads found {HOSTILE}" in page.text


def test_tiny_grey_pictures_are_lossless_and_show_their_pixels(tmp_path: Path) -> None:
    page = report(tmp_path, gallery(tmp_path / "gallery", channels=1))
    frames = [a for a in page.all("span") if "pixelated" in a.get("class", "")]
    assert len(frames) == 6  # in the header and in the gallery
    assert all(a["src"].startswith("data:image/png") for a in page.all("img"))


def test_transparent_pictures_lie_on_a_checkerboard(tmp_path: Path) -> None:
    page = report(tmp_path, gallery(tmp_path / "gallery", channels=4, side=64))
    assert [a for a in page.all("span") if "transparent" in a.get("class", "")]


def test_training_shows_curves_and_fakes_over_time(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "grids").mkdir(parents=True)
    for nimg in (1000, 9000, 10000):
        images.write(folder / "grids" / f"fakes-{nimg:09d}.png", picture(nimg, 64, 96))
    rows = [{"nimg": n * 1000, "loss_G": 1 / n, "p": 0.1 * n, "sec_per_kimg": 5.0, "odd": 3} for n in (1, 2, 3)]
    lines = [json.dumps(row) for row in rows]
    images.write(folder / "grid.png", picture(0))
    (folder / "stats.jsonl").write_text("\n".join([*lines, '{"nimg": 4000, "lo']), encoding="utf-8")
    page = report(tmp_path, step(folder, "train", facts={"device": "cpu"}))
    strip = page.html.split('class="strip"')[1].split("</div>")[0]
    assert re.findall(r"<figcaption>([\d.]+ kimg)", strip) == ["1.0 kimg", "9.0 kimg", "10.0 kimg"]
    titles = re.findall(r'aria-label="([^"]+)"', page.html)
    assert titles[:4] == ["Losses", "Augment probability p", "Seconds per kimg", "odd"]
    assert "kimg of training" in page.text


def test_what_a_training_warned_of_stands_before_its_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "grids").mkdir(parents=True)
    images.write(folder / "grids" / "reals.png", picture(0))
    lines = [json.dumps({"nimg": 0, "kind": "few_images", "text": f"only 3 images {HOSTILE}"}), '{"nimg": 4, "te']
    (folder / "warnings.jsonl").write_text("\n".join(lines), encoding="utf-8")
    page = report(tmp_path, step(folder, "train"))
    assert len(page.all("p", **{"class": "warning"})) == 1 and f"only 3 images {HOSTILE}" in page.text
    assert page.html.index("only 3 images") < page.html.index("Reals, for comparison")


def test_settings_that_were_chosen_come_before_the_defaults(tmp_path: Path) -> None:
    params = {"model": str(tmp_path / "model"), "seeds": "0-2", "psi": 0.7, "batch": 16, "device": "auto"}
    inputs = {"model": [{"path": str(tmp_path / "model"), "digest": "d"}]}
    page = report(tmp_path, step(tmp_path, "sample", params=params, inputs=inputs))
    table = page.html.split("<table>")[1].split("</table>")[0]
    assert re.findall(r"<th>(\w+)", table) == ["model", "seeds", "psi", "batch", "device"]
    assert table.count('class="changed"') == 2
    assert str(tmp_path) not in page.html  # nobody's folders go into a page that is passed on


def test_licenses_are_counted_and_authors_named(tmp_path: Path, photos: StepReport) -> None:
    page = report(tmp_path, photos)
    credits = page.html.split('id="credits"')[1].split("</section>")[0]
    assert "CC-BY-4.0" in credits and "Licenses of the 3 pictures" in credits and credits.count("<li>") == 3
    assert "No policy for licenses was set" in credits and "Name the authors of CC BY pictures" in credits


def test_policies_are_told_and_licenses_counted_by_their_one_name(tmp_path: Path) -> None:
    (folder := tmp_path / "photos").mkdir()
    licenses = ["cc-by", "CC BY", "cc by-nc-sa 4.0", None, "?", HOSTILE]
    write_index(folder, [{"id": str(n), "license": text, "source": "urls"} for n, text in enumerate(licenses)])
    steps = [step(folder, "scrape", params={"licenses": policy}) for policy in ("noncommercial", "open", None, HOSTILE)]
    named = [dataclasses.replace(s, name=f"{n}") for n, s in enumerate(steps)]
    page = report(tmp_path, *named)
    credits = Page(page.html.split('id="credits"')[1].split("</section>")[0])
    assert (
        "Policy: noncommercial (CC0, public domain, CC BY, CC BY-SA, CC BY-NC, CC BY-NC-SA) in 0, open (CC0"
        in credits.text
    )
    rows = re.findall(r'bar-name">(?:<a href="(.*?)".*?>|<b>)(.*?)</.*?bar-value">(\d+)', credits.html, re.DOTALL)
    page_of = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
    known = [row for row in rows if "script" not in row[1]]
    assert known == [("", "CC-BY", "2"), ("", "unknown", "2"), (page_of, "CC-BY-NC-SA-4.0", "1")]
    assert "non-commercial use only" in credits.text and HOSTILE in credits.text and not credits.all("script")


def test_pictures_of_a_packed_dataset_are_shown_when_their_files_are_gone(tmp_path: Path) -> None:
    from foxgan.stages.base import Context
    from foxgan.stages.pack import Pack

    source, out = tmp_path / "crops", tmp_path / "dataset"
    out.mkdir()
    crops = gallery(source, side=32)
    Pack(images=(source,), workers=0).run(out, Context())
    for path in source.glob("images/*.png"):
        path.unlink()
    page = report(tmp_path, step(out, "pack", [crops.name]))
    assert len(page.all("img", width="32", height="32")) == 6  # in the header and below


def test_the_same_run_gives_the_same_page(tmp_path: Path, photos: StepReport, heads: StepReport) -> None:
    assert report(tmp_path, photos, heads).html == report(tmp_path, photos, heads).html


def test_a_broken_index_does_not_break_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "index.parquet").write_bytes(b"PAR1 no")
    broken = StepReport("photos", "scrape", folder, {"stage": "scrape"}, "made")
    assert "photos" in report(tmp_path, broken).text
