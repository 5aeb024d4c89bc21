"""The device, precision and number of processes of a network."""

import os
import platform
import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import available_cores, keep_freed_memory

# torch chooses its kernels by these flags (aten/src/ATen/native/DispatchStub.cpp), and oneDNN those for bf16.
SETS = {"AVX512": {"avx512vl", "avx512bw", "avx512dq", "fma"}, "AVX2": {"avx2", "fma"}}
MOST_LOADERS = 16  # processes that auto starts to feed an accelerator
# Compute capabilities from which an NVIDIA GPU multiplies them: Ampere, and Volta before it.
BF16_GPU, FP16_GPU = (8, 0), (7, 0)
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BF16_UNITS = {"AMX": {"amx_bf16", "amx_tile"}, "BF16": {"avx512_bf16"}}
# Of two processors with the same of these, an AMD EPYC and an Intel Xeon, each gave bytes of its own: MKL has other
# products of matrices for each maker's.
MAKERS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}


def processor_kind() -> str:
    """Such as `Intel AVX512 AMX`: the maker, torch's name for the instruction set, and the bf16 unit if there is one.

    Read without torch on x86 Linux, asked of torch elsewhere and where ATEN_CPU_CAPABILITY overrides it.
    """
    flags = set(_cpuinfo("flags").split())
    asked = not flags or "ATEN_CPU_CAPABILITY" in os.environ
    found = _asked_of_torch() if asked else _first(SETS, flags) or "DEFAULT"
    return " ".join(filter(None, [MAKERS.get(_cpuinfo("vendor_id"), ""), found, _first(BF16_UNITS, flags)]))


def _cpuinfo(name: str) -> str:
    """What the kernel says of the first core; empty where it does not."""
    listed = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not listed.exists():
        return ""
    found = re.search(rf"^{name}\s*: (.*)$", listed.read_text(), re.MULTILINE)
    return found[1] if found else ""


def _first(names: dict[str, set[str]], flags: set[str]) -> str:
    return next((name for name, needed in names.items() if needed <= flags), "")


def _asked_of_torch() -> str:
    import torch  # here: it takes two seconds

    return torch.backends.cpu.get_cpu_capability()


def choose_device(asked: str, *, local_rank: int = 0, local_count: int = 1) -> torch.device:
    """Resolve `runtime.device`: auto is cuda, else mps, else the CPU.

    Of `local_count` processes of a run on this machine, each takes a GPU of its own.

    Raises:
        MachineError: the requested device does not exist, there are fewer GPUs than processes, or no NCCL for them.
    """
    if local_count > 1 and asked in ("auto", "cuda") and _finds_cuda():
        if local_count > torch.cuda.device_count():
            raise MachineError(
                f"params.yaml: runtime.processes is {local_count}, and here are {torch.cuda.device_count()} GPUs; "
                "lower it, or set runtime.device to cpu"
            )
        if not torch.distributed.is_nccl_available():  # so on Windows
            raise MachineError(
                f"params.yaml: runtime.processes is {local_count}, and torch {torch.__version__} has no NCCL here, by "
                "which GPUs reach each other; set it to 1, or runtime.device to cpu"
            )
        return _working(torch.device("cuda", local_rank), asked)
    if local_count > 1 and asked not in ("auto", "cpu"):
        raise MachineError(
            f"params.yaml: runtime.device is {asked}, and {local_count} processes need one each; set it to auto or cpu"
        )
    if asked == "auto":
        if _finds_cuda():
            if not (fault := _fault_of(torch.device("cuda"))):
                return torch.device("cuda")
            print(f"runtime.device: auto takes the CPU, because {fault}", flush=True)
        return torch.device("mps" if torch.backends.mps.is_available() and local_count == 1 else "cpu")
    device = torch.device(asked)
    if device.type == "cuda":
        if not _finds_cuda() or (device.index or 0) >= torch.cuda.device_count():
            raise MachineError(
                f"params.yaml: runtime.device is {asked}, and torch {torch.__version__} finds "
                f"{torch.cuda.device_count()} CUDA devices here; set it to auto or cpu"
            )
        return _working(device, asked)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError("params.yaml: runtime.device is mps, which is not available here; set it to auto or cpu")
    return device


def _finds_cuda() -> bool:
    """Whether torch finds an NVIDIA GPU; a line says so if there is one whose driver is too old for this torch."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if said and not found:
        reason = str(said[0].message).removeprefix("CUDA initialization: ").partition(". ")[0]
        print(f"runtime.device: no GPU is used: {reason}, for torch {torch.__version__}; update the driver", flush=True)
    return found


def _working(device: torch.device, asked: str) -> torch.device:
    if fault := _fault_of(device):
        raise MachineError(f"params.yaml: runtime.device is {asked}, and {fault}; set it to cpu")
    return device


def _fault_of(device: torch.device) -> str:
    """Why a GPU cannot compute, or nothing: torch lists cards too that it has no kernels for."""
    try:
        torch.ones(8, device=device).add_(1).sum().item()
    except RuntimeError as error:
        words = str(error).strip().partition("\n")[0]
        return f"torch {torch.__version__} cannot compute on {torch.cuda.get_device_name(device)} ({words})"
    return ""


def make_deterministic() -> None:
    """Make torch deterministic: one compute thread, deterministic algorithms, full fp32 precision."""
    # One compute thread: results do not depend on the number of cores, and busy-waiting threads do not collide.
    torch.set_num_threads(1)
    # cuBLAS reads this at its first call (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # true by default: convolutions would round their inputs to 10 bits
    torch.backends.cuda.matmul.allow_tf32 = False  # true if TORCH_ALLOW_TF32_CUBLAS_OVERRIDE is set
    # Unlike use_deterministic_algorithms this does not import the compiler, which takes two seconds. error: with warn
    # attention stays as it is on a GPU (ATen/native/transformers/cuda/attention_backward.cu).
    torch.set_deterministic_debug_mode("error")
    # Deterministic mode fills every new tensor, which takes a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Compute:
    """A device, a precision (fp32, bf16 or fp16), the number of processes, and how images reach an accelerator."""

    device: torch.device
    precision: str
    workers: int
    packed: bool = False  # a batch goes to the device in one piece
    prefetch: int = 0  # batches that are prepared ahead
    loaders: int = 0  # processes that prepare them; 0: a thread
    pinned: bool = False  # use pinned host memory
    resident: bool = False  # the training images stay on the device, and are augmented there
    graphs: bool = False  # a GPU is given the kernels of a shard at once

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast convolutions and matrix products to bf16 or fp16 if that is the precision; weights stay fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=HALVES[self.precision])


def choose_compute(
    device: torch.device | str,
    precision: str,
    workers: int | str,
    *,
    shards: int,
    prefetch: int = 0,
    loaders: int | str = 0,
    pin_memory: bool = False,
    resident: bool = False,
    graphs: bool = False,
    local_count: int = 1,
) -> Compute:
    """Resolve every auto of `runtime` and `train.precision`, and make torch deterministic.

    `shards` are those of this process, one of `local_count` of a run on this machine. `resident`: the images stay on
    the device.

    Raises:
        MachineError: the requested device does not exist.
    """
    chosen = device if isinstance(device, torch.device) else choose_device(device)
    make_deterministic()
    keep_freed_memory()
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # autocast and the optimisers ask the current one
    if precision == "auto":
        precision = best_precision(chosen)
    workers = _choose_workers(chosen, workers, shards, local_count)
    if chosen.type == "cpu":
        return Compute(chosen, precision, workers)  # all cores train: nothing is made ahead
    if loaders == "auto":
        loaders = 0 if resident or not prefetch else min(MOST_LOADERS, max(1, available_cores() // local_count - 1))
    assert isinstance(loaders, int)
    return Compute(
        chosen,
        precision,
        workers,
        packed=True,
        prefetch=max(prefetch, 2 * loaders),
        loaders=loaders,
        pinned=pin_memory and chosen.type == "cuda",
        resident=resident,
        graphs=graphs,
    )


def best_precision(device: torch.device) -> str:
    """What auto takes on a device: the half precision that it multiplies, if any."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= BF16_GPU else "fp16" if capability >= FP16_GPU else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def _choose_workers(device: torch.device, asked: int | str, shards: int, local_count: int) -> int:
    """The largest power of two within the request (or its part of the cores) and the shards; 1 on an accelerator."""
    if device.type != "cpu":
        return 1
    limit = asked if isinstance(asked, int) else max(1, available_cores() // local_count)
    return 2 ** (min(limit, shards).bit_length() - 1)
