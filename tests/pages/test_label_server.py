"""The server of the labelling page over real sockets: who may ask, and for what."""

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from foxgan import images
from foxgan.errors import UsageError
from foxgan.pages.label import Labelling
from foxgan.pages.label_server import LabelServer

JSON = {"Content-Type": "application/json"}
EMPTY = json.dumps({"photo": 0, "labelled": True, "marks": []})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelServer]:
    (tmp_path / "photos").mkdir()
    images.write(tmp_path / "photos" / "a.png", np.full((60, 90, 3), 120, np.uint8))
    (tmp_path / "secret.txt").write_text("secret")
    session = Labelling(tmp_path / "photos")
    with LabelServer(session) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()
    session.close()


def ask(
    server: LabelServer, path: str, body: str | None = None, token: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    try:
        method = "GET" if body is None else "POST"
        connection.request(
            method, f"/{token or server.token}/{path}", body, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_the_page_its_photos_and_their_labels_are_served(server: LabelServer) -> None:
    status, headers, html = ask(server, "")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"photos" in html
    assert b"http://" not in html and b"https://" not in html  # nothing is loaded from elsewhere
    assert json.loads(ask(server, "photo/0")[2])["width"] == 90
    status, headers, data = ask(server, "picture/0/1600")
    assert headers["Content-Type"] == "image/jpeg" and images.decode(data).shape == (60, 90, 3)
    assert json.loads(ask(server, "labels", EMPTY, **JSON)[2])["done"] == 1
    assert json.loads(ask(server, "progress")[2])["done"] == 1


def test_nobody_gets_anything_without_the_token(server: LabelServer) -> None:
    for token in ("wrong", server.token[:-1], server.token + "x", "%00", "ü"[:0] or "-"):
        for path in ("", "photo/0", "picture/0/1600", "progress"):
            status, _, data = ask(server, path, token=token)
            assert status == 403 and b"open the address" in data
    assert ask(server, "labels", EMPTY, token="wrong", **JSON)[0] == 403
    assert server.session.done == set()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_origins_and_names_of_this_machine_are_refused(server: LabelServer, headers: dict[str, str]) -> None:
    assert ask(server, "photo/0", **headers)[0] == 403
    assert ask(server, "labels", EMPTY, **JSON, **headers)[0] == 403
    assert server.session.done == set()


def test_a_form_of_another_page_cannot_send_labels(server: LabelServer) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, "labels", EMPTY, Content_Type=kind)[0] == 400
    assert server.session.done == set()


@pytest.mark.parametrize(
    "path",
    ["picture/0/../../secret.txt", "../secret.txt", "%2e%2e/secret.txt", "secret.txt", "picture/0", "picture/x/1600", "photo/-1",
     "picture/0/1600/", "labels", "data.yaml", "picture/²/1600"],
)  # fmt: skip
def test_nothing_but_the_photos_is_served(server: LabelServer, path: str) -> None:
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        head = f"GET /{server.token}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_address[1]}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] in (b"400", b"404") and b"secret" not in answer.partition(b"\r\n\r\n")[2]


def test_what_is_wrong_is_told_as_json(server: LabelServer) -> None:
    assert json.loads(ask(server, "photo/7")[2])["error"] == "there is no photo 8, only 1"
    for body in ("{", "[]", "[" * 100_000, '{"photo": 0}', "\x00"):
        status, _, data = ask(server, "labels", body, **JSON)
        assert status == 400 and "not what the page sends" in json.loads(data)["error"]


def test_a_body_that_is_too_long_is_refused_before_it_is_read(server: LabelServer) -> None:
    for length in ("5000000", "-1", "many", ""):
        assert ask(server, "labels", "", **JSON, Content_Length=length)[0] == 400


def test_a_full_disk_is_told_and_what_was_saved_stays(server: LabelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(server, "labels", EMPTY, **JSON)[0] == 200
    full = OSError(28, "No space left on device", "labels/a.txt")
    monkeypatch.setattr(server.session.labels, "write", lambda *_: (_ for _ in ()).throw(full))
    status, _, data = ask(server, "labels", EMPTY, **JSON)
    assert status == 500 and json.loads(data)["error"] == "labels/a.txt: No space left on device"
    assert server.session.done == {0}


def test_answers_forbid_to_be_framed_kept_or_guessed(server: LabelServer) -> None:
    for path in ("", "photo/0"):
        headers = ask(server, path)[1]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert headers["Referrer-Policy"] == "no-referrer" and "Python" not in headers["Server"]


def test_several_requests_go_over_one_connection(server: LabelServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    for _ in range(3):
        connection.request("POST", f"/{server.token}/labels", EMPTY, JSON)
        assert connection.getresponse().read()
    connection.close()


def test_a_port_that_is_taken_is_told(server: LabelServer) -> None:
    port = urlsplit(server.address).port
    assert port is not None
    with pytest.raises(UsageError, match=f"--port {port}: .*leave it out"):
        LabelServer(server.session, port)
