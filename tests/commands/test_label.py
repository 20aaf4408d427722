"""`foxgan label` as a process: it prints its address, and whoever kills it loses nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from click.testing import CliRunner

from foxgan import images
from foxgan.commands.label import label_command
from foxgan.errors import FoxganError, LockedError, UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        images.write(tmp_path / "photos" / f"{number}.png", np.full((60, 90, 3), 80 * number, np.uint8))
    return tmp_path / "photos"


@contextmanager
def labelling(photos: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command at work, and its address."""
    command = [sys.executable, "-m", "foxgan.cli", "label", str(photos), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def send(address: str, photo: int, *boxes: list[float]) -> int:
    url = urlsplit(address)
    body = {"photo": photo, "labelled": True, "marks": [{"class": 0, "box": box, "points": []} for box in boxes]}
    connection = HTTPConnection(str(url.hostname), int(url.port or 0), timeout=30)
    connection.request("POST", f"{url.path}labels", json.dumps(body), {"Content-Type": "application/json"})
    done: int = json.loads(connection.getresponse().read())["done"]
    connection.close()
    return done


def test_it_serves_until_it_is_interrupted_and_tells_where_the_labels_are(photos: Path) -> None:
    with labelling(photos, "--classes", "fox, wolf") as (process, address):
        assert urlsplit(address).hostname == "127.0.0.1" and len(urlsplit(address).path) > 20
        assert send(address, 0, [9, 6, 45, 30]) == 1
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=30)[1]
        assert process.returncode == 0
    assert "label: 0 of 3 photos are labelled" in told and "label: 1 of 3 photos are labelled, in " in told
    assert "Traceback" not in told
    assert (
        photos.parent / "photos-labelled" / "labels" / "0.txt"
    ).read_text() == "0 0.300000 0.300000 0.400000 0.400000\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_whoever_kills_it_loses_nothing_and_the_next_goes_on(photos: Path) -> None:
    labels = photos.parent / "labels"
    with labelling(photos, "--labels", str(labels)) as (process, address):
        assert (send(address, 0, [9, 6, 45, 30]), send(address, 2)) == (1, 2)
        os.kill(process.pid, signal.SIGKILL)
    assert sorted(p.name for p in (labels / "images").iterdir()) == ["0.png", "2.png"]
    with labelling(photos, "--labels", str(labels)) as (_, address):
        assert send(address, 1) == 3


def refused(*words: str) -> FoxganError:
    found = CliRunner().invoke(label_command, words).exception
    assert isinstance(found, FoxganError), found
    return found


def test_what_cannot_be_labelled_is_told(photos: Path) -> None:
    place = str(photos)
    assert "no such folder" in str(refused(str(photos / "nowhere")))
    assert "--classes fox,: '' is not a name" in str(refused(place, "--classes", "fox,"))
    assert "--points nose,nose" in str(refused(place, "--points", "nose,nose"))
    assert "no detector is called so" in str(refused(place, "--model", "yolo99"))
    assert isinstance(refused(place, "--model", str(photos / "0.png")), FoxganError)
    with labelling(photos) as (_, address):
        assert address
        assert isinstance(refused(place), LockedError)
        port = str(urlsplit(address).port)
        assert isinstance(refused(place, "--labels", str(photos.parent / "else"), "--port", port), UsageError)
