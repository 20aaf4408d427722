"""The scrape of the shipped pipeline `foxes`, from every source with one `--set`, as it is typed."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from foxgan.commands.pipelines import run_command
from foxgan.dataset.index import KEPT, read_index
from foxgan.images import encode_jpeg
from foxgan.licenses import allowed
from foxgan.sources.openverse import CLIENT_ID, CLIENT_SECRET
from foxgan.sources.services import SERVICES
from foxgan.sources.words import WEB, Kind
from tests.fakes import FLICKR_KEY, Fakes
from tests.sources.test_video import film, scene

PATHS = {"inaturalist": "/v1", "openverse": "/v1", "commons": "/w", "gbif": "/v1", "flickr": "/services/rest"}
PHOTO = 400  # longest side in pixels: enough for the pipeline's min_size


@pytest.fixture(scope="module")
def fakes():
    with Fakes(photos=60, side=PHOTO) as server:
        server.set(openverse_burst=100_000, openverse_sustained=100_000)
        yield server


@pytest.fixture
def run(tmp_path, monkeypatch, fakes):
    """Run the step `photos` of the pipeline in an empty folder, with `--set` as given."""
    for service, path in PATHS.items():
        monkeypatch.setenv(f"FOXGAN_{service.upper()}_URL", fakes.url(service) + path)
        module, name = SERVICES[service]
        monkeypatch.setattr(f"{module}.{name}.rate", 1000.0)
    monkeypatch.setattr("foxgan.sources.page.WebPages.rate", 1000.0)
    monkeypatch.setenv("FOXGAN_FLICKR_KEY", FLICKR_KEY)
    monkeypatch.setenv("FOXGAN_CONTACT", "me@example.org")
    for name in (CLIENT_ID, CLIENT_SECRET):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.chdir(tmp_path)

    def typed(*changes, code=0, more=()):
        words = [word for change in changes for word in ("--set", change)] + [*more]
        done = CliRunner().invoke(run_command, ["foxes", "--until", "photos", "-q", *words], catch_exceptions=code != 0)
        assert done.exit_code == code, done.output
        return read_index(tmp_path / "data" / "foxes" / "photos") if code == 0 else done

    return typed


def pictures(count=3):
    rng = np.random.default_rng(0)
    return [encode_jpeg(rng.integers(0, 256, (PHOTO, PHOTO, 3), dtype=np.uint8), 90) for _ in range(count)]


def folder(fakes):
    Path("mine").mkdir()
    for number, data in enumerate(pictures()):
        Path(f"mine/{number}.jpg").write_bytes(data)
    return "path: mine"


def archive(fakes):
    with zipfile.ZipFile("mine.zip", "w") as file:
        for number, data in enumerate(pictures()):
            file.writestr(f"{number}.jpg", data)
    return "path: mine.zip"


def idx(fakes):
    head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (3, 32, 32))
    pixels = np.random.default_rng(0).integers(0, 256, 3 * 32 * 32, dtype=np.uint8)
    Path("train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    return "path: train-images-idx3-ubyte.gz"


def video(fakes):
    film(Path("fox.mp4"), [scene(second) for second in range(3) for _ in range(25)])
    return "path: fox.mp4"


def urls(fakes):
    rows = [{"url": f"{fakes.url('pages')}/files/photos/{number}.jpg", "license": "CC0"} for number in range(3)]
    Path("list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "path: list.jsonl"


def page(fakes):
    return f'url: "{fakes.url("pages")}/gallery?page={{page}}", pages: 2'


OTHERS = {
    "folder": folder,
    "archive": archive,
    "idx": idx,
    "video": video,
    "urls": urls,
    "page": page,
    "synthetic": lambda fakes: "limit: 3",
}


@pytest.mark.parametrize("source", WEB)
def test_photos_of_a_service_come_by_its_name_alone(run, source):
    kept = run(f"photos.source={source}")
    assert len(kept) > 3 and set(kept["source"]) == {source} and set(kept["status"]) == {KEPT}
    assert all(allowed(license, "open") for license in kept["license"])
    assert not kept.select("landing_url", "attribution", "group", "retrieved_at").null_count().sum_horizontal()[0]
    assert kept["width"].min() >= 256 <= kept["height"].min(), "the pipeline's own params hold"


@pytest.mark.parametrize("source", OTHERS)
def test_photos_from_elsewhere_come_by_one_step_in_place_of_another(run, fakes, source):
    kept = run(f"photos={{use: scrape, source: {source}, {OTHERS[source](fakes)}}}")
    assert len(kept) >= 3 and set(kept["source"]) == {source} and set(kept["status"]) == {KEPT}


def test_photos_that_are_here_are_not_sent_again_for_other_params(run, fakes):
    few = run("photos.source=inaturalist")
    fakes.reset()
    more = run("photos.min_size=100")
    visits = fakes.visits("open-data", "/photos/*")
    assert 0 < visits.statuses[304] == len(few) < len(more) and not visits.statuses.keys() - {200, 304}
    assert {v.bytes > 0 for v in visits if v.status == 304} == {False}
    known = more.filter(more["id"].is_in(few["id"].to_list()))
    assert known.drop("path").equals(few.drop("path")), "fetched when they were fetched"
    fakes.reset()
    run("photos.min_size=200", more=("--force", "photos"))
    assert not fakes.visits("open-data").statuses[304], "from nothing"


def test_a_refresh_asks_again_and_is_sent_only_what_is_new(run, fakes):
    step = f"photos={{use: scrape, source: page, {page(fakes)}}}"
    first = run(step)
    fakes.reset()
    assert run(step, more=("--refresh", "photos")).equals(first)
    assert fakes.visits("pages", "/gallery*").statuses == {304: 2} and not fakes.visits("pages", "/files/*")


def test_no_source_is_left_out():
    assert {*WEB, *OTHERS} == {*Kind.__args__}


def test_who_does_not_say_who_asks_is_told_how_before_anybody_is_asked(run, fakes, monkeypatch):
    monkeypatch.delenv("FOXGAN_CONTACT")
    fakes.reset()
    done = run("photos.source=commons", code=1)
    assert "set `contact`, or FOXGAN_CONTACT in the environment" in str(done.exception)
    assert not fakes.visits()
    monkeypatch.setenv("FOXGAN_CONTACT", "me@example.org\n")
    assert len(run("photos.source=commons")) and all("(me@example.org)" in agent for agent in fakes.visits().agents)
