"""The synthesis network as an ONNX graph, which OpenVINO and ONNX Runtime read.

Written node by node, not traced: that takes a fraction of a second and no exporter, and whatever does not depend on `ws` (norms
of weights, gains, noise images) is folded into constants. It says a second time what `stylegan2` says, in inference form; tests
hold one against the other in every architecture.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from foxgan.errors import UsageError
from foxgan.gan.ops import ACTIVATION_GAIN, LRELU_SLOPE
from foxgan.gan.stylegan2 import HALF_GAIN, NoiseMode, Synthesis, SynthesisBlock, SynthesisLayer, ToRGB

OPSET, IR_VERSION = 17, 8  # of 2022: all that the graph needs, and old runtimes read it
MAX_BYTES = 2**31 - 2**20  # of a protobuf message, which an ONNX model is


@dataclass
class Graph:
    """Nodes and constants in the making; a value is known by its name. Tensors given to `op` become constants."""

    inputs: dict[str, list[int | str]] = field(default_factory=dict)  # shapes; "N": the batch
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def input(self, name: str, *shape: int) -> str:
        self.inputs[name] = ["N", *shape]
        return name

    def op(self, kind: str, *values: str | Tensor | float | list[int], **attributes: Any) -> str:
        """The name of what operator `kind` makes of `values`."""
        names = [value if isinstance(value, str) else self.constant(value) for value in values]
        self.nodes.append((kind, names, f"v{len(self.nodes)}", attributes))
        return self.nodes[-1][2]

    def constant(self, value: Tensor | float | list[int]) -> str:
        name = f"c{len(self.constants)}"
        dtype = np.int64 if isinstance(value, list | int) else np.float32
        self.constants[name] = np.array(
            value.numpy(force=True) if isinstance(value, Tensor) else value, dtype, order="C"
        )
        return name

    def to_bytes(self, output: str) -> bytes:
        """The model as a file's content. Raises UsageError for one that is too large for the format."""
        from onnx import TensorProto, helper, numpy_helper

        size = sum(value.nbytes for value in self.constants.values())
        if size > MAX_BYTES:
            raise UsageError(
                f"this model's weights take {size / 1e9:.1f} GB, but an ONNX graph holds {MAX_BYTES / 1e9:.1f} GB; "
                "say backend: torch"
            )
        graph = helper.make_graph(
            [helper.make_node(kind, names, [made], **attributes) for kind, names, made, attributes in self.nodes],
            "synthesis",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", "C", "H", "W"])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString()
        return model


def synthesis_graph(net: Synthesis, noise_mode: NoiseMode) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """A model from `ws` [N, num_ws, w_dim] to `img` [N, C, H, W], and the random noise it also takes.

    That is an image [N, 1, height, width] for every convolution, by name in the order in which `net` draws them.
    """
    graph = Graph()
    blocks: list[Any] = [net.get_submodule(name) for name in net.block_names]
    ws = graph.input("ws", net.num_ws, blocks[0].conv1.affine.weight.shape[1])
    rows = [graph.op("Gather", ws, i, axis=1) for i in range(net.num_ws)]
    x, img = graph.constant(blocks[0].const[None]), ""
    for block in blocks:
        x, img = add_block(graph, block, x, img, rows, noise_mode)
        rows = rows[len(block.layers) :]  # the next block starts with the row of this one's ToRGB
    noise = {name: (int(shape[2]), int(shape[3])) for name, shape in graph.inputs.items() if name != ws}
    return graph.to_bytes(img), noise


def add_block(
    graph: Graph, block: SynthesisBlock, x: str, img: str, rows: list[str], noise_mode: NoiseMode
) -> tuple[str, str]:
    """Features and image (empty: none yet) at the size of `block`, whose `rows` come first."""
    y = x
    for layer, w in zip(block.layers, rows, strict=False):
        x = add_layer(graph, layer, x, w, noise_mode, HALF_GAIN if block.has_skip and layer is block.conv1 else 1)
    if block.has_skip:
        y = graph.op("Conv", y, block.skip.weight * (block.skip.weight_gain * HALF_GAIN))
        x = graph.op("Add", x, upsampled(graph, y, block.resample_filter, len(block.skip.weight)))
    if img:
        img = upsampled(graph, img, block.resample_filter, len(block.torgb.bias))
    if block.has_torgb:
        y = add_torgb(graph, block.torgb, x, rows[len(block.layers)])
        img = graph.op("Add", img, y) if img else y
    return x, img


def add_layer(graph: Graph, layer: SynthesisLayer, x: str, w: str, noise_mode: NoiseMode, gain: float = 1) -> str:
    """`SynthesisLayer`: all gains are in the demodulation, the noise and the bias."""
    act_gain = gain * ACTIVATION_GAIN
    styles = affine(graph, layer, w)
    squares = layer.weight.square().sum(dim=(2, 3)).t() / act_gain**2
    norms = graph.op("Add", graph.op("MatMul", graph.op("Mul", styles, styles), squares), 1e-8 / act_gain**2)
    x = scaled(graph, x, styles)
    if layer.up:
        x = graph.op("ConvTranspose", x, layer.weight.transpose(0, 1), strides=[2, 2])
        kernel = (layer.resample_filter * 4).flip([0, 1]).expand(len(layer.bias), 1, -1, -1)
        x = graph.op("Conv", x, kernel, group=len(layer.bias), pads=[1, 1, 1, 1])
    else:
        x = graph.op("Conv", x, layer.weight, pads=[1, 1, 1, 1])
    x = scaled(graph, x, graph.op("Reciprocal", graph.op("Sqrt", norms)))
    if layer.use_noise and noise_mode == "const":
        x = graph.op("Add", x, layer.noise_const * (layer.noise_strength * act_gain))
    elif layer.use_noise and noise_mode == "random":
        noise = graph.input(f"noise{len(graph.inputs)}", 1, *layer.noise_const.shape)
        x = graph.op("Add", x, graph.op("Mul", noise, layer.noise_strength * act_gain))
    x = graph.op("Add", x, (layer.bias * act_gain)[:, None, None])
    return clamped(graph, graph.op("LeakyRelu", x, alpha=LRELU_SLOPE), layer.conv_clamp, gain)


def add_torgb(graph: Graph, layer: ToRGB, x: str, w: str) -> str:
    x = scaled(graph, x, affine(graph, layer, w, layer.weight_gain))
    return clamped(graph, graph.op("Conv", x, layer.weight, layer.bias), layer.conv_clamp)


def affine(graph: Graph, layer: SynthesisLayer | ToRGB, w: str, gain: float = 1) -> str:
    """Styles [N, C] of a row [N, w_dim]."""
    dense = layer.affine
    weight, bias = dense.weight * (dense.weight_gain * gain), dense.bias * (dense.bias_gain * gain)
    return graph.op("Gemm", w, weight, bias, transB=1)


def scaled(graph: Graph, x: str, factors: str) -> str:
    """`x` [N, C, H, W] times `factors` [N, C]."""
    return graph.op("Mul", x, graph.op("Unsqueeze", factors, [2, 3]))


def clamped(graph: Graph, x: str, clamp: float | None, gain: float = 1) -> str:
    return x if clamp is None else graph.op("Clip", x, -clamp * gain, clamp * gain)


def upsampled(graph: Graph, x: str, kernel: Tensor, channels: int) -> str:
    """`ops.upsample2d` as one transposed convolution."""
    weight = (kernel * 4).expand(channels, 1, -1, -1)
    return graph.op("ConvTranspose", x, weight, group=channels, strides=[2, 2], pads=[1, 1, 1, 1])
