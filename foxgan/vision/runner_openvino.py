"""Detectors by OpenVINO on the CPU: a third of torch's time and less.

The network is traced from what foxgan has built and checked itself, for any height and width, and kept in the user's cache. Each thread
looks at a photo of its own with one core: that is faster than all cores on one photo, and decoding goes on beside it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foxgan.devices import import_backend
from foxgan.errors import StageError, UsageError
from foxgan.images import Pixels
from foxgan.vision.prepared import digest_of, prepared
from foxgan.vision.runners import Floats, PixelGraph

FILE = "network.xml"  # its tensors lie beside it in network.bin
EXAMPLE = (1, 64, 96, 3)  # pixels that are traced; any size would do


def openvino_predict(model: Any, is_half: bool = False) -> Callable[[Pixels], Floats]:
    """The network by OpenVINO, safe to be called from many threads. Raises UsageError without it, StageError if it cannot take it."""
    library = import_backend("openvino", "openvino")
    compiled = _in_other_thread(lambda: _compiled(library, model, is_half))
    own = threading.local()

    def predict(batch: Pixels) -> Floats:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = [np.array(own.request.infer([picture[None]])[0]) for picture in batch]
        return np.concatenate(found)

    return predict


def _in_other_thread(work: Callable[[], Any]) -> Any:
    """OpenVINO gives the thread that compiles an alternate signal stack, and unmaps it later: the next Ctrl-C there would crash."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _compiled(library: Any, model: Any, is_half: bool) -> Any:
    core, threads = library.Core(), torch.get_num_threads()
    if is_half and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UsageError("backend: openvino-bf16, but this CPU has no units for bfloat16; say backend: openvino")
    options = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # a core with a thread that decodes would be shared, and another be idle
        "INFERENCE_PRECISION_HINT": "bf16" if is_half else "f32",
    }
    key = digest_of(model, "openvino", library.__version__)
    try:
        return prepared(
            key,
            lambda folder: _convert(library, model, folder / FILE),
            lambda folder: core.compile_model(core.read_model(folder / FILE), "CPU", options),
        )
    except OSError:
        raise
    except Exception as error:  # it has its own, undocumented types
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise StageError(f"backend: openvino cannot take this network ({reason}); say backend: torch") from error


def _convert(library: Any, model: Any, path: Path) -> None:
    graph = PixelGraph(model, exported=True).eval()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that tracing takes for constants: they are
        shape = library.PartialShape([1, -1, -1, 3])
        network = library.convert_model(graph, example_input=torch.zeros(EXAMPLE, dtype=torch.uint8), input=[shape])
    library.save_model(network, path, compress_to_fp16=False)
