"""The device is what was asked for, or the best there is, or a sentence; no GPU is needed to test it."""

import warnings

import pytest
import torch

from imageclf.models import device as device_module
from imageclf.models.device import choose_compute, choose_device
from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import CORES


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool = False) -> None:
    """A machine with so many CUDA devices, and with or without Apple's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(device_module, "_fault_of", lambda device: "")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(0, False, "cpu"), (1, False, "cuda"), (0, True, "mps"), (2, True, "cuda")]
)
def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, chosen: str) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == torch.device(chosen)


@pytest.mark.parametrize(("asked", "cuda"), [("cpu", 1), ("cuda", 1), ("cuda:1", 2)])
def test_what_is_asked_for_and_there_is_taken(monkeypatch: pytest.MonkeyPatch, asked: str, cuda: int) -> None:
    pretend(monkeypatch, cuda=cuda)
    assert choose_device(asked) == torch.device(asked)


@pytest.mark.parametrize(("asked", "cuda"), [("cuda", 0), ("cuda:1", 1), ("mps", 1)])
def test_what_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, asked: str, cuda: int) -> None:
    pretend(monkeypatch, cuda=cuda)
    with pytest.raises(MachineError, match=f"runtime.device is {asked}.*set it to auto or cpu"):
        choose_device(asked)


def test_of_several_processes_each_takes_a_gpu_or_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert choose_device("auto", local_rank=1, local_count=2) == torch.device("cuda:1")
    with pytest.raises(MachineError, match=r"runtime\.processes is 4, and here are 2 GPUs"):
        choose_device("auto", local_rank=1, local_count=4)
    with pytest.raises(MachineError, match=r"device is cuda:1, and 2 processes need one each"):
        choose_device("cuda:1", local_rank=0, local_count=2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(MachineError, match=r"has no NCCL here, .*; set it to 1, or runtime\.device to cpu"):
        choose_device("auto", local_rank=1, local_count=2)
    assert choose_device("cpu", local_rank=1, local_count=2) == torch.device("cpu")
    monkeypatch.setattr("imageclf.models.device.available_cores", lambda: 8)
    assert choose_compute("cpu", "fp32", "auto", shards=8, local_count=2).workers == 4


def test_a_run_beside_others_of_a_sweep_has_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, "1")
    assert choose_compute("cpu", "fp32", "auto", shards=8).workers == 1


def test_a_gpu_is_one_worker_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=1)
    compute = choose_compute("auto", "auto", "auto", shards=8)
    assert (compute.device.type, compute.precision, compute.workers) == ("cuda", "bf16", 1)


@pytest.mark.parametrize(("device", "prefetch", "pinned"), [("cpu", 0, False), ("cuda", 3, True), ("mps", 3, False)])
def test_only_a_device_apart_has_batches_made_ahead_and_only_cuda_reads_pinned_memory(
    monkeypatch: pytest.MonkeyPatch, device: str, prefetch: int, pinned: bool
) -> None:
    pretend(monkeypatch, cuda=1, mps=True)
    compute = choose_compute(device, "fp32", "auto", shards=8, prefetch=3, pin_memory=True)
    assert (compute.prefetch, compute.pinned) == (prefetch, pinned)


def test_a_processor_without_bf16_gets_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=0)
    for native, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert choose_compute("cpu", "auto", 1, shards=2).precision == precision


def test_a_card_that_torch_has_no_kernels_for_is_one_sentence_and_auto_takes_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, cuda=1)
    monkeypatch.setattr(device_module, "_fault_of", lambda device: "torch cannot compute on Tesla V100 (no kernel)")
    assert choose_device("auto") == torch.device("cpu")
    assert "auto takes the CPU, because torch cannot compute on Tesla V100" in capsys.readouterr().out
    with pytest.raises(MachineError, match=r"runtime\.device is cuda, and torch cannot compute on Tesla V100.*to cpu"):
        choose_device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_a_kernel_that_fails_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch, "ones", fail)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    assert device_module._fault_of(torch.device("cuda")).endswith(
        "cannot compute on Tesla V100 (CUDA error: no kernel image is available)"
    )
    monkeypatch.undo()
    assert device_module._fault_of(torch.device("cpu")) == ""


def test_a_driver_that_is_too_old_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_gpu() -> bool:
        warnings.warn("CUDA initialization: The driver is too old (found version 11040). Please update", stacklevel=1)
        return False

    pretend(monkeypatch, cuda=0)
    monkeypatch.setattr(torch.cuda, "is_available", no_gpu)
    assert choose_device("auto") == torch.device("cpu")
    assert "no GPU is used: The driver is too old (found version 11040), for torch" in capsys.readouterr().out


def test_the_precision_is_that_of_the_chosen_card(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=3)
    capabilities = [(8, 0), (7, 5), (6, 1)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index])
    chosen = [choose_compute(f"cuda:{card}", "auto", 1, shards=2).precision for card in range(3)]
    assert chosen == ["bf16", "fp16", "fp32"]


@pytest.mark.parametrize(
    ("device", "resident", "prefetch", "loaders"),
    [("cuda", False, 2, 7), ("cuda", True, 2, 0), ("cuda", False, 0, 0), ("cpu", False, 2, 0)],
)
def test_loader_processes_feed_what_cannot_hold_the_images(
    monkeypatch: pytest.MonkeyPatch, device: str, resident: bool, prefetch: int, loaders: int
) -> None:
    pretend(monkeypatch, cuda=1)
    monkeypatch.setattr("imageclf.models.device.available_cores", lambda: 8)
    compute = choose_compute(device, "fp32", 1, shards=2, prefetch=prefetch, loaders="auto", resident=resident)
    assert compute.loaders == loaders
    assert compute.prefetch == (max(prefetch, 2 * loaders) if device == "cuda" else 0)
