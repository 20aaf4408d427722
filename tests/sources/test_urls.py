"""Lists of addresses, and the downloader against a server on loopback that behaves badly in every way."""

import email.utils
import time

import polars as pl
import pytest
from werkzeug import Response

from foxgan.dataset.index import write_index
from foxgan.errors import DataError
from foxgan.sources.candidate import Refused, first_ones
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
    by = {"license": "CC-BY-4.0", "license_url": "https://creativecommons.org/licenses/by/4.0/"}
    assert [c.meta for c in found] == [
        {"image_url": "https://x/a.jpg", **by, "creator": "A, B", "class": "wolf", "label": 1},
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
        ("l.csv", "address\nhttps://x/a.jpg\n", "no column `url` or `image_url`; found address"),
        ("l.parquet", "no table", "not a readable Parquet file of addresses"),
        ("l.csv", "url,license\n,CC0\n", "l.csv:2: no `url`"),
        ("l.jsonl", '{"url": "https://x"}\n{"url": ', "l.jsonl:2: not JSON"),
        ("l.jsonl", "[1]\n", "l.jsonl:1: no `url`"),
    ],
)
def test_a_bad_list_names_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_list(tmp_path / name))


def test_tables_give_what_is_known_by_any_case_of_its_name_and_nothing_else_is_read(tmp_path):
    table = pl.DataFrame(
        {
            "SAMPLE_ID": [1, 2, 3],
            "URL": ["https://x/a.jpg", " https://x/b.jpg", "https://x/a.jpg"],
            "TEXT": ["a fox", "a wolf", "again"],
            "LICENSE": ["CC BY-SA 2.0", "?", None],
            "label": [7, 9, 7],
        }
    )
    table.write_parquet(tmp_path / "l[1].parquet")
    first, second = Urls(tmp_path, (tmp_path / "l[1].parquet",)).candidates()
    page = "https://creativecommons.org/licenses/by-sa/2.0/"
    known = {"license": "CC-BY-SA-2.0", "license_url": page, "class": "7", "label": 7}
    assert first.meta == {"image_url": "https://x/a.jpg", **known}
    assert second.meta == {"image_url": "https://x/b.jpg", "license": "unknown", "class": "9", "label": 9}
    assert list(read_list(tmp_path / "l[1].parquet"))[1].keys() == {"url", "license", "label"}


def test_a_table_of_many_parts_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("foxgan.sources.urls.PART", 4)
    for count in (0, 3, 4, 9):
        urls = [f"https://x/{number}.jpg" for number in range(count)]
        pl.DataFrame({"url": urls}, schema={"url": pl.String}).write_parquet(tmp_path / "l.parquet", row_group_size=3)
        assert [row["url"] for row in read_list(tmp_path / "l.parquet")] == urls


def test_an_index_is_a_list_too(tmp_path):
    rows = [{"id": "1", "image_url": "https://x/a.jpg", "license": "CC0-1.0"}, {"id": "2", "status": "too_small"}]
    write_index(tmp_path, rows[:1])
    [row] = read_list(tmp_path / "index.parquet")
    assert row == {"url": "https://x/a.jpg", "license": "CC0-1.0"}
    write_index(tmp_path, rows)
    with pytest.raises(DataError, match=r"index.parquet:2: no `url`"):
        list(read_list(tmp_path / "index.parquet"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"TEXT": ["a"], "HASH": [1]}, "no column `url` or `image_url`; found TEXT, HASH"),
        ({"url": ["https://x/a.jpg", None]}, "l.parquet:2: no `url`"),
        ({"url": [["https://x/a.jpg"]]}, "its columns must hold text"),
    ],
)
def test_a_table_without_addresses_is_told_with_what_it_has(tmp_path, columns, words):
    pl.DataFrame(columns).write_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError, match=words):
        list(read_list(tmp_path / "l.parquet"))


def test_the_license_of_a_list_is_kept_by_its_one_name_and_a_policy_refuses_others(tmp_path):
    licenses = {"a": "cc-by", "b": "CC BY-NC 4.0", "c": "", "d": "ours"}
    (tmp_path / "l.csv").write_text(
        "url,License\n" + "".join(f"https://x/{n},{text}\n" for n, text in licenses.items())
    )

    def found(policy):
        return [
            (c.meta.get("license"), c.refusal)
            for c in Urls(tmp_path, (tmp_path / "l.csv",), policy=policy).candidates()
        ]

    names = ["CC-BY", "CC-BY-NC-4.0", None, "ours"]
    for policy, taken in ((None, 4), ("open", 1), ("noncommercial", 2), ("any", 2)):
        assert found(policy) == [(name, "" if n < taken else "license") for n, name in enumerate(names)]
    known, refused = (
        list(Urls(tmp_path, (tmp_path / "l.csv",), policy=policy).candidates()) for policy in (None, "open")
    )
    assert [a.key == b.key for a, b in zip(known, refused, strict=True)] == [True, False, False, False]
    assert [c.meta["image_url"] for c in first_ones(refused, 1)] == ["https://x/a"]
    assert len(first_ones(refused, 2)) == 4, "refused ones do not count"
    told = Urls(tmp_path, (tmp_path / "l.csv",), "CC0", "open").candidates()
    assert [(c.meta["license"], c.refusal) for c in told][1:3] == [("CC-BY-NC-4.0", "license"), ("CC0-1.0", "")]


def test_a_list_that_is_missing_or_no_text_is_named(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("b.txt", "not UTF-8"), ("c.txt", "not readable")):
        with pytest.raises(DataError, match=message):
            list(read_list(tmp_path / name))


def test_a_body_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "l.txt").write_text("https://x/a.jpg")
    source = Urls(tmp_path / "in", (tmp_path / "l.txt",))
    [candidate] = source.candidates()
    with pytest.raises(Refused):
        source.load(candidate)
