"""Lists of addresses, and the downloader against a server on loopback that behaves badly in every way."""

import email.utils
import time

import pytest
from werkzeug import Response

from foxgan.errors import DataError
from foxgan.sources.candidate import Refused
from foxgan.sources.fetch import Manners, download, place
from foxgan.sources.urls import Urls, read_list
from foxgan.web import http_host, retry_after

QUICK = Manners(timeout=0.4, retries=2, rate=1000, max_bytes=10_000, robots=False)  # test_robots.py has them


@pytest.fixture
def fetch(tmp_path):
    def run(*urls, manners=QUICK):
        found = {}
        download(urls, tmp_path / "in", manners, found.__setitem__)
        return found

    return run


def test_a_good_body_is_kept_and_nothing_else(httpserver, fetch, tmp_path):
    httpserver.expect_request("/a.jpg").respond_with_data(b"body")
    url = httpserver.url_for("/a.jpg")
    assert fetch(url) == {url: ""}
    assert place(tmp_path / "in", url).read_bytes() == b"body"
    assert len(list((tmp_path / "in").iterdir())) == 1


def test_what_is_gone_is_not_asked_for_twice(httpserver, fetch):
    httpserver.expect_request("/a.jpg").respond_with_data("gone", status=404)
    url = httpserver.url_for("/a.jpg")
    assert fetch(url) == {url: "http_404"}
    assert len(httpserver.log) == 1


def test_a_server_error_is_tried_again(httpserver, fetch):
    httpserver.expect_ordered_request("/a.jpg").respond_with_data("oops", status=500)
    httpserver.expect_ordered_request("/a.jpg").respond_with_data(b"body")
    url = httpserver.url_for("/a.jpg")
    assert fetch(url) == {url: ""}


def test_tries_come_to_an_end(httpserver, fetch):
    httpserver.expect_request("/a.jpg").respond_with_data("busy", status=503, headers={"Retry-After": "0"})
    url = httpserver.url_for("/a.jpg")
    assert fetch(url) == {url: "http_503"}
    assert len(httpserver.log) == 3


def test_retry_after_is_honoured(httpserver, fetch):
    httpserver.expect_ordered_request("/a.jpg").respond_with_data("", status=429, headers={"Retry-After": "1"})
    httpserver.expect_ordered_request("/a.jpg").respond_with_data(b"body")
    start = time.monotonic()
    assert list(fetch(httpserver.url_for("/a.jpg")).values()) == [""]
    assert time.monotonic() - start >= 1
    assert retry_after("7") == 7 and retry_after("soon") is None and retry_after(None) is None
    assert 50 < retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60


def test_a_server_that_asks_for_an_hour_is_left_alone(httpserver, fetch):
    httpserver.expect_request("/a.jpg").respond_with_data("", status=429, headers={"Retry-After": "3600"})
    url = httpserver.url_for("/a.jpg")
    assert fetch(url) == {url: "http_429"}
    assert len(httpserver.log) == 1


def test_a_silent_server_times_out(httpserver, fetch):
    httpserver.expect_request("/a.jpg").respond_with_handler(lambda request: time.sleep(0.8) or Response("late"))
    url = httpserver.url_for("/a.jpg")
    assert fetch(url, manners=Manners(timeout=0.3, retries=0, robots=False)) == {url: "timeout"}


def test_huge_bodies_are_stopped_declared_or_not(httpserver, fetch, tmp_path):
    httpserver.expect_request("/declared").respond_with_data(bytes(20_000))
    httpserver.expect_request("/streamed").respond_with_handler(
        lambda request: Response((bytes(1000) for _ in range(50)), direct_passthrough=True)
    )
    urls = [httpserver.url_for(path) for path in ("/declared", "/streamed")]
    assert fetch(*urls) == dict.fromkeys(urls, "too_large")
    assert list((tmp_path / "in").iterdir()) == []


def test_redirects_are_followed_but_not_for_ever_and_not_to_files(httpserver, fetch):
    for path, to in (("/once", "/a.jpg"), ("/loop", "/loop"), ("/file", "file:///etc/passwd")):
        httpserver.expect_request(path).respond_with_data("", status=302, headers={"Location": to})
    httpserver.expect_request("/a.jpg").respond_with_data(b"body")
    urls = [httpserver.url_for(path) for path in ("/once", "/loop", "/file")]
    assert fetch(*urls) == dict(zip(urls, ["", "too_many_redirects", "bad_url"], strict=True))


def test_nobody_listening_is_a_connection_failure(fetch):
    assert fetch("http://127.0.0.1:9/a.jpg", manners=Manners(retries=0, robots=False)) == {
        "http://127.0.0.1:9/a.jpg": "connection"
    }


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/a.jpg", "a.jpg", "http://", "javascript:alert(1)", "http://[x"]
)
def test_other_schemes_are_refused_without_a_request(fetch, url):
    assert http_host(url) is None
    assert fetch(url) == {url: "bad_url"}


def test_requests_keep_the_rate_of_their_host(httpserver, fetch):
    httpserver.expect_request("/a.jpg").respond_with_data(b"body")
    start = time.monotonic()
    fetch(*(httpserver.url_for(f"/a.jpg?{n}") for n in range(6)), manners=Manners(rate=10, robots=False))
    assert time.monotonic() - start >= 0.45


def test_text_lists_have_one_address_a_line(tmp_path):
    path = tmp_path / "l.txt"
    path.write_text("\ufeffhttps://x/a.jpg\n\n# a comment\n  https://x/b.jpg  \nhttps://x/a.jpg\n", "utf-8")
    found = list(Urls(tmp_path, (path,)).candidates())
    assert [c.source_id for c in found] == ["https://x/a.jpg", "https://x/b.jpg"]
    assert found[0].meta == {"image_url": "https://x/a.jpg"}


def test_csv_and_jsonl_carry_license_creator_and_labels(tmp_path):
    (tmp_path / "l.csv").write_text(
        'url,license,creator,label,other\nhttps://x/a.jpg,CC-BY-4.0,"A, B",wolf,1\nhttps://x/b.jpg,,,fox,2\n'
    )
    (tmp_path / "l.jsonl").write_text('{"url": "https://x/c.jpg", "label": 7, "group": 12, "license": null}\n')
    found = list(Urls(tmp_path, (tmp_path / "l.csv", tmp_path / "l.jsonl")).candidates())
    assert [c.meta for c in found] == [
        {"image_url": "https://x/a.jpg", "license": "CC-BY-4.0", "creator": "A, B", "class": "wolf", "label": 1},
        {"image_url": "https://x/b.jpg", "class": "fox", "label": 0},
        {"image_url": "https://x/c.jpg", "class": "7", "label": 7, "group": "12"},
    ]


@pytest.mark.parametrize("label", ["²", "9" * 5000, "1.5", "-1"])
def test_labels_that_are_no_class_numbers_are_names(tmp_path, label):
    (tmp_path / "l.csv").write_text(f"url,label\nhttps://x/a.jpg,{label}\n", "utf-8")
    [candidate] = Urls(tmp_path, (tmp_path / "l.csv",)).candidates()
    assert (candidate.meta["class"], candidate.meta["label"]) == (label, 0)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("l.csv", "address\nhttps://x/a.jpg\n", "no column `url`; found address"),
        ("l.csv", "url,license\n,CC0\n", "l.csv:2: no `url`"),
        ("l.jsonl", '{"url": "https://x"}\n{"url": ', "l.jsonl:2: not JSON"),
        ("l.jsonl", "[1]\n", "l.jsonl:1: no `url`"),
    ],
)
def test_a_bad_list_names_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / name)


def test_a_list_that_is_missing_or_no_text_is_named(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("b.txt", "not UTF-8"), ("c.txt", "not readable")):
        with pytest.raises(DataError, match=message):
            read_list(tmp_path / name)


def test_a_body_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "l.txt").write_text("https://x/a.jpg")
    source = Urls(tmp_path / "in", (tmp_path / "l.txt",))
    [candidate] = source.candidates()
    with pytest.raises(Refused):
        source.load(candidate)
