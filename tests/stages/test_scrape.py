"""The stage as a user meets it: what is kept, what is dropped and why, and going on after an interruption."""

import errno
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foxgan.dataset.index import KEPT, TRUTH, counts, index_digest, read_index
from foxgan.dataset.lmdb import Dataset
from foxgan.errors import StageError, UsageError
from foxgan.images import decode
from foxgan.licenses import OPEN
from foxgan.pipeline.single import run_stage
from foxgan.sources import intake
from foxgan.sources.inaturalist import INaturalist
from foxgan.stages.base import Context
from foxgan.stages.crop import Crop
from foxgan.stages.pack import Pack
from foxgan.stages.scrape import Scrape
from tests.fakes.fixture import fakes as fakes


def picture(seed, side=64, format="PNG", **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def scrape(out, ctx=None, **fields):
    out.mkdir(exist_ok=True)
    stage = Scrape(workers=0, **fields)
    stage.check()
    stage.run(out, ctx or Context())
    return read_index(out, kept=False)


def listed(**fields):
    """A stage that knows what its source offers."""
    stage = Scrape(**fields)
    stage.item_keys(Path(), Context())
    return stage


def truth(out):
    return read_index(out, name="truth.parquet").sort("parent", "box")


def test_a_folder_keeps_good_photos_as_they_are_and_counts_the_rest(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    good = picture(0, format="JPEG", exif=exif)
    wide = io.BytesIO()
    Image.new("L", (64, 40)).save(wide, "JPEG", exif=exif)
    folder = fill(tmp_path / "photos", {
        "good.jpg": good, "wide.jpg": wide.getvalue(), "cut.png": picture(1)[:2000], "text.jpg": b"a text", "tiny.png": picture(2, 8),
        "wrong-ending.txt.png": picture(3, format="WEBP"),
    })  # fmt: skip
    rows = {r["source_id"]: r for r in scrape(tmp_path / "out", source="folder", path=folder).to_dicts()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "good.jpg": KEPT, "wide.jpg": KEPT, "cut.png": "broken", "text.jpg": "not_an_image", "tiny.png": "too_small",
        "wrong-ending.txt.png": KEPT,
    }  # fmt: skip
    kept = rows["good.jpg"]
    assert kept["id"] == hashlib.sha256(good).hexdigest()
    assert kept["path"] == str(tmp_path / "out" / "images" / kept["id"][:2] / f"{kept['id']}.jpg")
    assert Path(kept["path"]).read_bytes() == good
    assert (kept["source"], kept["license"], kept["channels"]) == ("folder", "unknown", 3)
    assert (rows["wide.jpg"]["width"], rows["wide.jpg"]["height"], rows["wide.jpg"]["channels"]) == (40, 64, 1)
    assert rows["wrong-ending.txt.png"]["path"].endswith(".webp")
    assert not (tmp_path / "out" / "truth.parquet").exists()


def test_equal_pictures_are_one_row_that_knows_both_places(tmp_path):
    folder = fill(tmp_path / "photos", {"a.png": picture(0), "b/copy.png": picture(0), "c.png": picture(1)})
    rows = scrape(tmp_path / "out", source="folder", path=folder, license="CC0-1.0", creator="me")
    assert rows["also"].to_list() == [["folder:b/copy.png"], None]
    assert rows["license"].to_list() == ["CC0-1.0"] * 2 and rows["creator"].to_list() == ["me"] * 2
    assert counts(tmp_path / "out") == {"in": 3, "kept": 2, "dropped": {"duplicate": 1}}


def test_limits_on_pixels_bytes_and_sides_have_their_reasons(tmp_path):
    folder = fill(tmp_path / "photos", {"small.png": picture(0, 20), "good.png": picture(1, 32), "wide.png": picture(2, 128),
                                        "heavy.bmp": picture(3, 40, "BMP")})  # fmt: skip
    rows = scrape(tmp_path / "out", source="folder", path=folder, min_size=30, max_pixels=10_000, max_file_mb=0.0045)
    assert dict(rows.select("source_id", "status").iter_rows()) == {
        "small.png": "too_small", "good.png": KEPT, "wide.png": "too_large", "heavy.bmp": "too_large",
    }  # fmt: skip


def test_yolo_boxes_become_ground_truth_and_bad_lines_are_reported(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("s/images/train/a.png", picture(0))
        archive.writestr("s/images/val/b.png", picture(1))
        archive.writestr("s/images/val/empty.png", picture(2))
        archive.writestr("s/images/val/copy.png", picture(0))
        archive.writestr("s/labels/train/a.txt", "0 .5 .5 .5 .25\n1 .25 .25 .5 .5\n0 .5 .5 .5 .25\nnonsense\n")
        archive.writestr("s/labels/val/b.txt", "0 .5 .5 1 1\n")
        archive.writestr("s/labels/val/copy.txt", "0 .1 .1 .1 .1\n")
        archive.writestr("s/data.yaml", "names: {0: head, 1: tail}")
    ctx = Context()
    rows = scrape(tmp_path / "out", ctx, source="archive", path=path)
    assert rows["split"].to_list() == ["train", "val", "val"]
    parents = dict(rows.select("source_id", "id").iter_rows())
    found = {(r["parent"], tuple(r["box"])): (r["class"], r["split"]) for r in truth(tmp_path / "out").to_dicts()}
    assert found == {
        (parents["s/images/train/a.png"], (16, 24, 48, 40)): ("head", "train"),
        (parents["s/images/train/a.png"], (0, 0, 32, 32)): ("tail", "train"),
        (parents["s/images/val/b.png"], (0, 0, 64, 64)): ("head", "val"),
    }
    assert ctx.facts == {"malformed_labels": 1}


def test_yolo_points_reach_the_ground_truth_and_are_part_of_what_a_head_is(tmp_path):
    folder = fill(tmp_path / "set", {"images/a.png": picture(0), "images/b.png": picture(1)})
    fill(folder, {"data.yaml": b"names: [head]\nkpt_shape: [3, 3]"})
    fill(folder, {"labels/a.txt": b"0 .5 .5 .5 .5 .25 .5 2 .75 .5 1 0 0 0\n0 .5 .5 .5 .5 .25 .5 2 .75 .5 2 .5 .75 2\n"})
    scrape(tmp_path / "out", source="folder", path=folder)
    found = truth(tmp_path / "out")
    assert sorted(found["keypoints"].to_list(), key=str) == [[16, 32, 48, 32, 32, 48], [16, 32, 48, 32, None, None]]
    assert found["id"].n_unique() == 2 and len(index_digest(tmp_path / "out", TRUTH)) == 64


def test_nothing_from_an_archive_lands_outside_of_the_artifact(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil.png", picture(0))
        archive.writestr("good.png", picture(1))
    rows = scrape(tmp_path / "out", source="archive", path=tmp_path / "a.zip")
    assert dict(rows.select("source_id", "status").iter_rows()) == {"../evil.png": "unsafe_name", "good.png": KEPT}
    assert {p.name for p in tmp_path.iterdir()} == {"a.zip", "out"}


def test_idx_images_become_grey_pngs_with_labels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    folder = fill(tmp_path / "mnist", {
        "train-images-idx3-ubyte": bytes([0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 28, 0, 0, 0, 28]) + pixels.tobytes(),
        "train-labels-idx1-ubyte": bytes([0, 0, 8, 1, 0, 0, 0, 6, 3, 1, 4, 1, 5, 9]),
    })  # fmt: skip
    rows = scrape(tmp_path / "out", source="idx", path=folder)
    assert rows["label"].to_list() == [3, 1, 4, 1, 5, 9] and rows["channels"].to_list() == [1] * 6
    for row, expected in zip(rows.to_dicts(), pixels, strict=True):
        assert np.array_equal(decode(Path(row["path"]), mode="any")[..., 0], expected)


def test_labels_and_names_of_idx_files_are_part_of_the_key(tmp_path):
    images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 16]) + bytes(range(256)) * 2
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 2])
    path = fill(tmp_path / "mnist", {"train-images-idx3-ubyte": images}) / "train-images-idx3-ubyte"

    def row(path):
        made = run_stage(
            "scrape", {"source": "idx", "path": str(path), "workers": 0}, workspace_folder=tmp_path / "home"
        )
        return read_index(made.folder).row(0, named=True)

    assert row(path)["label"] is None
    for label in (3, 1):
        fill(path.parent, {"train-labels-idx1-ubyte": labels + bytes([label, 0])})
        assert (row(path)["label"], row(path)["split"]) == (label, "train")
    (path.parent / "train-labels-idx1-ubyte").unlink()
    moved = path.rename(path.with_name("t10k-images-idx3-ubyte"))
    assert (row(moved)["source_id"], row(moved)["split"]) == ("t10k-images-idx3-ubyte#000000", "test")


def test_drawn_photos_come_with_heads_points_and_traits(tmp_path):
    rows = scrape(tmp_path / "out", source="synthetic", limit=6, photo_size=96, seed=3)
    assert set(rows["license"]) == {"CC0-1.0"} and set(rows["creator"]) == {"foxgan"}
    heads = truth(tmp_path / "out").join(
        rows.select("id", "width", "height"), left_on="parent", right_on="id", suffix="_photo"
    )
    assert len(heads) > 0
    for head in heads.to_dicts():
        x0, y0, x1, y1 = head["box"]
        assert 0 <= x0 < x1 <= head["width_photo"] and 0 <= y0 < y1 <= head["height_photo"]
        points = np.array(head["keypoints"]).reshape(3, 2)
        assert ((points > (x0, y0)) & (points < (x1, y1))).all(), "eyes and nose lie in the head"
        assert json.loads(head["traits"]).keys() == {"species", "coat", "turn", "tilt", "mouth", "ears"}


def test_drawn_cutouts_are_pngs_with_alpha_and_have_one_head_each(tmp_path):
    rows = scrape(tmp_path / "out", source="synthetic", limit=4, photo_size=64, transparent=True)
    assert set(rows["channels"]) == {4} and all(path.endswith(".png") for path in rows["path"])
    assert sorted(truth(tmp_path / "out")["parent"]) == sorted(rows["id"])
    for path in rows["path"]:
        alpha = decode(Path(path), mode="any")[..., 3]
        assert alpha[0, 0] == 0 and alpha.max() == 255


def test_the_class_of_a_steps_photos_goes_with_their_heads_and_becomes_the_label(tmp_path):
    for species in ("fox", "wolf"):
        fields = {"limit": 6, "photo_size": 96, "class_name": species}
        rows = scrape(tmp_path / species, source="synthetic", species=species, **fields)
        assert set(rows["class"]) == {species} == set(truth(tmp_path / species)["class"])
    for given in ("heads", "images"):
        for folder in (crops := tmp_path / given, packed := tmp_path / f"{given}-packed"):
            folder.mkdir()
        photos = {given: (tmp_path / "fox", tmp_path / "wolf")}
        Crop(**photos, size=16, max_enlarge=4, max_outside=1, workers=0).run(crops, Context())
        Pack(images=crops, workers=0).run(packed, Context())
        dataset = Dataset(packed)
        assert dataset.class_names == ["fox", "wolf"] and set(dataset.labels) == {0, 1}


def test_without_a_class_drawn_heads_are_heads_and_photos_have_none(tmp_path):
    rows = scrape(tmp_path / "out", source="synthetic", limit=3, photo_size=64)
    assert set(rows["class"]) == {None} and set(truth(tmp_path / "out")["class"]) == {"head"}


def test_addresses_are_fetched_and_every_failure_is_a_row(tmp_path, httpserver):
    good = picture(0)
    httpserver.expect_request("/good.png").respond_with_data(good)
    httpserver.expect_request("/page.png").respond_with_data("<html>no</html>", content_type="text/html")
    httpserver.expect_request("/gone.png").respond_with_data("", status=404)
    names = ("good.png", "page.png", "gone.png")
    urls = [httpserver.url_for(f"/{name}") for name in names] + ["ftp://x/a.png"]
    (tmp_path / "l.csv").write_text("url,license\n" + "".join(f"{url},CC-BY-4.0\n" for url in urls))
    rows = scrape(tmp_path / "out", source="urls", path=tmp_path / "l.csv", rate=1000, robots=False)
    assert dict(rows.select("image_url", "status").iter_rows()) == dict(
        zip(urls, [KEPT, "not_an_image", "http_404", "bad_url"], strict=True)
    )
    assert rows["id"][0] == hashlib.sha256(good).hexdigest() and rows["retrieved_at"][0].endswith("+00:00")
    assert set(rows["license"]) == {"CC-BY-4.0"}
    assert not (tmp_path / "out" / "incoming").exists()


def test_an_interrupted_scrape_downloads_only_what_is_missing(tmp_path, httpserver, monkeypatch):
    for number in range(6):
        httpserver.expect_request(f"/{number}.png").respond_with_data(picture(number))
    (tmp_path / "l.txt").write_text("\n".join(httpserver.url_for(f"/{number}.png") for number in range(6)))
    fields = {"source": "urls", "path": tmp_path / "l.txt", "rate": 1000, "robots": False}
    with monkeypatch.context() as patch:
        patch.setattr(intake, "file_bytes", fails_after(2, intake.file_bytes, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            scrape(tmp_path / "out", **fields)
    httpserver.clear_log()
    scrape(tmp_path / "out", **fields)
    assert httpserver.log == []
    scrape(tmp_path / "straight", **fields)
    assert index_digest(tmp_path / "out") == index_digest(tmp_path / "straight")


def test_failures_that_may_have_passed_are_tried_again_by_the_next_run(tmp_path, httpserver):
    for name, status in (("good", 200), ("gone", 404), ("busy", 503), ("slow", 429)):
        httpserver.expect_ordered_request(f"/{name}.png").respond_with_data(picture(0), status=status)
    names = ("good", "gone", "busy", "slow")
    (tmp_path / "l.txt").write_text("\n".join(httpserver.url_for(f"/{name}.png") for name in names))
    fields = {
        "source": "urls",
        "path": tmp_path / "l.txt",
        "rate": 1000,
        "robots": False,
        "retries": 0,
        "connections": 1,
    }
    rows = scrape(tmp_path / "out", **fields)
    assert rows["status"].to_list() == [KEPT, "http_404", "http_503", "http_429"]
    httpserver.clear()
    for name in ("busy", "slow"):
        httpserver.expect_request(f"/{name}.png").respond_with_data(picture(ord(name[0])))
    rows = scrape(tmp_path / "out", **fields)
    assert rows["status"].to_list() == [KEPT, "http_404", KEPT, KEPT]
    assert sorted(request.path for request, _ in httpserver.log) == ["/busy.png", "/slow.png"]
    scrape(tmp_path / "out", **fields)
    assert len(httpserver.log) == 2, "what is there now is final"


def test_photos_that_wait_for_a_contact_are_asked_for_once_there_is_one(tmp_path, httpserver, monkeypatch):
    monkeypatch.setattr("foxgan.sources.robots.CONTACT_WANTED", ("localhost",))
    for name in "ab":
        httpserver.expect_request(f"/{name}.png").respond_with_data(picture(ord(name)))
    free = httpserver.url_for("/b.png").replace("localhost", "127.0.0.1")
    (tmp_path / "l.txt").write_text(f"{httpserver.url_for('/a.png')}\n{free}")
    fields = {"source": "urls", "path": tmp_path / "l.txt", "rate": 1000, "robots": False}
    monkeypatch.delenv("FOXGAN_CONTACT", raising=False)
    assert scrape(tmp_path / "out", **fields)["status"].to_list() == ["contact", KEPT]
    monkeypatch.setenv("FOXGAN_CONTACT", "Ana <ana@example.org>")
    assert scrape(tmp_path / "out", **fields)["status"].to_list() == [KEPT, KEPT]
    assert [request.path for request, _ in httpserver.log] == ["/b.png", "/a.png"]
    assert "(Ana <ana@example.org>)" in httpserver.log[1][0].headers["User-Agent"]
    with pytest.raises(UsageError, match="on one line"):
        scrape(tmp_path / "other", contact="a\nb", **fields)


def test_photos_of_a_list_that_the_policy_does_not_allow_are_not_asked_for_until_their_license_changes(
    tmp_path, httpserver
):
    for name in "abc":
        httpserver.expect_request(f"/{name}.png").respond_with_data(picture(ord(name)))
    fields = {"source": "urls", "path": tmp_path / "l.csv", "rate": 1000, "robots": False, "licenses": "open"}

    def states(out, *licenses):
        rows = [f"{httpserver.url_for(f'/{name}.png')},{text}\n" for name, text in zip("abc", licenses, strict=True)]
        (tmp_path / "l.csv").write_text("url,license\n" + "".join(rows))
        earlier = [tmp_path / "first"] if out == "second" else []
        return scrape(tmp_path / out, Context(earlier=earlier), **fields)["status"].to_list()

    assert states("first", "CC-BY", "CC-BY-NC", "") == [KEPT, "license", "license"]
    assert states("second", "CC-BY-NC", "CC0", "") == ["license", KEPT, "license"]
    assert [request.path for request, _ in httpserver.log] == ["/a.png", "/b.png"]


def test_what_the_user_says_of_the_license_of_a_page_counts_also_where_it_was_read_before(tmp_path, fakes):
    fields = {"source": "page", "url": f"{fakes.url('pages')}/blog/1.html", "pages": 1, "rate": 1000, "limit": 2}
    assert set(scrape(tmp_path / "first", **fields)["license"]) == {"unknown"}
    visits = len(fakes.visits())
    rows = scrape(tmp_path / "second", Context(earlier=[tmp_path / "first"]), license="CC BY 4.0", **fields)
    assert set(rows["license"]) == {"CC-BY-4.0"} and len(fakes.visits()) == visits
    assert set(rows["license_url"]) == {"https://creativecommons.org/licenses/by/4.0/"}
    with pytest.raises(
        StageError, match=r"none of .* became a photo \(\d+ license\); `licenses` does not allow theirs"
    ):
        scrape(tmp_path / "third", licenses="any", **fields)


def test_a_service_that_knows_nothing_is_told_as_such(tmp_path, fakes, monkeypatch):
    monkeypatch.setenv("FOXGAN_GBIF_URL", f"{fakes.url('gbif')}/v1")
    with pytest.raises(StageError, match="gbif: no photos that may be taken; check `taxon` and `licenses`"):
        scrape(tmp_path / "out", source="gbif", taxon="999")


def fails_after(count, function, error):
    calls = iter(range(10**6))

    def wrapped(*args):
        if next(calls) >= count:
            raise error
        return function(*args)

    return wrapped


def test_an_interrupted_scrape_reads_only_what_is_missing(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos", {f"{n:02}.png": picture(n) for n in range(40)})
    with monkeypatch.context() as patch:
        patch.setattr(intake, "write_bytes", fails_after(20, intake.write_bytes, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            scrape(tmp_path / "out", source="folder", path=folder)
    finished = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert len(finished) == 16 and not (tmp_path / "out" / "index.parquet").exists()
    ids = {entry["rows"][0]["id"] for entry in finished}
    for photo in folder.iterdir():  # whoever still opened these would fail
        if hashlib.sha256(photo.read_bytes()).hexdigest() in ids:
            photo.write_bytes(b"x" * photo.stat().st_size)
    scrape(tmp_path / "out", source="folder", path=folder)
    assert counts(tmp_path / "out") == {"in": 40, "kept": 40, "dropped": {}}


def test_a_killed_scrape_ends_with_the_digest_of_an_undisturbed_one(tmp_path):
    folder = fill(tmp_path / "photos", {f"{n:03}.png": picture(n, 200) for n in range(150)})
    process = multiprocessing.get_context("spawn").Process(target=scrape, args=(tmp_path / "out",),
                                                           kwargs={"source": "folder", "path": folder})  # fmt: skip
    (tmp_path / "out").mkdir()
    process.start()
    deadline = time.monotonic() + 30
    while not list((tmp_path / "out").glob("images/*/*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    process.close()
    scrape(tmp_path / "out", source="folder", path=folder)
    scrape(tmp_path / "straight", source="folder", path=folder)
    assert index_digest(tmp_path / "out") == index_digest(tmp_path / "straight")
    files = [sorted(p.name for p in (tmp_path / name / "images").rglob("*.png")) for name in ("out", "straight")]
    assert files[0] == files[1]


@pytest.mark.parametrize("source", ["folder", "synthetic"])
def test_a_longer_limit_goes_on_and_equals_straight(tmp_path, source):
    fields = {"source": source}
    if source == "folder":
        fields["path"] = fill(tmp_path / "photos", {f"{c}/{n}.png": picture(n % 4) for c in "ab" for n in range(8)})
    else:
        fields["photo_size"] = 64
    scrape(tmp_path / "out", limit=4, **fields)
    done = (tmp_path / "out" / "items.jsonl").read_text()
    for leftover in ("index.parquet", "truth.parquet"):
        (tmp_path / "out" / leftover).unlink(missing_ok=True)
    scrape(tmp_path / "out", limit=12, **fields)
    scrape(tmp_path / "straight", limit=12, **fields)
    assert (tmp_path / "out" / "items.jsonl").read_text().startswith(done)
    assert index_digest(tmp_path / "out") == index_digest(tmp_path / "straight")
    if source == "synthetic":
        assert index_digest(tmp_path / "out", "truth.parquet") == index_digest(tmp_path / "straight", "truth.parquet")


def test_workers_give_the_same_as_none(tmp_path):
    fields = {"source": "synthetic", "limit": 6, "photo_size": 64}
    for name, workers in (("one", 0), ("two", 2)):
        (tmp_path / name).mkdir()
        Scrape(workers=workers, **fields).run(tmp_path / name, Context())
    assert index_digest(tmp_path / "one") == index_digest(tmp_path / "two")


def test_an_empty_folder_and_a_folder_of_rubbish_are_refused_with_advice(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="no files in it that could be photos"):
        scrape(tmp_path / "out", source="folder", path=tmp_path / "empty")
    rubbish = fill(tmp_path / "rubbish", {"a.png": picture(0, 8), "b.png": picture(1, 8), "c.jpg": b"text"})
    with pytest.raises(StageError, match=r"none of 3 files.*2 too_small, 1 not_an_image.*`min_size`"):
        scrape(tmp_path / "out2", source="folder", path=rubbish)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_done(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos", {f"{n}.png": picture(n) for n in range(3)})
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(intake, "write_bytes", fails_after(1, intake.write_bytes, full))
        with pytest.raises(StageError, match="the disk is full"):
            scrape(tmp_path / "out", source="folder", path=folder)
    assert not (tmp_path / "out" / "index.parquet").exists()
    scrape(tmp_path / "out", source="folder", path=folder)
    assert counts(tmp_path / "out")["kept"] == 3


def test_a_photo_without_bytes_left_in_the_source_does_not_stop_the_run(tmp_path):
    folder = fill(tmp_path / "photos", {"a.png": picture(0), "empty.png": b""})
    rows = scrape(tmp_path / "out", source="folder", path=folder)
    assert dict(rows.select("source_id", "status").iter_rows()) == {"a.png": KEPT, "empty.png": "not_an_image"}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"source": "folder"}, "needs `path`: a folder"),
        ({"source": "urls"}, "needs `path`: a .txt"),
        ({"source": "synthetic", "path": "x"}, "`path` is only for folder and archive and idx and urls"),
        (
            {"source": "folder", "path": "x", "species": "wolf"},
            "`species` is only for synthetic, not for source folder",
        ),
        ({"source": "archive", "path": "x", "labels_path": "y"}, "`labels_path` is only for idx"),
        ({"source": "idx", "path": "x", "labels": "folders"}, "`labels` is only for folder and archive"),
        ({"source": "folder", "path": "x", "rate": 2.0}, "`rate` is only for urls"),
        ({"source": "folder", "path": "x", "transparent": True}, "`transparent` is only for synthetic"),
    ],
)
def test_fields_that_mean_nothing_together_are_refused_before_any_work(fields, message):
    with pytest.raises(UsageError, match=message):
        Scrape(**fields).check()


def test_units_and_disk_follow_the_params(tmp_path):
    assert Scrape(source="synthetic").limit == 200, "written out, so that 300 is a longer run of it"
    assert Scrape(source="synthetic").units([]) == 200
    assert Scrape(source="synthetic", limit=5).units([]) == 5
    folder = fill(tmp_path / "photos", {"a.png": bytes(9000), "deep/b.png": bytes(9000), "huge.png": bytes(2_000_000)})
    fields = {"source": "folder", "path": folder, "max_file_mb": 1}
    assert listed(**fields).disk_bytes([]) == 2 * (9000 + 4096)
    assert listed(**fields, limit=1).disk_bytes([]) <= 9000 + 4096
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(20_000))
    assert listed(source="archive", path=tmp_path / "a.zip").disk_bytes([]) == 20_000 + 4096
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder)
    packed = {**fields, "source": "archive", "path": tmp_path / "a.tar.gz"}
    assert listed(**packed).disk_bytes([]) == 2 * (9000 + 4096)
    assert Scrape(source="urls", path=tmp_path / "a.txt").disk_bytes([]) == 0, "nobody knows"


def test_photos_of_a_service_come_with_license_and_origin_and_known_ones_are_not_fetched_again(
    tmp_path, fakes, monkeypatch
):
    monkeypatch.setenv("FOXGAN_INATURALIST_URL", f"{fakes.url('inaturalist')}/v1")
    monkeypatch.setattr(INaturalist, "rate", 1000.0)
    fields = {"source": "inaturalist", "taxon": "Vulpes vulpes", "rate": 1000}
    few = scrape(tmp_path / "few", limit=4, **fields)
    assert few["status"].to_list() == [KEPT] * 4
    assert set(few["license"]) <= OPEN
    assert (
        not few.select("creator", "attribution", "landing_url", "group", "image_url").null_count().sum_horizontal()[0]
    )
    before = fakes.visits().paths
    more = scrape(tmp_path / "more", Context(earlier=[tmp_path / "few"]), limit=7, **fields)
    assert more["id"][:4].to_list() == few["id"].to_list()
    photos = [path for path in fakes.visits().paths[len(before) :] if "/photos/" in path]
    assert len(more) == 7 and len(photos) == 3 and not set(photos) & set(before)
