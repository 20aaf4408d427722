"""How fast copies are found among many pictures, and how many; and how fast pictures are described.

`python -m tests.benchmarks.duplicates [pictures]` prints JSON lines and asserts nothing. 100,000 pictures should be compared in less than
60 s on two cores. The pictures are noise with the spectrum of photos, described without being drawn: their words and small pictures are
made directly, and copies are planted by turning bits, mirroring, and cutting.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foxgan import images
from foxgan.vision import alike, dedupe, patches, quality
from foxgan.vision.synthetic import draw_photo

COPIES = 500  # of each kind
PART = 2000
CROP = 0.7  # side of a crop


def noise(rng: np.random.Generator, count: int, side: int) -> NDArray[np.float32]:
    """[N, side, side] in grey levels whose amplitudes fall with the frequency, as in photos."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((count, side, side), np.float32), axes=(1, 2)) / frequency
    spectrum[:, 0, 0] = 0
    pictures = np.fft.irfft2(spectrum, (side, side), axes=(1, 2))
    pictures *= 40 / pictures.std(axis=(1, 2), keepdims=True)
    return (pictures + 128).clip(0, 255).astype(np.float32)


def described(rng: np.random.Generator, count: int) -> dedupe.Records:
    """The records of square pictures."""
    records = np.zeros(count, dedupe.RECORD)
    for start in range(0, count, PART):
        part = records[start : start + PART]
        pictures = noise(rng, len(part), alike.SIDE)
        part["thumb"] = np.round(pictures)
        part["word"] = patches.words_of(smaller(pictures))
        half = rng.uniform(0.15, 0.4, part["places"].shape[:2])
        x, y = (rng.uniform(half, 1 - half) for _ in "xy")
        part["places"] = np.stack([x, y, half], axis=2) * 65535
        part["words"] = words(rng, part["words"].shape)
    records["exact"] = rng.integers(0, 2**63, count, np.uint64)
    records["width"] = records["height"] = 1024
    return records


def words(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """Words whose bits are as uneven as those of photos, about."""
    uneven = np.random.default_rng(1).uniform(0.35, 0.65, 63).astype(np.float32)
    bits = np.zeros((*shape, 64), np.uint8)
    bits[..., :63] = rng.random((*shape, 63), np.float32) < uneven
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0]


def smaller(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, SIDE, SIDE] of thumbs."""
    return np.stack([images.cv2.resize(p, (patches.SIDE, patches.SIDE)) for p in pictures])


def turned(rng: np.random.Generator, words: NDArray[np.uint64], most: int) -> NDArray[np.uint64]:
    """Words with up to `most` bits turned."""
    found = words.copy()
    for number in range(most):
        bits = np.uint64(1) << rng.integers(0, 63, words.shape, np.uint64)
        found ^= np.where(rng.integers(0, most + 1, words.shape) > number, bits, np.uint64(0))
    return found


def encoded_again(rng: np.random.Generator, records: dedupe.Records) -> dedupe.Records:
    copies = records.copy()
    copies["exact"] = rng.integers(0, 2**63, len(copies), np.uint64)
    copies["word"], copies["words"] = turned(rng, copies["word"], 5), turned(rng, copies["words"], 8)
    errors = rng.normal(0, 2, copies["thumb"].shape)
    copies["thumb"] = np.round(copies["thumb"] + errors).clip(0, 255)
    return copies


def mirrored(rng: np.random.Generator, records: dedupe.Records) -> dedupe.Records:
    copies = encoded_again(rng, records)
    copies["word"] ^= patches.mirror_mask()
    copies["words"] ^= patches.mirror_mask()
    copies["thumb"] = copies["thumb"][:, :, ::-1]
    copies["places"][:, :, 0] = 65535 - copies["places"][:, :, 0]
    return copies


def cropped(rng: np.random.Generator, records: dedupe.Records) -> dedupe.Records:
    copies = encoded_again(rng, records)
    copies["width"] = copies["height"] = round(1024 * CROP)
    side = alike.SIDE * CROP
    for copy in copies:
        left, top = rng.integers(0, round(alike.SIDE - side) + 1, 2)
        window = copy["thumb"][top : top + round(side), left : left + round(side)]
        copy["thumb"] = images.cv2.resize(window, (alike.SIDE, alike.SIDE), interpolation=images.cv2.INTER_CUBIC)
        places = copy["places"] / 65535
        places = (places - np.array([left, top, 0]) / alike.SIDE) / (round(side) / alike.SIDE)
        inside = ((places[:, :2] >= places[:, 2:]) & (places[:, :2] <= 1 - places[:, 2:])).all(axis=1)
        copy["places"] = np.where(inside[:, None], places * 65535, 0)
        copy["word"] = patches.words_of(smaller(copy["thumb"][None].astype(np.float32)))[0]
    return copies


KINDS = {"encoded_again": encoded_again, "mirrored": mirrored, "cropped": cropped}


def compared(count: int) -> dict[str, Any]:
    """`count` pictures, copies among them: how long it takes to find these, and what was found."""
    rng = np.random.default_rng(0)
    copies = min(COPIES, count // 10)
    originals = described(rng, count - copies * len(KINDS))
    planted = [make(rng, originals[n * copies : (n + 1) * copies]) for n, make in enumerate(KINDS.values())]
    records = np.concatenate([originals, *planted])
    start, start_cpu = time.perf_counter(), time.process_time()
    found = dedupe.likenesses(records)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    alike_enough = found.pairs[found.similarity >= 0.5]
    distance = alike_enough[:, 1] - len(originals)
    true = distance == alike_enough[:, 0]
    recall = {
        f"recall_{name}": round(float((true & (distance // copies == n)).sum() / copies), 4)
        for n, name in enumerate(KINDS)
    }
    facts = {"case": "compare", "pictures": len(records), "copies_of_each_kind": copies, "seconds": round(seconds, 2)}
    return facts | {
        "cpu_s": round(cpu, 2),
        "pairs_looked_at": len(found.pairs),
        **recall,
        "false_pairs": int((~true).sum()),
    }


def features(count: int = 20, side: int = 1024) -> dict[str, Any]:
    """Drawn photos as JPEGs, in one process: decoded, described, measured."""
    files = [images.encode_jpeg(draw_photo(0, index, size=side).image, 90) for index in range(count)]
    spent = dict.fromkeys(("decode", "describe", "measure"), 0.0)
    for data in files:
        times = [time.perf_counter()]
        picture = images.decode(data, mode="any")
        times.append(time.perf_counter())
        dedupe.describe(picture), quality.measure_sharpness(picture)
        times.append(time.perf_counter())
        quality.measure(picture)
        times.append(time.perf_counter())
        for name, before, after in zip(spent, times, times[1:], strict=False):
            spent[name] += after - before
    ms = {f"{name}_ms": round(1000 * seconds / count, 2) for name, seconds in spent.items()}
    duplicates, good = spent["decode"] + spent["describe"], spent["decode"] + spent["measure"]
    rates = {"duplicates_images_per_s": round(count / duplicates, 1), "quality_images_per_s": round(count / good, 1)}
    return {"case": "features", "pictures": count, "side": side, **ms, **rates}


def measure(count: int = 100_000) -> Iterator[dict[str, Any]]:
    """A record for comparing, and one for describing."""
    yield compared(count)
    yield features()


if __name__ == "__main__":
    for record in measure(*map(int, sys.argv[1:])):
        print(json.dumps(record), flush=True)
