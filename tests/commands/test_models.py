"""`foxgan models` as a user meets it: a catalog of its own, a server on loopback, real processes where signals matter."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug import Request, Response

import foxgan.shipped
from foxgan.cli import app

BODY = bytes(3_000_000)
ENTRIES: list[dict[str, Any]] = [
    {
        "name": "foxes",
        "format": "nvidia-torch",
        "domain": "wild animals",
        "height": 512,
        "width": 256,
        "license": "MIT",
    },
    {
        "name": "faces",
        "format": "rosinality",
        "domain": "faces",
        "dataset": "FFHQ",
        "noncommercial": True,
        "license": "NC",
    },
    {"name": "maps", "format": "nvidia-tf", "domain": "maps", "author": "Somebody", "page": "https://x/maps"},
]


@pytest.fixture
def root(tmp_path: Path, httpserver: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with three public models and the real shipped ones."""
    (tmp_path / "root" / "models").mkdir(parents=True)
    entries = [entry | {"url": httpserver.url_for(f"/{entry['name']}-x.pkl")} for entry in ENTRIES]
    (tmp_path / "root" / "models" / "catalog.json").write_text(json.dumps(entries))
    shutil.copytree(foxgan.shipped._ROOT / "models" / "shipped", tmp_path / "root" / "models" / "shipped")
    monkeypatch.setattr(foxgan.shipped, "_ROOT", tmp_path / "root")
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path / "here"))
    return tmp_path / "root"


@pytest.fixture
def foxgan_models(root: Path) -> Callable[..., Result]:
    return lambda *args: CliRunner().invoke(app, ["models", *args])


def serve(httpserver: Any, name: str = "foxes") -> None:
    httpserver.expect_request(f"/{name}-x.pkl").respond_with_data(BODY, content_type="application/octet-stream")


def test_the_list_shows_shipped_and_public_models_and_where_files_lie(foxgan_models: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "maps.pkl").touch()
    lines = foxgan_models("list").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == ["name", "wolves64", "foxes", "faces", "maps"]
    assert lines[1].split() == ["wolves64", "64x64", "shipped", "CC0-1.0", "yes"]
    assert lines[2].split() == ["foxes", "512x256", "wild", "animals", "MIT", "no"]
    assert lines[3].split() == ["faces", "?", "faces", "NC", "(non-commercial)", "no"]
    assert lines[4].split() == ["maps", "?", "maps", "unknown", "yes"]
    assert lines[5] == f"files lie in {tmp_path / 'here'} (FOXGAN_MODELS names another folder)"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("WILD", ["foxes"]),
        ("ffhq", ["faces"]),
        ("mit", ["foxes"]),
        ("a", ["wolves64", "foxes", "faces", "maps"]),
        ("cc0", ["wolves64"]),
    ],
)
def test_the_list_can_be_searched(foxgan_models: Any, text: str, names: list[str]) -> None:
    rows = json.loads(foxgan_models("list", text, "--json").stdout)
    assert {row["name"] for row in rows} <= set(names)
    assert [row["name"] for row in rows][-1] == names[-1]


def test_a_search_that_finds_nothing_says_so(foxgan_models: Any) -> None:
    lines = foxgan_models("list", "zebra").stdout.splitlines()
    assert lines[0] == "no model has 'zebra' in its name, domain, dataset, license"
    assert json.loads(foxgan_models("list", "zebra", "--json").stdout) == []


def test_as_json_all_that_is_known_is_told(foxgan_models: Any, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(foxgan_models("list", "--json").stdout)}
    assert rows["faces"]["noncommercial"] is True
    assert rows["faces"]["path"] == str(tmp_path / "here" / "faces.pkl")
    assert rows["faces"].keys() == rows["wolves64"].keys()
    assert Path(rows["wolves64"]["path"]).exists()


def test_pull_prints_paths_only_and_tells_the_terms_on_stderr(
    foxgan_models: Any, httpserver: Any, tmp_path: Path
) -> None:
    serve(httpserver)
    serve(httpserver, "maps")
    done = foxgan_models("pull", "foxes", "maps")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [str(tmp_path / "here" / f"{name}.pkl") for name in ("foxes", "maps")]
    assert "foxes: by unknown, MIT" in done.stderr
    assert "maps: by Somebody, license unknown (https://x/maps)" in done.stderr
    assert (tmp_path / "here" / "foxes.pkl").read_bytes() == BODY


def test_a_wrong_name_is_told_before_anything_is_downloaded(root: Path, httpserver: Any) -> None:
    process = started(root, "pull", "foxes", "mapps")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "called 'mapps' (did you mean 'maps'?); shipped: wolves64; public: 3, see `foxgan models list`" in err
    assert httpserver.log == []


def started(root: Path, *args: str) -> subprocess.Popen[str]:
    """`foxgan models` of this installation as a process of its own."""
    code = (
        f"import pathlib, sys, foxgan.shipped\nfoxgan.shipped._ROOT = pathlib.Path({str(root)!r})\n"
        f"sys.argv = ['foxgan', 'models', *{args!r}]\nfrom foxgan.cli import main\nmain()"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_without_a_connection_one_line_says_what_to_do(root: Path, httpserver: Any, tmp_path: Path) -> None:
    httpserver.expect_request("/foxes-x.pkl").respond_with_data("", status=404)
    process = started(root, "pull", "foxes")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    line = err.splitlines()[-1]
    assert line.startswith(f"foxgan: foxes: {httpserver.url_for('/foxes-x.pkl')} could not be downloaded: ")
    assert f"put it at {tmp_path / 'here' / 'foxes.pkl'} (FOXGAN_MODELS names the folder)" in line
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_leaves_what_has_come_and_the_next_pull_goes_on(root: Path, httpserver: Any, tmp_path: Path) -> None:
    asked: list[str | None] = []

    def slowly(request: Request) -> Response:
        asked.append(request.headers.get("Range"))
        start = int(asked[-1][6:-1]) if asked[-1] else 0  # type: ignore[index]
        headers = {"ETag": '"1"', "Content-Length": str(len(BODY) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"

        def body() -> Any:
            yield BODY[start : start + 2_000_000]
            time.sleep(0 if start else 3)
            yield BODY[start + 2_000_000 :]

        return Response(body(), 206 if start else 200, headers, content_type="application/octet-stream")

    httpserver.expect_request("/foxes-x.pkl").respond_with_handler(slowly)
    process = started(root, "pull", "foxes")
    part = tmp_path / "here" / "foxes.pkl.part"
    until = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 500_000):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "foxgan: interrupted; the same command goes on from here"
    kept = part.stat().st_size
    out, _ = started(root, "pull", "foxes").communicate(timeout=60)
    assert Path(out.strip()).read_bytes() == BODY
    assert asked == [None, f"bytes={kept}-"]


def test_convert_tells_what_was_copied_and_made_and_refuses_to_overwrite(root: Path, tmp_path: Path) -> None:
    convert = lambda *args: CliRunner().invoke(app, ["convert", *map(str, args)])  # noqa: E731
    out = tmp_path / "wolves.safetensors"
    result = convert("wolves64", out)
    assert result.exit_code == 0, result.output
    assert "wolves64: foxgan, D, G_ema, 64x64 with 3 channels\n122 tensors copied\n" in result.output
    facts = json.loads(convert("wolves64", out, "--force", "--half", "--json").output)
    assert facts["network"]["height"] == 64 and len(facts["copied"]) == 122 and facts["new"] == []
    again = convert("wolves64", out)
    assert again.exit_code != 0 and "exists already" in str(again.exception)
