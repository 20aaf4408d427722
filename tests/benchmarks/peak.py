"""Peak convolution speed of this machine in GFLOP/s, fp32 and bf16: the yardstick for training and synthesis speed.

Run it right before or after the benchmark it serves, with the same number of threads: the machine is shared and drifts.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch


def exact_fp32() -> None:
    """Every switch that lets float32 be computed in less than float32 is set to IEEE's own, on CPUs and GPUs."""
    torch.set_float32_matmul_precision("highest")
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    switches = [backends, backends.cuda.matmul, cudnn, cudnn.conv, cudnn.rnn]
    for switch in [*switches, mkldnn, mkldnn.conv, mkldnn.matmul, mkldnn.rnn]:
        switch.fp32_precision = "ieee"
        assert switch.fp32_precision == "ieee"


def best_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def conv_gflops(dtype: torch.dtype, batch: int = 8, channels: int = 256, side: int = 64) -> float:
    x = torch.randn(batch, channels, side, side, dtype=dtype).to(memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    flop = 2 * batch * channels * channels * 9 * side * side
    return flop / best_seconds(lambda: torch.nn.functional.conv2d(x, w, padding=1)) / 1e9


def measure() -> Iterator[dict[str, Any]]:
    fp32, bf16 = conv_gflops(torch.float32), conv_gflops(torch.bfloat16)
    yield {
        "threads": torch.get_num_threads(),
        "fp32_conv_gflops": round(fp32, 1),
        "bf16_conv_gflops": round(bf16, 1),
        "bf16_to_fp32": round(bf16 / fp32, 2),
    }


if __name__ == "__main__":
    exact_fp32()
    for record in measure():
        print(json.dumps(record))
