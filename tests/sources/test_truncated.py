"""JPEGs that break off: dropped, or kept as far as they go, in a form that every later stage reads."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from foxgan.dataset.index import KEPT, read_index
from foxgan.errors import UsageError
from foxgan.images import ImageError, decode
from foxgan.sources.held import held_bodies
from foxgan.sources.mending import mended
from foxgan.stages.base import Context
from foxgan.stages.duplicates import Duplicates
from foxgan.stages.quality import Quality
from foxgan.stages.scrape import Scrape
from tests.fakes.fixture import fakes as fakes
from tests.sources.lists import photos, scraped

HEIGHT, WIDTH = 200, 120


def photo(mode="RGB", **options):
    """Bytes of a JPEG with a grain, so that its rows have about equal shares of the file."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([127 + 90 * np.sin(x / 17 + p) * np.cos(y / 13 + p) for p in range(3)], 2)
    pixels = (waves + rng.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **{"quality": 90, "subsampling": 2} | options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return photo(exif=exif)


KINDS = {
    "4:2:0": photo(),
    "4:2:2": photo(subsampling=1),
    "4:4:4": photo(subsampling=0),
    "grey": photo("L"),
    "CMYK": photo("CMYK"),
    "restarts": photo(restart_marker_rows=2),
    "turned": turned(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.65, 0.8, 0.95])
def test_the_rows_that_are_there_are_exactly_those_of_the_whole_photo(kind, share):
    whole = KINDS[kind]
    data, complete = mended(whole[: int(len(whole) * share)], 10**6)
    part, all_of_it = decode(data, mode="any"), decode(whole, mode="any")
    if kind == "turned":  # as stored
        part, all_of_it = np.rot90(part), np.rot90(all_of_it)
    assert 0.5 <= complete == len(part) / HEIGHT < share + 0.05
    assert share - complete < 0.25, "no more is lost than must be"
    # the colours of the last row are smoothed with the one below, which is not there any more
    assert np.array_equal(part[:-1], all_of_it[: len(part) - 1])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize(
    "data",
    [
        photo()[: len(photo()) // 3],
        photo(progressive=True)[: len(photo(progressive=True)) * 9 // 10],
        photo()[:700],
        photo()[:300],
        photo()[: photo().index(b"\xff\xda") + 20],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x00",
        b"",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["a third", "progressive", "first block", "tables", "no row", "start", "empty segment", "nothing", "PNG"],
)
def test_what_is_less_than_half_or_has_no_rows_one_after_the_other_stays_broken(data):
    with pytest.raises(ImageError) as caught:
        mended(data, 10**6)
    assert caught.value.reason in ("broken", "not_an_image")


def test_damage_of_any_kind_gives_a_whole_picture_or_an_error():
    rng = np.random.default_rng(1)
    for kind in KINDS.values():
        for _ in range(60):
            data = bytearray(kind[: rng.integers(2, len(kind))])
            for position in rng.integers(0, len(data), rng.integers(0, 6)):
                data[position] = rng.integers(256)
            try:
                found, complete = mended(bytes(data), 10**6)
                assert 0.5 <= complete <= 1 and (len(found) > 0)
            except ImageError:
                continue


def test_broken_photos_are_dropped_or_kept_as_the_user_says(fakes, tmp_path):
    good = photos(fakes, 4)
    whole = decode(scrape_one(tmp_path / "whole", good[0]), mode="any")
    fakes.rule(good[0].replace(fakes.url("museum"), "museum"), "cut", share=0.7)
    dropped = scraped(tmp_path / "drop", good)
    assert [dropped[url]["status"] for url in good] == ["broken", KEPT, KEPT, KEPT]
    kept = scraped(tmp_path / "keep", good, truncated="keep")
    assert [kept[url]["status"] for url in good] == [KEPT] * 4
    row = kept[good[0]]
    part = decode(Path(row["path"]), mode="any")
    assert (row["height"], row["width"]) == part.shape[:2] and row["id"] == Path(row["path"]).stem
    assert row["complete"] == pytest.approx(len(part) / len(whole)) and 0.5 <= row["complete"] < 0.7
    assert np.array_equal(part[:-1], whole[: len(part) - 1])
    assert [kept[url]["complete"] for url in good[1:]] == [None] * 3


def test_what_was_kept_of_a_broken_photo_does_not_pass_for_the_whole_one_later(fakes, tmp_path):
    good = photos(fakes, 3)
    fakes.rule(good[0].replace(fakes.url("museum"), "museum"), "cut", share=0.7)
    rows = scraped(tmp_path / "keep", good, truncated="keep")
    assert all(row["validator"] for row in rows.values()), "the fakes name the state of each"
    assert held_bodies([tmp_path / "keep"], good).keys() == set(good[1:])


def scrape_one(out, url):
    return Path(scraped(out, [url])[url]["path"])


def test_later_stages_take_what_is_kept_of_broken_photos(fakes, tmp_path):
    fakes.rule("museum/media/*", "cut", share=0.8)
    rows = scraped(tmp_path / "photos", photos(fakes, 4), truncated="keep")
    assert all(row["status"] == KEPT and row["complete"] for row in rows.values())
    for name in ("unlike", "good"):
        (tmp_path / name).mkdir()
    Duplicates(images=tmp_path / "photos", workers=0).run(tmp_path / "unlike", Context())
    Quality(images=tmp_path / "unlike", workers=0).run(tmp_path / "good", Context())
    scored = read_index(tmp_path / "good", kept=False)
    assert len(scored) == 4 and not scored.select("sharpness", "border").null_count().sum_horizontal()[0]
    assert {*scored["complete"]} == {row["complete"] for row in rows.values()}
    assert all(row["border"] < 0.1 for row in scored.to_dicts()), "nothing grey is left at the edge"


def test_drawn_photos_do_not_break_off():
    with pytest.raises(UsageError, match="`truncated` is only for folder and archive and urls"):
        Scrape(source="synthetic", truncated="keep").check()
