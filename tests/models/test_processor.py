"""The kind of processor that is read from what the kernel says is the one that torch computes with."""

import pytest
import torch

from imageclf.models import device
from imageclf.models.device import processor_kind

WIDE = "fma avx2 avx512vl avx512bw avx512dq"


def test_it_is_torchs() -> None:
    kind = processor_kind().removeprefix("AMD ").removeprefix("Intel ")
    name, _, unit = kind.partition(" ")
    assert name == torch.backends.cpu.get_cpu_capability()
    assert (unit == "AMX") == torch.cpu._is_amx_tile_supported()
    assert bool(unit) == torch.cpu._is_avx512_bf16_supported()


@pytest.mark.parametrize(
    ("flags", "maker", "kind"),
    [
        (f"{WIDE} avx512_bf16 amx_bf16 amx_tile", "GenuineIntel", "Intel AVX512 AMX"),
        (f"{WIDE} avx512_bf16", "GenuineIntel", "Intel AVX512 BF16"),
        (f"{WIDE} avx512_bf16", "AuthenticAMD", "AMD AVX512 BF16"),
        (WIDE, "another", "AVX512"),
        ("fma avx2", "AuthenticAMD", "AMD AVX2"),
        ("sse2", "GenuineIntel", "Intel DEFAULT"),
    ],
)
def test_processors_that_multiply_in_other_units_or_for_which_mkl_has_other_products_have_other_names(
    flags: str, maker: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_cpuinfo", {"flags": flags, "vendor_id": maker}.get)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    assert processor_kind() == kind
