"""Photos from a server on this machine: `foxgan scrape` and img2dataset, both without resizing, in turns.

`python -m tests.benchmarks.scraping --img2dataset PYTHON [--photos 5000] [--runs 3]`: PYTHON is that of an environment with img2dataset
(`pip install img2dataset==1.47`). Prints images per second, and per second of CPU time of all processes of the client; the server is a
process of its own. Both download, decode, hash (sha256) and store the bytes as they came, with two processes.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SIDE, DIFFERENT = 1024, 100  # pixels; pictures that are drawn, each served under many names with another comment in it
FETCH = """
import sys
from img2dataset import download
download(url_list=sys.argv[1], output_folder=sys.argv[2], processes_count=2, thread_count=16, resize_mode="no", compute_hash="sha256",
         output_format="files", enable_wandb=False, number_sample_per_shard=int(sys.argv[3]))
"""


def serve(connection: Connection) -> None:
    """Photos at /<number>.jpg, every number another file."""
    from aiohttp import web

    from foxgan.images import encode_jpeg
    from foxgan.vision.synthetic import draw_photo

    bodies = [encode_jpeg(draw_photo(0, number, "fox", SIDE).image, 90) for number in range(DIFFERENT)]

    async def photo(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        comment = f"photo {number}".encode()
        body = bodies[number % DIFFERENT]  # a comment (COM) right after the start of the image
        marked = body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[2:]
        return web.Response(body=marked, content_type="image/jpeg")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{number}.jpg", photo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        connection.send((runner.addresses[0][1], sum(map(len, bodies)) / len(bodies)))
        await asyncio.Event().wait()

    asyncio.run(run())


def timed(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds by the clock, of CPU in all processes, and the largest peak memory of one of them in GiB."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "FOXGAN_ALLOW_PRIVATE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, after.ru_maxrss / 2**20


def measure(program: str, python: str, folder: Path, photos: int) -> dict[str, Any]:
    """One run of one of the two, from nothing."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    if program == "foxgan":
        options = [
            "--source",
            "urls",
            "--path",
            "list.txt",
            "--no-robots",
            "--rate",
            "100000",
            "--connections",
            "32",
            "-q",
        ]
        command = [sys.executable, "-m", "foxgan.cli", "scrape", *options, "--out", "out", "--workspace", "."]
    else:
        command = [python, "-c", FETCH, "list.txt", "out", str(max(1, photos // 4))]
    seconds, cpu, memory = timed(command, folder)
    stored = sum(1 for _ in out.rglob("*.jpg"))
    return {
        "program": program,
        "photos": stored,
        "s": round(seconds, 2),
        "images_per_s": round(stored / seconds, 1),
        "images_per_cpu_s": round(stored / cpu, 1),
        "peak_gb_of_one_process": round(memory, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--img2dataset", metavar="PYTHON", help="interpreter of an environment with img2dataset")
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port, size = here.recv()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "list.txt").write_text("".join(f"http://127.0.0.1:{port}/{n}.jpg\n" for n in range(options.photos)))
        for _ in range(options.runs):
            for program in ["foxgan", *(["img2dataset"] if options.img2dataset else [])]:
                record = measure(program, options.img2dataset, folder, options.photos)
                print(json.dumps({"benchmark": "scraping", "photo_kb": round(size / 1000), **record}), flush=True)
    server.kill()


if __name__ == "__main__":
    main()
