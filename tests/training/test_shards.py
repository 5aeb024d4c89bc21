"""The sharded step: the same bits whoever computes it, and the gradient that plain training has."""

import hashlib
import os
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stages.console.errors import MachineError
from stages.data.augment import Augment
from stages.data.mixing import Mixing
from stages.data.prepared import Split
from stages.model.classifier import Classifier
from stages.model.freezing import freeze
from stages.training.board import make_board
from stages.training.compute import Compute, choose_compute
from stages.training.flat import views
from stages.training.network import Network
from stages.training.objective import choose_objective
from stages.training.shards import Batch, shard_count
from stages.training.targets import image_weights
from stages.training.workers import WorkerPool, make_worker
from tests.training.test_fit import recipe

GENERATOR = np.random.default_rng(0)
SPLIT = Split(GENERATOR.integers(0, 256, (96, 8, 8, 3)).astype(np.uint8), GENERATOR.integers(0, 4, 96))
CPU = torch.device("cpu")


def small_classifier(*, random: bool = True) -> Classifier:
    """With all that could make the number of workers matter: batch norm, dropout, a filter with channels last."""
    torch.manual_seed(0)
    middle = [nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)] if random else [nn.ReLU()]
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *middle, nn.Flatten(), nn.Linear(512, 4))
    return Classifier(network, [0.5] * 3, [0.25] * 3).to(memory_format=torch.channels_last)


def make_pool(
    classifier: Classifier, *, workers: int, shards: int, precision: str = "fp32", head_lr: float = 1.0, **changes: Any
) -> WorkerPool:
    compute = Compute(CPU, precision, workers)
    network = Network(classifier, head_lr=head_lr)
    board = make_board(network, images=len(SPLIT), shards=shards, workers=workers, device=CPU)
    return WorkerPool(
        board,
        partial(
            make_worker,
            board=board,
            network=network,
            split=SPLIT,
            augment=Augment(0, flip="random", translate=1),
            objective=choose_objective("cross_entropy", label_smoothing=0.1),
            compute=compute,
            recipe=recipe(**{"seed": 3, "momentum": 0.9, "weight_decay": 0.01} | changes),
            memory={},
        ),
    )


def train_a_little(
    *,
    workers: int,
    precision: str = "fp32",
    batch: int = 32,
    shards: int = 4,
    head_lr: float = 1.0,
    frozen: str | int = "none",
    **changes: Any,
) -> str:
    """A hash of all weights and statistics after a few steps."""
    torch.set_num_threads(1)
    classifier = small_classifier()
    freeze(classifier, frozen)
    pool_of = partial(make_pool, workers=workers, shards=shards, precision=precision, head_lr=head_lr)
    with pool_of(classifier, **changes) as pool:
        for step in range(6):
            pool.compute(Batch(np.arange(batch) + step, epoch=step, step=step))
            pool.update(0.1, clip_norm=changes.get("clip_norm", 0.0))
    state = classifier.state_dict()
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in state.values())).hexdigest()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_workers_changes_no_bit(precision: str) -> None:
    hashes = {train_a_little(workers=workers, precision=precision) for workers in (1, 2, 4)}
    assert len(hashes) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("frozen", ["none", "backbone", 1])
def test_nor_does_it_where_parts_are_frozen_and_the_head_has_a_rate_of_its_own(
    optimizer: str, frozen: str | int
) -> None:
    hashes = {
        train_a_little(workers=workers, optimizer=optimizer, frozen=frozen, head_lr=10.0) for workers in (1, 2, 4)
    }
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


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "muon"])
def test_every_optimizer_gives_the_same_bits_twice(optimizer: str) -> None:
    assert train_a_little(workers=2, optimizer=optimizer) == train_a_little(workers=1, optimizer=optimizer)


def augmented(**changes: float) -> dict[str, Any]:
    """`train.augment` with changes, for a recipe."""
    return {"augment": recipe().augment.model_dump() | changes}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_workers_changes_no_bit_with_everything_on(precision: str) -> None:
    everything = augmented(mixup=0.4, cutmix=1.0) | {"class_weights": "balanced", "clip_norm": 0.5}
    hashes = {
        train_a_little(workers=workers, precision=precision, optimizer="muon", **everything) for workers in (1, 2, 4)
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


def gradient_of(**changes: Any) -> tuple[list[torch.Tensor], float, float]:
    """The sharded gradient of 40 images, the sum of losses, the number of right answers."""
    classifier = small_classifier(random=False)
    with make_pool(classifier, workers=2, shards=2, **changes) as pool:
        loss, right = pool.compute(Batch(np.arange(40), epoch=1, step=6))
        pool.update(0.0)
        return [each.clone() for each in views(pool._board.gradients[0], Network(classifier).trainable)], loss, right


def test_a_class_weight_multiplies_the_loss_of_its_images() -> None:
    counts = np.bincount(SPLIT.labels)
    weights = len(SPLIT.labels) / (4 * counts[SPLIT.labels])
    assert weights.mean() == pytest.approx(1)
    assert image_weights(SPLIT.labels) == pytest.approx(weights)
    gradient, loss, right = gradient_of(class_weights="balanced")

    classifier = small_classifier(random=False)
    indices = np.arange(40)
    logits = classifier(torch.from_numpy(Augment(0, flip="random", translate=1)(SPLIT.images, indices, 1)))
    labels = torch.from_numpy(SPLIT.labels[indices])
    losses = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    losses = losses * torch.from_numpy(weights[indices])
    plain = torch.autograd.grad(losses.mean(), Network(classifier).trainable)
    torch.testing.assert_close(gradient, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(losses.sum().item(), rel=1e-5)
    assert right == (logits.argmax(1) == labels).sum().item()


def test_a_class_without_images_has_no_part_in_the_weights() -> None:
    assert image_weights(np.array([0, 0, 0, 2])).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_mixed_images_are_trained_towards_both_classes_by_their_shares() -> None:
    gradient, loss, right = gradient_of(**augmented(mixup=0.5, cutmix=0.5), class_weights="balanced")

    classifier = small_classifier(random=False)
    augment, weights = Augment(0, flip="random", translate=1), image_weights(SPLIT.labels)
    losses, hits = [], 0
    for shard, indices in enumerate(np.split(np.arange(40), 2)):
        mixed = Mixing(3, mixup=0.5, cutmix=0.5)(augment(SPLIT.images, indices, 1), step=6, shard=shard)
        logits = classifier(torch.from_numpy(mixed.images))
        others, shares = indices[mixed.partners], torch.from_numpy(mixed.shares)
        of_both = [
            nn.functional.cross_entropy(
                logits, torch.from_numpy(SPLIT.labels[each]), label_smoothing=0.1, reduction="none"
            )
            for each in (indices, others)
        ]
        weight = shares * torch.from_numpy(weights[indices]) + (1 - shares) * torch.from_numpy(weights[others])
        losses.append(weight * (shares * of_both[0] + (1 - shares) * of_both[1]))
        major = np.where(mixed.shares > 0.5, SPLIT.labels[indices], SPLIT.labels[others])
        hits += int((logits.argmax(1).numpy() == major).sum())
    total = torch.cat(losses)
    plain = torch.autograd.grad(total.mean(), Network(classifier).trainable)
    torch.testing.assert_close(gradient, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(total.sum().item(), rel=1e-5)
    assert right == hits


def test_repeated_images_are_augmented_by_their_turns() -> None:
    def loss(turns: np.ndarray | None) -> float:
        with make_pool(small_classifier(random=False), workers=1, shards=2) as pool:
            return pool.compute(Batch(np.full(8, 7), epoch=3, step=0, turns=turns))[0]

    assert loss(None) == loss(np.full(8, 3))
    assert loss(None) != loss(np.arange(8))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_long_gradient_is_clipped_as_a_whole(workers: int) -> None:
    def change(clip_norm: float) -> torch.Tensor:
        classifier = small_classifier(random=False)
        network = Network(classifier)
        before = torch.cat([tensor.detach().flatten().clone() for tensor in network.trainable])
        with make_pool(classifier, workers=workers, shards=4, momentum=0.0, weight_decay=0.0) as pool:
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
            pool.update(1.0, clip_norm=clip_norm)
        return torch.cat([tensor.detach().flatten() for tensor in network.trainable]) - before

    free = change(0.0)
    norm = free.norm().item()
    torch.testing.assert_close(change(norm / 4), free / 4, atol=1e-6, rtol=1e-3)
    assert torch.equal(change(norm * 2), free)


def test_a_batch_with_fewer_images_than_shards_is_trained_on() -> None:
    assert train_a_little(workers=2, batch=8) == train_a_little(workers=1, batch=8)
    classifier = small_classifier(random=False)
    with make_pool(classifier, workers=2, shards=4) as pool:
        pool.compute(Batch(np.array([5]), epoch=0, step=0))
        pool.update(0.0)
        gradient = pool._board.gradients[0]
        assert torch.isfinite(gradient).all()
        assert gradient.any()


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    classifier = small_classifier(random=False)
    indices = np.arange(40)
    with make_pool(classifier, workers=2, shards=8) as pool:
        loss, right = pool.compute(Batch(indices, epoch=1, step=0))
        pool.update(0.0)
        sharded = views(pool._board.gradients[0], Network(classifier).trainable)

    images = torch.from_numpy(Augment(0, flip="random", translate=1)(SPLIT.images, indices, 1))
    logits = classifier(images)
    labels = torch.from_numpy(SPLIT.labels[indices])
    losses = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    plain = torch.autograd.grad(losses.mean(), Network(classifier).trainable)
    torch.testing.assert_close(sharded, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(losses.sum().item(), rel=1e-5)
    assert right == (logits.argmax(1) == labels).sum().item()


def test_running_statistics_are_the_mean_of_the_shards() -> None:
    classifier = small_classifier()
    with make_pool(classifier, workers=2, shards=4) as pool:
        pool.compute(Batch(np.arange(32), epoch=0, step=0))
        pool.update(0.0)
    images = Augment(0, flip="random", translate=1)(SPLIT.images, np.arange(32), 0)
    features = classifier.network.get_submodule("0")(classifier.pixels(torch.from_numpy(images)))
    shard_means = [shard.mean((0, 2, 3)) for shard in features.split(8)]
    expected = 0.1 * torch.stack(shard_means).mean(0)  # the running mean starts at 0, momentum is 0.1
    torch.testing.assert_close(classifier.network.get_buffer("1.running_mean"), expected, atol=1e-6, rtol=1e-4)
    assert classifier.network.get_buffer("1.num_batches_tracked") == 1


def test_a_lost_worker_is_one_sentence() -> None:
    with (
        pytest.raises(MachineError, match="a worker process ended at step 7"),
        make_pool(small_classifier(), workers=2, shards=4) as pool,
    ):
        pool._children[0].kill()
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
    assert shard_count(batch_size, "auto", (32, 32)) == count


@pytest.mark.parametrize(("side", "count"), [(45, 2), (64, 4), (128, 16), (224, 16)])
def test_auto_shards_of_large_images_are_smaller_but_not_under_32(side: int, count: int) -> None:
    assert shard_count(512, "auto", (side, side)) == count


@pytest.mark.parametrize(("asked", "workers"), [(1, 1), (2, 2), (3, 2), (4, 4), (100, 8)])
def test_workers_are_a_power_of_two_that_the_shards_can_feed(asked: int, workers: int) -> None:
    assert choose_compute("cpu", "fp32", asked, shards=8).workers == workers
