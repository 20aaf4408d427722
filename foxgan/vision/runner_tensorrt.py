"""Detectors by TensorRT on CUDA, in half precision. Its plan is built for one kind of GPU, which takes minutes, and kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from foxgan.devices import import_backend
from foxgan.errors import StageError
from foxgan.images import Pixels
from foxgan.vision.letterbox import STRIDE
from foxgan.vision.prepared import digest_of, prepared
from foxgan.vision.runners import Floats, PixelGraph

FILE = "network.plan"


def tensorrt_predict(model: Any, longest: int, batch: int) -> Callable[[Pixels], Floats]:
    """The network for batches of `batch` pictures with sides of up to `longest`. Raises UsageError or StageError."""
    library = import_backend("tensorrt", "tensorrt")
    logger = library.Logger(library.Logger.ERROR)
    longest = -(-longest // STRIDE) * STRIDE
    key = digest_of(model, "tensorrt", library.__version__, torch.cuda.get_device_name(), longest, batch)
    runtime = library.Runtime(logger)
    engine = prepared(
        key,
        lambda folder: _build(library, logger, model, longest, batch, folder / FILE),
        lambda folder: _readable(runtime.deserialize_cuda_engine((folder / FILE).read_bytes())),
    )
    context = engine.create_execution_context()

    def predict(pixels: Pixels) -> Floats:
        given = torch.from_numpy(pixels).cuda()
        context.set_input_shape("pixels", tuple(given.shape))
        found = torch.empty(tuple(context.get_tensor_shape("boxes")), device="cuda")
        context.set_tensor_address("pixels", given.data_ptr())
        context.set_tensor_address("boxes", found.data_ptr())
        stream = torch.cuda.current_stream()
        if not context.execute_async_v3(stream.cuda_stream):
            raise StageError("backend: tensorrt failed to run the network; say backend: torch-fp16")
        stream.synchronize()
        floats: Floats = found.cpu().numpy()
        return floats

    return predict


def _readable(engine: Any) -> Any:
    """Raises StageError for what TensorRT gives instead of an error."""
    if engine is None:
        raise StageError("backend: tensorrt cannot read its own plan; say backend: torch-fp16")
    return engine


def _build(library: Any, logger: Any, model: Any, longest: int, batch: int, path: Path) -> None:
    graph = path.with_suffix(".onnx")
    write_onnx(PixelGraph(model, exported=True).to("cuda", torch.float16).eval(), graph, batch)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    smallest, largest = (batch, STRIDE, STRIDE, 3), (batch, longest, longest, 3)
    profile.set_shape("pixels", smallest, largest, largest)
    config.add_optimization_profile(profile)
    parsed = parser.parse(graph.read_bytes())
    plan = builder.build_serialized_network(network, config) if parsed else None
    graph.unlink()
    if plan is None:
        reason = parser.get_error(0).desc() if parser.num_errors else "it does not say why"
        raise StageError(f"backend: tensorrt cannot take this network ({reason}); say backend: torch-fp16")
    path.write_bytes(plan)


def write_onnx(graph: PixelGraph, path: Path, batch: int) -> None:
    """The graph from `pixels` [batch, H, W, 3] of any height and width to `boxes`, as an ONNX file."""
    example = torch.zeros(batch, 64, 96, 3, dtype=torch.uint8, device=next(graph.parameters()).device)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that tracing takes for constants: they are
        torch.onnx.export(
            graph,
            (example,),
            str(path),
            input_names=["pixels"],
            output_names=["boxes"],
            dynamic_axes={"pixels": {1: "height", 2: "width"}},
            dynamo=False,
        )
