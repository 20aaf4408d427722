"""Push and pull of an artifact with many small files: to a folder, and to an S3 server on this machine.

`python -m tests.benchmarks.shared_cache [--cache folder|floor|s3] [--files N] [--runs N]` prints JSON lines and asserts nothing; times
are the best of the runs, each with an empty cache. `next` is the push of another artifact that shares 99 % of its files with the
first. The server is moto's, plain Python on the same cores, in a process of its own: `floor` is what the same number of PUTs and
GETs takes through botocore's own client, in as many threads.
"""

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from foxgan.dataset.index import write_index
from foxgan.pipeline.digest import output_digest
from foxgan.pipeline.shared.bucket import AT_ONCE
from foxgan.pipeline.shared.remote import Remote
from foxgan.stages.context import Silent

FILES, BYTES, RUNS = 10_000, 20_000, 3
BUCKET = "bench"
CACHES = ("folder", "floor", "s3")
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def artifact(folder: Path, count: int, new: int = 0) -> dict[str, Any]:
    """Files of `BYTES` random bytes, of which the last `new` are others than without it; returns the manifest."""
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        seed = os.urandom(BYTES) if number >= count - new else None
        path = folder / "images" / f"{number:06}.bin"
        path.write_bytes(seed or number.to_bytes(8, "big") * (BYTES // 8))
    write_index(folder, [{"id": f"{n:06}", "path": f"images/{n:06}.bin"} for n in range(count)])
    key = f"{new:064x}"
    return {
        "stage": "crop",
        "version": 1,
        "step": "crops",
        "key": key,
        "lineage": key,
        "items": None,
        "horizon": {},
        "params": {},
        "inputs": {},
        "digest": output_digest(folder, ()),
        "counts": None,
        "seconds": {"total": 1.0},
        "facts": {},
        "libraries": {},
        "machine": {},
        "foxgan": "0",
        "finished": "",
    }


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def through(kind: str, address: str, folder: Path, count: int, runs: int) -> Iterator[dict[str, Any]]:
    """Push, pull, and push of what is mostly there, to an empty cache each time."""
    times: dict[str, list[float]] = {"push": [], "pull": [], "next": []}
    first = artifact(folder / "first", count)
    second = artifact(folder / "second", count, new=count // 100)
    for run in range(runs):
        remote = Remote(f"{address}/{run}")
        times["push"].append(seconds(lambda remote=remote: remote.push(folder / "first", first, Silent())))
        found = remote.manifest(first["key"])
        assert found is not None
        pulled = folder / f"pulled-{run}"
        times["pull"].append(seconds(lambda r=remote, m=found, p=pulled: r.fetch(m, p, Silent())))
        shutil.rmtree(pulled)
        times["next"].append(seconds(lambda remote=remote: remote.push(folder / "second", second, Silent())))
    for what, found_times in times.items():
        best = min(found_times)
        facts = {"cache": kind, "what": what, "files": count, "file_bytes": BYTES, "seconds": round(best, 3)}
        yield {**facts, "files_per_s": round(count / best), "mb_per_s": round(count * BYTES / 1e6 / best, 1)}


def floor(client: Any, count: int) -> Iterator[dict[str, Any]]:
    """The same requests without foxgan and fsspec."""
    body = os.urandom(BYTES)

    def put(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"floor/{number}", Body=body)

    def get(number: int) -> None:
        client.get_object(Bucket=BUCKET, Key=f"floor/{number}")["Body"].read()

    for what, call in (("push", put), ("pull", get)):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            taken = seconds(lambda pool=pool, call=call: list(pool.map(call, range(count))))
        yield {
            "cache": "floor",
            "what": what,
            "files": count,
            "seconds": round(taken, 3),
            "files_per_s": round(count / taken),
        }


def serve(told: Any) -> None:
    """The S3 server, for as long as its process lives."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    told.put("http://{}:{}".format(*server.get_host_and_port()))
    signal.pause()


@contextlib.contextmanager
def served() -> Iterator[Any]:
    """botocore's client of a server with an empty bucket; the environment leads all others there, too."""
    import boto3
    from botocore.config import Config

    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    server = context.Process(target=serve, args=(told,), daemon=True)
    server.start()
    try:
        os.environ |= {**ENVIRONMENT, "AWS_ENDPOINT_URL": told.get(timeout=60)}
        client = boto3.client("s3", config=Config(max_pool_connections=AT_ONCE))
        client.create_bucket(Bucket=BUCKET)
        yield client
    finally:
        server.terminate()
        server.join()


def measure(caches: Sequence[str] = CACHES, count: int = FILES, runs: int = RUNS) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        if "folder" in caches:
            yield from through("folder", f"{folder}/cache", Path(folder, "a"), count, runs)
        if "floor" in caches:
            with served() as client:
                yield from floor(client, count)
        if "s3" in caches:
            with served():
                yield from through("s3", f"s3://{BUCKET}", Path(folder, "b"), count, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", action="append", choices=CACHES)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args()
    for record in measure(args.cache or CACHES, args.files, args.runs):
        print(json.dumps({**record, "cores": os.cpu_count()}), flush=True)


if __name__ == "__main__":
    main()
