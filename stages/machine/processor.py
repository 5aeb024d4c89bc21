"""The processor as its kernels see it: other instructions add in other orders, and give other last bits."""

import os
import platform
import re
from pathlib import Path

# From these flags torch chooses its kernels (aten/src/ATen/native/DispatchStub.cpp), and oneDNN those for bf16.
SETS = {"AVX512": {"avx512vl", "avx512bw", "avx512dq", "fma"}, "AVX2": {"avx2", "fma"}}
BF16_UNITS = {"AMX": {"amx_bf16", "amx_tile"}, "BF16": {"avx512_bf16"}}


def instruction_set() -> str:
    """`AVX512 AMX` say: torch's name for the set, and the unit for bf16 where there is one.

    Read without torch on x86 Linux, asked of torch elsewhere and where ATEN_CPU_CAPABILITY overrides it.
    """
    flags = _flags()
    asked = not flags or "ATEN_CPU_CAPABILITY" in os.environ
    found = _asked_of_torch() if asked else _first(SETS, flags) or "DEFAULT"
    return f"{found} {_first(BF16_UNITS, flags)}".rstrip()


def _flags() -> set[str]:
    listed = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not listed.exists():
        return set()
    found = re.search(r"^flags\s*: (.*)$", listed.read_text(), re.MULTILINE)
    return set(found[1].split()) if found else set()


def _first(names: dict[str, set[str]], flags: set[str]) -> str:
    return next((name for name, needed in names.items() if needed <= flags), "")


def _asked_of_torch() -> str:
    import torch  # two seconds

    return torch.backends.cpu.get_cpu_capability()
