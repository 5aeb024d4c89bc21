"""The sharded step: a batch is a fixed number of shards, each computed alone, their gradients added as a fixed tree.

Whoever computes a shard gets the same bits, and the tree does not depend on who computes which, so the number of
workers cannot change a result. Floating-point addition is not associative; a fixed order is the whole trick.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imageclf.augment.mixing import Mixed, Mixing, image_weights, soft_targets, weighted_fractions
from imageclf.augment.transforms import Augmentation
from imageclf.images.dataset import Split
from imageclf.models.classifier import scaled
from imageclf.models.device import Compute
from imageclf.randomness import torch_seed
from imageclf.training.shared import Board, Network, move_into, views

LossFunction = Callable[[Tensor, Tensor], Tensor]  # logits (n, classes), labels (n,) or (n, classes) -> losses (n,)


@dataclass(frozen=True)
class Batch:
    """One step's images: their indices in the training split, and where in the run the step stands."""

    indices: np.ndarray
    epoch: int
    step: int  # counted over the whole run
    scale: float = 1.0  # of the images' sides, as they are trained on
    epochs: np.ndarray | None = (
        None  # of each image its epoch index in augmentation, where one can come twice in an epoch
    )
    head_only: bool = False  # only the last layer is trained


@dataclass(frozen=True)
class Loaded:
    """A shard's images uint8 (n, h, w, C) in host memory, as they are trained on, and how they were mixed, if so."""

    indices: np.ndarray
    images: Tensor
    mixed: Mixed | None


def cut(batch: Batch, shards: int) -> list[np.ndarray]:
    """The positions in the batch of each shard's images."""
    return np.array_split(np.arange(len(batch.indices)), shards)


class ShardWorker:
    """Computes its block of every batch's shards and leaves the sum of their gradients on the board."""

    def __init__(
        self,
        worker: int,
        board: Board,
        network: Network,
        split: Split,
        *,
        augment: Augmentation,
        mixing: Mixing,
        weighted: bool,
        loss_fn: LossFunction,
        compute: Compute,
        seed: int,
    ) -> None:
        """`weighted` makes every class count alike in the loss."""
        self._block, self._board, self._network, self._split = board.block(worker), board, network, split
        self._augment, self._loss_fn, self._compute, self._seed = augment, loss_fn, compute, seed
        self._mixing = mixing
        self._weights = image_weights(split.labels) if weighted else None
        self._thread = ThreadPoolExecutor(1)  # begins with the first batch that is expected
        self._expected: dict[tuple[int, int], Future[Loaded]] = {}  # by step and shard
        self.gradient = torch.zeros_like(board.parameters)  # (P,)
        for parameter, view in zip(network.trainable, views(self.gradient, network.trainable), strict=True):
            parameter.grad = view
        # A forward pass changes statistics and counters in place: each process needs its own.
        self._counters = views(board.counters, network.counters)
        self.statistics = torch.empty_like(board.statistics)
        move_into(self.statistics, network.statistics)
        # sums[0] is this worker's place on the board; the tree needs one more tensor a level.
        spare = [torch.empty_like(self.gradient) for _ in range(len(self._block).bit_length() - 1)]
        self._sums = [board.gradients[worker], *spare]

    def count(self) -> None:
        """Leave on the board the counters after this process's shards, once every process has computed its own."""
        for before, counter in zip(self._counters, self._network.counters, strict=True):
            before.copy_(counter)

    def catch_up(self) -> None:
        """Give this process's network the running statistics of the board."""
        self.statistics.copy_(self._board.statistics)

    def expect(self, batch: Batch) -> None:
        """Have a thread load this worker's shards of a batch that will be computed later."""
        shards = cut(batch, self._board.shards)
        for shard in self._block:
            if len(shards[shard]) == 0:  # nor have those after it
                break
            self._expected[batch.step, shard] = self._thread.submit(self._load, batch, shards[shard], shard)

    def compute(self, batch: Batch) -> None:
        """Sum the gradients of this worker's shards of a batch, as a balanced binary tree, in sums[0]."""
        self._network.freeze_body(batch.head_only)
        self._network.classifier.train()
        shards = cut(batch, self._board.shards)
        for number, shard in enumerate(self._block):
            self._compute_shard(batch, shards[shard], shard)
            # As many sums wait for their other half as `number` has ones in binary.
            depth, done = number.bit_count(), number + 1
            self._sums[depth].copy_(self.gradient)
            while done % 2 == 0:
                depth, done = depth - 1, done // 2
                self._sums[depth].add_(self._sums[depth + 1])

    def _compute_shard(self, batch: Batch, positions: np.ndarray, shard: int) -> None:
        """Forward and backward of one shard, from the parameters, statistics and counters of before the step."""
        self.gradient.zero_()
        self.statistics.copy_(self._board.statistics)
        if len(positions) == 0:  # the last batch of an epoch can have fewer images than shards
            self._board.shard_scores[shard] = 0
            self._board.shard_statistics[shard] = self.statistics
            return
        for counter, before in zip(self._network.counters, self._counters, strict=True):
            counter.copy_(before)
        loaded = self._loaded(batch, positions, shard)
        indices, mixed = loaded.indices, loaded.mixed
        images = loaded.images.to(self._compute.device, non_blocking=self._compute.pinned)
        labels = self._on_device(self._split.labels[indices])
        # The shard owns all that is random in it, dropout too: not the process, not the moment.
        _seed(self._compute.device, torch_seed(self._seed, batch.step, shard))
        with self._compute.autocast():
            logits = self._network.classifier(images, batch.scale)  # (n, classes)
        targets, answers, weights = self._targets(labels, indices, mixed, logits.shape[1])
        losses = self._loss_fn(logits.float(), targets)  # (n,)
        self._board.losses[self._on_device(indices)] = losses.detach()
        if weights is not None:
            losses = losses * weights
        (losses.sum() / len(batch.indices)).backward()
        correct = (logits.detach().argmax(1) == answers).sum()
        self._board.shard_scores[shard] = torch.stack([losses.detach().sum(), correct.float()])
        self._board.shard_statistics[shard] = self.statistics

    def _load(self, batch: Batch, positions: np.ndarray, shard: int) -> Loaded:
        indices = batch.indices[positions]
        epochs = batch.epoch if batch.epochs is None else batch.epochs[positions]
        augmented = self._augment(self._split.images, indices, epochs)
        mixed = self._mixing(augmented, step=batch.step, shard=shard) if self._mixing.on else None
        images = torch.from_numpy(mixed.images if mixed else augmented)
        if self._network.classifier.network_size is None:  # else it scales them itself, from the size that they have
            images = scaled(images, batch.scale)
        return Loaded(indices, images.pin_memory() if self._compute.pinned else images, mixed)

    def _loaded(self, batch: Batch, positions: np.ndarray, shard: int) -> Loaded:
        expected = self._expected.pop((batch.step, shard), None)
        return expected.result() if expected else self._load(batch, positions, shard)

    def _targets(
        self, labels: Tensor, indices: np.ndarray, mixed: Mixed | None, classes: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of each image the loss target, the correct answer (n,), and its weight (n,) if classes are weighted."""
        weights = None if self._weights is None else self._on_device(self._weights[indices])
        if mixed is None:
            return labels, labels, weights
        fractions, partners = self._on_device(mixed.fractions), self._on_device(mixed.partners)
        targets = soft_targets(labels, labels[partners], fractions, classes)
        answers = targets.argmax(1)  # the class with the larger fraction
        if weights is not None:
            fractions, weights = weighted_fractions(fractions, weights, weights[partners])
            targets = soft_targets(labels, labels[partners], fractions, classes)
        return targets, answers, weights

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._compute.device)


def _seed(device: torch.device, seed: int) -> None:
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # the global call takes a millisecond: it also handles GPUs
    else:
        torch.manual_seed(seed)


def choose_loss(loss: str, *, label_smoothing: float) -> LossFunction:
    """A function of logits (N, classes) and labels (N,) that gives losses (N,).

    cross_entropy takes targets (N, classes) too. All can be sent to another process.
    """
    if loss == "cross_entropy":
        return partial(F.cross_entropy, label_smoothing=label_smoothing, reduction="none")
    return {"mse": _mse, "l1": _l1}[loss]


def _mse(logits: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(logits, _one_hot(logits, labels), reduction="none").mean(1)


def _l1(logits: Tensor, labels: Tensor) -> Tensor:
    return F.l1_loss(logits, _one_hot(logits, labels), reduction="none").mean(1)


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).to(logits.dtype)
