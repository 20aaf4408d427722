"""One big file, from a server on loopback that behaves badly in every way."""

import asyncio
import hashlib
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stamina
from werkzeug import Request, Response

from foxgan.download import Limits, download
from foxgan.errors import DataError, DownloadError

BODY = bytes(range(256)) * 40  # 10,240 bytes
SHA256 = hashlib.sha256(BODY).hexdigest()
ONE_TRY = Limits(timeout=2, retries=0)


class Remote:
    """A file, and how it is served: `cuts` says after how many bytes the next connections break."""

    def __init__(self) -> None:
        self.body = BODY
        self.headers = {"ETag": '"1"'}
        self.ranges = True
        self.cuts: list[int] = []
        self.asked: list[str | None] = []

    def __call__(self, request: Request) -> Response:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        start, status, headers = 0, 200, dict(self.headers)
        if wanted and self.ranges and request.headers.get("If-Range") in headers.values():
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        data = self.body[start:]
        headers = {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream"} | headers
        return Response(iter([data[: self.cuts.pop(0)] if self.cuts else data]), status, headers)


@pytest.fixture(autouse=True)
def no_pauses() -> Any:
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def remote(httpserver: Any) -> Remote:
    remote = Remote()
    httpserver.expect_request("/net.pkl").respond_with_handler(remote)
    return remote


@pytest.fixture
def fetch(httpserver: Any, tmp_path: Path) -> Callable[..., Path]:
    def run(path: str = "/net.pkl", limits: Limits = ONE_TRY, **options: Any) -> Path:
        target = tmp_path / "net.pkl"
        found = download(httpserver.url_for(path), target, limits=limits, **options)
        assert found == hashlib.sha256(target.read_bytes()).hexdigest()
        return target

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_is_put_in_its_place_and_nothing_else_is_left(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    assert fetch(sha256=SHA256, size=len(BODY), on_progress=lambda *facts: seen.append(facts)).read_bytes() == BODY
    assert names(tmp_path) == ["net.pkl"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(BODY), len(BODY))


def test_after_a_cut_connection_only_the_rest_is_asked_for(remote: Remote, fetch: Any) -> None:
    remote.cuts = [4000, 3000]
    assert fetch(limits=Limits(timeout=2, retries=2), sha256=SHA256).read_bytes() == BODY
    assert remote.asked == [None, "bytes=4000-", "bytes=7000-"]


def test_a_download_that_was_given_up_goes_on_the_next_time(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    remote.cuts = [4000, 0]
    with pytest.raises(
        DownloadError, match=r"net\.pkl could not be downloaded: there is no connection, or it broke off"
    ):
        fetch()
    assert names(tmp_path) == ["net.pkl.part", "net.pkl.part.json"]
    seen: list[int] = []
    fetch(sha256=SHA256, on_progress=lambda done, total: seen.append(done))
    assert remote.asked[-1] == "bytes=4000-"
    assert min(seen) > 4000
    assert names(tmp_path) == ["net.pkl"]


def test_tries_go_on_as_long_as_each_round_brings_something(remote: Remote, fetch: Any) -> None:
    remote.cuts = [1000] * 8
    fetch(sha256=SHA256)
    assert len(remote.asked) == 9


def test_tries_come_to_an_end_where_nothing_comes(remote: Remote, fetch: Any) -> None:
    remote.cuts = [0] * 99
    with pytest.raises(DownloadError):
        fetch(limits=Limits(timeout=2, retries=2))
    assert len(remote.asked) == 3


def test_a_part_that_is_whole_needs_no_request(
    remote: Remote, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)  # after the last byte
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert fetch(sha256=SHA256).read_bytes() == BODY
    assert len(remote.asked) == 1


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(remote: Remote, fetch: Any) -> None:
    remote.cuts = [4000, 0]
    with pytest.raises(DownloadError):
        fetch()
    remote.body, remote.headers = BODY[::-1] + b"more", {"ETag": '"2"'}
    assert fetch().read_bytes() == remote.body


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}])
def test_without_a_name_for_its_state_the_whole_file_is_asked_for_again(
    remote: Remote, fetch: Any, headers: dict[str, str]
) -> None:
    remote.headers, remote.cuts = headers, [4000]
    assert fetch(limits=Limits(timeout=2, retries=1), sha256=SHA256).read_bytes() == BODY
    assert remote.asked == [None, None]


def test_a_date_names_a_state_too(remote: Remote, fetch: Any) -> None:
    remote.headers, remote.cuts = {"Last-Modified": "Tue, 06 Oct 2020 10:00:00 GMT"}, [4000]
    fetch(sha256=SHA256, limits=Limits(timeout=2, retries=1))
    assert remote.asked == [None, "bytes=4000-"]


def test_a_server_that_knows_no_ranges_is_read_from_the_start(remote: Remote, fetch: Any) -> None:
    remote.ranges, remote.cuts = False, [4000]
    assert fetch(limits=Limits(timeout=2, retries=1)).read_bytes() == BODY


@pytest.mark.parametrize("status, content_range", [(206, "bytes 0-10239/10240"), (206, ""), (416, "bytes */10240")])
def test_another_part_than_the_one_asked_for_is_not_mixed_in(
    httpserver: Any, remote: Remote, fetch: Any, status: int, content_range: str
) -> None:
    remote.cuts = [4000, 0]
    with pytest.raises(DownloadError):
        fetch()
    httpserver.clear()
    wrong = {"Content-Range": content_range, "ETag": '"1"'}
    httpserver.expect_oneshot_request("/net.pkl").respond_with_data(BODY, status=status, headers=wrong)
    httpserver.expect_request("/net.pkl").respond_with_handler(remote)
    assert fetch(limits=Limits(timeout=2, retries=1), sha256=SHA256).read_bytes() == BODY
    assert remote.asked[-1] is None


def test_what_an_earlier_try_left_of_another_address_is_not_used(httpserver: Any, remote: Remote, fetch: Any) -> None:
    remote.cuts = [4000, 0]
    with pytest.raises(DownloadError):
        fetch()
    other = Remote()
    httpserver.expect_request("/other.pkl").respond_with_handler(other)
    fetch("/other.pkl", sha256=SHA256)
    assert other.asked == [None]


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"url": "x", "validator": null, "total": 1}'])
def test_damaged_notes_on_a_part_are_not_used(remote: Remote, fetch: Any, tmp_path: Path, facts: str) -> None:
    (tmp_path / "net.pkl.part").write_bytes(b"old")
    (tmp_path / "net.pkl.part.json").write_text(facts)
    assert fetch(sha256=SHA256).read_bytes() == BODY
    assert remote.asked == [None]


def test_another_hash_is_refused_and_nothing_is_kept(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"its sha256 is {SHA256}, expected 0000"):
        fetch(sha256="0" * 64)
    assert names(tmp_path) == []


def test_another_size_is_refused_before_a_byte_is_read(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="it has 10,240 bytes, expected 10,241; this is not the known file"):
        fetch(size=len(BODY) + 1)
    assert names(tmp_path) == []


def test_a_web_page_in_place_of_the_file_is_refused_and_a_part_is_kept(
    httpserver: Any, remote: Remote, fetch: Any, tmp_path: Path
) -> None:
    remote.cuts = [4000, 0]
    with pytest.raises(DownloadError):
        fetch()
    httpserver.clear()
    httpserver.expect_request("/net.pkl").respond_with_data("<html>sign in", content_type="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="a web page came in place of the file"):
        fetch()
    assert (tmp_path / "net.pkl.part").stat().st_size == 4000


def test_a_web_page_that_says_it_is_a_file_is_refused(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    remote.body = b"\n<!DOCTYPE html><html>"
    with pytest.raises(DownloadError, match="a web page came in place of the file"):
        fetch()
    assert names(tmp_path) == []


@pytest.mark.parametrize("declared", [True, False])
def test_a_file_that_is_too_large_is_stopped(httpserver: Any, fetch: Any, tmp_path: Path, declared: bool) -> None:
    body = BODY if declared else (BODY[:1000] for _ in range(99))
    httpserver.expect_request("/net.pkl").respond_with_handler(lambda request: Response(body, direct_passthrough=True))
    with pytest.raises(DownloadError, match="it is larger than 9,000 bytes"):
        fetch(limits=Limits(timeout=2, retries=0, max_bytes=9000))
    assert names(tmp_path) == []


def test_a_file_without_a_declared_size_that_ends_too_early_is_refused(
    httpserver: Any, fetch: Any, tmp_path: Path
) -> None:
    httpserver.expect_request("/net.pkl").respond_with_handler(
        lambda request: Response((BODY[:1000] for _ in range(2)), direct_passthrough=True)
    )
    with pytest.raises(DownloadError, match="it has 2,000 bytes, expected 10,240"):
        fetch(size=len(BODY))
    assert names(tmp_path) == []


def test_a_compressed_body_is_refused(remote: Remote, fetch: Any) -> None:
    remote.headers["Content-Encoding"] = "deflate"
    with pytest.raises(DownloadError, match="the server compresses it"):
        fetch()


def test_redirects_are_followed_but_only_to_http(httpserver: Any, remote: Remote, fetch: Any) -> None:
    for path, to in (("/once", "/net.pkl"), ("/file", "file:///etc/passwd"), ("/loop", "/loop")):
        httpserver.expect_request(path).respond_with_data("", status=302, headers={"Location": to})
    assert fetch("/once").read_bytes() == BODY
    with pytest.raises(DownloadError, match="or leads to one that is not"):
        fetch("/file")
    with pytest.raises(DownloadError, match="redirected again and again"):
        fetch("/loop")


def test_other_addresses_than_http_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"this is not an http\(s\) address"):
        download("file:///etc/passwd", tmp_path / "net.pkl")


def test_what_is_gone_is_told_with_its_status_after_one_try(httpserver: Any, fetch: Any) -> None:
    httpserver.expect_request("/net.pkl").respond_with_data("", status=404)
    with pytest.raises(DownloadError, match="the server answers HTTP 404"):
        fetch(limits=Limits(timeout=2, retries=2))
    assert len(httpserver.log) == 1


def test_nobody_listening_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="there is no connection"):
        download("http://127.0.0.1:9/net.pkl", tmp_path / "net.pkl", limits=ONE_TRY)


def test_a_full_disk_is_told_before_anything_is_written(
    remote: Remote, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10_000, 0, 10_000))
    with pytest.raises(DownloadError, match=r"it needs 0 MB, the disk of .* has 0 MB free"):
        fetch()
    assert names(tmp_path) == []


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(remote: Remote, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(b"old")
    remote.cuts = [4000, 0]
    with pytest.raises(DownloadError):
        fetch()
    assert (tmp_path / "net.pkl").read_bytes() == b"old"
    assert fetch().read_bytes() == BODY


def test_it_works_where_an_event_loop_runs_already(remote: Remote, fetch: Any) -> None:
    async def notebook() -> Path:
        return fetch(sha256=SHA256)

    assert asyncio.run(notebook()).read_bytes() == BODY
