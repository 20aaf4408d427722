"""The small pipelines that are disturbed. Each step is made undisturbed when a test asks for it first, after those that it needs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.fork import Zygote
from tests.crash.harness import Case, Site, copy
from tests.fakes import Fakes

PHOTOS, SIDE = 60, 96
MAIN = """
name: crash
steps:
  photos: {use: scrape, source: folder, path: PATH, license: CC0-1.0, workers: 0}
  heads: {use: detect, images: photos, model: fox-heads, size: 96, conf: 0.05}
  crops: {use: crop, heads: heads, size: 16, max_enlarge: 8, max_outside: 1, workers: 0}
  dataset: {use: pack, images: crops, workers: 0}
  model:
    use: train
    dataset: dataset
    kimg: 0.064
    batch: 4
    channel_base: 64
    channel_max: 8
    z_dim: 8
    w_dim: 8
    tick_kimg: 0.016
    snapshot_ticks: 1
    grid_columns: 2
    grid_rows: 2
    threads: 1
    save_minutes: 0.0001
  gallery: {use: sample, model: model, seeds: 0-15, batch: 2}
  film: {use: interpolate, model: model, seeds: 0-2, frames: 8, scale: 4}
  small: {use: export, model: model}
"""
DRAWN = """
name: drawn
steps:
  drawn: {use: scrape, source: synthetic, limit: 8, photo_size: 96, workers: 0}
  detector: {use: train-detector, images: drawn, model: yolo11p, size: 64, epochs: 1, batch: 4, threads: 1}
"""
WEB = """
name: web
steps:
  photos: {use: scrape, source: inaturalist, taxon: Vulpes vulpes, licenses: any, variant: small, rate: 30, workers: 0}
"""
STEPS = ("photos", "heads", "crops", "dataset", "model", "gallery", "film", "small")


class Sites:
    """Cases by what is special about them.

    "plain", "more" (one new photo after an earlier artifact), "forced", "longer" (training that goes on from a shorter one), "workers"
    (processes for items), "crew" (processes for steps), "drawn" (for train-detector) and "web" (photos of a service).
    """

    def __init__(self, folder: Path, zygote: Zygote, fakes: Fakes) -> None:
        self.folder, self.zygote, self.fakes, self.sites = folder, zygote, fakes, dict[str, Site]()
        _draw(folder)

    def case(self, kind: str, step: str) -> Case:
        main, more, drawn, web = (self.folder / f"{name}.yaml" for name in ("main", "more", "drawn", "web"))
        match kind:
            case "plain":
                return self._chain("plain", main, STEPS, step)
            case "more":
                self.case("plain", "dataset")
                return self._chain("more", more, STEPS[:4], step)
            case "drawn":
                return self._chain("drawn", drawn, ("drawn", "detector"), step)
            case "web":
                return self._chain("web", web, ("photos",), step)
        self.case("plain", step)
        options = {
            "forced": ("--force", step),
            "longer": ("--set", "model.kimg=0.096"),
            "workers": ("--set", f"{step}.workers=2"),
            "crew": ("-j", "2"),
        }
        return self._site(kind, "plain" if kind in ("forced", "longer") else None).make(main, step, *options[kind])

    def _chain(self, kind: str, pipeline: Path, steps: tuple[str, ...], last: str) -> Case:
        site = self._site(kind, "plain" if kind == "more" else None)
        return [site.make(pipeline, step) for step in steps[: steps.index(last) + 1]][-1]

    def _site(self, kind: str, base: str | None) -> Site:
        if kind not in self.sites:
            self.sites[kind] = Site(self.folder / kind, self.zygote)
            if base:
                copy(self.sites[base].workspace, self.sites[kind].workspace)
        return self.sites[kind]


def _draw(folder: Path) -> None:
    """A folder of photos, another one with one photo more, and the pipelines that read them."""
    from foxgan import images
    from foxgan.vision.synthetic import draw_photo

    for number in range(PHOTOS + 1):
        picture = draw_photo(0, number, size=SIDE).image
        for name in ("sixty", "sixty-one") if number < PHOTOS else ("sixty-one",):
            (folder / name).mkdir(exist_ok=True)
            images.write(folder / name / f"{number:02d}.jpg", picture)
    for name, text in (("main", MAIN.replace("PATH", "sixty")), ("more", MAIN.replace("PATH", "sixty-one"))):
        (folder / f"{name}.yaml").write_text(text)
    (folder / "drawn.yaml").write_text(DRAWN)
    (folder / "web.yaml").write_text(WEB)


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    if sys.platform != "linux":
        pytest.skip("forks a process with many libraries and looks into /proc")
    with Fakes() as fakes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOXGAN_ALLOW_PRIVATE", "1")
        patch.setenv("FOXGAN_INATURALIST_URL", f"{fakes.url('inaturalist')}/v1")
        with contextlib.closing(Zygote()) as zygote:
            yield Sites(tmp_path_factory.mktemp("crash"), zygote, fakes)
