"""Weight files of foxgan: a snapshot holds the networks, a state what exact resume needs besides. Safetensors and JSON only.

The networks live in the snapshot alone; a state counts from the moment its JSON file, written last, is there.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foxgan.errors import DataError, FoxganError, StageError
from foxgan.gan.config import NetworkConfig
from foxgan.gan.stylegan2 import Discriminator, Generator

FORMAT = 1  # raise it when older versions of foxgan can no longer read what is written
MODEL_FILE = "model.safetensors"  # what `export` writes
BEST_FILE = "best.json"  # which snapshot a metric chose
MAX_JSON = 64 << 20
MAX_BYTES = 16 << 30


def save_snapshot(
    path: Path,
    *,
    G_ema: Generator,
    network: NetworkConfig,
    training: Mapping[str, Any],
    G: Generator | None = None,
    D: Discriminator | None = None,
    half: bool = False,
) -> None:
    """Write networks and how they came about (`training`, JSON values) to `path`; `half` stores fp16, for models that are only run."""
    dtype = torch.float16 if half else torch.float32
    networks = {"G": G, "D": D, "G_ema": G_ema}
    tensors = {
        f"{name}.{key}": value.detach().to("cpu", dtype).contiguous()
        for name, net in networks.items()
        if net is not None
        for key, value in net.state_dict().items()
    }
    facts = {"format": FORMAT, "network": network.model_dump(), "training": dict(training)}
    replace_file(path, lambda tmp: save_file(tensors, tmp, metadata={"foxgan": json.dumps(facts, allow_nan=False)}))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a safetensors file does: the length of a JSON header, and that header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_facts(path: Path) -> tuple[NetworkConfig, dict[str, Any]]:
    """Sizes of the networks in a snapshot, and how they came about, without the networks. DataError for any other file."""
    with _opened(path) as file:
        facts = _facts(path, file.metadata())
    return _network(path, facts), facts["training"]


def read_snapshot(path: Path) -> tuple[NetworkConfig, dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Sizes, tensors by network (G, D, G_ema) and state name, and how they came about. DataError for any other file."""
    network, training = read_facts(path)
    tensors: dict[str, dict[str, Tensor]] = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            prefix, _, key = name.partition(".")
            if prefix not in ("G", "D", "G_ema"):
                raise DataError(f"{path}: holds {name[:80]}, which belongs to none of the networks G, D and G_ema")
            tensors.setdefault(prefix, {})[key] = file.get_tensor(name).float()
    return network, tensors, training


def latest_snapshot(folder: str | Path) -> Path:
    """What a finished `export` or training run in `folder` is worth: its model, else the best snapshot, else the newest.

    DataError if there is none of them.
    """
    exported, found = Path(folder) / MODEL_FILE, numbered(Path(folder), "snapshot", ".safetensors")
    if exported.is_file():
        return exported
    if not found:
        raise DataError(
            f"{folder}: no snapshot-<nimg>.safetensors or {MODEL_FILE} in it; expected the folder of a `train` or `export`"
        )
    return found.get(_best(Path(folder)), found[max(found)])


def save_best(folder: Path, best: Mapping[str, Any]) -> None:
    """Note which snapshot is the best: `best` has its `nimg`, the `metric` and its `value`."""
    text = json.dumps(dict(best), allow_nan=False)
    replace_file(folder / BEST_FILE, lambda tmp: tmp.write_text(text + "\n", encoding="utf-8"))


def _best(folder: Path) -> int:
    """The number of the snapshot that `save_best` noted; -1 where there is no note."""
    path = folder / BEST_FILE
    if not path.is_file():
        return -1
    try:
        with path.open("rb") as file:
            return int(json.loads(file.read(10_000))["nimg"])
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{path}: does not name a snapshot; delete it to take the newest one") from None


def save_state(folder: Path, nimg: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write what exact resume needs besides `snapshot-<nimg>`, which must be there already."""
    stem = folder / f"state-{nimg:09d}"
    detached = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_file(stem.with_suffix(".safetensors"), lambda tmp: save_file(detached, tmp))
    text = json.dumps({"format": FORMAT, "nimg": nimg} | dict(facts), indent=1, allow_nan=False)
    replace_file(stem.with_suffix(".json"), lambda tmp: tmp.write_text(text, encoding="utf-8"))


def latest_state(folder: Path) -> tuple[Path, dict[str, Tensor], dict[str, Any]] | None:
    """The newest complete state of `folder` as (its snapshot, tensors, facts); None where training has not saved one yet."""
    complete = numbered(folder, "state", ".json")
    if not complete:
        return None
    nimg = max(complete)
    path = complete[nimg]
    if path.stat().st_size > MAX_JSON:
        raise DataError(f"{path}: larger than any training state; delete it to go on from an older one")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); delete it to go on from an older state") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(f"{path}: not a training state of this version of foxgan (format {FORMAT})")
    with _opened(path.with_suffix(".safetensors")) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return folder / f"snapshot-{nimg:09d}.safetensors", tensors, facts


def numbered(folder: Path, stem: str, suffix: str) -> dict[int, Path]:
    """Files `<stem>-<number><suffix>` of `folder`, by number."""
    pattern = re.compile(re.escape(stem) + r"-(\d{1,15})" + re.escape(suffix))
    entries = folder.iterdir() if folder.is_dir() else ()
    return {int(match[1]): path for path in entries if (match := pattern.fullmatch(path.name))}


def prune(folder: Path, keep: set[int], best: int | None = None) -> None:
    """Delete snapshots and states whose number is not in `keep`, but for the snapshot `best`.

    A state's JSON goes first, so that none is left half.
    """
    spared: dict[str, set[int | None]] = {"state": {*keep}, "snapshot": {*keep, best}}
    for stem, suffix in (("state", ".json"), ("state", ".safetensors"), ("snapshot", ".safetensors")):
        for nimg, path in numbered(folder, stem, suffix).items():
            if nimg not in spared[stem]:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    """A safetensors file whose header has been checked against the file's length (by the library) and our bound on size."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected a snapshot, or the folder of a `train` or `export`")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size >> 30} GiB; a snapshot has at most {MAX_BYTES >> 30} GiB")
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except FoxganError:
        raise
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not readable as a safetensors file ({error}); is it complete?") from None


def _facts(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        facts = json.loads((metadata or {})["foxgan"])
    except (KeyError, ValueError):
        raise DataError(f"{path}: safetensors, but not a foxgan snapshot (its header has no `foxgan` entry)") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("training"), dict):
        raise DataError(f"{path}: not a foxgan snapshot (its `foxgan` header is not what foxgan writes)")
    if facts.get("format") != FORMAT:
        raise DataError(
            f"{path}: snapshot format {facts.get('format')}, this foxgan reads {FORMAT}; a newer foxgan wrote it"
        )
    return facts


def _network(path: Path, facts: Mapping[str, Any]) -> NetworkConfig:
    try:
        return NetworkConfig.model_validate(facts.get("network"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: network sizes that foxgan does not know ({place}: {first['msg']})") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Put what `write` writes in the place of `path` in one go: after a crash there is the old file or the new one."""
    tmp = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(tmp)
        tmp.chmod(0o644)  # safetensors makes it private
        with tmp.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(tmp, path)
    except (OSError, SafetensorError) as error:
        raise StageError(f"{path}: could not be written ({error}); is the disk full or the folder read-only?") from None
    finally:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
