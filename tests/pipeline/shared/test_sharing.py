"""`push`, `pull` and what a run asks of the shared cache, against an S3 server on this machine."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from foxgan import stages
from foxgan.commands.cache import pull_command, push_command
from foxgan.errors import DataError, DownloadError, LockedError, StageError, UsageError
from foxgan.pipeline.folder import read_manifest
from foxgan.pipeline.plan import Planned, plan
from foxgan.pipeline.shared import lookup
from foxgan.pipeline.shared.lookup import Cache
from foxgan.pipeline.shared.remote import Remote
from foxgan.pipeline.shared.sharing import pull, push
from foxgan.pipeline.spec import load_pipeline
from foxgan.pipeline.store import Store
from foxgan.stages.base import Context, Field, Input, Stage
from foxgan.stages.context import Silent

CHAIN = """
steps:
  write: {text: fox}
  middle: {use: join, texts: [write, write]}
  last: {use: join, texts: middle, upper: true}
"""
PHOTOS = """
steps:
  photos: {use: scrape, source: synthetic, limit: 3, photo_size: 96}
  crops: {use: crop, heads: photos, size: 16, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
"""


class Telling(Silent):
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, level: Any, text: str) -> None:
        self.said.append(f"{level}: {text}")


class Look(Stage):
    """An index of the files of its inputs, which stay where they are."""

    name = "look"
    borrows = True

    images: Input = Field(description="Outputs of `write`")

    def run(self, out: Path, ctx: Context) -> None:
        from foxgan.dataset.index import write_index

        write_index(out, [{"id": folder.name, "path": str(folder / "value.txt")} for folder in self.images])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server; it keeps all in memory."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def cache(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty cache in a bucket; the address of the server comes from the environment, as a user would give it."""
    from s3fs import S3FileSystem

    use(server, monkeypatch)
    S3FileSystem().mkdir(name := uuid4().hex)
    yield f"s3://{name}/foxes"
    S3FileSystem.clear_instance_cache()


def use(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    values = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    values |= {
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # nothing is tried twice, nobody else asked
    for name, value in (values | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def more(toys: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The toys, and one that borrows."""
    monkeypatch.setitem(stages.MODULES, "look", (Look.__module__, "Look"))
    stages.stage_class.cache_clear()
    return toys


def states(shared: Any) -> dict[str, str]:
    return {one.step: one.state for one in shared}


def push_from(toys: Any, text: str, cache: str, *steps: str, **options: Any) -> dict[str, str]:
    return states(push(toys.file(text), steps, cache=cache, workspace_folder=toys.workspace, **options))


def pull_to(toys: Any, text: str, cache: str, *steps: str, **options: Any) -> dict[str, str]:
    return states(pull(toys.file(text), steps, cache=cache, workspace_folder=toys.workspace, **options))


def elsewhere(toys: Any) -> Any:
    """The same pipelines on another machine."""
    toys.workspace = toys.folder / f"home-{uuid4().hex[:6]}"
    return toys


def test_a_second_workspace_that_pulls_never_computes(toys: Any, cache: str) -> None:
    first = toys.run(CHAIN)
    assert push_from(toys, CHAIN, cache) == {"write": "sent", "middle": "sent", "last": "sent"}
    assert push_from(toys, CHAIN, cache) == {"write": "there", "middle": "there", "last": "there"}
    text = (first.folder("last") / "value.txt").read_text()
    assert pull_to(elsewhere(toys), CHAIN, cache) == {"write": "fetched", "middle": "fetched", "last": "fetched"}
    second = toys.run(CHAIN)
    assert second.made == toys.ran == []
    assert (second.folder("last") / "value.txt").read_text() == text == "FOX+FOX"
    assert pull_to(toys, CHAIN, cache) == {"write": "here", "middle": "here", "last": "here"}


def test_the_last_step_alone_is_enough(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, cache)
    assert pull_to(elsewhere(toys), CHAIN, cache, "last") == {"last": "fetched"}
    assert [path.name for path in (toys.workspace / "data").glob("*-*")] != []
    assert len(list((toys.workspace / "data").glob("*-*/foxgan.json"))) == 1
    assert toys.run(CHAIN).made == toys.ran == []


def test_inputs_of_what_was_pulled_are_where_they_would_lie_here(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, cache)
    pull_to(elsewhere(toys), CHAIN, cache)
    report = toys.run(CHAIN)
    manifest = read_manifest(report.folder("last"))
    assert manifest and manifest["inputs"]["texts"][0]["path"] == str(report.folder("middle"))
    assert manifest["params"]["texts"] == [report.folder("middle").name]


def test_what_is_not_finished_is_named_and_the_rest_is_sent(toys: Any, cache: str) -> None:
    toys.run(CHAIN, until="middle")
    assert push_from(toys, CHAIN, cache) == {"write": "sent", "middle": "sent", "last": "unfinished"}


def test_what_the_cache_has_not_is_named_and_the_rest_is_fetched(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, cache, "write")
    assert pull_to(elsewhere(toys), CHAIN, cache) == {"write": "fetched", "middle": "missing", "last": "unknown"}
    toys.run(CHAIN)
    assert toys.ran == ["join", "join"]


def test_another_output_of_the_same_key_does_not_replace_what_is_there(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, cache)
    toys.trouble["write"] = lambda out: (out / "value.txt").write_text("chance")
    elsewhere(toys)
    text = CHAIN.replace("{text: fox}", "{text: fox, workers: 2}")
    toys.trouble.clear()
    folder = toys.run(text, until="write").folder("write")
    (folder / "foxgan.json").chmod(0o644)
    manifest = json.loads((folder / "foxgan.json").read_text())
    (folder / "foxgan.json").write_text(json.dumps({**manifest, "digest": "0" * 64}))
    assert push_from(toys, text, cache, "write") == {"write": "different"}
    assert push_from(toys, CHAIN, cache, "last") == {"last": "unfinished"}


def test_real_artifacts_are_the_same_elsewhere(tmp_path: Path, cache: str) -> None:
    from foxgan.dataset.index import read_index
    from foxgan.dataset.lmdb import open_dataset
    from foxgan.pipeline.run import run

    pipeline = tmp_path / "photos.yaml"
    pipeline.write_text(PHOTOS)
    first = run(pipeline, workspace_folder=tmp_path / "a")
    assert set(states(push(pipeline, cache=cache, workspace_folder=tmp_path / "a")).values()) == {"sent"}
    assert set(states(pull(pipeline, cache=cache, workspace_folder=tmp_path / "b")).values()) == {"fetched"}
    second = run(pipeline, workspace_folder=tmp_path / "b")
    assert second.made == []
    assert open_dataset(first.folder("dataset")).fingerprint == open_dataset(second.folder("dataset")).fingerprint
    paths = read_index(second.folder("crops"))["path"].to_list()
    assert len(paths) >= 3 and all(Path(path).is_file() and str(tmp_path / "b") in path for path in paths)


LOOK = "steps: {one: {use: write}, two: {use: write, text: owl}, look: {images: [one, two]}}"


def test_what_borrows_files_finds_them_beside_it(more: Any, cache: str) -> None:
    from foxgan.dataset.index import read_index

    more.run(LOOK)
    push_from(more, LOOK, cache)
    assert set(pull_to(elsewhere(more), LOOK, cache).values()) == {"fetched"}
    report = more.run(LOOK)
    assert report.made == []
    paths = read_index(report.folder("look"))["path"].to_list()
    assert [Path(path).read_text() for path in paths] == ["fox", "owl"]
    assert all(str(more.workspace) in path for path in paths)


def test_what_borrows_from_other_folders_than_those_here_is_of_no_use(more: Any, cache: str) -> None:
    other = LOOK.replace("one: {use: write}", "base: {use: write}, one: {use: initial, texts: base}")
    same = LOOK.replace("one: {use: write}", "one: {use: write, text: f}")  # the same output from another folder
    more.run(other)
    push_from(more, other, cache)
    elsewhere(more).run(same, until="one")
    more.run(same, until="two")
    assert pull_to(more, same, cache, "look") == {"look": "missing"}
    assert more.run(same).made == ["look"]


def test_what_names_files_elsewhere_is_not_sent_and_told(more: Any, tmp_path: Path) -> None:
    more.run("steps: {write: {text: fox}}")
    (folder,) = (more.workspace / "data").glob("write-*")
    text = f"steps: {{write: {{text: owl}}, look: {{images: {folder.rename(tmp_path / 'photos')}}}}}"
    more.run(text)
    told = Telling()
    assert push_from(more, text, str(tmp_path / "cache"), progress=told) == {"write": "sent", "look": "unfit"}
    assert any(line.startswith("warning: look:") and "cannot be shared" in line for line in told.said)


def test_wrong_bytes_in_a_bucket_are_told_with_what_to_do(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, cache)
    bucket = Remote(cache).bucket
    (spoiled,) = [p for p in bucket.fs.find(f"{bucket.root}/objects") if bucket.fs.cat(p) == b"FOX+FOX"]
    bucket.fs.pipe_file(spoiled, b"FOX+OWL")
    with pytest.raises(
        DataError, match=rf"^step last: s3://{spoiled} \(value.txt\): its sha256 is .*, expected .*push again"
    ):
        pull_to(elsewhere(toys), CHAIN, cache)
    assert len(list((toys.workspace / "data").glob("*-*/value.txt"))) == 2
    assert not list((toys.workspace / "data").glob("*.pull"))


def test_large_files_go_in_parts(tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from foxgan.pipeline.shared import bucket, remote

    monkeypatch.setattr(bucket, "CHUNK", 1 << 20)
    monkeypatch.setattr(remote, "CHUNK", 1 << 20)
    data = bytes(range(256)) * 4096 * 5 + b"end"
    (tmp_path / "large").write_bytes(data)
    opened = bucket.Bucket(cache)
    opened.send(tmp_path / "large", "objects/aa/large")
    assert opened.read("objects/aa/large", 0, len(data)) == data
    assert opened.read("objects/aa/large", 1 << 20, (1 << 20) + 5) == data[1 << 20 :][:5]


def test_a_missing_bucket_is_told(toys: Any, cache: str) -> None:
    toys.run(CHAIN)
    with pytest.raises(
        DownloadError, match="^step write: cache s3://no-such-bucket: .*bucket does not exist; check the address"
    ):
        push_from(toys, CHAIN, "s3://no-such-bucket")


def test_no_cache_is_a_wrong_use(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOXGAN_CACHE", raising=False)
    with pytest.raises(UsageError, match="--cache URL or FOXGAN_CACHE"):
        push(toys.file(CHAIN))


def test_somebody_at_work_is_waited_for_or_told(toys: Any, tmp_path: Path) -> None:
    toys.run(CHAIN)
    cache = str(tmp_path / "cache")
    push_from(toys, CHAIN, cache)
    elsewhere(toys)
    store = Store(toys.workspace)
    folder = entries(toys, store)["write"].folder
    store.close()
    assert folder is not None
    with store.lock(folder, wait=True), pytest.raises(LockedError):
        pull_to(toys, CHAIN, cache, wait=False)


def test_what_is_not_foxgans_is_not_deleted_by_a_pull(toys: Any, tmp_path: Path) -> None:
    toys.run(CHAIN)
    push_from(toys, CHAIN, str(tmp_path / "cache"))
    elsewhere(toys)
    store = Store(toys.workspace)
    folder = entries(toys, store)["write"].folder
    store.close()
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(StageError, match="holds files of something else"):
        pull_to(toys, CHAIN, str(tmp_path / "cache"))
    assert (folder / "diary.txt").read_text() == "mine"


@pytest.fixture
def commands(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FOXGAN_CACHE", str(tmp_path / "cache"))

    def invoke(command: Any, *args: str) -> str:
        done = CliRunner().invoke(command, [*args, "--workspace", str(toys.workspace)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return invoke


def test_the_commands_tell_every_step(toys: Any, commands: Any) -> None:
    file = str(toys.file(CHAIN))
    toys.run(CHAIN, {"last.upper": False}, until="last")
    out = commands(push_command, file, "--set", "last.upper=false", "-q")
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["write", "write", "sent"],
        ["middle", "join", "sent"],
        ["last", "join", "sent"],
    ]
    elsewhere(toys)
    rows = json.loads(commands(pull_command, file, "--json"))
    assert [(row["step"], row["state"]) for row in rows] == [
        ("write", "fetched"),
        ("middle", "fetched"),
        ("last", "missing"),
    ]
    assert rows[0]["moved_bytes"] == 3 and Path(rows[0]["folder"]).is_dir()


def entries(toys: Any, store: Store) -> dict[str, Planned]:
    pipeline = load_pipeline(toys.file(CHAIN))
    return plan(pipeline, store, pipeline.steps)


@pytest.fixture
def store(toys: Any, tmp_path: Path) -> Iterator[Store]:
    """An empty workspace, and a cache in a folder that has all of the chain."""
    toys.run(CHAIN)
    push_from(toys, CHAIN, str(tmp_path / "cache"))
    opened = Store(elsewhere(toys).workspace)
    yield opened
    opened.close()


def test_a_run_finds_and_fetches_what_it_would_have_made(toys: Any, store: Store, tmp_path: Path) -> None:
    told = Telling()
    asked = Cache(str(tmp_path / "cache"), store, told, wait=False)
    for name in ("write", "middle", "last"):
        planned = entries(toys, store)
        entry = planned[name]
        assert entry.key is not None and entry.folder is not None
        assert asked.find(entry.step, entry.key, planned) is not None
    planned = entries(toys, store)
    assert [entry.manifest and entry.manifest["step"] for entry in planned.values()] == ["write", "middle", "last"]
    assert asked.has(planned["last"], planned) and asked.fetch(planned["last"], planned)
    assert entries(toys, store)["last"].state == "kept"
    assert [text for text in told.said if not text.startswith("info: last: fetched")] == []
    assert toys.run(CHAIN).made == toys.ran == []


def test_a_damaged_artifact_is_a_warning_and_the_step_is_made_here(toys: Any, store: Store, tmp_path: Path) -> None:
    told, cache = Telling(), tmp_path / "cache"
    for path in (cache / "objects").glob("*/*"):
        path.write_bytes(b"x" * path.stat().st_size)
    asked = Cache(str(cache), store, told, wait=False)
    planned = entries(toys, store)
    assert asked.has(planned["write"], planned)
    assert not asked.fetch(planned["write"], planned)
    assert len(told.said) == 1 and told.said[0].startswith("warning: step write") and "It is made here" in told.said[0]
    assert not asked.has(planned["write"], planned) and not asked.fetch(planned["write"], planned)
    assert len(told.said) == 1
    toys.run(CHAIN)
    assert toys.ran == ["write", "join", "join"]


def test_a_manifest_of_another_stage_is_not_believed(toys: Any, store: Store, tmp_path: Path) -> None:
    planned, told = entries(toys, store), Telling()
    entry = planned["write"]
    assert entry.key is not None
    path = tmp_path / "cache" / "artifacts" / f"{entry.key.full}.json"
    for change in ({"stage": "grow"}, {"version": 7}, {"lineage": "0" * 64}, {"horizon": {"limit": 3}}):
        manifest = json.loads(path.read_text()) | change
        other = tmp_path / f"cache-{next(iter(change))}"
        (other / "artifacts").mkdir(parents=True)
        (other / "artifacts" / path.name).write_text(json.dumps(manifest))
        assert Cache(str(other), store, told, wait=False).find(entry.step, entry.key, planned) is None
    assert len(told.said) == 4 and all("expected" in text for text in told.said)
    assert store.ledger.manifest(entry.key.full) is None


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_cache_that_does_not_answer_costs_a_run_its_patience_once(
    toys: Any, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(silent_server, monkeypatch)
    monkeypatch.setattr(lookup, "PATIENCE", 0.5)
    told, store = Telling(), Store(toys.workspace)
    try:
        asked = Cache("s3://somewhere/foxes", store, told, wait=False)
        planned = entries(toys, store)
        entry = planned["write"]
        assert entry.key is not None
        start = time.monotonic()
        assert asked.find(entry.step, entry.key, planned) is None
        assert 0.4 < time.monotonic() - start < 5
        asked.known.clear()
        start = time.monotonic()
        assert asked.find(entry.step, entry.key, planned) is None
        assert time.monotonic() - start < 0.1
    finally:
        store.close()
    assert len(told.said) == 1 and "goes on without the shared cache" in told.said[0] and "secret" not in told.said[0]


def test_a_cache_that_cannot_be_reached_is_told_without_the_credentials(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    use(f"http://127.0.0.1:{port}", monkeypatch)
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    for address in ("s3://somewhere", "s3://me:hidden@somewhere"):
        with pytest.raises(DownloadError, match="cache s3://somewhere: .*check the address, the network") as error:
            pull_to(toys, CHAIN, address)
        assert "hidden" not in str(error.value) and "secret" not in str(error.value)
