"""The catalog of public models is sound, and a name becomes a checked file; all downloads come from loopback."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from pydantic import ValidationError
from werkzeug import Request, Response

import foxgan.shipped
from foxgan.errors import DataError, DownloadError, UsageError
from foxgan.gan.pretrained.catalog import PublicModel, catalog, find_model, local_path, public_model, pull
from foxgan.shipped import catalog_file, shipped_names
from foxgan.stages.sample import Sample
from foxgan.stages.train import Train

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
EXPECTED = "afhqwild afhqcat afhqdog metfaces ffhq256 ffhq512 ffhq1024 celebahq256 lsundog256 cifar10 brecahad"
RESERVED = {"con", "prn", "aux", "nul"}  # no file can be called so on Windows
OLD = 1_600_000_000


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    stamina.set_testing(True, attempts=2, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of this test."""
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path / "here"))
    return tmp_path / "here"


@pytest.fixture
def publish(here: Path, httpserver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An installation whose catalog knows the one model `foxes`; its file is served with `body`."""

    def run(body: bytes = BODY, **known: Any) -> None:
        httpserver.clear()
        httpserver.expect_request("/net-0042.pkl").respond_with_data(body, content_type="application/octet-stream")
        entry = {
            "name": "foxes",
            "url": httpserver.url_for("/net-0042.pkl"),
            "format": "nvidia-torch",
            "domain": "foxes",
        }
        root = tmp_path / f"root-{len(list(tmp_path.iterdir()))}"  # a catalog is read once
        (root / "models" / "shipped").mkdir(parents=True)
        (root / "models" / "catalog.json").write_text(json.dumps([entry | known]))
        monkeypatch.setattr(foxgan.shipped, "_ROOT", root)

    return run


def settled(path: Path) -> None:
    """As if the file had been there for long."""
    os.utime(path, (OLD, OLD))


def test_the_catalog_has_many_models_sorted_and_each_name_once() -> None:
    names = [entry["name"] for entry in json.loads(catalog_file().read_bytes())]
    assert len(names) >= 50
    assert names == sorted(set(names))
    assert set(EXPECTED.split()) <= catalog().keys()
    assert not catalog().keys() & set(shipped_names("models"))


def test_no_model_is_in_it_twice() -> None:
    addresses = [model.url for model in catalog().values()]
    hashes = [model.sha256 for model in catalog().values() if model.sha256]
    assert len(addresses) == len(set(addresses))
    assert len(hashes) == len(set(hashes))


@pytest.mark.parametrize("model", catalog().values(), ids=lambda model: str(model.name))
def test_every_entry_makes_sense(model: PublicModel) -> None:
    assert model.name not in RESERVED
    assert re.fullmatch(r"https?://[^/ ]+/[^ ]+", model.url)
    assert Path(model.file).suffix == {"nvidia-torch": ".pkl", "nvidia-tf": ".pkl", "rosinality": ".pt"}[model.format]
    assert model.height == model.width
    assert model.height is None or model.height in (32, 256, 512, 1024)
    assert model.size is None or 10_000_000 < model.size < 2_000_000_000
    assert model.author and model.page
    assert model.license or model.noncommercial is None, "unknown license, unknown limits"
    assert "stylegan3-" not in model.url, "cannot be loaded"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": "A b"},
        {"url": "ftp://x/y"},
        {"format": "lucidrains"},
        {"size": 0},
        {"sha256": "12"},
        {"hight": 8},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    good = {"name": "x", "url": "https://x/y.pkl", "format": "nvidia-tf", "domain": "foxes"}
    assert PublicModel(**good).file == "x.pkl"
    with pytest.raises(ValidationError):
        PublicModel(**(good | wrong))


def test_a_pulled_model_lies_under_its_name_and_is_not_pulled_again(publish: Any, here: Path, httpserver: Any) -> None:
    publish()
    assert pull("foxes") == pull("foxes") == local_path("foxes") == here / "foxes.pkl"
    assert (here / "foxes.pkl").read_bytes() == BODY
    assert len(httpserver.log) == 1


def test_progress_is_told(publish: Any) -> None:
    publish()
    seen: list[tuple[int, int | None]] = []
    pull("foxes", lambda *facts: seen.append(facts))
    assert seen == [(len(BODY), len(BODY))]


def test_the_hash_is_noted_at_the_first_pull_and_a_changed_file_is_refused_later(publish: Any, here: Path) -> None:
    publish()
    pull("foxes")
    assert json.loads((here / "hashes.json").read_bytes())["foxes.pkl"]["sha256"] == SHA256
    (here / "foxes.pkl").write_bytes(BODY[::-1])
    with pytest.raises(
        DataError,
        match=rf"foxes\.pkl: its sha256 is .*, expected {SHA256} \(that hash is from the first time; .*hashes\.json\)",
    ):
        pull("foxes")


def test_other_bytes_under_the_same_name_are_refused_also_when_pulled_anew(publish: Any, here: Path) -> None:
    publish(sha256=SHA256)
    pull("foxes")
    (here / "foxes.pkl").unlink()
    publish(BODY[::-1], sha256=SHA256)
    with pytest.raises(DataError, match=f"expected {SHA256}; this is not the known file"):
        pull("foxes")
    assert not list(here.glob("foxes*"))


def test_a_noted_hash_holds_for_a_file_that_is_pulled_anew(publish: Any, here: Path) -> None:
    publish()
    pull("foxes")
    (here / "foxes.pkl").unlink()
    publish(BODY[::-1])
    with pytest.raises(
        DataError, match="this is not the known file, .* if the authors have replaced the file, delete foxes.pkl in"
    ):
        pull("foxes")
    assert not list(here.glob("foxes*"))
    (here / "hashes.json").unlink()
    assert pull("foxes").read_bytes() == BODY[::-1]


def test_the_hash_of_the_catalog_goes_before_a_noted_one(publish: Any, here: Path) -> None:
    publish()
    pull("foxes")
    publish(sha256="0" * 64)
    with pytest.raises(
        DataError, match=r"\(that hash is in the catalog\); delete the file and run `foxgan models pull foxes`"
    ):
        pull("foxes")


def test_a_file_that_has_not_changed_is_not_hashed_again(
    publish: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(sha256=SHA256)
    here.mkdir()
    (here / "foxes.pkl").write_bytes(BODY)
    settled(here / "foxes.pkl")
    pull("foxes")
    with monkeypatch.context() as patch:
        patch.delattr(hashlib, "file_digest")
        assert pull("foxes") == here / "foxes.pkl"
    (here / "foxes.pkl").write_bytes(BODY[::-1])
    with pytest.raises(DataError, match="expected"):
        pull("foxes")


def test_a_file_that_was_put_there_by_hand_is_taken_without_the_net(publish: Any, here: Path, httpserver: Any) -> None:
    publish()
    here.mkdir()
    (here / "foxes.pkl").write_bytes(BODY)
    assert find_model("foxes") == here / "foxes.pkl"
    assert httpserver.log == []


def test_damaged_notes_are_told(publish: Any, here: Path) -> None:
    publish()
    pull("foxes")
    (here / "hashes.json").write_text("[1")
    with pytest.raises(
        DataError, match=r"hashes\.json: not the list of hashes that foxgan wrote; restore it, or delete it"
    ):
        pull("foxes")


def test_offline_the_error_says_what_to_put_where(publish: Any, here: Path) -> None:
    publish(url="http://127.0.0.1:9/net.pkl")
    with pytest.raises(DownloadError) as told:
        pull("foxes")
    message = str(told.value)
    assert message.startswith("foxes: http://127.0.0.1:9/net.pkl could not be downloaded: there is no connection")
    assert f"put it at {here / 'foxes.pkl'} (FOXGAN_MODELS names the folder)" in message
    assert "\n" not in message


def test_two_processes_that_want_the_same_model_fetch_it_once(publish: Any, here: Path, httpserver: Any) -> None:
    publish()
    begun = threading.Event()

    def slowly(request: Request) -> Response:
        begun.set()
        time.sleep(1)
        return Response(BODY, content_type="application/octet-stream")

    httpserver.clear()
    httpserver.expect_request("/net-0042.pkl").respond_with_handler(slowly)
    code = (
        f"import pathlib, foxgan.shipped\nfoxgan.shipped._ROOT = pathlib.Path({str(foxgan.shipped._ROOT)!r})\n"
        "from foxgan.gan.pretrained.catalog import pull\nprint(pull('foxes'))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == [str(here / "foxes.pkl")] * 2
    assert begun.is_set()
    assert len(httpserver.log) == 1


def test_a_path_is_itself_before_all_names(publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foxes").write_bytes(b"mine")
    assert find_model("foxes") == Path("foxes")
    assert find_model(tmp_path) == tmp_path
    assert public_model("foxes") is None


def test_a_shipped_model_is_found_by_its_name() -> None:
    assert find_model("wolves64").name == "wolves64.safetensors"


def test_the_entry_of_a_model_is_found_by_name_and_by_its_file(publish: Any, here: Path) -> None:
    publish(license="MIT")
    assert public_model("foxes").license == "MIT"  # type: ignore[union-attr]
    assert public_model(pull("foxes")) == public_model("foxes")
    assert public_model("wolves") is None


@pytest.mark.parametrize("find", [find_model, pull, local_path, Train.find_weights, Sample.find_weights])
def test_an_unknown_name_is_refused_with_the_closest_one(find: Callable[[str], Any]) -> None:
    with pytest.raises(
        UsageError, match=r"called 'afhqwld' \(did you mean 'afhqwild'\?\); shipped: wolves64; public: \d+, see"
    ):
        find("afhqwld")


def test_in_a_key_a_public_model_counts_by_its_name_and_a_shipped_one_by_its_file(here: Path) -> None:
    assert Train.find_weights("afhqwild") is None
    here.mkdir()
    (here / "afhqwild.pkl").write_bytes(b"here")
    assert Train.find_weights("afhqwild") is None
    shipped = Train.find_weights("wolves64")
    assert shipped is not None
    assert shipped.name == "wolves64.safetensors"


def test_the_catalog_is_read_without_anything_heavy() -> None:
    code = (
        "import sys\nfrom foxgan.gan.pretrained.catalog import catalog\ncatalog()\n"
        "print(sorted({'torch', 'numpy', 'aiohttp', 'filelock', 'stamina'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
