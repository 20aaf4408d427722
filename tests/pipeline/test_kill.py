"""kill -9 at random moments of every stage: the next run goes on, ends with the same digests, and harms nothing finished.

More kills: FOXGAN_KILLS=20 (for each step of the long form, `pytest -m slow`), other moments: FOXGAN_KILL_SEED.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

KILLS = int(os.environ.get("FOXGAN_KILLS", "2"))
SEED = int(os.environ.get("FOXGAN_KILL_SEED", "1"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
SMOKE = Path(__file__).parents[2] / "pipelines" / "smoke.yaml"
OFTEN = "model.save_minutes=0.0001"  # a machine param: training has something to go on from at every step

# step: its params; the cheap stages, for the everyday suite
QUICK = {
    "photos": "{use: scrape, source: synthetic, limit: 8, photo_size: 128, workers: 0}",
    "crops": "{use: crop, images: photos, size: 8, workers: 0}",
    "dataset": "{use: pack, images: crops, workers: 0}",
    "model": "{use: train, dataset: dataset, kimg: 0.064, batch: 4, channel_base: 64, channel_max: 8, z_dim: 8, w_dim: 8, "
    "tick_kimg: 0.016, threads: 1, save_minutes: 0.0001}",
    "gallery": "{use: sample, model: model, seeds: 0-7, batch: 1}",
}
RESTARTS = {"detector"}  # a detector's training may restart from its seed, and need not be exact
STAGES = {"photos": "scrape", "detector": "train-detector", "heads": "detect", "crops": "crop", "dataset": "pack"}
STAGES |= {"model": "train", "gallery": "sample", "film": "interpolate", "small": "export"}


@dataclass
class Torture:
    """A workspace in which runs are killed, and what happened so far."""

    pipeline: Path
    workspace: Path
    options: tuple[str, ...] = ()
    hits: dict[str, int] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "foxgan.cli",
            "run",
            str(self.pipeline),
            "--workspace",
            str(self.workspace),
            "-q",
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, *self.options, *options], env=ENVIRONMENT, **pipes)  # type: ignore[call-overload, no-any-return]

    def run(self) -> dict[str, dict[str, Any]]:
        """Run to the end; the manifests by step."""
        process = self.start()
        _, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        self.check_finished()
        return {m["step"]: m for m in (json.loads(p.read_bytes()) for p in self.workspace.glob("*/*-*/foxgan.json"))}

    def kill(self, step: str, moment: float) -> None:
        """Run up to `step`, and kill `moment` seconds after its work has begun (or gone on)."""
        before = self.work(step)
        process = self.start("--until", step)
        begun = None
        while process.poll() is None and (begun is None or time.monotonic() < begun + moment):
            if begun is None and self.work(step).items() - before.items():
                begun = time.monotonic()
            time.sleep(0.002)
        process.kill()
        _, err = process.communicate()
        assert process.returncode in (0, -9, 1) and "Traceback" not in err, err
        if self.work(step) and process.returncode:
            self.hits[step] = self.hits.get(step, 0) + 1
        self.check_finished()

    def work(self, step: str) -> dict[Path, int]:
        """The unfinished folder of a step, and when a run last took it up."""
        found = {}
        for file in self.workspace.glob(f"*/{STAGES[step]}-*/.work.json"):
            of_step = file.parent.name.rpartition("-")[0] == STAGES[step]  # train-detector is no train
            with contextlib.suppress(OSError):  # it may be deleted under our eyes
                if of_step and not (file.parent / "foxgan.json").exists():
                    found[file] = file.stat().st_mtime_ns
        return found

    def check_finished(self) -> None:
        """What was finished at the last look is still there, byte by byte."""
        now = {}
        for manifest in self.workspace.glob("*/*-*/foxgan.json"):
            for path in manifest.parent.rglob("*"):
                if path.is_file() and path.name != ".work.json":  # deleted after the manifest is written
                    now[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        assert self.finished.items() <= now.items()
        self.finished = now


def torture(folder: Path, pipeline: Path, kills: int, options: tuple[str, ...] = ()) -> Torture:
    """Run undisturbed, then again in another workspace with so many kills in each step; digests must agree."""
    straight = Torture(pipeline, folder / "straight", options).run()
    torn = Torture(pipeline, folder / "torn", options)
    generator = random.Random(SEED)
    for step in straight:
        assert step in STAGES
    for step in (s for s in STAGES if s in straight):
        for _ in range(kills):
            torn.kill(
                step, generator.random() * 0.6 * straight[step]["seconds"]["total"]
            )  # what is imported again is quicker
    digests = {step: manifest["digest"] for step, manifest in torn.run().items() if step not in RESTARTS}
    assert digests == {step: manifest["digest"] for step, manifest in straight.items() if step not in RESTARTS}
    print(f"killed: {torn.hits}", file=sys.stderr)
    return torn


def test_a_killed_run_goes_on_to_the_same_digests(tmp_path: Path) -> None:
    steps = "".join(f"  {step}: {params}\n" for step, params in QUICK.items())
    (tmp_path / "quick.yaml").write_text(f"name: quick\nsteps:\n{steps}")
    torn = torture(tmp_path, tmp_path / "quick.yaml", kills=1)
    assert sum(torn.hits.values()) >= 2


@pytest.mark.slow
def test_every_stage_of_the_smoke_pipeline_may_be_killed_again_and_again(tmp_path: Path) -> None:
    torn = torture(tmp_path, SMOKE, KILLS, ("--set", OFTEN))
    assert sum(torn.hits.values()) >= len(STAGES)
