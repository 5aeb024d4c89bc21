"""Where, in which precision and by how many processes a network is trained, and how it comes by its images."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from stages.machine.cores import available_cores
from stages.machine.device import choose_device, make_deterministic
from stages.machine.memory import keep_freed_memory


@dataclass(frozen=True)
class Compute:
    """A device, a precision (fp32 or bf16) and how many processes share the work; how images come to an accelerator."""

    device: torch.device
    precision: str
    workers: int
    prefetch: int = 0  # batches made ahead by a thread
    pinned: bool = False  # host memory that the GPU reads by itself

    def autocast(self) -> AbstractContextManager[object]:
        """Runs convolutions and matrix products in bf16 where that is the precision; weights stay fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def choose_compute(
    device: str, precision: str, workers: int | str, *, shards: int, prefetch: int = 0, pin_memory: bool = False
) -> Compute:
    """Resolve every auto of `runtime` and `train.precision`, and make torch deterministic, single-threaded and quick.

    Raises:
        MachineError: the device that is asked for is not there.
    """
    chosen = choose_device(device)
    make_deterministic()
    keep_freed_memory()
    if precision == "auto":
        precision = "bf16" if _has_bf16(chosen) else "fp32"
    if chosen.type == "cpu":
        prefetch = 0  # there the cores that would work ahead are those that train
    pinned = pin_memory and chosen.type == "cuda"
    return Compute(chosen, precision, _choose_workers(chosen, workers, shards), prefetch, pinned)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def _choose_workers(device: torch.device, asked: int | str, shards: int) -> int:
    """The largest power of two that neither the request (or the cores) nor the shards exceed; 1 on an accelerator."""
    if device.type != "cpu":
        return 1
    limit = asked if isinstance(asked, int) else available_cores()
    return 2 ** (min(limit, shards).bit_length() - 1)
