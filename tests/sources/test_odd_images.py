"""Every strange picture behind a name that ends with .jpg, all in one run."""

from pathlib import Path

import numpy as np
import pytest

from foxgan.dataset.index import KEPT
from foxgan.images import decode
from tests.fakes import Fakes
from tests.fakes.odd import HEIGHT, KINDS, WIDTH, plain
from tests.sources.lists import photos, scraped

DROPPED = {
    "jpeg12": "broken",
    "truncated_jpeg": "broken",
    "one_pixel": "too_small",
    "bomb": "too_large",
    "huge_header": "too_large",
    "svg": "not_an_image",
    "html": "not_an_image",
    "text": "not_an_image",
    "nothing": "not_an_image",
}
ENDINGS = {
    "gif": "gif",
    "animated_gif": "gif",
    "webp": "webp",
    "animated_webp": "webp",
    "tiff": "tif",
    "multi_tiff": "tif",
    "heic": "heic",
    "avif": "avif",
    **dict.fromkeys(("apng", "png16", "palette", "la", "one_bit"), "png"),
}
CHANNELS = {**dict.fromkeys(("grey_jpeg", "png16", "one_bit"), 1), **dict.fromkeys(("palette", "la"), 4)}
FAR = {"gif": 12, "animated_gif": 12}  # grey levels on average; others 4


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """By kind; and a photo like any other, called `photo`."""
    with Fakes(side=64) as fakes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOXGAN_ALLOW_PRIVATE", "1")
        urls = {kind: f"{fakes.url('museum')}/odd/{kind}.jpg" for kind in KINDS} | {"photo": photos(fakes, 1)[0]}
        found = scraped(tmp_path_factory.mktemp("odd") / "out", urls.values())
    return {kind: found[url] for kind, url in urls.items() if url in found}


def test_each_is_kept_or_has_its_reason(rows):
    same = {kind: row["status"] for kind, row in rows.items()}
    assert same == {kind: DROPPED.get(kind, KEPT) for kind in (*KINDS, "photo") if kind in rows}


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - DROPPED.keys() - {"panorama"}))
def test_what_is_kept_shows_the_picture_and_is_called_what_it_is(rows, kind):
    row = rows[kind]
    assert Path(row["path"]).suffix == f".{ENDINGS.get(kind, 'jpg')}"
    assert (row["width"], row["height"], row["channels"]) == (WIDTH, HEIGHT, CHANNELS.get(kind, 3))
    assert decode(Path(row["path"]), mode="any").shape == (HEIGHT, WIDTH, CHANNELS.get(kind, 3))
    if kind not in ("one_bit", "palette", "la"):
        grey = CHANNELS.get(kind) == 1
        expected = np.asarray(plain().convert("L" if grey else "RGB"), np.int16).reshape(HEIGHT, WIDTH, -1)
        seen = decode(Path(row["path"]), mode="L" if grey else "RGB").astype(np.int16)
        assert np.abs(seen - expected).mean() <= FAR.get(kind, 4)
