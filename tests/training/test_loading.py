"""Images loaded ahead, by processes, or augmented on the device, which the CPU stands for: the same to the byte."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import Augment
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import MachineError
from imageclf.training import loading, packed
from imageclf.training.checkpoint import Checkpoint
from imageclf.training.loading import Batch, Loader, Preparation
from imageclf.training.log import RunLog
from imageclf.training.loop import Task, fit
from tests.imports import ROOT
from tests.training.kept import Kept
from tests.training.test_fit import EMPTY, bright_or_dark, recipe

CPU = torch.device("cpu")
ALL_THAT_LOADING_DOES: dict[str, Any] = {
    "drop_last": False,
    "batch_size": 40,  # of 96 images: the last batch has 16
    "shards": 8,
    "sampling": "balanced",
    "scales": [0.75, 1.0],
    "augment": {"flip": "random", "translate": 1, "mixup": 0.2, "cutmix": 0.5},
}
STEPS = 3 * 3  # epochs, steps of each


def trained(
    *,
    begun: Checkpoint | None = None,
    kept: Kept | None = None,
    changes: dict[str, Any] | None = None,
    precision: str = "fp32",
    **compute: Any,
) -> tuple[Any, list[bytes]]:
    """History and weights of a run on a machine whose Compute is as given."""
    settings = ALL_THAT_LOADING_DOES | (changes or {})
    augment = recipe().augment.model_copy(update=settings.pop("augment"))
    chosen = recipe(**settings, augment=augment.model_dump())
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)]
    classifier = Classifier(nn.Sequential(*layers), [0.5] * 3, [0.25] * 3)
    task = Task(classifier, bright_or_dark(96), EMPTY, Augment(0, augment), Compute(CPU, precision, 1, **compute))
    with RunLog(None, first_step=0) as log:
        history = fit(
            task,
            chosen,
            begun=begun,
            checkpoints=kept or Kept(),  # type: ignore[arg-type]
            checkpoint_every=1e-9 if kept else 1e9,
            log=log,
            log_every=2,
        )
    return history, [tensor.numpy().tobytes() for tensor in classifier.state_dict().values()]


@pytest.fixture
def loaded_by(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The thread of each augmentation, in order."""
    threads, augment = list[threading.Thread](), Augment.__call__

    def watched(self: Augment, *arguments: Any) -> np.ndarray:
        threads.append(threading.current_thread())
        return augment(self, *arguments)

    monkeypatch.setattr(Augment, "__call__", watched)
    return threads


@pytest.mark.parametrize("prefetch", [1, 100])
def test_what_is_made_ahead_changes_no_byte(loaded_by: list[threading.Thread], prefetch: int) -> None:
    in_line = trained()
    assert set(loaded_by) == {threading.main_thread()}
    loaded_by.clear()
    assert trained(packed=True, prefetch=prefetch) == in_line
    assert len(set(loaded_by)) == 1 and threading.main_thread() not in loaded_by
    assert len(loaded_by) == STEPS * 8  # shards: each once


def test_images_augmented_on_the_device_change_no_byte(loaded_by: list[threading.Thread]) -> None:
    in_line = trained()
    loaded_by.clear()
    assert trained(packed=True, prefetch=2, resident=True) == in_line
    assert not loaded_by


def test_loader_processes_change_no_byte_and_a_run_goes_on_with_or_without_them() -> None:
    changes = {"augment": {"policy": "trivialaugment"}}  # draws from torch's one generator of each process
    kept = Kept()
    in_line = trained(kept=kept, changes=changes)
    # From the last batch of an epoch, which is smaller than those after it.
    assert trained(begun=kept.all[1], changes=changes, packed=True, prefetch=4, loaders=2) == in_line


def test_a_killed_loader_process_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(self: loading.Processes, batch: Batch, send: loading.Send) -> Any:
        assert self._pool is not None
        for process in self._pool._processes.values():
            process.kill()
        return before(self, batch, send)

    before = loading.Processes.packed
    monkeypatch.setattr(loading.Processes, "packed", kill)
    with pytest.raises(MachineError, match=r"a loader process was killed before step 1; .*lower runtime\.loaders"):
        trained(packed=True, prefetch=2, loaders=1)


def test_an_epoch_of_hard_images_is_chosen_by_the_losses_before_it() -> None:
    changes = {"hard_fraction": 0.5, "hard_after": 1, "sampling": "shuffled", "augment": {}}
    assert trained(packed=True, prefetch=100, changes=changes) == trained(changes=changes)


def test_policies_which_draw_from_torchs_one_generator_are_made_ahead_only_by_processes(
    loaded_by: list[threading.Thread],
) -> None:
    trained(packed=True, prefetch=2, changes={"augment": {"policy": "trivialaugment"}, "epochs": 1})
    assert set(loaded_by) == {threading.main_thread()}


def test_pinned_memory_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = list[torch.Size]()

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.shape)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    plain = trained()
    assert not pinned
    assert trained(packed=True, pinned=True) == plain
    assert len(pinned) == STEPS  # a batch goes up in one piece


def test_a_block_without_images_takes_no_piece() -> None:
    asked = bright_or_dark(8), Augment(0, recipe().augment), Mixing(0), range(2, 4), 4  # the second of two ranks
    preparation = Preparation(*asked, resizes=False, resident=False, batch_size=8)
    loader = Loader(preparation, Compute(CPU, "fp32", 1, packed=True, prefetch=2, loaders=1))
    for step in range(9):
        loader.expect(Batch(np.arange(2), 0, step))
    assert not loader._ahead._expected


def test_the_largest_batch_fits_into_a_piece() -> None:
    split = Split(np.zeros((4, 8, 3, 1), np.uint8), np.zeros(4, np.int64))
    params = recipe().augment.model_copy(update={"color": 0.4, "cutout": 2, "crop": 1, "crop_scale": 1.0})
    for resident in (False, True):
        asked = split, Augment(0, params), Mixing(0, 0.2, 0.3), range(4), 4
        preparation = Preparation(*asked, resizes=True, resident=resident, batch_size=8)
        _, size = packed.plan_of(preparation.of_block(Batch(np.arange(8) % 4, 0, 0)))
        assert size <= loading.piece_size(preparation)


KILLED = """
import os
from tests.training.test_loading import *
if __name__ == "__main__":
    asked = bright_or_dark(8), Augment(0, recipe().augment), Mixing(0), range(1), 1
    preparation = Preparation(*asked, resizes=False, resident=False, batch_size=8)
    loader = Loader(preparation, Compute(CPU, "fp32", 1, packed=True, prefetch=2, loaders=1))
    loader.shard(Batch(np.arange(8), 0, 0), 0, np.arange(8))
    print(*loader._ahead._pool._processes, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_loader_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, f"{tmp_path / 'killed.py'}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    loader = int(done.stdout)
    for _ in range(200):
        if not psutil.pid_exists(loader):
            return
        time.sleep(0.1)
    raise AssertionError("it outlived its parent")


def test_too_little_shared_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imageclf.training.shared.free_shared_memory", lambda: 1000)
    with pytest.raises(MachineError, match=r"share 0 MB and .* set runtime\.loaders to 0, or give it more"):
        trained(packed=True, prefetch=2, loaders=1)


def test_a_packed_array_begins_at_a_whole_cache_line() -> None:
    arrays: dict[int, list[np.ndarray]] = {
        0: [np.arange(5, dtype=np.uint8), np.arange(3.0)],
        2: [np.zeros((2, 3), bool)],
    }
    plan, size = packed.plan_of(arrays)
    piece = torch.empty(size, dtype=torch.uint8)
    packed.pack(arrays, plan, piece)
    assert [place.begin % packed.EDGE for places in plan.values() for place in places] == [0, 0, 0]
    for shard, places in plan.items():
        for tensor, array in zip(packed.unpacked(piece, places), arrays[shard], strict=True):
            assert tensor.numpy().dtype == array.dtype
            assert (tensor.numpy() == array).all()
