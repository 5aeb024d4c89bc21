"""The instruction set that is read from the kernel's flags is the one that torch computes with."""

import pytest
import torch

from imageclf.models import device
from imageclf.models.device import instruction_set

WIDE = "fma avx2 avx512vl avx512bw avx512dq"


def test_it_is_torchs() -> None:
    name, _, unit = instruction_set().partition(" ")
    assert name == torch.backends.cpu.get_cpu_capability()
    assert (unit == "AMX") == torch.cpu._is_amx_tile_supported()
    assert bool(unit) == torch.cpu._is_avx512_bf16_supported()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (f"{WIDE} avx512_bf16 amx_bf16 amx_tile", "AVX512 AMX"),
        (f"{WIDE} avx512_bf16", "AVX512 BF16"),
        (WIDE, "AVX512"),
        ("fma avx2", "AVX2"),
        ("sse2", "DEFAULT"),
    ],
)
def test_processors_that_multiply_in_bf16_in_other_units_have_other_names(
    flags: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_flags", lambda: set(flags.split()))
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    assert instruction_set() == name
