"""Batches made ahead of an accelerator, which the CPU stands for here: earlier, and the same to the byte."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imageclf.augment.transforms import Augment
from imageclf.models.device import Compute
from tests.training.test_fit import recipe, train

ALL_THAT_LOADING_DOES: dict[str, Any] = {
    "drop_last": False,
    "batch_size": 25,  # of 96 images: the last batch has 21
    "shards": 8,
    "sampling": "balanced",
}


@pytest.fixture
def loaded_by(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The thread of each augmentation, in order."""
    threads, augment = list[threading.Thread](), Augment.__call__

    def watched(self: Augment, *arguments: Any) -> np.ndarray:
        threads.append(threading.current_thread())
        return augment(self, *arguments)

    monkeypatch.setattr(Augment, "__call__", watched)
    return threads


def trained(folder: Path, *, prefetch: int = 0, pinned: bool = False, **changes: Any) -> tuple[Any, list[bytes]]:
    augment = recipe().augment.model_dump() | {"mixup": 0.2} | changes.pop("augment", {})
    packed = prefetch > 0 or pinned
    compute = Compute(torch.device("cpu"), "fp32", 1, packed=packed, prefetch=prefetch, pinned=pinned)
    history, classifier = train(folder, compute=compute, **ALL_THAT_LOADING_DOES | {"augment": augment} | changes)
    return history, [tensor.numpy().tobytes() for tensor in classifier.state_dict().values()]


@pytest.mark.parametrize("prefetch", [1, 100])
def test_what_is_made_ahead_changes_no_byte(tmp_path: Path, loaded_by: list[threading.Thread], prefetch: int) -> None:
    in_line = trained(tmp_path / "in line")
    assert set(loaded_by) == {threading.main_thread()}
    loaded_by.clear()
    assert trained(tmp_path / "ahead", prefetch=prefetch) == in_line
    assert len(set(loaded_by)) == 1 and threading.main_thread() not in loaded_by
    assert len(loaded_by) == 3 * 4 * 8  # epochs, steps, shards: each once


def test_an_epoch_of_hard_images_is_chosen_by_the_losses_before_it(tmp_path: Path) -> None:
    choosing: dict[str, Any] = {
        "hard_fraction": 0.5,
        "hard_after": 1,
        "sampling": "shuffled",
        "augment": {"mixup": 0.0},
    }
    in_line = trained(tmp_path / "in line", **choosing)
    assert trained(tmp_path / "ahead", prefetch=100, **choosing) == in_line


def test_policies_which_draw_from_torchs_one_generator_are_not_made_ahead(
    tmp_path: Path, loaded_by: list[threading.Thread]
) -> None:
    trained(tmp_path, prefetch=2, augment={"policy": "trivialaugment"}, epochs=1)
    assert set(loaded_by) == {threading.main_thread()}


def test_pinned_memory_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = list[torch.Size]()

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.shape)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    plain = trained(tmp_path / "plain")
    assert not pinned
    assert trained(tmp_path / "pinned", pinned=True) == plain
    assert len(pinned) == 3 * 4  # epochs, steps
