"""The device that torch computes on, and torch made to give the same bits every time."""

import os

import torch

from stages.console.errors import MachineError


def choose_device(asked: str) -> torch.device:
    """Resolve `runtime.device`: auto is cuda, else mps, else the CPU.

    Raises:
        MachineError: the device that is asked for is not there.
    """
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


def make_deterministic() -> None:
    """Hold torch to one compute thread, to algorithms that repeat, and fp32 to its full precision."""
    # One compute thread: the bits then do not depend on the cores, and spinning threads do not collide.
    torch.set_num_threads(1)
    # cuBLAS reads this at its first call (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # true by default: convolutions would round their inputs to 10 bits
    torch.backends.cuda.matmul.allow_tf32 = False  # true where TORCH_ALLOW_TF32_CUBLAS_OVERRIDE says so
    # warn: on a GPU a few gradients (VGG's pooling) have no repeatable form, and torch then names them.
    # Unlike use_deterministic_algorithms this does not import the compiler, which takes two seconds.
    torch.set_deterministic_debug_mode("warn")
    # Deterministic mode fills every new tensor in case someone reads it unwritten; that cost a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
