"""The sharded step: a batch is a fixed number of shards, each computed alone, their gradients added as a fixed tree.

Whoever computes a shard gets the same bits, and the tree does not depend on who computes which, so the number of
workers cannot change a result. Floating-point addition is not associative; a fixed order is the whole trick.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.console.errors import MachineError
from stages.data.augment import Augment
from stages.data.prepared import Split
from stages.data.randomness import torch_seed
from stages.training.compute import Compute
from stages.training.flat import flat_size, move_into, views
from stages.training.network import Network

LARGEST_SHARD = 128  # images; measured: more leave the cache and are slower
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written to
Objective = Callable[[Tensor, Tensor], Tensor]


def shard_count(batch_size: int, shards: int | str) -> int:
    """`train.shards` with auto resolved: the smallest power of two, at least 2, with small enough shards."""
    if isinstance(shards, int):
        return shards
    count = min(2, batch_size)
    while batch_size > count * LARGEST_SHARD:
        count *= 2
    return count


@dataclass(frozen=True)
class Batch:
    """One step's images: their indices in the training split, and where in the run the step stands."""

    indices: np.ndarray
    epoch: int
    step: int  # counted over the whole run


@dataclass(frozen=True)
class Board:
    """What the processes of a run share. Shapes: P parameters, B running statistics, S shards, K workers."""

    parameters: Tensor  # (P,)
    statistics: Tensor  # (B,) as they stand before the step
    gradients: Tensor  # (K, P) the sum over each worker's shards
    shard_statistics: Tensor  # (S, B) as each shard leaves them
    shard_scores: Tensor  # (S, 2) sum of losses, number of right answers

    @property
    def shards(self) -> int:
        return len(self.shard_scores)

    @property
    def workers(self) -> int:
        return len(self.gradients)


def make_board(network: Network, *, shards: int, workers: int, device: torch.device) -> Board:
    """Move the trainable parameters onto a board, which several workers share.

    Raises:
        MachineError: there is too little shared memory for it.
    """
    size, width = flat_size(network.trainable), flat_size(network.statistics)
    if workers > 1:
        _check_shared_memory(4 * ((1 + workers) * size + (1 + shards) * width))

    def zeros(*shape: int) -> Tensor:
        tensor = torch.zeros(*shape, device=device)
        return tensor.share_memory_() if workers > 1 else tensor

    board = Board(zeros(size), zeros(width), zeros(workers, size), zeros(shards, width), zeros(shards, 2))
    move_into(board.parameters, network.trainable)
    for view, tensor in zip(views(board.statistics, network.statistics), network.statistics, strict=True):
        view.copy_(tensor)
    return board


def _check_shared_memory(needed: int) -> None:
    # Written past its end, shared memory kills the process without a word; containers often have 64 MB.
    if not SHARED_MEMORY.exists():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise MachineError(
            f"train: its processes share {needed / 1e6:,.0f} MB and {SHARED_MEMORY} has {free / 1e6:,.0f} MB free; "
            "set runtime.workers to 1, or give it more (docker run --shm-size)"
        )


class ShardWorker:
    """Computes its block of every batch's shards and leaves the sum of their gradients on the board."""

    def __init__(
        self,
        rank: int,
        board: Board,
        network: Network,
        split: Split,
        *,
        augment: Augment,
        objective: Objective,
        compute: Compute,
        seed: int,
    ) -> None:
        self._rank, self._board, self._network, self._split = rank, board, network, split
        self._augment, self._objective, self._compute, self._seed = augment, objective, compute, seed
        self.gradient = torch.zeros_like(board.parameters)  # (P,)
        for parameter, view in zip(network.trainable, views(self.gradient, network.trainable), strict=True):
            parameter.grad = view
        # A forward pass changes the running statistics in place: each process needs its own.
        self.statistics = torch.empty_like(board.statistics)
        move_into(self.statistics, network.statistics)
        block = board.shards // board.workers
        # sums[0] is this worker's place on the board; the tree needs one more tensor a level.
        spare = [torch.empty_like(self.gradient) for _ in range(block.bit_length() - 1)]
        self._sums = [board.gradients[rank], *spare]

    def compute(self, batch: Batch) -> None:
        """Sum the gradients of this worker's shards of a batch."""
        self._network.classifier.train()
        block = self._board.shards // self._board.workers
        self._counters_before = [counter.clone() for counter in self._network.counters]
        self._sum_block(batch, np.array_split(batch.indices, self._board.shards), self._rank * block, block, level=0)

    def _sum_block(self, batch: Batch, shards: list[np.ndarray], first: int, count: int, level: int) -> None:
        """Leave in sums[level] the gradients of `count` shards from `first`, added as a balanced binary tree."""
        if count == 1:
            self._compute_shard(batch, shards[first], first)
            self._sums[level].copy_(self.gradient)
            return
        self._sum_block(batch, shards, first, count // 2, level)
        self._sum_block(batch, shards, first + count // 2, count // 2, level + 1)
        self._sums[level].add_(self._sums[level + 1])

    def _compute_shard(self, batch: Batch, indices: np.ndarray, shard: int) -> None:
        self.gradient.zero_()
        self.statistics.copy_(self._board.statistics)
        for counter, before in zip(self._network.counters, self._counters_before, strict=True):
            counter.copy_(before)
        if len(indices) == 0:  # the last batch of an epoch can have fewer images than shards
            self._board.shard_scores[shard] = 0
            self._board.shard_statistics[shard] = self.statistics
            return
        images = torch.from_numpy(self._augment(self._split.images, indices, batch.epoch)).to(self._compute.device)
        labels = torch.from_numpy(self._split.labels[indices]).to(self._compute.device)
        # The shard owns all that is random in it, dropout too: not the process, not the moment.
        torch.manual_seed(torch_seed(self._seed, batch.step, shard))
        with self._compute.autocast():
            logits = self._network.classifier(images)  # (n, classes)
        losses = self._objective(logits.float(), labels)  # (n,)
        (losses.sum() / len(batch.indices)).backward()
        right = (logits.detach().argmax(1) == labels).sum()
        self._board.shard_scores[shard] = torch.stack([losses.detach().sum(), right.float()])
        self._board.shard_statistics[shard] = self.statistics


def finish_step(board: Board, total: Tensor) -> tuple[float, float]:
    """Put the batch's gradient into `total` (P,) and the statistics into place; return sum of losses and right answers.

    The running statistics after a step are the mean of those that its shards leave.
    """
    sums = list(board.gradients)
    while len(sums) > 1:
        sums = [left.add_(right) for left, right in zip(sums[::2], sums[1::2], strict=True)]
    total.copy_(sums[0])
    torch.mean(board.shard_statistics, 0, out=board.statistics)
    loss, right = board.shard_scores.cpu().double().sum(0).tolist()
    return loss, right
