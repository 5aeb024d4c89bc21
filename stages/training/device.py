"""Where and in which precision the network computes."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from stages.console.errors import MachineError


@dataclass(frozen=True)
class Compute:
    """A device, a precision (fp32 or bf16) and how many processes share the work."""

    device: torch.device
    precision: str
    workers: int

    def autocast(self) -> AbstractContextManager[object]:
        """Runs convolutions and matrix products in bf16 where that is the precision; weights stay fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def choose_compute(device: str, precision: str, workers: int | str, *, shards: int) -> Compute:
    """Resolve every auto of `runtime` and `train.precision`, and make torch deterministic and single-threaded.

    Raises:
        MachineError: the device that is asked for is not there.
    """
    chosen = _choose_device(device)
    if precision == "auto":
        precision = "bf16" if _has_bf16(chosen) else "fp32"
    _make_deterministic()
    return Compute(chosen, precision, _choose_workers(chosen, workers, shards))


def _choose_device(asked: str) -> torch.device:
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(
            f"params.yaml: runtime.device is {asked}, and torch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices here; set it to auto or cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError("params.yaml: runtime.device is mps, and there is none here; set it to auto or cpu")
    return device


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


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_deterministic() -> None:
    # One compute thread a process: the bits then do not depend on the cores, and spinning threads do not collide.
    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
