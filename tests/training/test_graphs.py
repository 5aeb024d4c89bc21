"""What is recorded and replayed gives the bits of what is called: with a stand-in for CUDA graphs on the CPU."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.training import graphs, step
from imageclf.training.graphs import Outputs, Replayed
from imageclf.training.loading import Batch
from tests.training.sharded import augmented, make_pool, train_a_little

WAITS = {"_local_scalar_dense", "nonzero", "_assert_async", "equal"}  # for the device, which a graph cannot


class Recorded(TorchDispatchMode):
    """A graph on the CPU: operations with their arguments, computed again in place by a replay, without Python."""

    made: ClassVar[list["Recorded"]] = []

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0
        Recorded.made.append(self)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in WAITS, f"{func} waits for the device"
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, made in self.calls:
                for old, new in zip(tree_leaves(made), tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)


def record(call: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    state = torch.get_rng_state()
    with Recorded() as recorded:
        outputs = call()
    torch.set_rng_state(state)  # a graph computes nothing, and draws nothing, while it is recorded
    return outputs, recorded.replay


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The graphs that are made from now on, in place of calls."""
    Recorded.made.clear()
    monkeypatch.setattr(step, "replayed", lambda function, _: Replayed(function, record))
    # On a CPU it asks for the largest label first.
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: (labels[:, None] == torch.arange(classes)).long())
    return Recorded.made


RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bf16": {"precision": "bf16"},
    "everything on": augmented(mixup=0.4, cutmix=1.0) | {"class_weights": "balanced", "clip_norm": 0.5},
    "the last layer first": {"head_steps": 3, "layer_decay": 0.5, "optimizer": "muon"},
    "shards of two sizes": {"batch": 30},
    "mse": {"loss": "mse", "label_smoothing": 0.0},
    "frozen": {"frozen": "backbone", "optimizer": "adamw"},
}


@pytest.mark.parametrize("name", RUNS)
def test_replays_give_the_bits_of_calls(name: str, monkeypatch: pytest.MonkeyPatch, recorded: list[Recorded]) -> None:
    found = train_a_little(workers=1, **RUNS[name])
    assert recorded
    assert sum(each.replays for each in recorded) >= 12  # of 24 shards
    monkeypatch.undo()
    assert train_a_little(workers=1, **RUNS[name]) == found


@pytest.mark.parametrize("network_size", [None, (8, 8)])  # the host scales images, or the network does
def test_nothing_that_changes_between_batches_is_recorded(
    network_size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch, recorded: list[Recorded]
) -> None:
    def trained() -> Tensor:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
        network = nn.Sequential(*layers)
        classifier = Classifier(network, [0.5] * 3, [0.25] * 3, network_size=network_size)
        classifier = classifier.to(memory_format=torch.channels_last)
        with make_pool(classifier, workers=1, shards=4) as pool:
            for number in range(16):
                # 32 and 30 images have shards of 8 in common; a smaller scale makes smaller images of the same.
                batch = Batch(np.arange((32, 30)[number % 2]), 0, number, scale=(1.0, 0.75)[number // 2 % 2])
                pool.compute(batch)
                pool.update(0.1 / (1 + number))
            return pool._board.parameters.clone()

    found = trained()
    assert len(recorded) > 4 and all(each.replays > 1 for each in recorded)
    monkeypatch.undo()
    assert trained().equal(found)


def test_each_kind_and_shape_has_a_recording_of_its_own_after_one_call() -> None:
    kinds = []

    def doubled(kind: tuple[int], values: Tensor, more: Tensor | None) -> Outputs:
        kinds.append(kind)
        return (values * kind[0] if more is None else values * kind[0] + more,)

    function = Replayed(doubled, record)
    for kind, length in [(2, 3), (2, 3), (2, 3), (3, 3), (2, 4), (3, 3)]:
        values = torch.rand(length)
        for more in (None, torch.rand(length)):
            assert function((kind,), values, more)[0].equal(values * kind + (0 if more is None else more))
    # Each is called once, and recorded once at its second call.
    assert kinds == [(2,)] * 4 + [(3,)] * 2 + [(2,)] * 2 + [(3,)] * 2


def test_more_kinds_than_memory_is_kept_for_are_called() -> None:
    calls = 0

    def same(_: tuple[int], values: Tensor) -> Outputs:
        nonlocal calls
        calls += 1
        return (values.clone(),)

    function = Replayed(same, record)
    for _ in range(3):
        for kind in range(graphs.MOST + 1):
            function((kind,), torch.ones(2))
    assert calls == 2 * graphs.MOST + 3


@pytest.mark.parametrize(
    "compute", [Compute(torch.device("cpu"), "fp32", 1, graphs=True), Compute(torch.device("cuda"), "fp32", 1)]
)
def test_nothing_is_recorded_on_a_cpu_or_unasked(compute: Compute) -> None:
    def function(*_: object) -> Outputs:
        return ()

    assert graphs.replayed(function, compute) is function
