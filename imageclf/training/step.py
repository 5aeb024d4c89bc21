"""The sharded step: a batch is a fixed number of shards, each computed alone, their gradients added as a fixed tree.

Whoever computes a shard gets the same bits, and the tree does not depend on who computes which, so the number of
workers cannot change a result. Floating-point addition is not associative; a fixed order is the whole trick.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imageclf.augment.mixing import image_weights, soft_targets, weighted_fractions
from imageclf.models.device import Compute
from imageclf.randomness import torch_seed
from imageclf.training.graphs import replayed
from imageclf.training.loading import Batch, Loader, cut
from imageclf.training.shared import Board, Network, move_into, views

LossFunction = Callable[[Tensor, Tensor], Tensor]  # logits (n, classes), labels (n,) or (n, classes) -> losses (n,)


class ShardWorker:
    """Computes its block of every batch's shards and leaves the sum of their gradients on the board."""

    def __init__(
        self,
        worker: int,
        board: Board,
        network: Network,
        loader: Loader,
        labels: np.ndarray,
        *,
        weighted: bool,
        loss_fn: LossFunction,
        compute: Compute,
        seed: int,
    ) -> None:
        """`labels` (N,) are those of the training images; `weighted` makes every class count alike in the loss."""
        self._block, self._board, self._network, self._loader = board.block(worker), board, network, loader
        self._loss_fn, self._compute, self._seed = loss_fn, compute, seed
        self._labels = torch.from_numpy(labels).to(compute.device)
        self._weights = torch.from_numpy(image_weights(labels)).to(compute.device) if weighted else None
        self._computed = replayed(self._gradients, compute)
        self.expect, self.close = loader.expect, loader.close
        self.gradient = torch.zeros_like(board.parameters)  # (P,)
        for parameter, view in zip(network.trainable, views(self.gradient, network.trainable), strict=True):
            parameter.grad = view
        # A forward pass changes statistics and counters in place: each process needs its own.
        self.statistics, self.counters = torch.empty_like(board.statistics), torch.zeros_like(board.counters)
        move_into(self.statistics, network.statistics)
        move_into(self.counters, network.counters)
        # sums[0] is this worker's place on the board; the tree needs one more tensor a level.
        spare = [torch.empty_like(self.gradient) for _ in range(len(self._block).bit_length() - 1)]
        self._sums = [board.gradients[worker], *spare]

    def count(self) -> None:
        """Leave on the board the counters after this process's shards, once every process has computed its own."""
        self._board.counters.copy_(self.counters)

    def catch_up(self) -> None:
        """Give this process's network the running statistics of the board."""
        self.statistics.copy_(self._board.statistics)

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
        if len(positions) == 0:  # the last batch of an epoch can have fewer images than shards
            self.gradient.zero_()
            self._board.shard_scores[shard] = 0
            self._board.shard_scores[shard, 2:] = 1
            self._board.shard_statistics[shard] = self._board.statistics
            return
        loaded = self._loader.shard(batch, shard, positions)
        # The shard owns all that is random in it, dropout too: not the process, not the moment.
        _seed(self._compute.device, torch_seed(self._seed, batch.step, shard))
        losses, scores = self._computed(
            (batch.scale, batch.head_only, len(batch.indices)),
            loaded.images,
            loaded.indices,
            loaded.partners,
            loaded.fractions,
        )
        self._board.losses[loaded.indices] = losses
        self._board.shard_scores[shard] = scores
        self._board.shard_statistics[shard] = self.statistics

    def _gradients(
        self,
        kind: tuple[float, bool, int],
        images: Tensor,
        indices: Tensor,
        partners: Tensor | None,
        fractions: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The losses (n,) and the scores (2,) or (3,) of a shard, whose gradients it leaves in `gradient`.

        `kind` is the scale of the images, whether the last layer is trained alone, and the images of the whole batch.
        """
        scale, _, batch_size = kind
        self.gradient.zero_()
        self.statistics.copy_(self._board.statistics)
        self.counters.copy_(self._board.counters)
        with self._compute.autocast():
            logits = self._network.classifier(images, scale)  # (n, classes)
        targets, answers, weights = self._targets(indices, partners, fractions, logits.shape[1])
        losses = self._loss_fn(logits.float(), targets)  # (n,)
        unweighted = losses.detach()
        if weights is not None:
            losses = losses * weights
        loss, scaling = losses.sum() / batch_size, self._board.scaling
        (loss if scaling is None else loss * scaling[0]).backward()
        scores = [losses.detach().sum(), (logits.detach().argmax(1) == answers).sum().float()]
        if scaling is not None:
            scores.append(torch.isfinite(self.gradient).all().float())
        return unweighted, torch.stack(scores)

    def _targets(
        self, indices: Tensor, partners: Tensor | None, fractions: Tensor | None, classes: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of each image the loss target, the correct answer (n,), and its weight (n,) if classes are weighted."""
        labels = self._labels[indices]
        weights = None if self._weights is None else self._weights[indices]
        if partners is None or fractions is None:
            return labels, labels, weights
        targets = soft_targets(labels, labels[partners], fractions, classes)
        answers = targets.argmax(1)  # the class with the larger fraction
        if weights is not None:
            fractions, weights = weighted_fractions(fractions, weights, weights[partners])
            targets = soft_targets(labels, labels[partners], fractions, classes)
        return targets, answers, weights


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
