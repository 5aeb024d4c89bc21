"""The sharded step: the same bits whoever computes it."""

import os
import signal
from typing import Any

import numpy as np
import pytest
import torch

from imageclf.models.device import choose_compute
from imageclf.runtime.errors import MachineError
from imageclf.training.loading import Batch
from imageclf.training.optimizers import OPTIMIZERS
from imageclf.weights.freezing import freeze
from tests.training.sharded import augmented, make_pool, small_classifier, train_a_little
from tests.training.test_fit import recipe


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_workers_changes_no_bit(precision: str) -> None:
    hashes = {train_a_little(workers=workers, precision=precision) for workers in (1, 2, 4)}
    assert len(hashes) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_nor_does_it_where_the_last_layer_begins_alone(optimizer: str) -> None:
    several = {
        workers: train_a_little(workers=workers, optimizer=optimizer, head_steps=3, layer_decay=0.5)
        for workers in (1, 4)
    }
    assert several[1] == several[4]
    assert several[1] != train_a_little(workers=1, optimizer=optimizer, layer_decay=0.5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_waits_for_the_last_layer_moves_by_no_bit(optimizer: str) -> None:
    classifier = small_classifier()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    with make_pool(classifier, workers=2, shards=4, head_first=True, optimizer=optimizer) as pool:
        for step in range(3):
            pool.compute(Batch(np.arange(32), epoch=0, step=step, head_only=step < 2))
            pool.update(0.1)
            now = classifier.state_dict()
            moved = {name for name, tensor in now.items() if not torch.equal(tensor, before[name])}
            assert ("network.0.weight" in moved) == ("network.1.running_mean" in moved) == (step == 2)
            assert "network.5.weight" in moved
    assert all(parameter.requires_grad for parameter in classifier.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("frozen", ["none", "backbone", 1])
def test_nor_does_it_where_parts_are_frozen_and_the_head_has_a_rate_of_its_own(
    optimizer: str, frozen: str | int
) -> None:
    hashes = {train_a_little(workers=workers, optimizer=optimizer, frozen=frozen, head_lr=10.0) for workers in (1, 4)}
    assert len(hashes) == 1
    assert hashes != {train_a_little(workers=1, optimizer=optimizer, frozen=frozen)}


def test_frozen_parts_keep_every_bit_and_take_no_memory() -> None:
    classifier = small_classifier()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    freeze(classifier, "backbone")
    with make_pool(classifier, workers=2, shards=4, optimizer="adamw") as pool:
        for step in range(3):
            pool.compute(Batch(np.arange(32) + step, epoch=step, step=step))
            pool.update(0.1)
        assert sum(tensor.numel() for tensor in pool.memory().values() if tensor.dim()) == 2 * (512 * 4 + 4)
        assert pool._board.parameters.numel() == 512 * 4 + 16  # each begins at a multiple of 16
    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"network.5.weight", "network.5.bias"}


def test_the_heads_rate_is_a_share_of_the_runs() -> None:
    moved = {}
    for head_lr in (1.0, 3.0):
        classifier = small_classifier(random=False)
        before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
        with make_pool(classifier, workers=2, shards=4, head_lr=head_lr) as pool:
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
            pool.update(0.01)
        moved[head_lr] = {name: tensor - before[name] for name, tensor in classifier.state_dict().items()}
    for name, change in moved[1.0].items():
        share = 3.0 if name.startswith("network.3") else 1.0
        torch.testing.assert_close(moved[3.0][name], share * change, atol=1e-7, rtol=1e-4)


def test_another_seed_or_step_changes_bits() -> None:
    # Without this the test above could pass because nothing is random.
    assert train_a_little(workers=1) != train_a_little(workers=1, batch=31)


def test_torchs_global_generator_is_of_no_account() -> None:
    first = train_a_little(workers=1)
    torch.rand(100)
    assert train_a_little(workers=1) == first


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_gives_the_same_bits_twice(optimizer: str) -> None:
    assert train_a_little(workers=2, optimizer=optimizer) == train_a_little(workers=1, optimizer=optimizer)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_workers_changes_no_bit_with_everything_on(precision: str) -> None:
    everything = augmented(mixup=0.4, cutmix=1.0) | {"class_weights": "balanced", "clip_norm": 0.5}
    hashes = {
        train_a_little(workers=workers, precision=precision, optimizer="muon", **everything) for workers in (1, 4)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "changes",
    [augmented(mixup=0.4), augmented(cutmix=1.0), {"class_weights": "balanced"}, {"clip_norm": 0.01}],
    ids=str,
)
def test_each_option_changes_what_is_trained(changes: dict[str, Any]) -> None:
    assert train_a_little(workers=1, **changes) != train_a_little(workers=1)


def test_more_shards_than_workers_is_gradient_accumulation() -> None:
    # One worker holds the activations of one shard of 4 images at a time, and the bytes are those of two workers.
    assert train_a_little(workers=1, shards=8) == train_a_little(workers=2, shards=8)
    classifier, live, most = small_classifier(random=False), set[int](), 0

    def pack(tensor: torch.Tensor) -> _Held:
        nonlocal most
        held = _Held(tensor, live)
        most = max(most, len(live))
        return held

    def activations(shards: int) -> int:
        nonlocal most
        most = 0
        sizes: list[int] = []
        handle = classifier.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        with (
            make_pool(classifier, workers=1, shards=shards) as pool,
            torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor),
        ):
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
        handle.remove()
        assert sizes == [32 // shards] * shards
        return most

    assert activations(8) == activations(1)  # tensors kept for the backward pass: those of one shard, however many
    assert not live


class _Held:
    """A tensor that autograd keeps; `live` knows for how long."""

    def __init__(self, tensor: torch.Tensor, live: set[int]) -> None:
        self.tensor, self._live = tensor, live
        live.add(id(self))

    def __del__(self) -> None:
        self._live.discard(id(self))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lost_worker_is_one_sentence_with_the_signal_that_ended_it(number: signal.Signals) -> None:
    with (
        pytest.raises(MachineError, match=rf"process at step 7 was killed by signal {int(number)} \({number.name}\)"),
        make_pool(small_classifier(), workers=2, shards=4) as pool,
    ):
        os.kill(pool._children[0].pid, number)
        pool._children[0].join()
        pool.compute(Batch(np.arange(32), epoch=0, step=7))


def test_children_end_with_the_block() -> None:
    with make_pool(small_classifier(), workers=4, shards=4) as pool:
        children = [child.pid for child in pool._children]
    assert len(children) == 3
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)


@pytest.mark.parametrize(
    ("batch_size", "count"), [(1, 1), (2, 2), (64, 2), (512, 2), (513, 4), (1024, 4), (2048, 8), (2049, 16)]
)
def test_auto_shards_have_at_most_256_images(batch_size: int, count: int) -> None:
    assert recipe(size=(32, 32), batch_size=batch_size, shards="auto").shards == count


@pytest.mark.parametrize(("side", "count"), [(45, 2), (64, 4), (128, 16), (224, 16)])
def test_auto_shards_of_large_images_are_smaller_but_not_under_32(side: int, count: int) -> None:
    assert recipe(size=(side, side), batch_size=512, shards="auto").shards == count


@pytest.mark.parametrize(("asked", "workers"), [(1, 1), (2, 2), (3, 2), (4, 4), (100, 8)])
def test_workers_are_a_power_of_two_that_the_shards_can_feed(asked: int, workers: int) -> None:
    assert choose_compute("cpu", "fp32", asked, shards=8).workers == workers


def test_nor_do_shards_without_images() -> None:
    assert len({train_a_little(workers=workers, batch=6, shards=8) for workers in (1, 2, 4)}) == 1
