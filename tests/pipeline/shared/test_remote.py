"""The shared cache itself: what is stored, what is believed of it, and what a kill leaves."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from foxgan.errors import DataError, DownloadError, StageError, UsageError
from foxgan.pipeline.folder import read_manifest
from foxgan.pipeline.shared import bucket
from foxgan.pipeline.shared.bucket import Bucket, without_password
from foxgan.pipeline.shared.remote import Remote, pulled
from foxgan.pipeline.shared.remote_manifest import SharedManifest, check_index, check_names, portable
from foxgan.stages.context import Silent

COUNT = 40


class Stopped(Silent):
    """Progress that interrupts `what` after some advances."""

    def __init__(self, what: str, after: int = 5) -> None:
        self.what, self.after = what, after
        self.at_work = False

    def start(self, description: str, total: float) -> None:
        self.at_work = self.what in description

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.after -= self.at_work
        if self.after < 0:
            raise KeyboardInterrupt


@pytest.fixture
def made(toys: Any) -> Path:
    """A finished artifact with a few files beside its result, two of them equal."""

    def more(out: Path) -> None:
        (out / "images" / "deep").mkdir(parents=True)
        for number in range(COUNT):
            (out / "images" / f"{number:02}.bin").write_bytes(bytes([number]) * 100)
        (out / "images" / "deep" / "00.bin").write_bytes(bytes(100))
        (out / "empty").touch()

    toys.trouble["write"] = more
    folder: Path = toys.run("steps: {write: {text: fox}}").folder("write")
    return folder


@pytest.fixture(params=["folder", "memory"])
def address(request: Any, tmp_path: Path) -> str:
    return str(tmp_path / "cache") if request.param == "folder" else f"memory://{uuid4().hex}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def manifest_of(folder: Path) -> dict[str, Any]:
    found = read_manifest(folder)
    assert found is not None
    return found


def push(cache: str | Path, folder: Path) -> Any:
    return Remote(str(cache)).push(folder, manifest_of(folder), Silent())


def fetch(cache: str | Path, key: str, folder: Path, progress: Any = None) -> Any:
    remote = Remote(str(cache))
    manifest = remote.manifest(key)
    assert manifest is not None
    return remote.fetch(manifest, folder, progress or Silent())


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "foxgan.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def object_of(cache: Path, data: bytes) -> Path:
    sha256 = hashlib.sha256(data).hexdigest()
    return cache / "objects" / sha256[:2] / sha256


def change(cache: Path, key: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Let the cache say something else of an artifact."""
    path = cache / "artifacts" / f"{key}.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_pushed_is_fetched_as_it_was(made: Path, address: str, tmp_path: Path) -> None:
    manifest = manifest_of(made)
    sent = push(address, made)
    assert (sent.files, sent.moved_files) == (COUNT + 3, COUNT + 2)  # equal files are one object
    fetched = fetch(address, manifest["key"], tmp_path / "here")
    assert (fetched.files, fetched.moved_files) == (COUNT + 3, COUNT + 3)
    assert contents(tmp_path / "here") == contents(made)
    assert manifest_of(tmp_path / "here") == portable(manifest)
    assert all(p.stat().st_mode & 0o222 == 0 for p in (tmp_path / "here").rglob("*") if p.is_file())
    assert not pulled(tmp_path / "here").exists()


def test_an_artifact_that_was_never_pushed_is_not_there(address: str) -> None:
    assert Remote(address).manifest("0" * 64) is None


def test_files_that_the_cache_has_are_not_sent_again(made: Path, address: str) -> None:
    push(address, made)
    again = push(address, made)
    assert (again.moved_files, again.moved_bytes) == (0, 0)


def test_an_object_of_the_wrong_size_is_sent_again(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    object_of(cache, b"fox").write_bytes(b"fo")
    assert push(cache, made).moved_files == 1
    fetch(cache, manifest_of(made)["key"], tmp_path / "here")


def test_no_path_of_this_machine_leaves_it(toys: Any, cache: Path) -> None:
    report = toys.run("steps: {write: {text: /etc/fox}, join: {texts: write}}")
    push(cache, report.folder("join"))
    (shared,) = (cache / "artifacts").iterdir()
    assert str(toys.workspace) in (report.folder("join") / "foxgan.json").read_text()
    assert (
        str(toys.folder) not in shared.read_text() and "/" not in json.loads(shared.read_text())["params"]["texts"][0]
    )
    assert json.loads(shared.read_text())["inputs"]["texts"][0]["path"] == report.folder("write").name


def test_the_schema_knows_all_that_a_manifest_holds(made: Path) -> None:
    assert manifest_of(made).keys() == SharedManifest.model_fields.keys() - {"files"}


def test_many_files_are_looked_for_in_listings_and_few_one_by_one() -> None:
    asked: Counter[str] = Counter()

    class Counting(MemoryFileSystem):  # type: ignore[misc]
        def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
            asked["ls"] += 1
            return super().ls(path, detail=detail, **options)

        def info(self, path: str, **options: Any) -> Any:
            asked["info"] += 1
            return super().info(path, **options)

    opened = Bucket(f"memory://{uuid4().hex}")
    paths = [f"objects/{n % 16:02x}/{n:04}" for n in range(100)]
    for path in paths[:90]:
        opened.write(b"x" * int(path[-4:]), path)
    opened.fs = Counting()
    expected = {path: int(path[-4:]) for path in paths[:90]}
    assert opened.sizes(paths) == expected
    assert asked == {"ls": 16}
    asked.clear()
    assert opened.sizes(paths[85:95]) == dict(list(expected.items())[85:])
    assert asked == {"ls": 1, "info": 10}


BAD_PATHS = [
    *(
        "../x",
        "a/../x",
        "/etc/x",
        "./x",
        "a//x",
        "",
        "a/",
        "C:x",
        "C:/x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "nul",
        "images/CON.txt",
        "x.",
    ),
    *(
        "x ",
        ".work.json",
        "a/.hidden/b",
        "foxgan.json",
        "FOXGAN.json",
        "x.tmp",
        "x" * 250,
        "x/" * 600 + "x",
        "\ud800",
        "what?",
    ),
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda p: ascii(p[:20]))
def test_a_name_that_leaves_the_folder_or_fits_no_system_is_refused(path: str, made: Path, cache: Path) -> None:
    push(cache, made)
    key = manifest_of(made)["key"]
    change(cache, key, lambda m: m["files"][0].update(path=path))
    with pytest.raises(DataError, match="not the manifest of an artifact"):
        Remote(str(cache)).manifest(key)


@pytest.mark.parametrize(
    "paths", [["a", "a"], ["a/B", "A/b"], ["a", "a/b"], ["A/x", "a"], ["caf\u00e9", "cafe\u0301"]], ids=str
)
def test_names_that_meet_on_some_disk_are_refused(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="twice|folder"):
        check_names(paths)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "negative size": lambda m: m["files"][0].update(size=-1),
    "huge size": lambda m: m["files"][0].update(size=1 << 60),
    "size as text": lambda m: m["files"][0].update(size="3"),
    "size true": lambda m: m["files"][0].update(size=True),
    "short hash": lambda m: m["files"][0].update(sha256="ab"),
    "hash of dots": lambda m: m["files"][0].update(sha256="../" * 21 + "x"),
    "more in a file": lambda m: m["files"][0].update(mode=0o777),
    "no files": lambda m: m.pop("files"),
    "files as object": lambda m: m.update(files={}),
    "other key": lambda m: m.update(key="0" * 64),
    "key as number": lambda m: m.update(key=0),
    "no digest": lambda m: m.pop("digest"),
    "no total": lambda m: m["seconds"].pop("total"),
    "seconds as text": lambda m: m["seconds"].update(digest="long"),
    "not a number": lambda m: m["seconds"].update(total=float("nan")),
    "counts as text": lambda m: m.update(counts={"in": 1, "kept": "1", "dropped": {}}),
    "counts without in": lambda m: m.update(counts={"kept": 1, "dropped": {}}),
    "input elsewhere": lambda m: m.update(inputs={"texts": [{"path": "/etc", "digest": "0" * 64}]}),
    "horizon as list": lambda m: m.update(horizon={"limit": [1]}),
    "stage as list": lambda m: m.update(stage=[]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_of_other_types_is_refused(name: str, made: Path, cache: Path) -> None:
    push(cache, made)
    key = manifest_of(made)["key"]
    change(cache, key, HOSTILE[name])
    with pytest.raises(DataError, match=rf"artifacts/{key}\.json: not the manifest of an artifact"):
        Remote(str(cache)).manifest(key)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"key": 1' + "0" * 5000 + "}", "\xff"], ids=lambda t: t[:9]
)
def test_what_is_no_manifest_is_refused(text: str, cache: Path) -> None:
    (cache / "artifacts").mkdir(parents=True)
    (cache / "artifacts" / f"{'0' * 64}.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="not the manifest of an artifact"):
        Remote(str(cache)).manifest("0" * 64)


def test_a_manifest_that_would_fill_the_memory_is_refused_unread(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "artifacts").mkdir(parents=True)
    path = cache / "artifacts" / f"{'0' * 64}.json"
    path.write_text("[" + "[]," * 5_000_000 + "[]]")
    monkeypatch.setattr(json, "loads", lambda *args, **options: pytest.fail("it was read"))
    with pytest.raises(DataError, match="larger than"):
        Remote(str(cache)).manifest("0" * 64)
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # a hole: it fills no disk
    with pytest.raises(DataError, match="larger than"):
        Remote(str(cache)).manifest("0" * 64)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b"fix"), f"sha256 is {hashlib.sha256(b'fix').hexdigest()}, expected"),
        (lambda path: path.write_bytes(b"fo"), "it has 2 bytes, expected 3"),
        (lambda path: path.unlink(), "it is missing"),
    ],
    ids=["other", "shorter", "missing"],
)
def test_wrong_bytes_are_told_and_nothing_of_them_is_left(
    spoil: Callable[[Path], Any], words: str, made: Path, cache: Path, tmp_path: Path
) -> None:
    push(cache, made)
    spoiled = object_of(cache, b"fox")
    spoil(spoiled)
    with pytest.raises(DataError, match=words) as error:
        fetch(cache, manifest_of(made)["key"], tmp_path / "here")
    assert str(spoiled) in str(error.value) and "push again" in str(error.value)
    assert not (tmp_path / "here").exists() and not pulled(tmp_path / "here").exists()


def test_no_more_bytes_are_read_than_announced(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    with object_of(cache, b"fox").open("ab") as file:
        file.write(b" and more")
    fetch(cache, manifest_of(made)["key"], tmp_path / "here")
    assert (tmp_path / "here" / "value.txt").read_bytes() == b"fox"


def test_right_bytes_of_another_meaning_are_refused(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    key, digest = (manifest_of(made)[name] for name in ("key", "digest"))
    change(cache, key, lambda m: m.update(digest="f" * 64))
    with pytest.raises(DataError, match=f"output digest of its files is {digest}, expected {'f' * 64}"):
        fetch(cache, key, tmp_path / "here")
    change(cache, key, lambda m: m.update(stage="elsewhere"))
    with pytest.raises(DataError, match="does not know"):
        fetch(cache, key, tmp_path / "here")
    assert not (tmp_path / "here").exists() and not pulled(tmp_path / "here").exists()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret/x.png", "images/../../x", "../write-000000000000/../x", "../../x/write-000000000000/x"],
)
def test_an_index_that_names_files_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    import polars as pl

    pl.DataFrame(
        {"id": ["a", "b", "c"], "path": ["images/a.png", None, "../write-000000000000/images/b.png"]}
    ).write_parquet(tmp_path / "index.parquet")
    check_index(tmp_path)
    pl.DataFrame({"id": ["a"], "path": [path]}).write_parquet(tmp_path / "index.parquet")
    with pytest.raises(ValueError, match=r"index\.parquet names the file"):
        check_index(tmp_path)


def test_what_the_disk_cannot_hold_is_refused_before_the_first_byte(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    key = manifest_of(made)["key"]
    change(cache, key, lambda m: [file.update(size=1 << 49) for file in m["files"]])
    with pytest.raises(StageError, match="GB free"):
        fetch(cache, key, tmp_path / "here")
    assert not pulled(tmp_path / "here").exists()


def test_an_interrupted_fetch_goes_on_where_it_was(made: Path, address: str, tmp_path: Path) -> None:
    push(address, made)
    key, target = manifest_of(made)["key"], tmp_path / "here"
    with pytest.raises(KeyboardInterrupt):
        fetch(address, key, target, Stopped("fetching"))
    assert not target.exists()
    there = len(contents(pulled(target)))
    assert there >= 4 and not list(pulled(target).rglob("*.tmp"))
    (pulled(target) / "images" / "00.bin.tmp").write_bytes(b"torn by a kill")
    (pulled(target) / "images" / "01.bin").unlink(missing_ok=True)
    (pulled(target) / "images" / "01.bin").write_bytes(b"x" * 100)  # a disk that lost power
    lost = sum(
        (pulled(target) / path).read_bytes() != data
        for path, data in contents(made).items()
        if (pulled(target) / path).exists()
    )
    left = len(contents(pulled(target))) - 1 - lost
    assert fetch(address, key, target).moved_files == COUNT + 3 - left
    assert contents(target) == contents(made)


def test_what_another_fetch_has_left_does_not_get_in(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    pulled(tmp_path / "here").mkdir()
    (pulled(tmp_path / "here") / "stranger.txt").write_text("hello")
    fetch(cache, manifest_of(made)["key"], tmp_path / "here")
    assert contents(tmp_path / "here") == contents(made)


def test_a_partial_upload_is_not_seen(made: Path, address: str) -> None:
    remote, manifest = Remote(address), manifest_of(made)
    with pytest.raises(KeyboardInterrupt):
        remote.push(made, manifest, Stopped("sending"))
    assert remote.manifest(manifest["key"]) is None
    assert remote.push(made, manifest, Silent()).moved_files <= COUNT + 2 - 5
    assert remote.manifest(manifest["key"]) is not None


def test_two_may_push_the_same_at_once(made: Path, cache: Path, tmp_path: Path) -> None:
    manifest, problems = manifest_of(made), list[BaseException]()
    begin = threading.Barrier(4)

    def work() -> None:
        try:
            begin.wait()
            push(cache, made)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and not list(cache.rglob("*.tmp"))
    fetch(cache, manifest["key"], tmp_path / "here")


def test_an_artifact_with_names_that_cannot_travel_is_not_sent(made: Path, cache: Path) -> None:
    for name in ("a?.txt", "aux"):
        (made / name).touch()
        with pytest.raises(StageError, match="cannot be shared"):
            push(cache, made)
        (made / name).unlink()
    (made / ".hidden").touch()
    (made / "link").symlink_to("/etc/passwd")
    assert push(cache, made).files == COUNT + 3


@pytest.mark.parametrize("address", ["nothing://x", "http2://user:secret@host/x"])
def test_an_address_of_no_known_kind_is_told(address: str) -> None:
    with pytest.raises(UsageError, match="give a folder") as error:
        Remote(address)
    assert "secret" not in str(error.value)


def test_passwords_are_not_shown() -> None:
    assert without_password("s3://me:pass@word@bucket/x") == "s3://bucket/x"
    assert without_password("s3://bucket/a@b") == "s3://bucket/a@b"


def test_fsspec_is_not_loaded_where_no_cache_is_set() -> None:
    modules = "foxgan.pipeline.shared.lookup, foxgan.pipeline.shared.sharing, foxgan.commands.cache"
    code = f"import sys, {modules}; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_fetch_takes_the_place_of_unfinished_work(made: Path, cache: Path, tmp_path: Path) -> None:
    push(cache, made)
    shutil.copytree(made, tmp_path / "here", ignore=shutil.ignore_patterns("foxgan.json", "images"))
    (tmp_path / "here" / "half.txt").write_text("half")
    fetch(cache, manifest_of(made)["key"], tmp_path / "here")
    assert contents(tmp_path / "here") == contents(made)


def test_a_transfer_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never, done = threading.Event(), list[int]()
    monkeypatch.setattr(bucket, "GRACE", 0.1)

    def work(number: int) -> None:
        if number == 1:
            never.wait(20)
        transfer.count(number)
        done.append(number)

    start = time.monotonic()
    with pytest.raises(DownloadError, match="not a byte"), bucket.Transfer(Silent(), "x", 0, patience=0.3) as transfer:
        list(transfer.each(work, range(3)))
    assert time.monotonic() - start < 5
    never.set()
    assert sorted(done) == [0, 2]
