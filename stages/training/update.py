"""The second half of a step: the shards' gradients become new parameters, each tensor by one worker."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stages.training.board import Board
from stages.training.flat import views
from stages.training.optimizer import optimizer_tensors, restore_optimizers, set_rate

MakeOptimizers = Callable[[Sequence[Tensor], Sequence[float]], list[Optimizer]]


class Updater:
    """Changes its share of the parameters: whole tensors, so that no bit depends on who has which."""

    def __init__(
        self,
        rank: int,
        board: Board,
        like: Sequence[Tensor],
        rates: Sequence[float],
        make: MakeOptimizers,
        memory: dict[str, Tensor],
    ) -> None:
        """`like` are the trainable tensors, `rates` their shares of the learning rate.

        `memory` is what updaters kept when a run was stopped, or empty.
        """
        self._rank, self._board = rank, board
        mine = sorted(range(len(like)), key=lambda index: like[index].numel())[rank :: board.workers]
        partial = [views(gradient, like) for gradient in board.gradients]  # of each worker
        self._sums = [[tensors[index] for tensors in partial] for index in mine]
        parameters = [nn.Parameter(views(board.parameters, like)[index]) for index in mine]
        for parameter, sums in zip(parameters, self._sums, strict=True):
            parameter.grad = sums[0]
        self._optimizers = make(parameters, [rates[index] for index in mine]) if mine else []
        restore_optimizers(self._optimizers, memory, base=board.parameters)

    @torch.no_grad()
    def update(self, rate: float) -> None:
        """Add up the workers' gradients as a fixed tree, and take a step along the sum at the learning rate `rate`.

        The running statistics after a step are the mean of those that its shards leave.
        """
        for sums in self._sums:
            level = sums
            while len(level) > 1:
                level = [left.add_(right) for left, right in zip(level[::2], level[1::2], strict=True)]
        set_rate(self._optimizers, rate)
        for optimizer in self._optimizers:
            optimizer.step()
        if self._rank == 0:
            torch.mean(self._board.shard_statistics, 0, out=self._board.statistics)

    def memory(self) -> dict[str, Tensor]:
        """What the optimisers remember of this share, by names that no other share has."""
        return optimizer_tensors(self._optimizers, base=self._board.parameters)
