"""The synthesis network in OpenVINO or ONNX Runtime on the CPU, called like the one of torch.

Compiled for one batch size at a time, which both run faster than an open one. In float32 the pictures are torch's within
a grey level. Nothing is written to disk, and nothing is sent.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from foxgan.devices import import_backend
from foxgan.errors import StageError, UsageError
from foxgan.gan.backends import Backend
from foxgan.gan.graph import synthesis_graph
from foxgan.gan.ops import randn
from foxgan.gan.stylegan2 import Generator, NoiseMode, Synthesis

Run = Callable[[dict[str, Any]], Any]  # arrays by name, to the array `img`
MAX_PROGRAMS = 2  # kept at a time: one for full batches and one for the last


def compile_synthesis(G: Generator, backend: Backend) -> None:
    """From now on `G.synthesis` is computed by `backend`. Raises UsageError where that cannot be done here."""
    if backend != "torch":
        G.add_module("synthesis", CompiledSynthesis(G.synthesis, backend))


class CompiledSynthesis(nn.Module):
    """Stands in for `Synthesis`, whose weights it takes as they are now; random noise is drawn as torch draws it."""

    def __init__(self, net: Synthesis, backend: Backend) -> None:
        super().__init__()
        self.net, self.num_ws, self.backend = net, net.num_ws, backend
        self.library = import_backend("onnxruntime" if backend == "onnx" else "openvino", backend)
        import_backend("onnx", backend)
        if backend == "openvino-bf16":
            abilities = self.library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in abilities:
                raise UsageError(
                    "backend: openvino-bf16, but this CPU has no units for bfloat16; say backend: openvino"
                )
        self.models: dict[NoiseMode, tuple[bytes, dict[str, tuple[int, int]]]] = {}
        self.programs: dict[tuple[NoiseMode, int], Run] = {}
        self.compile_seconds = 0.0

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "random", generator: torch.Generator | None = None) -> Tensor:
        """See `Synthesis`."""
        key = (noise_mode, len(ws))
        if key not in self.programs:
            if len(self.programs) == MAX_PROGRAMS:
                del self.programs[next(iter(self.programs))]
            self.programs[key] = self._compile(*key)
        inputs = {"ws": ws.float().numpy(force=True)}
        for name, size in self.models[noise_mode][1].items():
            inputs[name] = randn([len(ws), 1, *size], ws.device, generator).numpy()
        return torch.from_numpy(self.programs[key](inputs))

    def _compile(self, noise_mode: NoiseMode, batch: int) -> Run:
        """The program for batches of one size. Raises StageError where the library refuses the model."""
        start = time.perf_counter()
        if noise_mode not in self.models:
            self.models[noise_mode] = synthesis_graph(self.net, noise_mode)
        model, _ = self.models[noise_mode]
        try:
            if self.backend == "onnx":
                program = _onnx_program(self.library, model, batch)
            else:
                program = _openvino_program(self.library, model, batch, is_half=self.backend == "openvino-bf16")
        except Exception as error:  # both libraries have their own, undocumented types
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise StageError(
                f"backend: {self.backend} cannot compile this model ({reason}); say backend: torch"
            ) from error
        self.compile_seconds += time.perf_counter() - start
        return program


def _openvino_program(openvino: Any, model: bytes, batch: int, is_half: bool) -> Run:
    core = openvino.Core()
    net = core.read_model(model=model)
    net.reshape({port.any_name: [batch, *port.partial_shape[1:]] for port in net.inputs})
    options = {
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if is_half else "f32",  # by itself it takes bf16 where that is faster
    }
    # It gives the thread that compiles an alternate signal stack, and unmaps that later: the next Ctrl-C in that thread would crash.
    with ThreadPoolExecutor(1) as thread:
        compiled = thread.submit(core.compile_model, net, "CPU", options).result()
    return lambda inputs: compiled(inputs)[0]


def _onnx_program(onnxruntime: Any, model: bytes, batch: int) -> Run:
    onnxruntime.disable_telemetry_events()  # Windows builds have them
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_free_dimension_override_by_name("N", batch)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]
