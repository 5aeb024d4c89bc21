"""What the machine can do at most: the rate of a large matrix product on all its cores."""

import statistics
import time

import torch

from imageclf.runtime.platform import available_cores

SIZE, TIMES = 2048, 7
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matmul_peak(precision: str, *, size: int = SIZE) -> float:
    """GFLOP/s, the median of several products after one that warms up."""
    torch.set_num_threads(available_cores())
    left, right = (torch.randn(size, size).to(PRECISIONS[precision]) for _ in range(2))
    product = left @ right
    seconds = []
    for _ in range(TIMES):
        begun = time.monotonic()
        torch.mm(left, right, out=product)
        seconds.append(time.monotonic() - begun)
    return 2e-9 * size**3 / statistics.median(seconds)
